"""Facts about what is done against rare labels, in the training part alone."""

import numpy as np
import pytest

from factory.train import imbalance

DRAW = np.random.default_rng(3)
# The largest label over each (IRLbl): 1, 1.5, 3, 15, 30, 45; their mean is 15.9, so the last two are minority labels, and
# the median count is 180.
SIZES = (900, 600, 300, 60, 30, 20)


def _rows() -> tuple[np.ndarray, np.ndarray]:
    """Clusters of unit vectors, one for each label, and their targets."""
    centres = DRAW.normal(size=(len(SIZES), 16))
    vectors = np.concatenate([c + 0.4 * DRAW.normal(size=(n, 16)) for c, n in zip(centres, SIZES, strict=True)])
    targets = np.zeros((sum(SIZES), len(SIZES)))
    targets[np.arange(len(targets)), np.repeat(np.arange(len(SIZES)), SIZES)] = 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), targets


VECTORS, TARGETS = _rows()


@pytest.mark.parametrize(("variant", "low", "high"), [("smote", 0, 1), ("paper", -0.5, 1.5), ("released", 0, 2)])
def test_places_lie_where_each_variant_puts_them(variant: str, low: float, high: float) -> None:
    """Within the stated part of the line, and near both of its ends."""
    found = imbalance.places(200_000, variant, np.random.default_rng(0))
    assert low <= found.min() < low + 0.01 and high - 0.01 < found.max() <= high


def test_three_quarters_of_the_papers_places_lie_between_the_rows_and_half_of_the_released() -> None:
    """The exact integrals of METHODS 6.3."""
    draw = np.random.default_rng(0)
    for variant, share in (("paper", 0.75), ("released", 0.5)):
        found = imbalance.places(400_000, variant, draw)
        assert ((found >= 0) & (found <= 1)).mean() == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize("variant", imbalance.VARIANTS)
def test_every_made_row_lies_on_the_line_of_two_rows_of_its_label(variant: str) -> None:
    """Before it is brought to length 1; both of its rows have the label."""
    plain = VECTORS * 2.0  # not of length 1, so nothing is brought to it
    made = imbalance.ismote(plain, TARGETS, 0, variant)
    line = plain[made.seeds] + made.place[:, None] * (plain[made.neighbours] - plain[made.seeds])
    assert len(made.place) > 50 and np.allclose(made.embeddings, line)
    label = made.targets.argmax(axis=1)
    assert (TARGETS[made.seeds, label] == 1).all() and (TARGETS[made.neighbours, label] == 1).all()


def test_smote_gives_what_imbalanced_learn_gives_for_the_same_draws() -> None:
    """Same neighbours and same places: the points are the same (single label, where the two must agree)."""
    smote = pytest.importorskip("imblearn.over_sampling").SMOTE
    neighbours = pytest.importorskip("sklearn.neighbors").NearestNeighbors
    bag = VECTORS[TARGETS[:, 2] == 1]
    near, _ = imbalance._neighbours(bag)
    theirs = neighbours(n_neighbors=imbalance.NEIGHBOURS + 1).fit(bag).kneighbors(bag, return_distance=False)[:, 1:]
    assert (near == theirs).all()  # on the unit sphere cosine and distance have one order
    oracle = smote(random_state=0, k_neighbors=imbalance.NEIGHBOURS)
    seeds, picks, steps = np.array([0, 5, 9]), np.array([1, 0, 4]), np.array([0.1, 0.6, 0.95])
    points = oracle._generate_samples(bag, bag, theirs, seeds, picks, steps[:, None])
    ours = bag[seeds] + steps[:, None] * (bag[near[seeds, picks]] - bag[seeds])
    assert np.allclose(points, ours)


