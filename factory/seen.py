"""What a model has seen of a test: the texts that it was trained or tuned on, read again from where its record says."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from factory.benchmarks import Row
from factory.benchmarks.metrics import Flags
from factory.errors import WrongRequest
from factory.text import normal


class Seen(NamedTuple):
    """Keys of training and validation rows, as `factory.train.records` makes them; `unknown` says what could not be read."""

    keys: frozenset[str] = frozenset()
    unknown: str = ""

    def has(self, row: Row) -> bool:
        """Whether a row was seen: with the turns before it where the model learnt from pairs, else by its text alone."""
        text = normal(row.text)
        return text in self.keys or (bool(row.context) and f"{normal(row.context)}\x1f{text}" in self.keys)

    def fresh(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        return tuple(row for row in rows if not self.has(row))

    def notes(self, fresh: Flags) -> list[str]:
        """Sentences on the rows of a test, of which `fresh` were not seen."""
        said = []
        if self.unknown:
            said.append(f"whether the model has seen these texts before cannot be checked: {self.unknown}")
        if not fresh.all():
            count = int((~fresh).sum())
            said.append(f"{count:,} of the {len(fresh):,} texts stand in what the model was trained or tuned on")
        elif not self.unknown:
            said.append("none of the texts stands in what the model was trained or tuned on")
        return said


def seen_by(folder: Path, after: tuple[Path, ...] = ()) -> Seen:
    """What a model folder has seen, and the models that it goes on from (`after` are those that led here)."""
    try:
        record = json.loads((folder / "training.json").read_bytes())
        if "mode" in record["recipe"]:
            return _of_writer(str(record["data"]))
        recipe, spec, wanted = dict(record["recipe"]), str(record["data"]), str(record["fingerprint"])
        init, base = str(recipe["init"]), Path(recipe["base"])
        how = str(recipe["view"]), bool(recipe["context"]), int(recipe["fold"])
        limit, seed = int(recipe.get("limit", 0)), int(recipe.get("seed", 0))
    except FileNotFoundError:
        return Seen(unknown=f"{folder} has no training.json")
    except (OSError, ValueError, KeyError, TypeError) as err:
        return Seen(unknown=f"{folder / 'training.json'} is not as make train writes it ({type(err).__name__})")
    before = [Path(init)] if init else []
    before += [base] if (base / "training.json").is_file() else []  # an encoder alone has learnt from no labels
    path = (*after, folder.resolve())
    several = [_read_again(spec, *how, wanted, limit, seed)]
    several += [
        Seen(unknown=f"what {one} was trained on is not known any more")
        if one.resolve() in path
        else seen_by(one, path)
        for one in before
    ]
    if not before and recipe["base"].startswith((".", "/", "~")) and not base.is_dir():
        several.append(Seen(unknown=f"its base {base} is gone"))
    unknown = "; ".join(dict.fromkeys(one.unknown for one in several if one.unknown))
    return Seen(frozenset[str]().union(*(one.keys for one in several)), unknown)


def _of_writer(told: str) -> Seen:
    """Of a language model: the texts that stand in its data now, each without what stood before it."""
    from factory.train import data

    try:
        several = [data.load(spec.strip(), context=False) for spec in told.split(",") if spec.strip()]
    except WrongRequest:
        return Seen(unknown=f"its data ({told}) cannot be read any more")
    return Seen(frozenset(key for one in several for key in (*one.train.keys(), *one.validation.keys())))


def _read_again(spec: str, view: str, context: bool, fold: int, wanted: str, limit: int, seed: int) -> Seen:
    from factory.train import data

    try:
        loaded = data.load(spec, view, context, fold)
    except WrongRequest:
        return Seen(unknown=f"its data ({spec}) cannot be read any more")
    if loaded.fingerprint() != wanted:
        return Seen(unknown=f"its data ({spec}) is not what it was")
    learnt = data.subset(loaded.train, limit, seed) if limit else loaded.train
    return Seen(frozenset((*learnt.keys(), *loaded.validation.keys())))
