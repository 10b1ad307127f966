"""Valence, arousal and dominance of text without a generator: by a regressor of ours, or by a table of words. METHODS 5.2, 9."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.errors import WrongRequest
from factory.finished import loaded
from factory.text import words

Floats = NDArray[np.float64]
DIMENSIONS = ("valence", "arousal", "dominance")
NOTE, WORDS = "vad.json", "words.tsv"
SCALES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "1..9": (1.0, 9.0)}
# Columns of NRC-VAD (both versions) and ours, of Warriner et al. 2013, and of tables made from either.
_COLUMNS = (
    ("word", "term", "lemma"),
    ("valence", "v.mean.sum", "v"),
    ("arousal", "a.mean.sum", "a"),
    ("dominance", "d.mean.sum", "d"),
)
_SPACES = ("Ġ", "▁")  # how tokenisers write the space before a word


def is_one(folder: Path) -> bool:
    """Whether a folder says that it holds a VAD regressor."""
    return (folder / NOTE).is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class Regressor:
    """A model that `factory train emobank:path --task vad` wrote; `max_length` in tokens."""

    folder: Path
    max_length: int
    _model: Any
    _tokenizer: Any

    @staticmethod
    def of(folder: Path) -> "Regressor":
        """WrongRequest where the folder holds no VAD regressor."""
        if not is_one(folder):
            raise WrongRequest(
                f"{folder} holds no VAD model (no {NOTE}); give a folder that make train TASK=vad DATA=emobank:path wrote"
            )
        try:
            length = int(json.loads((folder / NOTE).read_text("utf-8"))["max_length"])
            if not 16 <= length <= 8192:
                raise ValueError(f"max_length is {length}")
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as err:
            raise WrongRequest(
                f"{folder / NOTE} is not as make train TASK=vad writes it ({err}); train it again"
            ) from err
        found = loaded(folder)
        if found.classes != DIMENSIONS or found.kind != "regression":
            raise WrongRequest(
                f"{folder} is no VAD model (it gives {', '.join(found.classes[:4])}); give one that make train TASK=vad wrote"
            )
        return Regressor(folder=folder, max_length=length, _model=found.model, _tokenizer=found.tokenizer)

    def vad(self, texts: Sequence[str]) -> Floats:
        """[texts, 3] from 0 to 1 on EmoBank's scale, where nearly all lie within 0.3 and 0.7; WrongRequest where a weight is
        broken."""
        from factory.train import loop, model

        shown = model.Shown(
            tokenizer=self._tokenizer, max_length=self.max_length, token_types=model.segments(self._model)
        )
        found = loop.logits(self._model, self._tokenizer, shown.tokens(texts, [""] * len(texts)))
        if not np.isfinite(found).all():
            raise WrongRequest(
                f"{self.folder} gives values that are no numbers; its weights are broken: train it again"
            )
        return np.asarray(found.astype(np.float64).clip(0, 1))


# Words --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTable:
    """Words with valence, arousal and dominance from 0 to 1; `licence` is that of the table, which also binds what is made
    from it: a table of somebody else's is read, and none of its numbers written down."""

    words: Mapping[str, tuple[float, float, float]]
    licence: str = ""
    source: str = ""

    @staticmethod
    def of(path: Path, scale: str = "") -> "WordTable":
        """The table of a VAD model's folder, or a file with a column of words and three of numbers (NRC-VAD, Warriner): tabs
        or commas, with a header. `scale` says what its numbers are: 0..1, -1..1 or 1..9; left out, 0..1.

        WrongRequest where a number is none or outside the scale, or where the scale cannot be the right one.
        """
        file = path / WORDS if path.is_dir() else path
        if not file.is_file():
            raise WrongRequest(
                f"{file} is no table of words; give a VAD model's folder, or a file of NRC-VAD or Warriner"
            )
        if scale and scale not in SCALES:
            raise WrongRequest(f"the scale {scale!r} of {file} is not known; choose one of {', '.join(SCALES)}")
        told, rows = _table(file)
        known = {word: values for line, word, values in _values(file, rows, scale) if words(word) == [word]}
        if not known:
            raise WrongRequest(f"{file} holds no single word; give a table of words")
        low, high = SCALES[scale or "0..1"]
        if low < 0 <= min(min(values) for values in known.values()):
            raise WrongRequest(f"{file} has no number under 0, so its scale is not {scale}; give 0..1")
        made = {word: tuple((one - low) / (high - low) for one in values) for word, values in known.items()}
        return WordTable(
            words=made,  # type: ignore[arg-type]  # three each, as _values has them
            licence=told.get("licence", ""),
            source=told.get("source", str(file)),
        )

    def read(self, text: str) -> tuple[Floats | None, int]:
        """Mean [3] over the words of the text that the table has, each as often as it stands there, and how many these are;
        None where there is none."""
        found = [self.words[word] for word in words(text) if word in self.words]
        return (np.asarray(found, np.float64).mean(axis=0) if found else None), len(found)

    def tokens(self, tokenizer: Any, size: int = 0) -> NDArray[np.float32]:
        """[tokens, 4] for a tokeniser: valence, arousal, dominance, and 1 where a token is a whole word of the table (with the
        space before it); the rest is 0. `size`: rows of the model's output, where it has more than the tokeniser has tokens."""
        most = max(size, len(tokenizer))
        made = np.zeros((most, 4), np.float32)
        forms = [(form, word) for word in self.words for form in dict.fromkeys((word, word.capitalize(), word.upper()))]
        for before in (" ", ""):
            several = tokenizer([before + form for form, _ in forms], add_special_tokens=False)["input_ids"]
            for (_, word), ids in zip(forms, several, strict=True):
                if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
                    continue
                if before or str(tokenizer.convert_ids_to_tokens(ids[0])).startswith(_SPACES):
                    made[ids[0]] = (*self.words[word], 1.0)
        return made

    def onto(self, mean: Sequence[float], spread: Sequence[float]) -> "WordTable":
        """The same words with this mean and standard deviation in each dimension, kept within 0 and 1 (ours).

        EmoBank's raters hardly left the middle of their scale, a language model uses all of it: before the two are compared
        they have to be on one.
        """
        table = np.asarray(list(self.words.values()))
        every = (table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-6) * np.asarray(spread) + np.asarray(
            mean
        )
        made = {
            word: (float(v), float(a), float(d)) for word, (v, a, d) in zip(self.words, every.clip(0, 1), strict=True)
        }
        return WordTable(words=made, licence=self.licence, source=f"{self.source}, stretched")


