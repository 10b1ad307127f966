"""Facts about the package as it is installed from its wheel, away from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import factory

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
TALE = (
    "Nadia carried the brass kettle across the yard to Omar. Omar had waited at the gate since noon with the broken cart. "
    "Nadia set the kettle down and looked at the wheel. Omar asked her to hold the lantern while he hammered the rim."
)


def _pip(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built once."""
    folder = tmp_path_factory.mktemp("wheel")
    here = (
        ["--no-build-isolation"] if find_spec("hatchling") else []
    )  # without it pip fetches it, or has it in its cache
    done = _pip("wheel", "--no-deps", *here, "--wheel-dir", folder, ROOT)
    if done.returncode and ("hatchling" in done.stderr and "No matching distribution" in done.stderr):
        pytest.skip("building needs hatchling, which is not installed here and cannot be fetched")
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package alone."""
    target = tmp_path_factory.mktemp("installed")
    done = _pip("install", "--no-deps", "--no-index", "--target", target, wheel)
    assert done.returncode == 0, done.stderr
    return target


def _run(installed: Path, cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command away from the checkout, with the installed package before everything else."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_wheel_holds_code_prompts_and_banks_and_nothing_else(wheel: Path) -> None:
    """Every file of the package and every template is in it; tests, corpora and outputs are not."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {
        p.relative_to(ROOT).as_posix() for p in (ROOT / "factory").rglob("*") if p.suffix in (".py", ".toml", ".typed")
    }
    templates = {f"factory/_prompts/{p.name}" for p in (ROOT / "prompts").glob("*.md")}
    assert "factory/py.typed" in ours
    assert names == ours | templates


def test_the_wheel_names_its_licence_and_version(wheel: Path) -> None:
    """Metadata that package indexes show, and the licence itself."""
    with zipfile.ZipFile(wheel) as held:
        info = f"emotion_factory-{factory.__version__}.dist-info"
        metadata = held.read(f"{info}/METADATA").decode()
        licence = held.read(f"{info}/licenses/LICENSE").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert f"Version: {factory.__version__}" in metadata
    assert "Apache License" in licence


def test_the_installed_command_makes_the_same_dataset(installed: Path, tmp_path: Path) -> None:
    """From another folder `factory synth` finds its prompts in the package and gives the bytes that the checkout gives."""
    away = tmp_path / "away"
    away.mkdir()
    (away / "tales.jsonl").write_text(
        "".join(json.dumps({"id": f"t{n}", "text": f"{TALE} It was day {n}."}) + "\n" for n in range(3))
    )
    where = _run(
        installed, away, sys.executable, "-c", "import factory.prompts as p; print(p.__file__); print(p.folder())"
    )
    module, prompts = map(Path, where.stdout.split())
    assert (module.parent.parent, prompts) == (installed, installed / "factory/_prompts")
    done = _run(installed, away, str(installed / "bin/factory"), "synth", "tales.jsonl", "--out", "run")
    assert done.returncode == 0, done.stderr
    factory.synth(away / "tales.jsonl", tmp_path / "here")
    files = sorted(p.relative_to(away / "run/dataset") for p in (away / "run/dataset").rglob("*.*") if p.is_file())
    assert len(files) >= 11
    for name in files:
        assert (away / "run/dataset" / name).read_bytes() == (tmp_path / "here/dataset" / name).read_bytes(), name
