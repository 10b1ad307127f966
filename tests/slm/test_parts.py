"""Facts about the terms of the loss: numbers worked out by hand, and that a switch that is off leaves the plain loss."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slm import tiny

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from torch.nn.functional import cross_entropy  # noqa: E402

from factory.slm import base, parts  # noqa: E402
from factory.slm.learner import Batch, Learner, Side, Teaching  # noqa: E402
from factory.slm.recipe import SlmRecipe, recipe  # noqa: E402
from factory.slm.rows import load  # noqa: E402
from factory.slm.tokens import tokens  # noqa: E402
from factory.taxonomy import ID  # noqa: E402
from factory.train import team  # noqa: E402
from factory.train.batches import Update  # noqa: E402

NAN = math.nan
ALONE = team.Team(device=torch.device("cpu"))
T = torch.tensor


# By hand ------------------------------------------------------------------------------------------------------------------


def test_the_label_term_is_the_mean_over_the_labels() -> None:
    """Logits ln 3 (p = .75) for one present and one absent label: (-ln .75 - ln .25) / 2."""
    found = parts.labels(T([[math.log(3), math.log(3)]]), T([[1.0, 0.0]]))
    assert found.tolist() == pytest.approx([(-math.log(0.75) - math.log(0.25)) / 2])


def test_the_vad_term_is_the_squared_distance_in_what_is_known() -> None:
    """A half for all, where V .9 and D .1 are wanted and A is not known: .16 + .16; nothing known costs nothing."""
    found = parts.vad(torch.zeros(2, 3), T([[0.9, NAN, 0.1], [NAN, NAN, NAN]]))
    assert found.tolist() == pytest.approx([0.32, 0.0])


TABLE = T([[0.9, 0.5, 0.1, 1.0], [0.1, 0.5, 0.9, 1.0], [0.7, 0.7, 0.7, 0.0]])  # the third is no word that is covered


def test_a_rationale_implies_the_mean_of_its_covered_words_by_their_probability() -> None:
    """Two tokens over three words. Even: mass 4/3, VAD .5 each. The first word twice as likely as each other: V (2*.9+.1)/3."""
    said, mass = parts.implied(torch.zeros(2, 3), TABLE)
    assert said.tolist() == pytest.approx([0.5, 0.5, 0.5]) and mass.item() == pytest.approx(4 / 3)
    said, mass = parts.implied(T([[math.log(2), 0.0, 0.0]]).repeat(4, 1), TABLE)
    assert said.tolist() == pytest.approx([1.9 / 3, 0.5, 1.1 / 3]) and mass.item() == pytest.approx(3.0)


def test_what_a_rationale_implies_is_preserved_only_where_enough_of_it_is_covered() -> None:
    """(.5 - .8)^2 where V .8 is wanted, A .5 fits and D is not known; one token has the mass 2/3, which is too little."""
    wanted = T([0.8, 0.5, NAN])
    assert parts.preserved(torch.zeros(2, 3), TABLE, wanted).item() == pytest.approx(0.09)
    assert parts.preserved(torch.zeros(1, 3), TABLE, wanted).item() == 0.0


def test_the_preserving_term_makes_words_of_the_right_valence_likelier() -> None:
    """Its gradient: up for the word of high valence, down for that of low valence."""
    logits = torch.zeros(2, 3, requires_grad=True)
    parts.preserved(logits, TABLE, T([0.8, 0.5, 0.2])).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[:, 0] < 0).all() and (logits.grad[:, 1] > 0).all()


def test_the_guide_is_followed_where_it_is_clear() -> None:
    """h = ln 3 (.75) against .9 and .1: .3975 and 1.2764; .6 is no clear word, and NaN is none at all."""
    high, low = -0.9 * math.log(0.75) - 0.1 * math.log(0.25), -0.1 * math.log(0.75) - 0.9 * math.log(0.25)
    logits = torch.full((3, 4), math.log(3))
    guide = T([[0.9, 0.1, 0.6, NAN], [0.9, 0.5, 0.45, NAN], [0.5, NAN, 0.4, 0.6]])
    assert parts.guided(logits, guide).tolist() == pytest.approx([(high + low) / 2, high, 0.0])


# In a training ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("base") / "qwen3")


@pytest.fixture(scope="module")
def side(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Side:
    (pool,) = load(str(tiny.dataset(tmp_path_factory.mktemp("data"))), tasks=("emotion_json",))
    rows = pool.train[:6]
    return Side.of(rows, tokens(base.load(str(folder)).tokenizer, rows, 1024))


ON = {"label_weight": 0.5, "vad_weight": 1.0, "preserve_weight": 0.1, "appraisal_weight": 0.2}
WORDS = {"words": "words.tsv"}


class Taught:
    """A model with its work, the same beginning each time; `all_words` are covered, with a valence that follows their number."""

    def __init__(self, folder: Path, side: Side, made: SlmRecipe) -> None:
        based = base.load(str(folder))
        torch.manual_seed(0)
        self.learner = Learner(base.with_adapter(based, made), made.heads)
        torch.manual_seed(1)
        for name, parameter in self.learner.named_parameters():
            if "lora_B" in name:  # as if it had learnt already: from zero, half of the gradients would be nothing
                parameter.data.normal_(std=0.05)
        size = based.model.config.vocab_size
        table = np.full((size, 4), 1.0, np.float32)
        table[:, :3] = (np.arange(size) % 10 / 10)[:, None]
        self.table = torch.tensor(table)
        self.fill = based.tokenizer.pad_token_id
        self.teaching = Teaching(self.learner, self.fill, side, side, made, ALONE, table)

    def cost(self, rows: Sequence[int]) -> tuple[dict[str, float], dict[str, Any]]:
        """Each term and the gradients of the adapter, without dropout."""
        self.learner.eval()
        each = self.teaching.cost(list(rows), Update((tuple(rows),), tuple(rows)))
        self.learner.zero_grad()
        each.sum().backward()
        grads = {name: one.grad.clone() for name, one in self.learner.named_parameters() if one.grad is not None}
        return dict(zip(self.teaching.terms, each.tolist(), strict=True)), grads


def _recipe(folder: Path, **given: Any) -> SlmRecipe:
    return recipe(base=str(folder), **(WORDS if given.get("preserve_weight") else {}), **given)


def test_with_all_switches_off_the_loss_is_that_of_transformers(folder: Path, side: Side) -> None:
    """Loss and gradients of the causal model's own loss with the prompts masked, rows padded as one batch."""
    one, rows = Taught(folder, side, _recipe(folder)), [0, 1, 2, 3]
    terms, grads = one.cost(rows)
    some = [side.tokens[n] for n in rows]
    ids = torch.full((len(rows), max(len(row.ids) for row in some)), one.fill)
    labels = torch.full_like(ids, -100)
    mask = torch.zeros_like(ids)
    for n, row in enumerate(some):
        ids[n, : len(row.ids)] = mask[n, : len(row.ids)] = torch.tensor(row.ids)
        labels[n, row.prompt : len(row.ids)] = torch.tensor(row.ids[row.prompt :])
    one.learner.zero_grad()
    plain = one.learner.net(input_ids=ids, attention_mask=(mask > 0).long(), labels=labels).loss
    plain.backward()
    theirs = {name: p.grad for name, p in one.learner.named_parameters() if p.grad is not None}
    assert list(terms) == ["language"] and terms["language"] == pytest.approx(plain.item(), abs=1e-5)
    assert grads.keys() == theirs.keys() and len(grads) > 20
    assert max(float((grads[name] - theirs[name]).abs().max()) for name in grads) < 1e-5


