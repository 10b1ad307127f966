"""A model folder as a function from texts to probabilities and labels; it never trains and never tunes."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from factory.errors import WrongRequest
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
        if not (folder / "config.json").is_file():
            raise WrongRequest(f"{folder} holds no model (no config.json); give a folder that make train wrote")
        from factory.train.model import longest

        model, tokenizer, classes, one_label = _loaded(folder)
        told = _told(folder / "thresholds.json")
        if told and set(told["per_class"]) != set(classes):
            raise WrongRequest(
                f"{folder}/thresholds.json is of other classes than the model's head; train it again, or take away the file"
            )
        kept = Thresholds(
            classes=classes,
            shared=float(told.get("global", 0.5)),
            per_class=tuple(float(told["per_class"][one]) for one in classes) if told else (),
            use=told.get("use", "argmax" if one_label else "half"),
            temperature=float(told.get("temperature", 1.0)),
            tuned_on=told.get("tuned_on", ""),
        )
        return Classifier(
            folder=folder,
            classes=classes,
            thresholds=kept,
            max_length=min(int(told.get("max_length", 128)), longest(model, tokenizer)),
            context=told.get("pair") == "context",
            one_label=one_label and not told,
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
        told = [text.encode("utf-8", "replace").decode() for text in texts]  # half a surrogate pair is no text
        found = loop.logits(self._model, self._tokenizer, shown.tokens(told, seen))
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


class _Loaded(NamedTuple):
    model: Any
    tokenizer: Any
    classes: tuple[str, ...]
    one_label: bool  # each row has exactly one, says its config


def _loaded(folder: Path) -> _Loaded:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from factory.train.model import first_line, quiet

    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            model, told = AutoModelForSequenceClassification.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as err:
        raise WrongRequest(
            f"{folder} cannot be loaded as a classifier ({first_line(err)}); give a folder that make train wrote"
        ) from err
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers makes an empty one up where the file is missing
        raise WrongRequest(f"{folder} has no tokeniser of its own (tokenizer.json); train the model again")
    named = {int(place): label for place, label in (config.id2label or {}).items()}
    whole = sorted(named) == list(range(len(named))) and len(set(named.values())) == len(named)
    if not whole or told["missing_keys"] or told["mismatched_keys"]:
        missing = ", ".join(sorted(map(str, told["missing_keys"]))[:3]) or "its labels"
        raise WrongRequest(f"{folder} is no whole classifier (it lacks {missing}); give a folder that make train wrote")
    return _Loaded(
        model.to("cuda" if torch.cuda.is_available() else "cpu").eval(),
        tokenizer,
        tuple(named[n] for n in range(len(named))),
        config.problem_type == "single_label_classification",
    )


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