def written(table: WordTable, counts: Mapping[str, int]) -> bytes:
    """The file of a table that is ours to give away: provenance in lines that begin with #, then the words by how often they
    stand in what the table was learnt from."""
    lines = [f"# licence: {table.licence}", f"# source: {table.source}", "\t".join(("word", *DIMENSIONS, "count"))]
    for word in sorted(table.words, key=lambda one: (-counts[one], one)):
        lines.append("\t".join((word, *(f"{value:.4f}" for value in table.words[word]), str(counts[word]))))
    return ("\n".join(lines) + "\n").encode()


class _Tabs(csv.excel_tab):
    """Between tabs a quotation mark is a letter."""

    quoting = csv.QUOTE_NONE


def _table(file: Path) -> tuple[dict[str, str], list[tuple[int, list[str]]]]:
    """What its first lines say of it, and its rows with their line numbers, the header first."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise WrongRequest(f"{file} cannot be read as text ({err}); save it as UTF-8") from err
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    told = dict(line[1:].strip().split(": ", 1) for _, line in lines if line.startswith("#") and ": " in line)
    rows = [(number, line) for number, line in lines if not line.startswith("# ")]
    if not rows:
        raise WrongRequest(f"{file} is empty; give a table of words")
    separator = "\t" if "\t" in rows[0][1] else ","
    style: type[csv.Dialect] = _Tabs if separator == "\t" else csv.excel
    try:
        cells = list(csv.reader((line for _, line in rows), style))
        return told, list(zip((number for number, _ in rows), cells, strict=True))
    except (csv.Error, ValueError) as err:
        raise WrongRequest(
            f"{file} is no table with a word on each line ({err}); save it with tabs between columns"
        ) from err


def _values(
    file: Path, rows: Sequence[tuple[int, list[str]]], scale: str
) -> Iterator[tuple[int, str, tuple[float, ...]]]:
    (first, header), *rest = rows
    names = [cell.strip().lower() for cell in header]
    at = [next((names.index(one) for one in several if one in names), -1) for several in _COLUMNS]
    if min(at) < 0:
        raise WrongRequest(
            f"{file} line {first}: the columns are not word, valence, arousal and dominance; name them in the first line"
        )
    low, high = SCALES[scale or "0..1"]
    for number, cells in rest:
        values = tuple(_number(cells[place]) if place < len(cells) else math.nan for place in at[1:])
        if not all(low <= value <= high for value in values):
            cure = (
                "mend the line"
                if scale
                else f"if its scale is another, declare it: SET=words_scale={' or '.join(SCALES)}"
            )
            raise WrongRequest(
                f"{file} line {number}: {cells[1:]} are not three numbers from {low:g} to {high:g}; {cure}"
            )
        yield number, cells[at[0]].strip().lower(), values


def _number(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        return math.nan
