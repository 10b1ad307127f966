"""Facts about VAD for texts that have none: what is rated, what is said of it, and what it leaves in the record."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slm import tiny
from slm.conversations import goemotions

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("sklearn")

from train import tiny as encoders  # noqa: E402
from train import vad_rows  # noqa: E402

from factory.errors import WrongRequest  # noqa: E402
from factory.slm import rating, train  # noqa: E402
from factory.slm.rating import Rater  # noqa: E402
from factory.slm.recipe import recipe  # noqa: E402
from factory.train import vad  # noqa: E402
from factory.train.course import Watcher  # noqa: E402
from factory.vad import Regressor  # noqa: E402

HOW: dict[str, Any] = {"tasks": "emotion_json", "epochs": 1, "batch": 4, "precision": "fp32"}


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of TASK=vad that has hardly learnt."""
    folder = tmp_path_factory.mktemp("vad")
    made = vad.recipe(base=str(encoders.make(folder / "base")), epochs=1, precision="fp32")
    vad.train(f"emobank:{vad_rows.write(folder / 'emobank', (40, 20, 20))}", folder / "model", made)
    return folder / "model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("base") / "qwen3")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of 16 training rows, and a benchmark of 30."""
    folder = tmp_path_factory.mktemp("data")
    told = {
        part: [(f"{part} number {n} of the river", str(n % 3)) for n in range(count)]
        for part, count in (("train", 30), ("dev", 3), ("test", 2))
    }
    return f"{tiny.dataset(folder / 'run', (16, 6, 4))},{goemotions(folder / 'go', told)}"


def test_each_text_is_rated_once_and_how_far_it_is_is_said(regressor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it begins, and now and then; the values are the regressor's."""
    said: list[str] = []
    monkeypatch.setattr(rating, "TOGETHER", 2)
    monkeypatch.setattr(rating, "SECONDS", -1.0)
    rater = Rater(regressor, "goemotions", said.append)
    texts = ["the old hammer", "a boat", "the sunshine", "a boat"]
    assert np.allclose(rater(texts), Regressor.of(regressor).vad(texts), atol=1e-5)
    assert said[0] == f"rating 3 texts of goemotions with {regressor}" and "2 of 3 texts are rated" in said[2]
    said.clear()
    assert rater(texts[:2]).shape == (2, 3) and rater([]).shape == (0, 3) and said == []


def test_with_a_limit_only_rows_that_are_learnt_from_or_measured_are_rated(
    folder: Path, spec: str, regressor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows drawn are those of all rows by the seed; a finished training rates nothing again."""
    asked: list[str] = []
    plain = Regressor.vad

    def vad_of(self: Regressor, texts: Sequence[str]) -> Any:
        asked.extend(texts)
        return plain(self, texts)

    monkeypatch.setattr(Regressor, "vad", vad_of)
    made = recipe(base=str(folder), vad=str(regressor), limit=10, **HOW)
    said: list[str] = []
    (done,) = train.train(spec, tmp_path / "out", made, watcher=Watcher(says=said.append))
    drawn = np.sort(np.random.default_rng(0).permutation(46)[:10])
    wanted = [f"train number {n - 16} of the river" for n in drawn if n >= 16]
    assert asked == [
        *wanted,
        *(f"dev number {n} of the river" for n in range(3)),
        *(f"test number {n} of the river" for n in range(2)),
    ]
    assert said[0] == f"rating {len(asked)} texts of goemotions with {regressor}"
    assert done.record["rows"] == {"train": 10, "validation": 9, "test": 6}
    assert done.record["learnt"]["goemotions"] == {"emotion_json": len(wanted)}
    asked.clear()
    train.train(spec, tmp_path / "out", made)
    assert asked == []


def test_another_model_of_vad_is_other_data(regressor: Path, tmp_path: Path) -> None:
    """Its weights decide what is learnt, and so they are in the fingerprint."""
    import shutil

    from safetensors.torch import load_file, save_file

    other = Path(shutil.copytree(regressor, tmp_path / "other"))
    assert Rater(other, "x").fingerprint == Rater(regressor, "x").fingerprint
    weights = {name: value + 0.01 for name, value in load_file(other / "model.safetensors").items()}
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    assert Rater(other, "x").fingerprint != Rater(regressor, "x").fingerprint
    assert train.fingerprint((), "one") != train.fingerprint((), "other")


def test_the_terms_of_all_that_is_learnt_from_stand_in_record_and_card(
    folder: Path, spec: str, regressor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the rows, of the model of VAD for its values and its words, and of the guide; that a table has none is said."""
    from factory.train import guide

    class Fake:
        @staticmethod
        def of(path: Path) -> "Fake":
            return Fake()

        def read(self, texts: Sequence[str]) -> Any:
            return np.full((len(texts), 4), 0.8)

    monkeypatch.setattr(guide, "Guide", Fake)
    (tmp_path / "guide").mkdir()
    (tmp_path / "guide" / "guide.json").write_text(json.dumps({"licence": "research use"}))
    (tmp_path / "mine.tsv").write_text("word\tvalence\tarousal\tdominance\nriver\t0.5\t0.5\t0.5\nboat\t0.6\t0.4\t0.5\n")
    more: dict[str, Any] = {
        "preserve_weight": 0.1,
        "appraisal_weight": 0.1,
        "guide": str(tmp_path / "guide"),
        "limit": 8,
    }
    made = recipe(base=str(folder), vad=str(regressor), **more, **HOW)
    said: list[str] = []
    (done,) = train.train(spec, tmp_path / "out", made, watcher=Watcher(says=said.append))
    told = done.record["licence"].split("; ")
    assert told[:2] == ["that of the corpus and of the generator", "CC BY 4.0"]
    assert f"CC BY-SA 4.0 (VAD of the texts of goemotions, from {regressor})" in told
    assert f"CC BY-SA 4.0 (words with VAD, from {regressor})" in told
    assert f"research use (appraisals, from {tmp_path / 'guide'})" in told
    assert done.record["licence"] in (tmp_path / "out" / "README.md").read_text()
    assert f"reading the appraisals of 8 texts with {tmp_path / 'guide'}" in said
    own = recipe(base=str(folder), words=str(tmp_path / "mine.tsv"), preserve_weight=0.1, **HOW)
    (done,) = train.train(spec.split(",")[0], tmp_path / "own", own)
    assert f"terms not known (words with VAD, from {tmp_path / 'mine.tsv'})" in done.record["licence"]


def test_a_folder_without_a_model_of_vad_is_refused_before_anything_is_written(
    folder: Path, spec: str, tmp_path: Path
) -> None:
    """Nothing is rated with what is none."""
    with pytest.raises(WrongRequest, match="holds no VAD model"):
        train.train(spec, tmp_path / "out", recipe(base=str(folder), vad=str(tmp_path), **HOW))
    assert not (tmp_path / "out").exists()
