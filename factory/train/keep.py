"""The folder of a model, from begun to finished: who may write it, what may go on in it, and how it is thrown away."""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson

from factory.errors import WrongRequest
from factory.files import locked, sync, write_atomic, writing

DONE, SEEDS, PLAN = "training.json", "seeds.json", "plan.json"
CARD = "README.md"
WORK = ".training"  # checkpoints, until a model is finished
LOCK = ".lock"
STRANGE = (  # names of what is written, and of models and datasets of others
    *("*.json", "*.jinja", "*.safetensors", "*.bin", "*.parquet", "tokenizer*", "words.tsv"),
    *("merged", "tensorboard", CARD),
)
# Of `factory evaluate`, which are of a model that FRESH throws away.
RESULTS = ("results.json", "results.md", "emobench.json", "emobench.md", "replies.journal")


def refuse_other(out: Path, folders: Iterable[Path] = ()) -> None:
    """WrongRequest where OUT is a run or a project, or it or one of the `folders` of its seeds holds files that no training of
    ours wrote and this one might overwrite."""
    for name in ("run.toml", "pyproject.toml"):
        if (out / name).exists():
            raise WrongRequest(f"OUT={out} is no place for a model (it holds {name}); give another OUT")
    for folder in {out, *folders}:
        strange = [] if _is_ours(folder) else sorted(path.name for pattern in STRANGE for path in folder.glob(pattern))
        if strange:
            raise WrongRequest(
                f"OUT={folder} holds {strange[0]}, which no training of ours wrote there; give another OUT"
            )


def _is_ours(folder: Path) -> bool:
    """Whether a training of ours began or ended here. A lock proves nothing: everybody makes them."""
    if (folder / WORK / PLAN).exists():
        return True
    try:
        return bool(record(folder / DONE))
    except WrongRequest:
        pass
    try:
        return "seeds" in orjson.loads((folder / SEEDS).read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def refuse_loss(out: Path, read: Mapping[str, str]) -> None:
    """WrongRequest where OUT is or holds a model that is read, which FRESH would take away; `read` has their folders by the
    names of their settings, '' where there is none."""
    for name, given in read.items():
        place = Path(given).expanduser().resolve()
        if given and place.exists() and out.resolve() in (place, *place.parents):
            raise WrongRequest(f"OUT={out} is or holds {name}={given}, which would be lost; give another OUT")


def refuse_mixed(out: Path, several: bool) -> None:
    """WrongRequest where OUT holds one model, finished or begun, and several are asked for, or the other way round."""
    places = [out] if several else [out / SEEDS, *out.glob("seed-*")]
    if any((place / DONE).exists() or (place / WORK / PLAN).exists() or place.is_file() for place in places):
        there = "one model" if several else "models of several seeds"
        raise WrongRequest(f"OUT={out} holds {there}; give another OUT, or FRESH=1 to throw that away")


def alone_in(out: Path) -> AbstractContextManager[int]:
    """The folder, ours alone; made where it is not there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise WrongRequest(f"OUT={out} cannot be made ({err.strerror}); choose another OUT") from err
    return locked(out / LOCK)


def record(path: Path) -> dict[str, Any]:
    """What was written of a training, finished or begun; WrongRequest where it lacks what every record has."""
    wanted = {"recipe": dict, "fingerprint": str} | ({"results": dict} if path.name == DONE else {})
    try:
        found = dict(orjson.loads(path.read_bytes()))
        for name, kind in wanted.items():
            if not isinstance(found.get(name), kind):
                raise ValueError(f"it lacks {name}")
        return found
    except (OSError, ValueError, TypeError) as err:
        raise WrongRequest(f"{path} is no record of a training of ours ({err}); give another OUT") from err


def refuse_another(folder: Path, plan: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """What was begun or finished here is what is asked for now; else its checkpoints would be of another model.

    `plan` has `recipe`, `data` (as asked) and `fingerprint` (of its rows); `defaults` are of settings that came later than
    what stands here.
    """
    for path in (folder / DONE, folder / WORK / PLAN):
        if not path.exists():
            continue
        before = record(path)
        then = {**defaults, **before["recipe"], "data": before["fingerprint"]}
        now = {**plan["recipe"], "data": plan["fingerprint"]}
        changed = [name for name in now if then.get(name) != now[name]]
        if changed:
            listed = ", ".join(f"{name} was {then.get(name)!r}, is {now[name]!r}" for name in changed[:3])
            raise WrongRequest(
                f"{folder} holds another training ({listed}); give another OUT, or FRESH=1 to throw that one away"
            )


def begin(folder: Path, plan: Mapping[str, Any], origin: str) -> Path:
    """Where its checkpoints go, with the plan written down before anything is learnt. WrongRequest where checkpoints are there
    that began from models of another `origin`: what is learnt here would be put onto those."""
    work = folder / WORK
    if (work / PLAN).exists() and record(work / PLAN).get("origin", origin) != origin:
        raise WrongRequest(
            f"{folder} was begun from models whose files have changed since; give another OUT, or FRESH=1 to throw that away"
        )
    with writing(work):
        work.mkdir(parents=True, exist_ok=True)
    write_atomic(work / PLAN, orjson.dumps({**plan, "origin": origin}))
    return work


def put(apart: Path, folder: Path, told: Mapping[str, Any]) -> None:
    """Moves the files of a model that was written apart, then writes its record: a folder with a record is a finished one."""
    files, readable = sorted(path.name for path in apart.iterdir()), _readable(apart)
    with writing(folder):
        for name in files:
            (apart / name).chmod(readable)  # safetensors are written for their owner alone
            sync(apart / name)
            os.replace(apart / name, folder / name)
    whole = {**told, "files": files}
    write_atomic(folder / DONE, orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    shutil.rmtree(folder / WORK, ignore_errors=True)


def _readable(apart: Path) -> int:
    """The rights of a file as this person's system gives them."""
    probe = apart / ".rights"
    probe.touch()
    try:
        return probe.stat().st_mode
    finally:
        probe.unlink()


def throw_away(out: Path, more: Iterable[str] = ()) -> None:
    """Takes away what trainings and evaluations wrote into OUT, and nothing else; `more` are folders of theirs."""
    for folder in filter(_is_ours, (out, *sorted(out.glob("seed-*")))):
        work = folder / WORK
        files = [*files_of(folder / DONE), *files_of(work / PLAN), *RESULTS]
        files += [CARD, SEEDS] if (folder / SEEDS).exists() else []
        if (folder / DONE).exists():  # what is half gone is no model, and still ours
            work.mkdir(exist_ok=True)
            os.replace(folder / DONE, work / PLAN)
        for name in files:
            (folder / name).unlink(missing_ok=True)
        for name in (*more, WORK):
            shutil.rmtree(folder / name, ignore_errors=True)
        if folder != out and not any(folder.iterdir()):
            folder.rmdir()


def files_of(path: Path) -> list[str]:
    """Names in the record of a finished model; one that cannot be read has none."""
    try:
        return [str(Path(name).name) for name in orjson.loads(path.read_bytes())["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
