"""What the tests of EmoBench share: a small one of our own, and the real files where they are."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from emobench import fake

from factory.emobench.items import Bench, read

REAL = Path(__file__).resolve().parents[2] / "../shared/data/emobench"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake.write(tmp_path_factory.mktemp("emobench"))


@pytest.fixture(scope="session")
def bench(folder: Path) -> Bench:
    return read(folder)


@pytest.fixture(scope="session")
def real() -> Bench:
    """The published files."""
    if not REAL.is_dir():
        pytest.skip("shared/data/emobench is not there")
    return read(REAL)
