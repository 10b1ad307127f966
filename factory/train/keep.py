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

DONE, PLAN = "training.json", "plan.json"
WORK = ".training"  # checkpoints, until a model is finished
RESULTS = ("results.json", "results.md")  # of `factory evaluate`, which are of a model that FRESH throws away


def refuse_other(out: Path) -> None:
    """WrongRequest where OUT is a run or a project and no place for a model."""
    for name in ("run.toml", "pyproject.toml"):
        if (out / name).exists():
            raise WrongRequest(f"OUT={out} is no place for a model (it holds {name}); give another OUT")


def alone_in(out: Path) -> AbstractContextManager[int]:
    """The folder, ours alone; made where it is not there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise WrongRequest(f"OUT={out} cannot be made ({err.strerror}); choose another OUT") from err
    return locked(out / ".lock")


def record(path: Path) -> dict[str, Any]:
    """What was written of a training, finished or begun."""
    try:
        return dict(orjson.loads(path.read_bytes()))
    except (OSError, ValueError) as err:
        raise WrongRequest(f"{path} cannot be read ({err}); give another OUT, or FRESH=1 to throw it away") from err


def refuse_another(folder: Path, plan: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """What was begun or finished here is what is asked for now; else its checkpoints would be of another model.

    `plan` has `recipe`, `data` (as asked) and `fingerprint` (of its rows); `defaults` are of settings that came later than
    what stands here.
    """
    for path in (folder / DONE, folder / WORK / PLAN):
        if not path.exists():
            continue
        before = record(path)
        then = {**defaults, **before.get("recipe", {}), "data": before.get("fingerprint")}
        now = {**plan["recipe"], "data": plan["fingerprint"]}
        changed = [name for name in now if then.get(name) != now[name]]
        if changed:
            listed = ", ".join(f"{name} was {then.get(name)!r}, is {now[name]!r}" for name in changed[:3])
            raise WrongRequest(
                f"{folder} holds another training ({listed}); give another OUT, or FRESH=1 to throw that one away"
            )


def begin(folder: Path, plan: Mapping[str, Any]) -> Path:
    """Where its checkpoints go, with the plan written down before anything is learnt."""
    work = folder / WORK
    with writing(work):
        work.mkdir(parents=True, exist_ok=True)
    write_atomic(work / PLAN, orjson.dumps(plan))
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
    for folder in (out, *sorted(out.glob("seed-*"))):
        files = [*files_of(folder / DONE), *RESULTS]
        (folder / DONE).unlink(missing_ok=True)  # first: what is half gone is no model
        for name in files:
            (folder / name).unlink(missing_ok=True)
        for name in (WORK, *more):
            shutil.rmtree(folder / name, ignore_errors=True)
        if folder != out and not any(folder.iterdir()):
            folder.rmdir()


def files_of(path: Path) -> list[str]:
    """Names in the record of a finished model; one that cannot be read has none."""
    try:
        return [str(Path(name).name) for name in orjson.loads(path.read_bytes())["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
