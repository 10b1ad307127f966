"""What a model has seen of a test: the texts that it was trained or tuned on, read again from where its record says."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from factory.benchmarks import Row
from factory.benchmarks.metrics import Flags
from factory.errors import WrongRequest
from factory.text import normal

DONE, TOLD, MERGED = "training.json", "slm.json", "merged"  # what make train writes


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
    """What a model folder has seen, and the models that it goes on from (`after` are those that led here).

    A language model that classifies has seen what an encoder would have; one that writes, the texts of its data.
    """
    try:
        record = _record(folder)
        recipe, spec, wanted = dict(record["recipe"]), str(record["data"]), str(record["fingerprint"])
        writes = recipe.get("mode") == "generate"
        base, init = str(recipe.get("base", "") if writes else recipe["base"]), str(recipe.get("init", ""))
        how = ("", False, 0) if writes else (str(recipe["view"]), bool(recipe["context"]), int(recipe["fold"]))
        limit, seed = int(recipe.get("limit", 0)), int(recipe.get("seed", 0))
    except FileNotFoundError:
        return Seen(unknown=f"{folder} has no training.json")
    except (OSError, ValueError, KeyError, TypeError) as err:
        return Seen(unknown=f"the record of {folder} is not as make train writes it ({type(err).__name__})")
    before = [Path(init)] if init else []
    before += [Path(base).expanduser()] if base and _trained(Path(base).expanduser()) else []  # others learnt no labels
    path = (*after, folder.resolve())
    several = [_of_writer(spec) if writes else _read_again(spec, *how, wanted, limit, seed)]
    several += [
        Seen(unknown=f"what {one} was trained on is not known any more")
        if one.resolve() in path
        else seen_by(one, path)
        for one in before
    ]
    if not before and base.startswith((".", "/", "~")) and not Path(base).expanduser().is_dir():
        several.append(Seen(unknown=f"its base {base} is gone"))
    unknown = "; ".join(dict.fromkeys(one.unknown for one in several if one.unknown))
    return Seen(frozenset[str]().union(*(one.keys for one in several)), unknown)


def _record(folder: Path) -> dict[str, Any]:
    """What make train wrote of a model: a merged one holds it in its slm.json, wherever it is moved to, and an older one has
    it in the folder around it. FileNotFoundError where there is none."""
    if (folder / TOLD).is_file() and "training" in (told := dict(json.loads((folder / TOLD).read_bytes()))):
        return dict(told["training"])
    around = folder.name == MERGED and not (folder / DONE).is_file()
    return dict(json.loads(((folder.parent if around else folder) / DONE).read_bytes()))


def _trained(folder: Path) -> bool:
    """Whether make train made it."""
    return any((folder / name).is_file() for name in (DONE, TOLD)) or (
        folder.name == MERGED and (folder.parent / DONE).is_file()
    )


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
