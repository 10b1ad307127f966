"""A model folder as a function from texts to probabilities and labels; it never trains and never tunes."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory import contract, vad
from factory.answerers import BATCH, MERGED, FolderAnswerer, told_of
from factory.answers import NO_REPLY, Question
from factory.errors import WrongRequest
from factory.finished import loaded
from factory.requests import Message, Reply
from factory.train.recipe import SHORTEST
from factory.train.thresholds import Thresholds

Floats = NDArray[np.floating[Any]]
FILES = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
TEXTS = ("text", "utterance", "sentence", "content", "situation", "comment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A trained model. `classes` in the order of its columns; `max_length` in tokens; `context`: it was trained with one."""

    folder: Path
    classes: tuple[str, ...]
    thresholds: Thresholds
    max_length: int
    context: bool
    one_label: bool = False  # of somebody else's making, with classes that exclude each other
    _model: Any
    _tokenizer: Any

    @staticmethod
    def of(folder: Path) -> "Classifier":
        """WrongRequest where the folder holds no classifier, or one whose thresholds are of other classes.

        A folder of somebody else's making, without thresholds.json, is read with 0.5 for all, or the most probable class
        where its config says that there is one.
        """
        from factory.train.model import longest

        model, tokenizer, classes, kind = loaded(folder)
        if kind == "regression":
            raise WrongRequest(f"{folder} gives values ({', '.join(classes)}) and no labels; give a classifier")
        told = _told(folder / "thresholds.json")
        if told and set(told["per_class"]) != set(classes):
            raise WrongRequest(
                f"{folder}/thresholds.json is of other classes than the model's head; train it again, or take away the file"
            )
        kept = Thresholds(
            classes=classes,
            shared=float(told.get("global", 0.5)),
            per_class=tuple(float(told["per_class"][one]) for one in classes) if told else (),
            use=told.get("use", "argmax" if kind == "single_label_classification" else "half"),
            temperature=float(told.get("temperature", 1.0)),
            tuned_on=told.get("tuned_on", ""),
        )
        return Classifier(
            folder=folder,
            classes=classes,
            thresholds=kept,
            max_length=min(int(told.get("max_length", 128)), longest(model, tokenizer)),
            context=told.get("pair") == "context",
            one_label=kind == "single_label_classification" and not told,
            _model=model,
            _tokenizer=tokenizer,
        )

    def probabilities(self, texts: Sequence[str], contexts: Sequence[str] = ()) -> Floats:
        """[texts, classes], calibrated by the temperature; a context-less model does not see the contexts."""
        from factory.train import loop, model

        shown = model.Shown(
            tokenizer=self._tokenizer, max_length=self.max_length, token_types=model.segments(self._model)
        )
        seen = list(contexts) if contexts and self.context else [""] * len(texts)
        found = loop.logits(self._model, self._tokenizer, shown.tokens(list(texts), seen))
        if self.one_label:
            raised = np.exp(found.astype(np.float64) - found.max(axis=1, keepdims=True))
            return np.asarray(raised / raised.sum(axis=1, keepdims=True))
        return np.asarray(1 / (1 + np.exp(-found.astype(np.float64) / self.thresholds.temperature)))

    def labels(self, probabilities: Floats) -> list[list[tuple[str, float]]]:
        """For each text the labels that reach their thresholds, by falling probability."""
        kept = self.thresholds.keep(probabilities)
        found = []
        for row, values in zip(kept, probabilities, strict=True):
            some = sorted(np.flatnonzero(row), key=lambda n: -values[n])
            found.append([(self.classes[n], round(float(values[n]), 4)) for n in some])
        return found


