"""Facts about the training loop: what an update is, where it stops, and that it goes on as if it had not."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from train import tiny

from factory.errors import Interrupted, Stopped

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from factory.train import loop, model, recipe, team, thresholds  # noqa: E402
from factory.train.losses import loss_of  # noqa: E402

Base = Callable[..., Path]
CLASSES = tuple(tiny.SIGNS)
ALONE = team.Team(device=torch.device("cpu"))
HOW = {"batch": 16, "learning_rate": 2e-3, "head_rate": 0.0, "precision": "fp32", "average": 0.9}


def _recipe(**given: Any) -> recipe.Recipe:
    return recipe.for_rows(recipe.recipe(**{**HOW, **given}), contextual=False)


@dataclass
class Set:
    """A small model with what it is to learn."""

    net: Any
    tokenizer: Any
    task: loop.Task

    def weights(self) -> dict[str, Any]:
        return {name: value.clone() for name, value in self.net.state_dict().items()}


@pytest.fixture
def begin(base: Base) -> Callable[..., Set]:
    """The same beginning each time."""

    def made(kind: str = "bert", dropout: float = 0.1, rows: int = 100) -> Set:
        folder = base(kind, dropout)
        torch.manual_seed(0)
        found = model.load(str(folder), CLASSES)
        shown = model.Shown(tokenizer=found.tokenizer, max_length=64, token_types=model.segments(found.model))
        told = [list(tiny.sayings(rows, 0)), list(tiny.sayings(40, 1))]
        hard = [np.array([[c in labels for c in CLASSES] for _, labels in part], np.float32) for part in told]
        tokens = [shown.tokens([text for text, _ in part], [""] * len(part)) for part in told]

        def score(found: np.ndarray) -> float:
            return thresholds.macro_f1(found > 0, hard[1])

        task = loop.Task(tokens=tokens[0], targets=hard[0], loss=loss_of(_recipe()), validation=tokens[1], score=score)
        return Set(found.model, found.tokenizer, task)

    return made


def _fit(one: Set, folder: Path, made: recipe.Recipe, **more: Any) -> loop.Progress:
    return loop.fit(one.net, one.tokenizer, one.task, made, folder, ALONE, **more)


def _after(updates: int) -> Callable[[], bool]:
    """Asks to stop at so many updates."""
    left = [updates]

    def stop() -> bool:
        left[0] -= 1
        return left[0] <= 0

    return stop


def _apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


# Stopping -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [[3], [7], [14], [1, 1, 1], [5, 9, 4]])
def test_a_training_that_was_stopped_ends_with_the_weights_of_one_that_was_not(
    begin: Callable[..., Set], tmp_path: Path, stops: list[int]
) -> None:
    """Stopped within an epoch, behind its last update (7 of 7), in the next one, again and again: same weights, same history."""
    whole, parts = begin(), None
    wanted = _fit(whole, tmp_path / "whole", _recipe(epochs=3))
    for stop in stops:
        parts = begin()
        with pytest.raises(Interrupted, match="same command"):
            _fit(parts, tmp_path / "parts", _recipe(epochs=3), stop=_after(stop))
    parts = begin()
    found = _fit(parts, tmp_path / "parts", _recipe(epochs=3))
    assert _apart(whole.weights(), parts.weights()) < 1e-5
    assert found.losses == pytest.approx(wanted.losses, abs=1e-6) and found.scores == pytest.approx(wanted.scores)
    assert found.update == wanted.update == 21


def test_a_training_that_ended_before_its_model_was_written_does_not_learn_again(
    begin: Callable[..., Set], tmp_path: Path
) -> None:
    """Killed between the last update and the model folder: the kept weights are there."""
    one, other = begin(), begin()
    _fit(one, tmp_path, _recipe(epochs=2, patience=1))
    reports: list[loop.Report] = []
    _fit(other, tmp_path, _recipe(epochs=2, patience=1), watch=reports.append)
    assert not reports and _apart(one.weights(), other.weights()) == 0


def test_checkpoints_are_safetensors_and_json_and_there_is_one_at_a_time(
    begin: Callable[..., Set], tmp_path: Path
) -> None:
    """Written after every update here; each replaces the one before when it is whole."""
    seen = []

    def watch(report: loop.Report) -> None:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))

    _fit(begin(), tmp_path, _recipe(epochs=2), watch=watch, checkpoint_seconds=0.0)
    assert all(Path(name).suffix in (".safetensors", ".json") for names in seen for name in names)
    assert max(sum(name.startswith("state-") for name in names) for names in seen) == 1
    assert len({name for names in seen for name in names if name.startswith("state-")}) > 10


def test_half_a_checkpoint_beside_a_whole_one_is_not_looked_at(begin: Callable[..., Set], tmp_path: Path) -> None:
    """What was being written when the machine went down."""
    with pytest.raises(Interrupted):
        _fit(begin(), tmp_path, _recipe(epochs=1), stop=_after(3))
    (tmp_path / ".state-4-0.safetensors.tmp").write_bytes(b"half")
    (tmp_path / "state-4-0.safetensors").write_bytes(b"half")
    assert _fit(begin(), tmp_path, _recipe(epochs=1)).update == 7


def test_a_checkpoint_that_cannot_be_read_is_one_sentence(begin: Callable[..., Set], tmp_path: Path) -> None:
    """With its cure."""
    with pytest.raises(Interrupted):
        _fit(begin(), tmp_path, _recipe(epochs=1), stop=_after(3))
    (state,) = tmp_path.glob("state-*")
    whole = state.read_bytes()
    state.write_bytes(whole[:1000])
    with pytest.raises(Stopped, match="FRESH=1"):
        _fit(begin(), tmp_path, _recipe(epochs=1))
    state.write_bytes(whole)
    (tmp_path / "checkpoint.json").write_text('{"state": "')
    with pytest.raises(Stopped, match="FRESH=1"):
        _fit(begin(), tmp_path, _recipe(epochs=1))


def test_the_precision_is_measured_once_and_kept(
    begin: Callable[..., Set], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed on a busier machine it would else become another training."""
    monkeypatch.setattr(loop, "chosen_precision", lambda *_: "bf16")
    with pytest.raises(Interrupted):
        _fit(begin(), tmp_path, _recipe(epochs=1, precision="auto"), stop=_after(3))
    monkeypatch.setattr(loop, "chosen_precision", lambda *_: pytest.fail("measured again"))
    assert _fit(begin(), tmp_path, _recipe(epochs=1, precision="auto")).precision == "bf16"


