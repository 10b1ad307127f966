"""Facts about the way of a training from a request to its folders, with a model that learns nothing."""

import gc
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

torch = pytest.importorskip("torch")

from factory.errors import Stopped, WrongRequest  # noqa: E402
from factory.train import course, keep, team  # noqa: E402
from factory.train.work import Progress, Report  # noqa: E402


class Lesson:
    """A model of one file; how many there are at a time is counted."""

    notes, origin = (), ""
    alive: ClassVar["weakref.WeakSet[Lesson]"] = weakref.WeakSet()

    def __init__(self) -> None:
        gc.collect()
        assert not self.alive
        self.alive.add(self)

    def learn(
        self, work: Path, report: Callable[[Report], None], stops: Callable[[], bool], checkpoint_seconds: float
    ) -> Progress:
        return Progress(precision="fp32")

    def finish(self, apart: Path, record: Mapping[str, Any]) -> dict[str, Any]:
        apart.mkdir()
        (apart / "config.json").write_text("{}")
        return {**record, "results": {"validation": {}}}


class Course:
    """Of that model; `fails` names a file over all seeds that cannot be written."""

    says, score, more = ("data",), "score", ()
    defaults: Mapping[str, Any] = {}

    def __init__(self, fails: str = "") -> None:
        self._fails = fails

    def plan(self, seed: int) -> Mapping[str, Any]:
        return {"recipe": {"seed": seed}, "data": "data", "fingerprint": "x"}

    def lesson(self, seed: int) -> Lesson:
        return Lesson()

    def summary(self, records: Sequence[Mapping[str, Any]]) -> Mapping[str, bytes]:
        names = {"README.md": b"card", "seeds.json": b'{"seeds": []}'}
        return {(f"absent/{name}" if name == self._fails else name): content for name, content in names.items()}


def _train(out: Path, seeds: Sequence[int] = (0,), one: Course | None = None, **more: Any) -> list[Path]:
    mates = team.Team(device=torch.device("cpu"))
    return course.attend(one or Course(), out, seeds, mates, course.Watcher(), 0.0, read={}, **more)


def test_there_is_one_model_at_a_time(tmp_path: Path) -> None:
    """However many seeds there are: two may not fit."""
    for seeds in ((0, 1), (0, 1, 2, 3)):  # the second time the first two are there
        assert [one.name for one in _train(tmp_path / "m", seeds)] == [f"seed-{seed}" for seed in seeds]


def test_several_seeds_that_end_between_their_files_go_on(tmp_path: Path) -> None:
    """The figures are written first, so that a card beside them is known as ours."""
    with pytest.raises(Stopped):
        _train(tmp_path, (0, 1), Course(fails="README.md"))
    assert (tmp_path / "seeds.json").exists() and not (tmp_path / ".lock").exists()
    _train(tmp_path, (0, 1))
    assert (tmp_path / "README.md").read_text() == "card"


def test_fresh_makes_one_model_of_several_and_several_of_one(tmp_path: Path) -> None:
    """Nothing of the other form stays; without FRESH it is refused."""
    for seeds, said in (((0, 1), "one model"), ((0,), "models of several seeds")):
        _train(tmp_path, [5] if len(seeds) > 1 else (0, 1), fresh=True)
        with pytest.raises(WrongRequest, match=f"holds {said}"):
            _train(tmp_path, seeds)
    _train(tmp_path, [5], fresh=True)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "training.json"}


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        ('{"recipe": [], "fingerprint": "x", "results": {}}', "recipe"),
        ('{"recipe": {}, "results": {}}', "fingerprint"),
        ('{"recipe": {}, "fingerprint": "x", "results": null}', "results"),
    ],
)
def test_a_record_says_what_it_lacks(tmp_path: Path, said: str, lacks: str) -> None:
    (tmp_path / "training.json").write_text(said)
    with pytest.raises(WrongRequest, match=f"it lacks {lacks}"):
        keep.record(tmp_path / "training.json")


def test_a_name_that_is_no_folder_is_none_to_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base from a hub looks like a path."""
    monkeypatch.chdir(tmp_path)
    keep.refuse_loss(Path(), {"BASE": "Qwen/Qwen3-0.6B", "VAD": ""})
    (tmp_path / "Qwen" / "Qwen3-0.6B").mkdir(parents=True)
    with pytest.raises(WrongRequest, match="is or holds BASE=Qwen"):
        keep.refuse_loss(Path(), {"BASE": "Qwen/Qwen3-0.6B", "VAD": ""})
