"""A reply of nearly the right shape, brought to the shape that a JSON schema asks for; says nothing of what is right.

Whoever calls validates the result: a value for which no rule here fits is left as it is.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from factory.taxonomy import resolve

_NUMBER = re.compile(r"\s*([+-]?\d{0,12}(?:[.,]\d{1,12})?)\s*(?:(%|percent)|(?:/|out of)\s*(\d{1,6}))?\s*", re.I)
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2},\d{3}\b")  # 1,000 may be a thousand
_PLACE = re.compile(r"\s*(?:#|no\.?|number)?\s*(\d{1,9})\s*[.):]?\s*", re.I)
_PERCENT = 10  # a bare number above it is a percentage where 0 to 1 is wanted; below it might be one of ten


class _Percent(Exception):
    """A share was written as a bare percentage, so all bare shares of the reply are read as such."""


def fitted(value: Any, schema: Mapping[str, Any], words: bool) -> tuple[Any, tuple[str, ...]]:
    """The value in the schema's shape, and what had to be done: `list`, `key`, `extra`, `number`, `case`, `form`.

    With `words` those of a closed list are also found in another case or form; else they are left as they stand.
    """
    for percent in (False, True):
        fit = _Fit(schema, words, percent)
        try:
            return fit.value(value, schema), tuple(fit.kinds)
        except _Percent:
            continue
    return value, ()


def flagged(value: Any, schema: Mapping[str, Any]) -> str:
    """The place of the first true or false that stands where a number is wanted, such as `items.0.n`; '' if none does.

    Who validates leniently would take them for 1 and 0.
    """
    return _Fit(schema, words=False, percent=False).flagged(value, schema)


class _Fit:
    def __init__(self, root: Mapping[str, Any], words: bool, percent: bool) -> None:
        self.definitions: Mapping[str, Any] = root.get("$defs", {})
        self.words, self.percent = words, percent
        self.kinds: dict[str, None] = {}  # in the order in which they were met

    def value(self, value: Any, schema: Mapping[str, Any]) -> Any:
        schema = self._resolved(schema, value)
        if "properties" in schema:
            return self._object(value, schema)
        kind = schema.get("type")
        if kind == "array":
            return self._array(value, schema)
        if kind in ("number", "integer"):
            return self._number(value, schema)
        options = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
        return self._word(value, options) if self.words and options and isinstance(value, str) else value

    def flagged(self, value: Any, schema: Mapping[str, Any], place: str = "") -> str:
        schema = self._resolved(schema, value)
        if isinstance(value, bool) or not schema:
            return place if schema.get("type") in ("number", "integer") else ""
        inner: Iterable[tuple[object, Any, Mapping[str, Any]]] = ()
        if isinstance(value, dict):
            known = schema.get("properties", {})
            inner = ((key, one, known[key]) for key, one in value.items() if key in known)
        elif isinstance(value, list):
            inner = ((number, one, schema.get("items", {})) for number, one in enumerate(value))
        found = (self.flagged(one, part, f"{place}.{key}".lstrip(".")) for key, one, part in inner)
        return next(filter(None, found), "")

    def _resolved(self, schema: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
        """References followed; of alternatives the first that is not null."""
        for _ in range(10):
            if "$ref" in schema:
                schema = self.definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
            elif "anyOf" in schema and value is not None:
                schema = next((one for one in schema["anyOf"] if one.get("type") != "null"), {})
            else:
                break
        return schema

    def _object(self, value: Any, schema: Mapping[str, Any]) -> Any:
        if isinstance(value, list):
            return self._object_from_list(value, schema)
        if not isinstance(value, dict):
            return value
        known = schema["properties"]
        value = self._unwrapped(value, schema)
        named = self._keys(value, known)
        if (field := _only_array(schema)) and field not in named and self._is_item(value, known[field]):
            self.kinds["list"] = None
            return {field: self.value([value], known[field])}
        if schema.get("additionalProperties") is False and len(named.keys() & known.keys()) < len(named):
            self.kinds["extra"] = None
            named = {key: one for key, one in named.items() if key in known}
        return {key: self.value(one, known[key]) if key in known else one for key, one in named.items()}

    def _object_from_list(self, value: list[Any], schema: Mapping[str, Any]) -> Any:
        """A bare array stands for the one array that the object holds, an array of one object for the object."""
        if field := _only_array(schema):
            whole = len(value) == 1 and isinstance(value[0], dict) and field in value[0]
            self.kinds["list"] = None
            return self._object(value[0], schema) if whole else {field: self.value(value, schema["properties"][field])}
        if len(value) == 1 and isinstance(value[0], dict):
            self.kinds["list"] = None
            return self._object(value[0], schema)
        return value

    def _unwrapped(self, value: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        """Without one more object around it, under the schema's name or a word such as 'response'."""
        inner = next(iter(value.values())) if len(value) == 1 else None
        wanted = {_folded(key) for key in schema.get("required", schema["properties"])}
        if not wanted or not isinstance(inner, dict) or wanted & {_folded(key) for key in value}:
            return value
        if not wanted <= {_folded(key) for key in inner}:
            return value
        self.kinds["extra"] = None
        return inner

    def _keys(self, value: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
        """Keys in another case or with other separators under the names they stand for; no name is taken twice."""
        free = {_folded(key): key for key in known if key not in value}
        named: dict[str, Any] = {}
        for key, one in value.items():
            meant = key if key in known else free.pop(_folded(key), key)
            if meant != key:
                self.kinds["key"] = None
            named[meant] = one
        return named

    def _is_item(self, value: dict[str, Any], array: Mapping[str, Any]) -> bool:
        item = self._resolved(array.get("items", {}), value)
        needed = item.get("required", ())
        return bool(needed) and {_folded(key) for key in needed} <= {_folded(key) for key in value}

    def _array(self, value: Any, schema: Mapping[str, Any]) -> Any:
        item = schema.get("items", {})
        if isinstance(value, dict) and "properties" in self._resolved(item, value):
            self.kinds["list"] = None
            value = [value]
        return [self.value(one, item) for one in value] if isinstance(value, list) else value

    def _number(self, value: Any, schema: Mapping[str, Any]) -> Any:
        low, high = _range(schema)
        number = value
        if isinstance(value, str):
            number = _written(value, schema.get("type") == "integer", high)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            return value
        bare = not isinstance(value, str) or not re.search(r"[%/a-z]", value, re.I)
        if number is not None and bare and (low, high) == (0, 1):
            number = self._share(number)
        if schema.get("type") == "integer" and isinstance(number, float) and number.is_integer():
            number = int(number)
        if number is None or (number == value and type(number) is type(value)):
            return value
        self.kinds["number"] = None
        return number

    def _share(self, number: float) -> float | None:
        """A number for a field from 0 to 1. One scale holds for the whole reply: beside 80, 1 is one percent."""
        if not self.percent:
            if _PERCENT < number <= 100:
                raise _Percent
            return number
        # A fraction among percentages: nobody can say what is meant, so it is made what no field takes.
        return -1.0 if 0 < number < 1 else round(number / 100, 6)

    def _word(self, value: str, options: list[Any]) -> Any:
        if value in options:
            return value
        for option in options:
            if isinstance(option, str) and _folded(option) == _folded(value):
                self.kinds["case"] = None
                return option
        if (label := resolve(value[:100]).label) in options and label is not None:
            self.kinds["form"] = None
            return label
        return value


def _only_array(schema: Mapping[str, Any]) -> str | None:
    """The name of the one field of an object that has no other, where that is an array."""
    known = schema["properties"]
    field = next(iter(known), None)
    return field if field is not None and len(known) == 1 and known[field].get("type") == "array" else None


def _folded(word: str) -> str:
    """Without case, spaces, underscores, dashes and other marks."""
    return "".join(c for c in unicodedata.normalize("NFKC", word[:200]).casefold() if c.isalnum())


def _range(schema: Mapping[str, Any]) -> tuple[float | None, float | None]:
    steps = [one for one in schema.get("enum", ()) if isinstance(one, int | float)]
    return (min(steps), max(steps)) if steps else (schema.get("minimum"), schema.get("maximum"))


def _written(text: str, integer: bool, high: float | None) -> float | None:
    """The number that a string stands for: 0.7, 0,7, 80%, 8/10, and for a place also 1. and #1; None if it is none."""
    text = text[:60]
    if integer:
        place = _PLACE.fullmatch(text)
        return int(place[1]) if place else None
    found = _NUMBER.fullmatch(text)
    if not found or not found[1].lstrip("+-") or _THOUSANDS.match(text):
        return None
    number = float(found[1].replace(",", "."))
    if found[2]:
        return round(number / 100, 6) if high == 1 else number
    if found[3]:
        return round(number / int(found[3]), 6) if int(found[3]) and high == 1 else None
    return number
