"""Facts about bases, adapters and merged models: what is refused, in a sentence, and what comes back."""

import json
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slm import tiny

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from factory.answerers import base_of, told_of  # noqa: E402
from factory.cli_evaluate import kind_of  # noqa: E402
from factory.errors import Stopped, WrongRequest  # noqa: E402
from factory.seen import seen_by  # noqa: E402
from factory.slm import base, train  # noqa: E402
from factory.slm.recipe import recipe  # noqa: E402
from factory.train import team  # noqa: E402

QUICK: dict[str, Any] = {"tasks": "emotion_json", "epochs": 1, "batch": 8, "precision": "fp32", "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("base") / "qwen3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.dataset(tmp_path_factory.mktemp("data") / "sayings")


@pytest.fixture(scope="module")
def trained(folder: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "one"
    train.train(str(data), out, recipe(base=str(folder), **QUICK))
    return out


def _copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def _encoder(folder: Path) -> Path:
    from train import tiny as encoders

    return encoders.make(folder, "bert")


def _pickled(folder: Path) -> Path:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return folder


def _untaught(folder: Path) -> Path:
    (folder / "chat_template.jinja").unlink()
    path = folder / "tokenizer_config.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in told.items() if name != "chat_template"}))
    return folder


def _cut(folder: Path) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5000])
    return folder


def _half(folder: Path) -> Path:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    some = {name: value for name, value in load_file(path).items() if "layers.1.mlp" not in name}
    save_file(some, path, {"format": "pt"})
    return folder


def _told(**changed: Any) -> Any:
    """With other words in config.json."""

    def spoil(folder: Path) -> Path:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))
        return folder

    return spoil


def _written(template: str) -> Any:
    """With another chat template."""

    def spoil(folder: Path) -> Path:
        (folder / "chat_template.jinja").write_text(template)
        return folder

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_pickled, "has its weights as *.bin only"),
        (_untaught, "has no chat template, so it was never taught to answer"),
        (_cut, "cannot be loaded"),
        (_half, "are not those of its config.json"),
        (_told(num_hidden_layers=1, layer_types=["full_attention"]), "the first model.layers.1."),
        (_told(num_hidden_layers=3), "cannot be loaded (`num_hidden_layers` (3)"),
        (_told(vocab_size="x"), "cannot be loaded (Field 'vocab_size' expected int, got str"),
        (_told(max_position_embeddings=32), "are longer than the 32 tokens that "),
        (_written("{{ raise_exception('no') }}"), "fails (TemplateError: no)"),
        (_written("{% for m in messages "), "fails (TemplateSyntaxError: "),
        (_written("{{ 1/0 }}"), "fails (ZeroDivisionError: "),
        (lambda folder: _encoder(folder / "bert"), "is no causal language model (its kind is bert)"),
        (lambda folder: folder / "nowhere", "cannot be loaded"),
    ],
    ids=[
        *("pickle", "no-template", "truncated", "half", "layer-dropped", "layer-types", "vocabulary", "short-context"),
        *("template-raises", "template-broken", "template-divides", "encoder", "nowhere"),
    ],
)
def test_a_base_that_cannot_be_is_one_sentence(folder: Path, data: Path, tmp_path: Path, spoil: Any, said: str) -> None:
    """That names BASE, and nothing is written."""
    named = spoil(_copy(folder, tmp_path / "base"))
    with pytest.raises(WrongRequest) as told:
        train.train(str(data), tmp_path / "out", recipe(base=str(named), **QUICK))
    assert str(named) in str(told.value) and said in str(told.value) and "\n" not in str(told.value)
    assert "BASE" in str(told.value) and not (tmp_path / "out").exists()


def test_a_base_of_a_name_too_long_is_one_sentence() -> None:
    """Which does not say all of it."""
    with pytest.raises(WrongRequest, match=r"BASE=x{200} cannot be loaded \(File name too long\)"):
        base.load("x" * 5000)