def test_a_measured_precision_is_one_of_the_two_and_leaves_no_gradient(begin: Callable[..., Set]) -> None:
    """Whichever is faster here."""
    one = begin()
    assert loop.chosen_precision(one.net, one.tokenizer, one.task, _recipe(precision="auto")) in ("bf16", "fp32")
    assert all(parameter.grad is None for parameter in one.net.parameters())
    assert loop.chosen_precision(one.net, one.tokenizer, one.task, _recipe(precision="bf16")) == "bf16"


def test_a_loss_that_is_no_number_ends_training_before_it_is_learnt_from(
    begin: Callable[..., Set], tmp_path: Path
) -> None:
    """In a sentence with its cure."""
    one = begin()
    one.net.classifier.bias.data[0] = math.nan
    with pytest.raises(Stopped, match="smaller learning rate"):
        _fit(one, tmp_path, _recipe(epochs=1))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain gradient descent: AdamW makes whole steps of the rounding of gradients that are nothing."""

    def optimiser(net: Any, made: recipe.Recipe) -> Any:
        return torch.optim.SGD([{"params": list(net.parameters()), "highest": made.learning_rate}], lr=0.0)

    monkeypatch.setattr(loop, "_optimiser", optimiser)


# Updates ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_an_update_that_is_cut_into_passes_is_the_update_of_the_whole_batch(
    begin: Callable[..., Set], tmp_path: Path, plain: None, kind: str
) -> None:
    """One row at a time or all together: same weights to rounding (without dropout, whose masks follow the passes)."""
    whole, cut = begin(kind, 0.0, 32), begin(kind, 0.0, 32)
    _fit(whole, tmp_path / "whole", _recipe(epochs=1, batch=8, token_budget=100_000, average=0.0, learning_rate=0.1))
    _fit(cut, tmp_path / "cut", _recipe(epochs=1, batch=8, token_budget=1, average=0.0, learning_rate=0.1))
    assert _apart(whole.weights(), cut.weights()) < 2e-5


def test_padding_to_a_fixed_length_changes_the_speed_alone(
    begin: Callable[..., Set], tmp_path: Path, plain: None
) -> None:
    """Same batches of one length each, so the same weights to rounding."""
    one, other = begin("bert", 0.0, 16), begin("bert", 0.0, 16)
    _fit(one, tmp_path / "one", _recipe(epochs=1, batch=16, average=0.0, learning_rate=0.1))
    _fit(
        other,
        tmp_path / "other",
        _recipe(epochs=1, batch=16, average=0.0, learning_rate=0.1, fixed_length=True, max_length=64),
    )
    assert _apart(one.weights(), other.weights()) < 2e-5


def test_it_learns(begin: Callable[..., Set], tmp_path: Path) -> None:
    """Words that give a label away are found within a few epochs."""
    progress = _fit(begin(rows=240), tmp_path, _recipe(epochs=12, patience=0, learning_rate=5e-3, head_rate=2e-2))
    assert progress.scores[-1] > 0.7 and progress.losses[-1] < 0.5 * progress.losses[0]


def test_training_ends_when_patience_does_and_keeps_the_best_epoch(begin: Callable[..., Set], tmp_path: Path) -> None:
    """Scores .1 .5 .4 .3: two epochs without a better one end it, and the second epoch's weights are kept."""
    given, told = iter([0.1, 0.5, 0.4, 0.3, 0.9]), []
    one = begin()
    one.task = loop.Task(
        tokens=one.task.tokens,
        targets=one.task.targets,
        loss=one.task.loss,
        validation=one.task.validation,
        score=lambda _: told.append(one.weights()) or next(given),  # type: ignore[func-returns-value]
    )
    progress = _fit(one, tmp_path, _recipe(epochs=5, patience=2))
    assert progress.scores == [0.1, 0.5, 0.4, 0.3] and progress.best_epoch == 1
    assert _apart(one.weights(), told[1]) == 0 < _apart(told[1], told[3])


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_last_weights_are_kept_where_the_recipe_says_so(
    begin: Callable[..., Set], tmp_path: Path, average: float
) -> None:
    """Those of the end, averaged where there is an average, whatever the scores."""
    told, one = [], begin()
    one.task = loop.Task(
        tokens=one.task.tokens,
        targets=one.task.targets,
        loss=one.task.loss,
        validation=one.task.validation,
        score=lambda _: told.append(one.weights()) or 1 / len(told),  # type: ignore[func-returns-value]
    )
    _fit(one, tmp_path, _recipe(epochs=3, patience=0, keep="last", average=average))
    assert _apart(one.weights(), told[2]) == 0 < _apart(told[0], told[2])