def _told(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text("utf-8"))
        numbers = [told["global"], told["temperature"], told["max_length"], *told["per_class"].values()]
        if not all(isinstance(one, int | float) and one >= 0 for one in numbers) or not told["temperature"]:
            raise ValueError("a number is missing or none")
        if not 1e-3 <= told["temperature"] <= 1e3 or told["max_length"] < SHORTEST or told["global"] > 1:
            raise ValueError("a number is out of its range")
        if told.get("pair", "none") not in ("context", "none"):
            raise ValueError(f"pair {told['pair']!r}")
        if told["use"] not in ("per_class", "global", "half", "argmax") or not isinstance(told["per_class"], dict):
            raise ValueError(told["use"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise WrongRequest(f"{path} is not as make train writes it ({err}); train the model again") from err
    return dict(told)


def answers(
    folder: Path, rows: Sequence[tuple[str, str]], says: Callable[[str], None] = lambda sentence: None
) -> Iterator[dict[str, Any]]:
    """What a model folder says of each (text, context): `labels` with their probabilities; of a VAD regressor `vad` with v, a
    and d from 0 to 1; of a model that writes what `written` gives. What cannot be read is said before the first."""
    texts = [text for text, _ in rows]
    if writes(folder):
        if any(before for _, before in rows):
            says(f"{folder} was taught to read one utterance; the contexts were not shown to it")
        yield from written(folder, texts, says)
        return
    if vad.is_one(folder):
        found = vad.Regressor.of(folder).vad(texts)
        for text, values in zip(texts, found.round(4).tolist(), strict=True):
            yield {"text": text, "vad": dict(zip("vad", values, strict=True))}
        return
    classifier = Classifier.of(whole(folder))
    if any(before for _, before in rows) and not classifier.context:
        says(f"{folder} was trained without context; the contexts were not shown to it")
    if rows:
        said = classifier.probabilities(texts, [before for _, before in rows])
        for text, labels in zip(texts, classifier.labels(said), strict=True):
            yield {"text": text, "labels": dict(labels)}


def whole(folder: Path) -> Path:
    """The folder of the whole classifier: of an adapter the merged one in it. WrongRequest where there is none."""
    if (folder / "config.json").is_file() or told_of(folder).get("mode") != "classify":
        return folder
    if not (folder / MERGED / "config.json").is_file():
        raise WrongRequest(
            f"{folder} is an adapter; merge it first (the same make train with SET=merge=1), then give it again"
        )
    return folder / MERGED


# A model that writes --------------------------------------------------------------------------------------------------------


def writes(folder: Path) -> bool:
    """Whether it is a model that was taught to write: an adapter of MODE=generate, or what it was merged into."""
    return told_of(folder).get("mode") == "generate"


def written(
    folder: Path, texts: Sequence[str], says: Callable[[str], None] = lambda sentence: None
) -> Iterator[dict[str, Any]]:
    """Each text asked for in the contract, as in training, greedily: `labels`, the strongest first, `vad`, `rationale`, and how
    it was `read`: strict (the whole reply), tail (the last JSON object in it) or none, with the `reply` as it came.

    WrongRequest where the model was not taught the contract, or its base is not there.
    """
    from factory.evaluate_slm import MAX_TOKENS

    tasks = told_of(folder).get("tasks", ["emotion_json"])
    if "emotion_json" not in tasks:
        raise WrongRequest(
            f"{folder} was taught {' and '.join(tasks)} alone, questions of emotional reasoning, so it has no labels for a text; "
            "measure it with make evaluate BENCHMARK=emobench, or train with emotion_json among the tasks"
        )
    answerer = FolderAnswerer(str(folder), says=says)
    answerer.check()
    for start in range(0, len(texts), 4 * BATCH):  # so that a long file is answered as it is read
        some = texts[start : start + 4 * BATCH]
        replies = _replies(answerer, some, MAX_TOKENS)
        for text, reply in zip(some, replies, strict=True):
            yield {"text": text, **_said(reply)}
    for trouble, count in answerer.troubles.items():
        says(f"{count:,} texts got no reply: {trouble}")


def _replies(answerer: FolderAnswerer, texts: Sequence[str], max_tokens: int) -> list[Reply]:
    found = [NO_REPLY] * len(texts)
    questions = [
        Question(
            unit=str(n),
            messages=(Message("system", contract.SYSTEM), Message("user", text.encode("utf-8", "replace").decode())),
            max_tokens=max_tokens,
            task="emotion_json",
        )
        for n, text in enumerate(texts)
    ]
    answerer.replies(questions, found.__setitem__)
    return found


def _said(reply: Reply) -> dict[str, Any]:
    said = contract.parsed(reply.text)
    if said.contract is None:
        return {"read": said.how, "reply": reply.text}
    one = said.contract
    return {"labels": one.labels, "vad": one.vad.model_dump(), "rationale": one.rationale, "read": said.how}


# Files of texts -------------------------------------------------------------------------------------------------------------


def texts_of(path: Path, column: str = "") -> Iterator[tuple[str, str]]:
    """(text, context) of every row of a file: lines of a .txt, else a column of texts and, where they are there, `context` and
    the `character` before it, as a contextual view has them."""
    if path.suffix.lower() not in FILES or not path.is_file():
        raise WrongRequest(f"{path} is no file of texts; give one of {', '.join(FILES)}")
    if path.suffix.lower() == ".txt":
        lines = path.read_text("utf-8", errors="replace").replace("\r\n", "\n").split("\n")
        yield from ((line, "") for line in lines if line.strip())
        return
    rows = list(_rows(path))
    known = {name.casefold(): name for name in (rows[0] if rows else ()) if name}
    name = column or next((known[one] for one in TEXTS if one in known), "")
    if rows and (not name or name not in rows[0]):
        raise WrongRequest(
            f"{path} has no column {name or 'of texts'}; it has {', '.join(known.values())}: name one with TEXT_COLUMN="
        )
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get(name), str):
            raise WrongRequest(f"{path}: row {number} has no text in the column {name}; mend the file")
        before = "\n".join(str(row[one]) for one in ("character", "context") if row.get(one))
        yield row[name], before


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            import pyarrow.parquet as pq

            yield from pq.read_table(path).to_pylist()
        elif kind == ".jsonl":
            for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
                if line.strip() and not isinstance(row := json.loads(line), dict):
                    raise ValueError(f"line {number} is no record")
                if line.strip():
                    yield row
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from csv.DictReader(file, delimiter="\t" if kind == ".tsv" else ",")
    except (OSError, ValueError, RecursionError, csv.Error) as err:
        raise WrongRequest(
            f"{path} cannot be read ({err}); mend the file, or give its texts as lines of a .txt"
        ) from err
