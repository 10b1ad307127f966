"""Facts about settings: what is refused, what is never written down, what a resume takes over."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from factory import run
from factory.engines.open import in_flight, open_engine
from factory.errors import Stopped, WrongRequest
from factory.settings import Content, Operation, content_from, from_file, operation_from

LOCAL = "http://127.0.0.1:11434/v1"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"base_url": "localhost:11434"}, "no address"),
        ({"base_url": "ftp://host/v1"}, "no address"),
        ({"base_url": "http://"}, "no address"),
        ({"base_url": "http://[::1/v1"}, "no address"),
        ({"base_url": "http://host:99999/v1"}, "no address"),
        ({"base_url": "http://me:secret@host/v1"}, "no user, password"),
        ({"base_url": "https://host/v1?api-key=abc"}, "no user, password"),
        ({"api_key_env": "sk-abc123"}, "name of an environment variable"),
        ({"api_key_env": ""}, "name of an environment variable"),
        ({"max_cost": 5.0}, "needs prices"),
        ({"price_in": -1.0}, "out of range"),
        ({"response_format": "xml"}, "unknown"),
        ({"timeout_seconds": 0.0}, "out of range"),
        ({"patience_seconds": 0.0}, "out of range"),
        ({"engine_arguments": {"hf_token": "x"}}, "looks like a key"),
        ({"base_url": "https://host/sk-abcdefghijkl123/v1"}, "looks like a key"),
        ({"api_key_env": "gsk_abcdefghijkl123456"}, "looks like a key"),
        ({"engine_arguments": {"seeds": [2**70]}}, "no plain JSON"),
        ({"engine_arguments": {"share": float("nan")}}, "no plain JSON"),
        ({"engine_arguments": 3}, "not of type dict"),
    ],
)
def test_a_wrong_operational_setting_is_refused(values: dict[str, Any], told: str) -> None:
    """Each with a sentence that says what to give instead."""
    with pytest.raises(WrongRequest, match=told):
        operation_from(values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"engine": "gpt"}, "choose among rehearsal, vllm, openai, transformers"),
        ({"labeller": "guess"}, "choose among asked, logprobs"),
        ({"engine": "openai", "extra_body": {"headers": {"Authorization": "Bearer x"}}}, "looks like a key"),
        ({"engine": "openai", "extra_body": {"api_key": "x"}}, "looks like a key"),
        ({"engine": "openai", "extra_body": {"providers": [{"api_key": "x"}]}}, "looks like a key"),
        ({"engine": "openai", "extra_body": {"header": "Bearer abc"}}, "looks like a key"),
        ({"engine": "openai", "model": "sk-abcdefghijkl123"}, "looks like a key"),
        ({"engine": "openai", "extra_body": {"top_k": float("inf")}}, "no plain JSON"),
        ({"engine": "vllm", "extra_body": {"top_k": 4}}, "goes to a server"),
        ({"engine": "openai", "dtype": "float16"}, "for a model in this process"),
        ({"quantization": "awq"}, "for a model in this process"),
    ],
)
def test_a_wrong_content_setting_is_refused(values: dict[str, Any], told: str) -> None:
    """A field that another engine would read is refused too, rather than ignored."""
    with pytest.raises(WrongRequest, match=told):
        content_from(values)


def test_an_address_may_have_a_port_and_a_path() -> None:
    """What local and hosted servers are reached by."""
    for url in (LOCAL, "https://api.example.com/v1", "http://[::1]:8000/v1", "http://gpu-7.local:8000/v1/"):
        assert operation_from({"base_url": url}).base_url == url


@pytest.mark.parametrize("engine", ["openai", "vllm", "transformers"])
def test_an_engine_of_models_needs_one(engine: str) -> None:
    """MODEL has no default but for the rehearsal engine."""
    with pytest.raises(WrongRequest, match="needs MODEL"):
        open_engine(Content(engine=engine), Operation(base_url=LOCAL))


def test_a_server_needs_an_address() -> None:
    """Nothing is sent to a hosted service because somebody forgot BASE_URL."""
    with pytest.raises(WrongRequest, match="needs BASE_URL"):
        open_engine(Content(engine="openai", model="m"), Operation())


def test_requests_in_flight_are_the_engines_affair_unless_said() -> None:
    """CONCURRENCY=0 leaves it to the engine."""
    assert in_flight(Content(), Operation()) == 64
    assert in_flight(Content(engine="vllm"), Operation()) > 256
    assert in_flight(Content(engine="vllm"), Operation(concurrency=3)) == 3


def test_tables_of_a_file_become_settings(tmp_path: Path) -> None:
    """Engine arguments and extra fields are TOML tables; an unknown name is still an error with its place."""
    path = tmp_path / "run.toml"
    path.write_text('engine = "vllm"\nmodel = "m"\nprice_in = 1\n[engine_arguments]\ntensor_parallel_size = 2\n')
    content, operation = from_file(path)
    assert operation_from(operation).engine_arguments == {"tensor_parallel_size": 2}
    assert operation_from(operation).price_in == 1.0
    assert content_from(content).engine == "vllm"
    path.write_text("[engine_argumants]\nx = 1\n")
    with pytest.raises(WrongRequest, match="engine_argumants"):
        from_file(path)


def test_a_resume_takes_over_how_the_server_is_reached(tales: Callable[..., Path], tmp_path: Path) -> None:
    """Nothing but the folder is needed: address, prices and limits on speed stand in the line of the last start."""
    out = tmp_path / "run"
    given = Operation(base_url=LOCAL, price_in=0.5, price_out=2.0, concurrency=3, max_tokens=3000, currency="EUR")
    with pytest.raises(Stopped):
        run.synth(tales(), out=out, operation=given)
    with pytest.raises(Stopped, match="MAX_TOKENS=3000"):  # a limit that was reached is not lifted by going on
        run.resume(out)
    run.resume(out, operation=Operation(concurrency=7, max_tokens=10**9))
    last = orjson.loads((out / "starts.jsonl").read_bytes().splitlines()[-1])
    assert (last["base_url"], last["price_in"], last["price_out"], last["currency"]) == (LOCAL, 0.5, 2.0, "EUR")
    assert last["concurrency"] == 7 and last["max_tokens"] == 10**9


def test_every_operational_setting_can_be_written_down() -> None:
    """starts.jsonl holds all of them at every start, so each is plain data."""
    assert orjson.loads(orjson.dumps(dataclasses.asdict(Operation()))) == dataclasses.asdict(Operation())


def test_a_key_goes_to_no_address_that_only_a_file_names(
    tales: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's folder may come from anybody: with a key at hand its address must be confirmed, unless it is this computer."""
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        run.synth(tales(), out=out, operation=Operation(max_tokens=3000, concurrency=1))
    line = orjson.loads((out / "starts.jsonl").read_bytes().splitlines()[-1])
    far = line | {"base_url": "https://elsewhere.example/v1", "api_key_env": "SOME_SECRET", "max_tokens": 0}
    (out / "starts.jsonl").write_bytes(orjson.dumps(far) + b"\n")
    monkeypatch.setenv("SOME_SECRET", "stolenvalue123")
    with pytest.raises(WrongRequest, match=r"would go to https://elsewhere\.example") as told:
        run.resume(out)
    assert "stolenvalue123" not in str(told.value)
    (out / "starts.jsonl").write_bytes(orjson.dumps(far | {"base_url": LOCAL}) + b"\n")
    assert run.resume(out).did
