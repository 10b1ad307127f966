"""Facts about losses, with numbers worked out by hand."""

import math

import pytest

torch = pytest.importorskip("torch")

from factory.train import losses  # noqa: E402
from factory.train.recipe import recipe  # noqa: E402

# One row, two labels: present with probability 0.8, absent with probability 0.3.
LOGITS = [[math.log(0.8 / 0.2), math.log(0.3 / 0.7)]]
TARGETS = [[1.0, 0.0]]


def _given(loss: object) -> float:
    return float(loss(torch.tensor(LOGITS), torch.tensor(TARGETS))[0])  # type: ignore[operator]


def test_cross_entropy_is_the_mean_over_labels_of_minus_log_of_the_right_one() -> None:
    """-(ln 0.8 + ln 0.7) / 2."""
    assert _given(losses.cross_entropy) == pytest.approx(-(math.log(0.8) + math.log(0.7)) / 2, abs=1e-6)


def test_soft_targets_are_met_best_by_their_own_probability() -> None:
    """The loss of a target of 0.3 is least where the logit says 0.3."""
    at = torch.tensor([[math.log(p / (1 - p))] for p in (0.2, 0.3, 0.4)])
    found = losses.cross_entropy(at, torch.full((3, 1), 0.3))
    assert int(found.argmin()) == 1


def test_focal_loss_weighs_each_label_by_alpha_and_by_how_wrong_it_is() -> None:
    """alpha (1 - p_t)^2 BCE: 0.75 * 0.2^2 * -ln 0.8 for the present, 0.25 * 0.3^2 * -ln 0.7 for the absent label."""
    wanted = (0.75 * 0.04 * -math.log(0.8) + 0.25 * 0.09 * -math.log(0.7)) / 2
    assert _given(losses.loss_of(recipe(loss="focal", alpha=0.75, gamma=2.0))) == pytest.approx(wanted, abs=1e-6)


def test_focal_loss_takes_an_alpha_for_each_label() -> None:
    """The imbalance recipe has .75 for fifteen labels and .25 for the others."""
    alpha = torch.tensor([0.25, 0.75])
    wanted = (0.25 * 0.04 * -math.log(0.8) + 0.25 * 0.09 * -math.log(0.7)) / 2
    assert _given(lambda x, y: losses.focal(x, y, alpha, 2.0)) == pytest.approx(wanted, abs=1e-6)


def test_focal_loss_without_gamma_and_with_alpha_a_half_is_half_of_cross_entropy() -> None:
    """Off means plain."""
    half = _given(lambda x, y: losses.focal(x, y, torch.tensor(0.5), 0.0))
    assert half == pytest.approx(_given(losses.cross_entropy) / 2, abs=1e-6)


def test_asymmetric_loss_shifts_and_dampens_absent_labels() -> None:
    """-ln 0.8 for the present one; 0.25^2 * -ln 0.75 for the absent one, whose 0.3 is moved to 0.25."""
    wanted = (-math.log(0.8) + 0.25**2 * -math.log(0.75)) / 2
    assert _given(losses.loss_of(recipe(loss="asl", gamma_negative=2.0, clip=0.05))) == pytest.approx(wanted, abs=1e-6)


def test_asymmetric_loss_has_no_gradient_where_an_absent_label_is_improbable() -> None:
    """Below the clip there is nothing to learn."""
    logits = torch.tensor([[-4.0, 0.5]], requires_grad=True)
    losses.asymmetric(logits, torch.zeros(1, 2)).sum().backward()
    assert logits.grad is not None and logits.grad[0, 0] == 0 and logits.grad[0, 1] > 0


def test_asymmetric_loss_without_its_parts_is_cross_entropy() -> None:
    """Off means plain."""
    plain = _given(lambda x, y: losses.asymmetric(x, y, 0.0, 0.0, 0.0))
    assert plain == pytest.approx(_given(losses.cross_entropy), abs=1e-6)


@pytest.mark.parametrize("name", ["bce", "focal", "asl"])
def test_a_positive_weight_multiplies_the_part_of_the_present_label(name: str) -> None:
    """Twice the weight adds the present label's part once more."""
    made = recipe(loss=name)
    one, two = (_given(losses.loss_of(made, torch.tensor([w, 1.0]))) for w in (1.0, 2.0))
    none = _given(losses.loss_of(made, torch.tensor([0.0, 1.0])))
    assert two - one == pytest.approx(one - none, abs=1e-6) and one > none


def test_the_loss_of_a_batch_is_that_of_its_rows() -> None:
    """Rows do not see each other, so a batch may be cut into passes."""
    draw = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(6, 4, generator=draw), (torch.rand(6, 4, generator=draw) < 0.3).float()
    for name in ("bce", "soft", "focal", "asl"):
        loss = losses.loss_of(recipe(loss=name))
        apart = torch.cat([loss(logits[n : n + 1], targets[n : n + 1]) for n in range(6)])
        assert torch.allclose(loss(logits, targets), apart)
