"""Settings that a command line gives as `name=value`, read by the type of what each stands for."""

from collections.abc import Iterable, Mapping
from typing import Any

from factory.errors import WrongRequest

KINDS = {int: "whole number", float: "number", bool: "yes or no (1 or 0)", str: "text"}


def given(told: Iterable[str], known: Mapping[str, Any], unknown: str, taken: Mapping[str, str]) -> dict[str, Any]:
    """Values by name; each text of `told` holds one pair, or several with spaces between.

    `known` has a value of the right type for each name, `taken` what to give instead of a name that has an option of its own.
    WrongRequest says what is odd; `unknown` goes on after a pair whose name is not known.
    """
    made: dict[str, Any] = {}
    for one in (part for text in told for part in text.split()):
        name, equals, value = one.partition("=")
        if not equals or name not in known:
            raise WrongRequest(f"{one!r} {unknown}")
        if name in made or name in taken:
            raise WrongRequest(f"{one}: give {taken.get(name, f'{name} once')}")
        try:
            made[name] = _typed(known[name], value)
        except ValueError:
            raise WrongRequest(f"{one}: that is no {KINDS[type(known[name])]}") from None
    return made


def _typed(like: Any, value: str) -> Any:
    if isinstance(like, bool):
        if value.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(value)
        return value.lower() in ("true", "1", "yes")
    return type(like)(value)
