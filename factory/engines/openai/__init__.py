"""Any server that speaks OpenAI's chat completions: hosted ones, `vllm serve`, Ollama, llama.cpp.

One request is one POST, never streamed and never repeated here: what may be asked again says so by its fault.
"""

import asyncio
import errno
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from factory.engines.openai import wire
from factory.engines.openai.probe import Probe
from factory.engines.openai.trouble import Server
from factory.engines.openai.wire import Answer, Findings
from factory.errors import Busy, Down, EngineFault, FactoryError, Stopped, Transient, WrongRequest
from factory.requests import Identity, Reply, Request

# Uvicorn and Node close a connection that idles for five seconds; a request on one that is just being closed is lost.
_IDLE_SECONDS = 4.0
_LARGE = 2**20  # bytes of a body beyond which aiohttp wants a file
_TOO_MANY = frozenset((errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS))
_KINDS = {"ECONNREFUSED": "connection refused", "EHOSTUNREACH": "no way to it", "ENETUNREACH": "no network"}


@dataclass
class OpenAI:
    """The engine of a server. `extra_body` goes with every request; `reads` says that log-probabilities will be needed.

    `timeout_seconds` bounds one reply, `connections` how many are open at once. Until `check` has found out what the
    server takes, everything is sent.
    """

    model: str
    base_url: str
    revision: str = ""
    api_key: str = field(default="", repr=False)
    api_key_env: str = "OPENAI_API_KEY"
    response_format: str = "auto"
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    reads: bool = False
    timeout_seconds: float = 600.0
    patience_seconds: float = 60.0
    connections: int = 256

    def __post_init__(self) -> None:
        wire.refuse_reserved(self.extra_body)
        self.api_key = self.api_key.strip()
        if not all("!" <= c <= "~" for c in self.api_key):
            raise WrongRequest(f"the key in {self.api_key_env} holds a character that no key has; copy it there again")
        self.identity = Identity(engine="openai", model=self.model, revision=self.revision)
        self.base_url = self.base_url.rstrip("/").removesuffix("/chat/completions")
        self._server = Server(
            model=self.model, base_url=self.base_url, api_key=self.api_key, api_key_env=self.api_key_env
        )
        try:
            self._url = URL(f"{self.base_url}/chat/completions")
        except ValueError:
            raise WrongRequest("BASE_URL is no address of a server; say for example http://127.0.0.1:8000/v1") from None
        mode = "json_schema" if self.response_format == "auto" else self.response_format
        self._findings = Findings(response_format=mode)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def complete(self, request: Request) -> Reply:
        """One reply; Transient, Busy or Down where asking again may help, Refused where it never will, Stopped where
        no request will be answered (key, model, money)."""
        data = wire.body(request, self._findings, self.model, self.extra_body)
        began = time.perf_counter()
        answer = await self._post(self._opened(), data)
        return wire.reply(answer, self._server, request.read, time.perf_counter() - began, time.time())

    async def check(self) -> tuple[str, ...]:
        """Find out with a few small requests what the server takes, and say so; WrongRequest or Unreachable."""
        session = self._new_session(min(self.timeout_seconds, max(120.0, 2 * self.patience_seconds)))

        async def ask(request: Request, findings: Findings) -> Reply:
            data = wire.body(request, findings, self.model, self.extra_body)
            return wire.reply(await self._post(session, data), self._server, request.read, 0.0, time.time())

        async with session:
            probe = Probe(ask, self._server, self.response_format, self.reads, self.patience_seconds)
            self._findings, sentences = await probe.found()
        return sentences

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        """The session of the running loop; that of another loop, which is over, is forgotten."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._session, self._loop = self._new_session(self.timeout_seconds), loop
        return self._session

    def _new_session(self, timeout_seconds: float) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "emotion-factory"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.connections, keepalive_timeout=_IDLE_SECONDS, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=min(10.0, self.patience_seconds)),
            headers=headers,
            trust_env=False,
            auto_decompress=False,  # what is packed all the same is unpacked to a bounded size
        )

    async def _post(self, session: aiohttp.ClientSession, data: bytes) -> Answer:
        """The answer as it came. Faults are raised outside of `except`: the library's own hold headers with the key."""
        sent = data if len(data) < _LARGE else io.BytesIO(data)
        try:
            async with session.post(self._url, data=sent, allow_redirects=False) as response:
                got = await _bounded(response)
                return Answer(response.status, response.headers, response.content_type, got)
        except FactoryError as err:
            raised: FactoryError = err
        except Exception as err:  # noqa: BLE001 - whatever the library throws may hold the key: only its kind is told
            raised = self._translated(err)
        raise raised

    def _translated(self, err: Exception) -> EngineFault | Stopped:
        where = self.base_url
        number = getattr(err, "errno", None)
        if number in _TOO_MANY:
            return Busy(
                f"this computer has no connection left for {where}; give a smaller CONCURRENCY or raise `ulimit -n`"
            )
        if isinstance(err, aiohttp.ClientConnectorCertificateError):
            return Stopped(
                f"the certificate of {where} is not valid for it; mend BASE_URL or the computer's certificates"
            )
        if isinstance(err, aiohttp.ConnectionTimeoutError):
            return Down(f"{where} did not take a connection in time")
        if isinstance(err, aiohttp.ClientConnectorDNSError):
            return Down(f"the name in {where} is not known")
        if isinstance(err, aiohttp.ClientSSLError):
            return Down(f"{where} speaks no TLS that is understood here")
        if isinstance(err, aiohttp.ClientConnectorError):
            name = errno.errorcode.get(number or 0, "no connection")
            return Down(f"{where} takes no connection ({_KINDS.get(name, name)})")
        if isinstance(err, TimeoutError):
            return Transient(f"{where} gave no reply in time")
        return Transient(f"{where} did not finish its answer ({type(err).__name__})")


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, at most 8 MiB of it: a server that sends more is not listened to."""
    length = response.content_length
    if length is not None and length <= wire.MOST_BYTES:
        return await response.read()
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > wire.MOST_BYTES:
            response.close()
            raise Transient(f"the answer is longer than {wire.MOST_BYTES // 2**20} MiB")
    return b"".join(parts)
