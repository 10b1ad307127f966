"""EmoBench: emotional understanding (EU) and application (EA), in English and Chinese. METHODS 4; docs/EVALUATION.md.

The files are the user's own copy; nothing of them is bundled, and none is ever trained on or tuned with.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from factory import __version__, files
from factory.answers import Answerer
from factory.emobench import items as records
from factory.emobench import protocols, report, score
from factory.emobench.ask import PROTOCOLS, Ask, asking
from factory.emobench.baselines import floors
from factory.emobench.items import LANGUAGES, TASKS
from factory.emobench.score import About, Comparison, Outcome, Result, compare
from factory.emobench.words import OURS, Wording
from factory.emobench.words import wording as wording_of
from factory.errors import WrongRequest

__all__ = ["LANGUAGES", "PROTOCOLS", "TASKS", "About", "Comparison", "Outcome", "compare", "read_outcome", "run"]

T = TypeVar("T", bound=str)
JSON, MARKDOWN = "emobench.json", "emobench.md"


def run(
    answerer: Answerer,
    folder: Path,
    *,
    protocol: str = "likelihood",
    tasks: Sequence[str] = TASKS,
    languages: Sequence[str] = ("en",),
    cot: bool = False,
    guided: bool = False,
    faithful: bool = False,
    orders: int | None = None,
    repeats: int | None = None,
    temperature: float | None = None,
    wording: str = "",
    limit: int = 0,
    against: Path | None = None,
    about: About | None = None,
    out: Path | None = None,
    says: Callable[[str], None] = lambda sentence: None,
) -> Outcome:
    """Asks EmoBench's items from `folder` of any model by one of PROTOCOLS, and scores what it chose.

    None is the protocol's own setting; `wording` is whose words v2 asks in ("": the authors' where the user's checkout has
    them); `limit` asks so many items of each task and language, drawn by a fixed seed; `against` is the OUT of another
    model's evaluation, asked in the same way, with which this one is compared; `about` is what is known of the model beside
    its name. With `out` writes emobench.json and emobench.md.
    Raises WrongRequest before anything is asked, where files are odd or a setting has no meaning, and NotOffered where the
    answerer cannot tell likelihoods.
    """
    if limit < 0:
        raise WrongRequest(f"LIMIT={limit} is below 0; give a number of items, or 0 for all")
    if wording and protocol != "v2":
        raise WrongRequest(f"wording={wording} is for PROTOCOL=v2, the one whose words are published; leave it out")
    about = about or About()
    asked = partial(
        asking, protocol, cot=cot, guided=guided, faithful=faithful, orders=orders, repeats=repeats,
        temperature=temperature, no_think=_is_qwen(about.base or answerer.name),
    )  # fmt: skip
    asks: list[tuple[Ask, Wording]] = []
    for task in _chosen(tasks, TASKS, "tasks"):
        for language in _chosen(languages, LANGUAGES, "LANGUAGE"):
            words = wording_of(folder, language, wording if protocol == "v2" else OURS)
            asks.append((asked(task, language, wording=words.whose), words))
    bench = records.read(folder)
    chosen = {ask: _drawn(bench.of(ask.task, ask.language), limit) for ask, _ in asks}
    absent = [f"{folder} has no item of {ask.task} in {ask.language}" for ask, items in chosen.items() if not items]
    if len(absent) == len(asks):
        raise WrongRequest(
            f"there is nothing to ask: {absent[0]}; give EmoBench's folder, or other tasks, or another LANGUAGE"
        )
    other = None
    if against is not None:  # looked at before a long evaluation that could not be compared
        other = read_outcome(against)
        named = [(ask, [(item.qid, item.labels) for item in items]) for ask, items in chosen.items() if items]
        score.refuse_another(other, answerer.name, named)
    for sentence in absent:
        says(sentence)
    made = [_result(answerer, chosen[ask], ask, words, says) for ask, words in asks if chosen[ask]]
    outcome = Outcome(
        model=answerer.name,
        base=about.base,
        fingerprint=about.fingerprint,
        decoding=about.decoding,
        versions={"factory": __version__, "python": platform.python_version(), **about.versions},
        files=bench.files,
        results=tuple(made),
        notes=(
            *bench.notes,
            *absent,
            *([f"LIMIT: {limit} items of each task and language were asked, drawn by a fixed seed"] if limit else ()),
        ),
    )
    if other is not None:
        outcome = replace(outcome, against=other.model, comparisons=compare(outcome, other))
    if out is not None:
        _write(outcome, out)
    return outcome


def read_outcome(path: Path) -> Outcome:
    """The outcome in a folder that `run` wrote into, or in its emobench.json."""
    file = path / JSON if path.is_dir() else path
    try:
        return report.of_json(file.read_bytes())
    except OSError as err:
        raise WrongRequest(f"{file} cannot be read ({err.strerror or err}); give the OUT of an evaluation") from err


def _is_qwen(name: str) -> bool:
    """As the authors' code tells it, by the last part of the name."""
    return "qwen" in name.rstrip("/").rpartition("/")[2].lower()


def _drawn(items: tuple[records.Item, ...], limit: int) -> tuple[records.Item, ...]:
    """At most so many in the file's order, by a fixed seed, so that fewer are a part of more: the files are sorted by
    category, and the first ones would be of one alone."""
    if not 0 < limit < len(items):
        return items
    return tuple(items[place] for place in sorted(np.random.default_rng(0).permutation(len(items))[:limit].tolist()))


def _result(
    answerer: Answerer, items: Sequence[records.Item], ask: Ask, words: Wording, says: Callable[[str], None]
) -> Result:
    views = len(items) * ask.orders * ask.repeats
    says(f"EmoBench {ask.task} in {ask.language}, {ask.protocol}: {len(items)} items, asked {views:,} times")
    return score.result(ask, protocols.answered(answerer, items, ask, words), floors(items, ask.orders))


def _write(outcome: Outcome, out: Path) -> None:
    with files.writing(out):
        out.mkdir(parents=True, exist_ok=True)
    files.write_atomic(out / JSON, report.to_json(outcome))
    files.write_atomic(out / MARKDOWN, report.markdown(outcome).encode())


def _chosen(asked: Sequence[str], known: Sequence[T], setting: str) -> list[T]:
    """The known ones that were asked for, each once, in their own order."""
    if not asked or (wrong := [one for one in asked if one not in known]):
        named = f"={','.join(wrong)} is not known" if asked else " names none"
        raise WrongRequest(f"{setting}{named}; choose among {', '.join(known)}")
    return [one for one in known if one in asked]