def test_the_average_is_as_worked_out_by_hand() -> None:
    """Weights 0, then 1, 2, 3 ...: of a short training every update counts, with (1 + n) / (4 + n) staying of what was."""
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.zero_()
    average = loop.Average(layer, 0.6)
    wanted = 0.0
    for update in range(1, 9):
        layer.weight.data.fill_(update)
        average.see(update, 100)
        stays = min(0.6, (1 + update) / (4 + update))
        wanted = stays * wanted + (1 - stays) * update
        assert average.kept[0].item() == pytest.approx(wanted, rel=1e-5)
    assert wanted == pytest.approx(6.541, abs=0.001)  # 1.5 updates behind the last one, as 0.6 / (1 - 0.6) says
    with average.shown():
        assert layer.weight.item() == pytest.approx(wanted, rel=1e-5)
    assert layer.weight.item() == 8


def test_of_a_long_training_the_average_looks_at_every_fifth_update() -> None:
    """With the decay of five."""
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.zero_()
    average = loop.Average(layer, 0.9)
    layer.weight.data.fill_(1.0)
    for update in range(1001, 1006):
        average.see(update, 100_000)
    assert average.kept[0].item() == pytest.approx(1 - 0.9**5, rel=1e-5)


# Rates --------------------------------------------------------------------------------------------------------------------