@pytest.mark.parametrize("name", ["label_weight", "vad_weight", "preserve_weight", "appraisal_weight"])
def test_a_part_adds_its_own_term_and_leaves_the_others_alone(folder: Path, side: Side, name: str) -> None:
    """On: the plain term to the bit, and one more that has a gradient. Off beside the other three: those to the bit."""
    rows = range(6)
    plain, plain_grads = Taught(folder, side, _recipe(folder)).cost(rows)
    terms, grads = Taught(folder, side, _recipe(folder, **{name: ON[name]})).cost(rows)
    assert terms["language"] == plain["language"] and len(terms) == 2 and min(terms.values()) > 0
    assert any(not torch.equal(grads[one], plain_grads[one]) for one in plain_grads)
    every, _ = Taught(folder, side, _recipe(folder, **ON)).cost(rows)
    rest, _ = Taught(folder, side, _recipe(folder, **{**ON, name: 0.0})).cost(rows)
    assert len(every) == 5 and set(rest) < set(every) and len(rest) == 4
    assert rest["language"] == every["language"] == plain["language"]


def test_a_switch_that_is_off_leaves_loss_and_gradients_to_the_bit(folder: Path, side: Side) -> None:
    """Weights of nothing are no heads and no terms: the same numbers as a recipe that never heard of them."""
    blank = replace(side, hard=side.hard * 0, vad=side.vad * NAN, guide=side.guide * NAN)
    plain, grads = Taught(folder, side, _recipe(folder)).cost(range(6))
    other, others = Taught(folder, blank, _recipe(folder, **dict.fromkeys(ON, 0.0))).cost(range(6))
    assert plain == other and all(torch.equal(grads[name], others[name]) for name in grads)


