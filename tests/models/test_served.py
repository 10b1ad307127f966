"""The `openai` engine against vLLM's own server: a whole pipeline, a wrong key, a model that is not there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from models.shadow import Shadow

from factory import run
from factory.engines.open import open_engine
from factory.errors import FactoryError
from factory.settings import Content, Operation

pytest.importorskip("factory.engines.openai")
CONTENT = Content(engine="openai", model="tiny")


def operation(server: str) -> Operation:
    return Operation(max_rejects=1.0, base_url=server, api_key_env="KEY_OF_THE_TESTS", concurrency=32)


def test_a_pipeline_over_a_server_ends_and_keeps_the_key_to_itself(
    tales: Callable[..., Path], tmp_path: Path, server: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every stage asks the server; nothing is lost, tokens are counted, and the key is in no file."""
    monkeypatch.setenv("KEY_OF_THE_TESTS", token)
    heard: list[str] = []
    engine = Shadow(open_engine(CONTENT, operation(server), heard.append))
    result = run.synth(tales(2), out=tmp_path / "run", content=CONTENT, operation=operation(server), engine=engine)
    assert {request.stage for request in engine.asked} >= {"actors", "utterances", "labels", "context", "appraisal"}
    for count in result.tally.counts.values():
        assert (count.inputs, count.tokens_in > 0) == (count.accepted + count.rejected, True)
    assert heard, "what the look at the server found was not said"
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not [path for path in files if token.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("key", "content", "said"),
    [("another", CONTENT, "key"), (None, Content(engine="openai", model="other"), "other")],
    ids=["wrong key", "no such model"],
)
def test_what_the_server_refuses_ends_the_run_before_anything_is_written(
    tales: Callable[..., Path],
    tmp_path: Path,
    server: str,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
    content: Content,
    said: str,
) -> None:
    """A sentence with its cure, without the key."""
    monkeypatch.setenv("KEY_OF_THE_TESTS", key or token)
    with pytest.raises(FactoryError, match=said) as error:
        run.synth(tales(1), out=tmp_path / "run", content=content, operation=operation(server))
    assert (tmp_path / "run").exists() is False
    assert token not in str(error.value)
