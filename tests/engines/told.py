"""A run of the conversation stages without engine, store or loop: every unit with what was asked, said and made of it."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from factory.engines.rehearsal.answers import answer
from factory.prompts import load
from factory.records import Passage
from factory.requests import Reply, Request
from factory.settings import Content
from factory.stages import Asking, Outcome, Stage
from factory.steps import pipeline

ROOT = Path(__file__).resolve().parents[2]
CORPORA = ROOT / "corpora"
FABLES = ROOT.parent / "shared/data/narratives/aesop4children.jsonl"


class Told:
    """All units of a run, by stage: the row, the requests, the replies and the outcome."""

    def __init__(self, passages: Iterator[Passage], seed: int = 0) -> None:
        self.units: dict[str, list[tuple[Any, list[Request], list[str], Outcome]]] = {}
        self.steps = pipeline(Content(seed=seed)).wanted(["mcq"])
        self.asking = Asking(book=load(self.steps.prompts()), greedy=False, seed=seed)
        for passage in passages:
            self._go(None, passage, [passage])

    def _go(self, after: str | None, before: Any, rows: Sequence[Any]) -> None:
        for step in self.steps.following(after):
            for row in step.stage.feed(before, rows):
                asked = self._ask(step.stage, row)
                self.units.setdefault(step.stage.name, []).append((row, *asked))
                if asked[2].accepted:
                    self._go(step.stage.name, row, asked[2].rows)

    def _ask(self, stage: Stage, row: Any) -> tuple[list[Request], list[str], Outcome]:
        talk = stage.talk(row, self.asking, 0)
        requests, replies = [next(talk)], list[str]()
        while True:
            replies.append(answer(requests[-1]))
            try:
                requests.append(talk.send(Reply(text=replies[-1])))
            except StopIteration as end:
                return requests, replies, end.value

    def rows(self, stage: str) -> list[Any]:
        return [row for *_, outcome in self.units[stage] for row in outcome.rows]


def _passages(path: Path) -> Iterator[Passage]:
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    lines = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines() if line.strip()]
    for index, line in enumerate(lines):
        text = line.get("text") or line["story"]
        yield Passage(id=f"s{index}.p1", source_id=f"s{index}", index=index, text=text)


@cache
def bundled(seed: int = 0) -> Told:
    return Told(_passages(CORPORA), seed)


@cache
def fables() -> Told:
    if not FABLES.exists():
        pytest.skip(f"the fables are not here: {FABLES}")
    return Told(_passages(FABLES))


by_corpus = pytest.mark.parametrize("corpus", [bundled, fables], ids=["bundled", "fables"])