def test_the_terms_of_a_batch_are_as_worked_out_from_its_logits(folder: Path, side: Side) -> None:
    """Each row by itself through the bare model: the head on the prompt's last token, the logits before rationale tokens."""
    one, rows = Taught(folder, side, _recipe(folder, **ON)), [0, 1, 2]
    terms, _ = one.cost(rows)
    seen: dict[str, list[float]] = {"labels": [], "vad": [], "preserve": [], "appraisals": []}
    assert one.learner.heads is not None
    for n in rows:
        row = side.tokens[n]
        out = one.learner.net(input_ids=torch.tensor([row.ids]), output_hidden_states=True)
        head = one.learner.heads(out.hidden_states[-1][0, row.prompt - 1])[None]
        at = torch.arange(row.rationale[0] - 1, row.rationale[1] - 1)
        assert len(at) > 2
        seen["labels"].append(parts.labels(head[:, :28], T(side.hard[n : n + 1])).item())
        seen["vad"].append(parts.vad(head[:, 28:31], T(side.vad[n : n + 1])).item())
        seen["appraisals"].append(parts.guided(head[:, 31:], T(side.guide[n : n + 1])).item())
        seen["preserve"].append(parts.preserved(out.logits[0, at], one.table, T(side.vad[n])).item())
    weights = dict(zip(("labels", "vad", "preserve", "appraisals"), ON.values(), strict=True))
    for name, values in seen.items():
        assert terms[name] == pytest.approx(weights[name] * sum(values) / 3, rel=1e-4), name


def test_rows_that_lack_what_a_term_needs_do_not_thin_it(folder: Path, side: Side) -> None:
    """Items have no labels and no VAD: the mean is over the rows that do."""
    half = replace(side, hard=side.hard.copy(), vad=side.vad.copy(), guide=side.guide.copy())
    half.hard[3:], half.vad[3:], half.guide[3:] = 0, NAN, NAN
    mixed, _ = Taught(folder, half, _recipe(folder, **ON)).cost(range(6))
    alone, _ = Taught(folder, side, _recipe(folder, **ON)).cost(range(3))
    for name in ("labels", "vad", "preserve", "appraisals"):
        assert mixed[name] == pytest.approx(alone[name], rel=1e-4)


def test_a_row_weighs_in_the_language_term_what_its_weight_says(folder: Path, side: Side) -> None:
    """Weights 1 and 0 of two rows: the loss of the first alone; both a tenth: as both one."""
    one, other = (replace(side, weights=np.asarray(w + [1.0] * 4, np.float32)) for w in ([1.0, 0.0], [0.1, 0.1]))
    plain = Taught(folder, side, _recipe(folder))
    assert Taught(folder, one, _recipe(folder)).cost([0, 1])[0]["language"] == pytest.approx(
        plain.cost([0])[0]["language"], rel=1e-5
    )
    assert Taught(folder, other, _recipe(folder)).cost([0, 1])[0]["language"] == pytest.approx(
        plain.cost([0, 1])[0]["language"], rel=1e-5
    )


def test_an_update_in_passes_is_the_update_of_all_its_rows(folder: Path, side: Side) -> None:
    """Sums over passes of terms and gradients, whatever lacks what."""
    part = replace(side, hard=side.hard.copy())
    part.hard[1] = 0
    one = Taught(folder, part, _recipe(folder, **ON))
    whole, grads = one.cost(range(6))
    update = Update(((0, 1), (2,), (3, 4, 5)), tuple(range(6)))
    one.learner.zero_grad()
    sums = torch.zeros(5)
    for rows in update.passes:
        each = one.teaching.cost(list(rows), update)
        each.sum().backward()
        sums += each.detach()
    assert sums.tolist() == pytest.approx(list(whole.values()), rel=1e-4)
    found = {name: p.grad for name, p in one.learner.named_parameters() if p.grad is not None}
    assert max(float((grads[name] - found[name]).abs().max()) for name in grads) < 1e-4


def test_loss_whole_learns_the_prompt_too(folder: Path, side: Side) -> None:
    """All tokens but the first, as EC2ER's notebook does."""
    one = Taught(folder, side, _recipe(folder, loss_whole=True))
    terms, _ = one.cost([0])
    ids = torch.tensor([side.tokens[0].ids])
    logits = one.learner.net(input_ids=ids).logits[0]
    assert terms["language"] == pytest.approx(cross_entropy(logits[:-1], ids[0, 1:]).item(), rel=1e-5)


def test_only_places_before_targets_reach_the_output_layer(folder: Path, side: Side) -> None:
    """Their logits are those of the whole."""
    one = Taught(folder, side, _recipe(folder))
    one.learner.eval()
    batch = Batch.of(side.tokens[:3], one.fill, False, "cpu")
    narrow, _ = one.learner(batch)
    whole = one.learner.net(input_ids=batch.ids).logits
    assert len(narrow) == sum(len(row.ids) - row.prompt for row in side.tokens[:3]) < batch.ids.numel() / 2
    assert torch.allclose(narrow, whole[batch.rows, batch.places], atol=1e-5)
    assert batch.targets.tolist() == [t for row in side.tokens[:3] for t in row.ids[row.prompt :]]


def test_the_rows_of_a_side_carry_what_they_know(side: Side) -> None:
    """Labels by id, VAD and appraisals as given."""
    assert side.hard.sum() == 6 and side.hard[:, [ID[one] for one in tiny.SIGNS]].sum() == 6
    assert side.vad[0, 1:].tolist() == pytest.approx([0.6, 0.4]) and side.guide[0, 1:].tolist() == pytest.approx(
        [0.5, 0.9, 0.2]
    )