def test_buffers_that_are_computed_and_heads_of_a_tied_base_are_no_strange_weights(
    folder: Path, tmp_path: Path
) -> None:
    """Old files hold both; a classifier leaves the head of the language model behind."""
    from safetensors.torch import load_file, save_file

    old = _copy(folder, tmp_path / "old")
    weights = load_file(old / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    weights["model.layers.0.attn.masked_bias"] = torch.ones(1)
    save_file(weights, old / "model.safetensors", {"format": "pt"})
    assert base.load(str(old)).model is not None
    untied = _told(tie_word_embeddings=False)(old)
    assert base.load(str(untied), classes=("joy", "anger")).model is not None


def test_rows_longer_than_the_base_reads_are_refused_by_its_config(folder: Path) -> None:
    """Where it says nothing, `max_length` alone decides."""
    model = base.load(str(folder)).model
    assert base.longest(model) == model.config.max_position_embeddings
    silent = SimpleNamespace(get_text_config=SimpleNamespace)
    assert base.longest(SimpleNamespace(config=silent)) == sys.maxsize


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"quantise": "nf4"}, "quantise=nf4 needs a GPU and bitsandbytes"),
        ({"lora_targets": "no_proj"}, "lora_targets=no_proj fits no layer"),
        ({"max_length": 40}, "are longer than max_length=40"),
        ({"mix": "0.2,0.8"}, "samples from two pools"),
        ({"tasks": "mcq_eu"}, "no training row"),
        ({"words": "nowhere.tsv", "preserve_weight": 0.1}, "nowhere.tsv is no table of words"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing without a GPU")
def test_a_training_that_cannot_be_is_one_sentence(
    folder: Path, data: Path, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    """Before anything is written."""
    with pytest.raises(WrongRequest) as told:
        train.train(str(data), tmp_path / "out", recipe(base=str(folder), **{**QUICK, **given}))
    assert said in str(told.value) and not (tmp_path / "out").exists()


def test_the_numbers_of_a_table_of_words_have_the_scale_that_is_declared(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    """The same words on two scales are one table; a scale is never guessed, nor said of nothing."""
    wide, unit = tmp_path / "wide.tsv", tmp_path / "unit.tsv"
    wide.write_text("word\tvalence\tarousal\tdominance\nlove\t1\t0\t-0.5\n")
    unit.write_text("word\tvalence\tarousal\tdominance\nlove\t1\t.5\t.25\n")
    asked = {**QUICK, "base": str(folder), "preserve_weight": 0.1}
    tables = [
        train.Answers(str(data), recipe(**asked, words=str(file), words_scale=scale), team.here())._teachers.words
        for file, scale in ((wide, "-1..1"), (unit, ""))
    ]
    assert tables[0] and tables[1] and tables[0].words == tables[1].words == {"love": (1, 0.5, 0.25)}
    with pytest.raises(WrongRequest, match=r"declare it: SET=words_scale=0\.\.1 or -1\.\.1"):
        train.Answers(str(data), recipe(**asked, words=str(wide)), team.here())
    for idle, said in (
        ({"words_scale": "1..9", "preserve_weight": 0}, "is of a table"),
        ({"words": "w", "preserve_weight": 0}, "decides nothing"),
    ):
        with pytest.raises(WrongRequest, match=said):
            recipe(**{**asked, **idle})


def test_an_adapter_is_no_base(trained: Path, data: Path, tmp_path: Path) -> None:
    """The sentence says to merge it."""
    with pytest.raises(WrongRequest, match="is an adapter and no whole model; merge it first"):
        train.train(str(data), tmp_path / "out", recipe(base=str(trained), **QUICK))


def test_an_adapter_for_another_base_is_one_sentence(trained: Path, tmp_path: Path) -> None:
    """Of the same shape with other weights, and of another shape."""
    twin, wide = tiny.make(tmp_path / "twin"), tiny.make(tmp_path / "wide", hidden=96)
    model = AutoModelForCausalLM.from_pretrained(twin)
    model.get_input_embeddings().weight.data[7] += 1
    model.save_pretrained(twin)
    for other in (twin, wide):
        with pytest.raises(WrongRequest, match="is an adapter for another base"):
            base.adapted(trained, str(other))
        with pytest.raises(WrongRequest, match="is an adapter for another base"):
            base.merge(trained, tmp_path / "merged", str(other))
    assert not (tmp_path / "merged").exists()


def test_a_base_that_has_moved_is_the_same_base(folder: Path, trained: Path, tmp_path: Path) -> None:
    """Its files name it, not its place."""
    assert base.adapted(trained, str(_copy(folder, tmp_path / "moved"))).model is not None


def test_a_folder_that_is_no_adapter_of_ours_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    """No slm.json, or half of one."""
    for made in (folder, tmp_path / "empty"):
        with pytest.raises(WrongRequest, match="is no adapter of make train TASK=slm"):
            base.adapted(made)


def _weights(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def _only_pickled(folder: Path) -> None:
    torch.save({}, folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


SPOILT: dict[str, tuple[Any, str]] = {
    "pickle": (_only_pickled, "has no adapter_model.safetensors, and weights are read from safetensors alone"),
    "no weights": (lambda made: (made / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors"),
    "cut": (
        lambda made: (made / "adapter_model.safetensors").write_bytes(
            (made / "adapter_model.safetensors").read_bytes()[:-50]
        ),
        "cannot be read",
    ),
    "missing": (lambda made: _weights(made, lambda all: dict(sorted(all.items())[2:])), "is not whole (2 tensors"),
    "too many": (lambda made: _weights(made, lambda all: {**all, "more": torch.ones(1)}), "is not whole (1 tensors"),
    "another shape": (
        lambda made: _weights(made, lambda all: {key: one[:1].clone() for key, one in all.items()}),
        "or of another shape",
    ),
    "another rank": (lambda made: _config(made, r=64), "is not whole"),
    "another kind": (lambda made: _config(made, peft_type="EVIL"), "adapter_config.json cannot be used"),
    "deep": (lambda made: (made / "slm.json").write_text('{"a":' * 100_000), "is no adapter of make train TASK=slm"),
    "a list": (lambda made: (made / "slm.json").write_text("[1]"), "is no adapter of make train TASK=slm"),
}


def _config(folder: Path, **changed: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize("name", SPOILT)
def test_an_adapter_that_is_not_whole_is_one_sentence(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """That does not blame its base; nothing is unpickled, and no hub is asked for a relative folder."""
    import huggingface_hub
    from peft.utils import save_and_load

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("neither a pickle nor the hub is to be read")

    for place, asks in (
        (save_and_load, "torch_load"),
        (save_and_load, "file_exists"),
        (save_and_load, "hf_hub_download"),
    ):
        monkeypatch.setattr(place, asks, never)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    (tmp_path / "models").mkdir()
    spoil, said = SPOILT[name]
    spoil(_copy(trained, tmp_path / "models" / "slm"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WrongRequest) as told:
        base.adapted(Path("models/slm"))
    assert said in str(told.value) and "models/slm" in str(told.value) and "\n" not in str(told.value)
    assert "another base" not in str(told.value)


def test_an_adapter_in_a_relative_folder_is_read(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is not taken for one of the hub."""
    (tmp_path / "models").mkdir()
    _copy(trained, tmp_path / "models" / "slm")
    monkeypatch.chdir(tmp_path)
    assert base.adapted(Path("models/slm")).model is not None


@contextmanager
def _full(most: int) -> Iterator[None]:
    """A disk that takes files of so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("what", ["merged", "adapter", "tokeniser"])
def test_a_full_disk_stops_and_says_so(trained: Path, tmp_path: Path, what: str) -> None:
    """safetensors and tokenizers have no OSError for it."""
    found, out = base.adapted(trained), tmp_path / "out"
    model = found.model if what == "adapter" else SimpleNamespace(save_pretrained=lambda *_, **__: None)
    with pytest.raises(Stopped, match=r"cannot write .*\(os error"), _full(20_000):
        if what == "merged":
            base.merge(trained, out)
        else:
            base.save_adapter(model, found.tokenizer, out, base.record(trained))
    assert what != "merged" or not out.exists()


def _greedy(model: Any, tokenizer: Any, text: str) -> str:
    turns = [{"role": "user", "content": text}]
    ids = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, enable_thinking=False, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        found = model.generate(**ids, max_new_tokens=12, do_sample=False)
    return str(tokenizer.decode(found[0, ids["input_ids"].shape[1] :]))


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_merged_model_says_what_base_and_adapter_say(kind: str, data: Path, tmp_path: Path) -> None:
    """transformers alone loads it: same words, same number format as the base, template kept, greedy, ends where turns end."""
    folder, out = tiny.make(tmp_path / kind, kind), tmp_path / "out"
    train.train(str(data), out, recipe(base=str(folder), merge=True, **QUICK))
    found = base.adapted(out, dtype=torch.float32)
    merged = AutoModelForCausalLM.from_pretrained(out / "merged")
    tokenizer = AutoTokenizer.from_pretrained(out / "merged")
    assert merged.dtype == AutoModelForCausalLM.from_pretrained(folder).dtype == torch.float32
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.inference_mode():
        apart = (merged(input_ids=ids).logits - found.model(input_ids=ids).logits).abs().max()
        moved = (merged(input_ids=ids).logits - base.load(str(folder)).model(input_ids=ids).logits).abs().max()
    assert apart < 1e-3 < 0.1 < moved
    assert _greedy(merged, tokenizer, "the sunshine") == _greedy(found.model, found.tokenizer, "the sunshine")
    assert tokenizer.chat_template == tiny.TEMPLATE
    told = merged.generation_config
    assert told.do_sample is False and told.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert {path.suffix for path in (out / "merged").iterdir()} == {".json", ".safetensors", ".jinja", ".md"}


def test_a_merged_model_of_a_bf16_base_is_bf16(folder: Path, data: Path, tmp_path: Path) -> None:
    """As its base was published."""
    half = _copy(folder, tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(half, dtype=torch.bfloat16).save_pretrained(half)
    train.train(str(data), tmp_path / "out", recipe(base=str(half), merge=True, **QUICK))
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "merged").dtype == torch.bfloat16


@pytest.mark.parametrize("mode", ["generate", "classify"])
def test_a_merged_model_is_known_wherever_it_is_moved_to(mode: str, folder: Path, data: Path, tmp_path: Path) -> None:
    """What it is, that it was taught, what it was made from and what it has seen; and no training takes it for its own."""
    quick = QUICK if mode == "generate" else {"epochs": 1, "precision": "fp32"}
    made = recipe(base=str(folder), mode=mode, merge=True, **quick)
    train.train(str(data), tmp_path / "out", made)
    moved = _copy(tmp_path / "out/merged", tmp_path / "elsewhere")
    for place in (tmp_path / "out/merged", moved):
        assert kind_of(str(place)) == ("writer" if mode == "generate" else "classifier")
        assert told_of(place)["mode"] == mode and base_of(str(place)) == str(folder)
        assert seen_by(place) == seen_by(tmp_path / "out") and seen_by(place).keys and not seen_by(place).unknown
        with pytest.raises(WrongRequest, match="which no training of ours wrote there"):
            train.train(str(data), place, made, fresh=True)
        with pytest.raises(WrongRequest, match="is no adapter of make train"):
            base.adapted(place)
    assert (moved / base.CARD).read_bytes() == (tmp_path / "out/README.md").read_bytes()
    way = "AutoModelForCausalLM" if mode == "generate" else "AutoModelForSequenceClassification"
    assert f"`{way}` loads this folder" in (moved / "README.md").read_text()


def test_peft_alone_loads_the_adapter(trained: Path) -> None:
    """By the words of its card."""
    from peft import AutoPeftModelForCausalLM

    theirs = AutoPeftModelForCausalLM.from_pretrained(str(trained), dtype=torch.float32)
    ours = base.adapted(trained, dtype=torch.float32).model
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.inference_mode():
        assert torch.equal(theirs.eval()(input_ids=ids).logits, ours(input_ids=ids).logits)