def test_the_same_seed_makes_the_same_rows_and_another_one_others() -> None:
    """Unlike the released code, whose draws the seed does not reach."""
    one, again, other = (imbalance.ismote(VECTORS, TARGETS, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.embeddings, again.embeddings) and not np.array_equal(one.place, other.place)


def test_made_rows_have_length_one_where_the_real_ones_have() -> None:
    """A point between two on the sphere lies below it."""
    assert np.allclose(np.linalg.norm(imbalance.ismote(VECTORS, TARGETS, 0).embeddings, axis=1), 1)


def test_minority_labels_are_those_whose_imbalance_is_above_the_mean() -> None:
    """Each is to have the median count, or five times its own: 150 of 30, 100 of 20."""
    assert imbalance.goals(TARGETS) == {4: 150, 5: 100}
    assert imbalance.goals(np.repeat(TARGETS[:, :4], 2, axis=0)) == {3: 600}  # 120 times five, under the median of 900


def test_no_label_grows_beyond_its_goal_and_the_others_stay() -> None:
    """Every row that is made counts towards its label or was refused."""
    made = imbalance.ismote(VECTORS, TARGETS, 0)
    grown = TARGETS.sum(axis=0) + made.targets.sum(axis=0)
    assert grown.tolist()[:4] == list(SIZES[:4])
    assert grown[4] <= 150 and grown[5] <= 100 and made.refused + len(made.place) == 120 + 80
    assert len(made.place) > 100


def test_a_label_of_two_rows_is_left_alone() -> None:
    """Three are the least that have neighbours among themselves."""
    few = TARGETS.copy()
    few[np.flatnonzero(few[:, 5])[2:], 5] = 0
    assert 5 in imbalance.goals(few)
    made = imbalance.ismote(VECTORS, few, 0)
    assert made.targets[:, 5].sum() == 0


def test_a_point_among_rows_of_other_labels_is_refused() -> None:
    """Two far clumps of one label with another label's crowd between them: what lies in the crowd is not kept."""
    crowd = np.column_stack([np.full(400, 1.0), 0.05 * DRAW.normal(size=400), 0.05 * DRAW.normal(size=400)])
    clumps = [np.array([0.4, side, 0.0]) + 0.2 * DRAW.normal(size=(4, 3)) for side in (-1.0, 1.0)]
    vectors = np.concatenate([crowd, *clumps])
    targets = np.zeros((408, 3))
    targets[:400, 0] = targets[:300, 1] = targets[400:, 2] = 1
    made = imbalance.ismote(vectors, targets, 0, "smote")
    assert made.refused > 0 and len(made.place) > 0
    middle = made.embeddings / np.linalg.norm(made.embeddings, axis=1, keepdims=True)
    assert (np.abs(middle[:, 1]) > 0.05).all()  # the crowd lies about the axis, most of it within 0.05


def test_neutral_goes_where_another_label_stays() -> None:
    """A made row is not both neutral and something."""
    targets = TARGETS.copy()
    targets[:, 0] = 1
    both = imbalance.ismote(VECTORS, targets, 0)
    made = imbalance.ismote(VECTORS, targets, 0, neutral=0)
    assert len(made.targets) and (both.targets[:, 0] == 1).all() and (made.targets[:, 0] == 0).all()


def test_undersampling_thins_what_is_frequent_and_keeps_every_row_of_a_rare_label() -> None:
    """The most frequent label comes down to about the mean."""
    rows = imbalance.undersampled(TARGETS, 0)
    left = TARGETS[rows].sum(axis=0)
    assert left[0] == pytest.approx(np.mean(SIZES), rel=0.15) and (left[2:] == np.array(SIZES)[2:]).all()


def test_oversampling_repeats_real_rows_up_to_each_goal() -> None:
    """Rows are repeated, never made; those of frequent labels stand once."""
    rows = imbalance.oversampled(TARGETS, 0)
    count = TARGETS[rows].sum(axis=0)
    assert all(count[label] == goal for label, goal in imbalance.goals(TARGETS).items())
    assert count[0] == SIZES[0] and set(rows) == set(range(len(TARGETS)))


def test_positive_weights_are_the_ratio_to_a_power() -> None:
    """(absent / present) ** 0.5, at most 100."""
    targets = np.zeros((100, 2))
    targets[:20, 0] = 1
    assert imbalance.pos_weight(targets, 0.5)[0] == pytest.approx(2.0)
    assert imbalance.pos_weight(targets, 1.0)[1] == 99 or imbalance.pos_weight(targets, 1.0)[1] == 100
    assert imbalance.pos_weight(targets, 0.0) is None