def test_the_rate_rises_over_the_warm_up_and_falls_to_nothing() -> None:
    """100 updates, 10 of them warm-up: 1/11 at first, all at 10, half at 55, nothing at the end; then a line."""
    made = _recipe(warmup=0.1, schedule="cosine")
    found = [loop.rate_share(update, 100, made) for update in (0, 9, 10, 55, 99)]
    assert found == pytest.approx([1 / 11, 10 / 11, 1.0, 0.5, 0.0003], abs=1e-4)
    line = recipe.recipe("paper")
    assert [loop.rate_share(update, 100, line) for update in (0, 50, 99)] == pytest.approx([1.0, 0.5, 0.01])


def test_each_layer_learns_slower_than_the_one_above_it(begin: Callable[..., Set]) -> None:
    """Of two layers, decay 0.5: embeddings an eighth, layers a quarter and a half, pooler all, a new head its own rate."""
    one = begin()
    optimiser = loop._optimiser(
        one.net, _recipe(learning_rate=0.008, layer_decay=0.5, head_rate=0.03, weight_decay=0.1)
    )
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimiser.param_groups for p in g["params"]}
    found = {name: rates[id(parameter)] for name, parameter in one.net.named_parameters()}
    assert found["bert.embeddings.word_embeddings.weight"] == pytest.approx((0.001, 0.1))
    assert found["bert.encoder.layer.0.output.dense.weight"] == pytest.approx((0.002, 0.1))
    assert found["bert.encoder.layer.1.output.dense.bias"] == pytest.approx((0.004, 0.0))
    assert found["bert.pooler.dense.weight"] == pytest.approx((0.008, 0.1))
    assert found["classifier.weight"] == pytest.approx((0.03, 0.1))
    assert found["bert.encoder.layer.1.output.LayerNorm.weight"][1] == 0.0


# Time ---------------------------------------------------------------------------------------------------------------------


def test_time_left_counts_every_row_that_is_still_to_be_learnt_from_and_read() -> None:
    """100 rows and 30 that are read (worth 10) an epoch, two epochs, 10 rows a second: 22 s in all."""
    clock = [100.0]
    made, progress = _recipe(epochs=2, batch=10), loop.Progress()
    pace = loop.Pace(100, 30, made, progress, now=lambda: clock[0])
    for _ in range(10):
        clock[0] += 1
        pace.learnt(10)
    found = pace.report(progress, 20, 0.5, 0.1)
    assert (found.seconds_left, found.rows_per_second) == (pytest.approx(12.0), pytest.approx(10.0))
    clock[0] += 1
    pace.measured()
    found = pace.report(progress, 20, 0.5, 0.1)
    assert (found.seconds_left, found.rows_per_second) == (pytest.approx(11.0), pytest.approx(10.0))


def test_time_left_of_a_resumed_training_counts_what_is_left_and_not_what_was_done() -> None:
    """Begun again at update 5 of the second epoch: 50 rows and a reading are left."""
    clock = [0.0]
    pace = loop.Pace(100, 30, _recipe(epochs=2, batch=10), loop.Progress(epoch=1, place=5), now=lambda: clock[0])
    clock[0] = 2.0
    pace.learnt(10)
    assert pace.report(loop.Progress(epoch=1, place=6), 20, 0.5, 0.1).seconds_left == pytest.approx(10.0)


def test_a_watcher_is_told_of_every_update_and_of_every_epoch(begin: Callable[..., Set], tmp_path: Path) -> None:
    """Seven updates an epoch, each with its place, and a score at the end of each."""
    told: list[loop.Report] = []
    _fit(begin(), tmp_path, _recipe(epochs=2, patience=0), watch=told.append)
    assert [one.update for one in told if one.score is None] == list(range(1, 15))
    assert [(one.epoch, one.update) for one in told if one.score is not None] == [(1, 7), (2, 14)]
    assert told[-1].seconds_left == pytest.approx(0, abs=1e-6) and {one.updates for one in told} == {14}
