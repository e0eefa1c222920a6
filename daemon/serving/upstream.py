"""The gateway's way to the engines: picks the least busy one that has the version, sends a request on, and leaves out what does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import aiohttp

from daemon.serving.errors import AdapterNotResident, EngineDown
from daemon.serving.names import is_adapter_name

log = logging.getLogger(__name__)
CONNECT_TIMEOUT_S = 5.0
LOOK_TIMEOUT_S = 2.0
LOOK_EVERY_S = 2.0
LOAD_TRIES = 3  # where many versions are asked for in turn, one may lose its place again before it answers
UNAVAILABLE = frozenset({502, 503, 504})
_HEADERS = {"Content-Type": "application/json"}
Load = Callable[[str, str, Sequence[str]], Awaitable[None]]


class EngineSilent(EngineDown):
    """The engine took the request but did not answer in time."""

    hint = "Ask for fewer tokens, or raise the upstream timeout"


class Engine:
    """One engine process, as the gateway knows it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.healthy = True
        self.in_flight = 0
        self.resident: dict[str, float] = {}  # name -> when it was last asked, by the monotonic clock
        self.loading = asyncio.Lock()

    def coldest_first(self) -> list[str]:
        return sorted(self.resident, key=self.resident.__getitem__)


class Engines:
    """All engines of one base model. `load` is called, once at a time for each engine, with its URL, the adapter it lacks, and the names that
    it could do without, coldest first."""

    def __init__(self, urls: Sequence[str], *, timeout_s: float, load: Load) -> None:
        self._engines = [Engine(url) for url in dict.fromkeys(urls)]
        self._timeout_s = timeout_s
        self._load = load
        self._http: aiohttp.ClientSession | None = None
        self._anew: aiohttp.ClientSession | None = None  # a new connection for every request
        self._looking: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connections are open, and the engines are looked at again and again."""
        self._http, self._anew = self._session(force_close=False), self._session(force_close=True)
        self._looking = asyncio.create_task(self._keep_looking())
        try:
            yield
        finally:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            await asyncio.gather(self._http.close(), self._anew.close())

    def _session(self, *, force_close: bool) -> aiohttp.ClientSession:
        # no proxy of the environment comes between two processes of one machine: trust_env stays off
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30, force_close=force_close),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=self._timeout_s),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(engine.url for engine in self._engines)

    def health(self) -> dict[str, bool]:
        """As last seen."""
        return {engine.url: engine.healthy for engine in self._engines}

    async def look(self) -> dict[str, bool]:
        """Asks every engine what it holds; whether each answers."""
        await asyncio.gather(*(self._look_at(engine) for engine in self._engines))
        return self.health()

    def resident(self) -> list[str]:
        """Names that any engine holds, as last seen."""
        return list(dict.fromkeys(name for engine in self._engines for name in engine.resident))

    @contextlib.asynccontextmanager
    async def ask(self, path: str, body: bytes, *, adapter: str | None) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's beginning, from the first engine that gives one. Raises EngineDown, or what loading raises."""
        tried: list[Engine] = []
        problem: EngineDown | None = None
        while (engine := self._pick(adapter, tried)) is not None:
            tried.append(engine)
            engine.in_flight += 1
            try:
                answer = await self._answer(engine, path, body, adapter=adapter)
                if answer.status in UNAVAILABLE and len(tried) < len(self._engines):
                    answer.release()
                    continue
                try:
                    if adapter is not None:
                        engine.resident[adapter] = time.monotonic()
                    yield answer
                    return
                finally:
                    answer.close() if not answer.content.at_eof() else answer.release()
            except EngineSilent:
                raise  # it is computing; asking another one would double the work
            except EngineDown as err:
                problem = err
            finally:
                engine.in_flight -= 1
        raise problem or EngineDown(f"No engine answers: {', '.join(self.urls)}")

    def _pick(self, adapter: str | None, tried: Sequence[Engine]) -> Engine | None:
        """Healthy before left out, holding the version before not, then the least busy. One that is left out is tried when no other is left."""
        left = [engine for engine in self._engines if engine not in tried]
        if not left:
            return None
        return min(left, key=lambda e: (not e.healthy, adapter is not None and adapter not in e.resident, e.in_flight))

    async def _answer(self, engine: Engine, path: str, body: bytes, *, adapter: str | None) -> aiohttp.ClientResponse:
        for left in reversed(range(LOAD_TRIES + 1)):
            answer = await self._send(engine, path, body)
            if answer.status != 404 or adapter is None:
                return answer
            answer.release()
            engine.resident.pop(adapter, None)
            if left:
                async with engine.loading:
                    await self._look_at(engine)
                    if adapter not in engine.resident:
                        await self._load(engine.url, adapter, engine.coldest_first())
        raise AdapterNotResident(f"The engine at {engine.url} has not got adapter {adapter}, although it said that it had loaded it")

    async def _send(self, engine: Engine, path: str, body: bytes) -> aiohttp.ClientResponse:
        assert self._http is not None, "running() opens it"
        assert self._anew is not None, "running() opens it"
        # The first may be a kept connection that the engine had closed, as all of them are after its restart: the second is a new one.
        for session in (self._http, self._anew):
            try:
                answer = await session.post(engine.url + path, data=body, headers=_HEADERS)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as err:
                if session is self._anew or isinstance(err, aiohttp.ClientConnectorError):
                    raise self._left_out(engine, err) from err
            except aiohttp.ConnectionTimeoutError as err:
                raise self._left_out(engine, err) from err
            except TimeoutError as err:
                raise EngineSilent(f"The engine at {engine.url} did not answer within {self._timeout_s:g} s") from err
            except (aiohttp.ClientError, OSError) as err:
                raise self._left_out(engine, err) from err
            else:
                engine.healthy = True
                return answer
        raise AssertionError("unreachable")

    def _left_out(self, engine: Engine, err: Exception) -> EngineDown:
        if engine.healthy:
            log.warning("The engine at %s is left out until it answers again: %s", engine.url, err, extra={"action": "engine_down"})
        engine.healthy = False
        return EngineDown(f"The engine at {engine.url} cannot be reached: {err or type(err).__name__}")

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look_at(self, engine: Engine) -> None:
        assert self._http is not None, "running() opens it"
        try:
            async with self._http.get(f"{engine.url}/v1/models", timeout=aiohttp.ClientTimeout(total=LOOK_TIMEOUT_S)) as answer:
                cards: list[dict[str, Any]] = json.loads(await answer.read())["data"]
                names = [str(card["id"]) for card in cards]
        except TimeoutError:
            return  # busy is not gone
        except (aiohttp.ClientError, OSError) as err:
            self._left_out(engine, err)
            engine.resident = {}
            return
        except (ValueError, KeyError, TypeError) as err:
            log.warning("The engine at %s does not list its models: %r", engine.url, err, extra={"action": "engine_odd"})
            return
        engine.healthy = True
        engine.resident = {name: engine.resident.get(name, 0.0) for name in names if is_adapter_name(name)}
