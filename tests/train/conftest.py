"""Small encoders and datasets, made once for all tests of the trainer."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from train import tiny

Base = Callable[..., Path]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A folder with a small encoder of the kind that is asked for."""
    made: dict[tuple[str, float], Path] = {}

    def of(kind: str = "bert", dropout: float = 0.1) -> Path:
        if (kind, dropout) not in made:
            made[kind, dropout] = tiny.make(tmp_path_factory.mktemp("base") / kind, kind, dropout=dropout)
        return made[kind, dropout]

    return of


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder: 240 rows to learn from, 60 to tune on, 60 to test on."""
    return tiny.dataset(tmp_path_factory.mktemp("data") / "sayings")
