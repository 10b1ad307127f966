"""What the tests with real, tiny models share: the models, one loop for the whole session with its engines, a server.

They need torch, vLLM and llguidance: `make test-vllm`. Without them they are skipped.
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models import tiny

from factory import run
from factory.engines import Engine
from factory.engines.rehearsal import Rehearsal
from factory.requests import Identity, Message, Reply, Request, Sampling
from factory.settings import Content, Operation

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-the-tests"
ARGUMENTS = {"enforce_eager": True, "max_model_len": 8192, "max_num_seqs": 64}
NEEDED = ("torch", "vllm", "transformers", "llguidance")
READS_NO_MODEL = ("test_schemas.py",)  # it skips what it must itself


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = [name for name in NEEDED if find_spec(name) is None]
    for item in items:
        if item.path.parent != here:
            continue
        item.add_marker(pytest.mark.filterwarnings("ignore"))  # torch and vLLM warn of themselves
        if missing and item.path.name not in READS_NO_MODEL:
            item.add_marker(pytest.mark.skip(reason=f"needs the vllm extra ({missing[0]} is missing): make test-vllm"))


@pytest.fixture(scope="session", autouse=True)
def _alone() -> Iterator[None]:
    """No hub, a small cache, one thread and no compiling: the models are tiny, and so is the machine."""
    wanted = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "CRITICAL",
        "TORCHDYNAMO_DISABLE": "1",
        "GOMP_SPINCOUNT": "0",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, _alone: None) -> Path:
    """A tiny Qwen3."""
    return tiny.make(tmp_path_factory.mktemp("models") / "tiny-qwen3")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory, _alone: None) -> Path:
    """A tiny Llama."""
    return tiny.make(tmp_path_factory.mktemp("models") / "tiny-llama", "llama")


class Loop:
    """An event loop in a thread of its own: engines live in it from the first test to the last."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout_seconds: float = 120) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_seconds)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.end()


@dataclass
class Lent:
    """An engine that lives in another loop, for a run that begins and ends one of its own; it is not closed with the run."""

    engine: Engine
    home: Loop
    asked: list[Request] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    @property
    def identity(self) -> Identity:
        return self.engine.identity

    async def complete(self, request: Request) -> Reply:
        self.asked.append(request)
        work = asyncio.run_coroutine_threadsafe(self.engine.complete(request), self.home.loop)
        reply = await asyncio.wrap_future(work)
        self.replies.append(reply)
        return reply

    async def close(self) -> None: ...


@pytest.fixture(scope="session")
def lent(loop: Loop) -> Callable[[Engine], Lent]:
    return lambda engine: Lent(engine, loop)


@pytest.fixture(scope="session")
def vllm(model: Path, loop: Loop) -> Iterator[Any]:
    """The tiny Qwen3 in vLLM, loaded once."""
    from factory.engines.vllm import VLLM

    engine = VLLM(str(model), arguments=ARGUMENTS)
    yield engine
    loop.run(engine.close())


@pytest.fixture(scope="session")
def transformers(model: Path, loop: Loop) -> Iterator[Any]:
    """The same model in transformers."""
    from factory.engines.transformers import Transformers

    engine = Transformers(str(model), batch=16)
    yield engine
    loop.run(engine.close())


@pytest.fixture(scope="session")
def openai(server: str, loop: Loop) -> Iterator[Any]:
    """The engine for that server, which it has looked at."""
    module = pytest.importorskip("factory.engines.openai")
    engine = module.OpenAI(model="tiny", base_url=server, api_key=TOKEN, connections=64)
    loop.run(engine.check())
    yield engine
    loop.run(engine.close())


@pytest.fixture(scope="session")
def token() -> str:
    """The key of the server below."""
    return TOKEN


@pytest.fixture(scope="session")
def rehearsal() -> Rehearsal:
    return Rehearsal(delay_ms=20)


@pytest.fixture(scope="session")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of vLLM's own server with the same model; `vllm serve` is the same program."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--api-key", TOKEN]
    command += ["--enforce-eager", "--max-model-len", "8192", "--max-num-seqs", "64", "--max-logprobs", "64"]
    command += ["--no-enable-chunked-prefill"]  # on a CPU a seeded request kills the server otherwise (vLLM 0.32)
    command += ["--structured-outputs-config", '{"backend":"guidance","disable_any_whitespace":true}']
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            _answers(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"the server did not begin to answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Request]]:
    """Requests as the stages of a real run make them, by stage: two of each and no repairs."""
    kept = Kept()
    out = tmp_path_factory.mktemp("asked") / "run"
    content = Content(labeller="logprobs")
    run.synth(ROOT / "corpora" / "family.jsonl", out=out, content=content, operation=Operation(limit=2), engine=kept)
    found: dict[str, list[Request]] = {}
    for one in kept.requests:
        if not one.repair and len(found.setdefault(one.stage, [])) < 2:
            found[one.stage].append(one)
    return found


@dataclass
class Kept:
    """The rehearsal engine, with a list of what it was asked."""

    requests: list[Request] = field(default_factory=list)
    identity: Identity = field(default_factory=lambda: Rehearsal().identity)

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        return await Rehearsal().complete(request)

    async def close(self) -> None: ...


def request(
    text: str, schema: str = "", *, unit: str = "u", seed: int = 0, tokens: int = 400, heat: float = 0.7, **more: Any
) -> Request:
    return Request(
        stage="test",
        unit=unit,
        messages=(Message("system", "You answer as JSON."), Message("user", text)),
        schema=schema,
        sampling=Sampling(temperature=heat, max_tokens=tokens, seed=seed),
        **more,
    )


@pytest.fixture(scope="session")
def asking() -> Callable[..., Request]:
    return request
