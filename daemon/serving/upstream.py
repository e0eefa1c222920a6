"""The gateway's way to the engine: sends a request on, streams the answer back, and knows which versions have answers under way."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import anyio
import httpx2
from starlette.requests import Request
from starlette.responses import Response

from daemon.serving.errors import AdapterNotResident, EngineDown
from daemon.serving.streams import ClosingStream, unless_gone

log = logging.getLogger(__name__)
CONNECT_TIMEOUT_S = 5.0
HEALTH_TIMEOUT_S = 2.0


class EngineSilent(EngineDown):
    """The engine took the request but did not answer in time."""

    hint = "Ask for fewer tokens, or raise the upstream timeout"


class InFlight:
    """How many answers each version is giving at this moment."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def counts(self) -> dict[str, int]:
        return dict(sorted((name, n) for name, n in self._counts.items() if n))

    def total(self) -> int:
        return self._counts.total()

    def begin(self, name: str) -> None:
        self._counts[name] += 1

    def end(self, name: str) -> None:
        self._counts[name] -= 1
        if not self._counts[name]:
            del self._counts[name]


class Upstream:
    """One engine. `load` is called, once at a time, when the engine lacks an adapter that it should have."""

    def __init__(self, engine_url: str, *, timeout_s: float, load: Callable[[str], Awaitable[None]]) -> None:
        self.url = engine_url.rstrip("/")
        self._timeout_s = timeout_s
        self._load = load
        self._loading = anyio.Lock()
        # trust_env: a proxy of the environment must not come between two processes of one machine
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            timeout=httpx2.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def healthy(self) -> bool:
        try:
            return (await self._http.get("/health", timeout=HEALTH_TIMEOUT_S)).status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False

    async def resident(self) -> list[str]:
        """The names that the engine lists; none if it does not answer."""
        try:
            cards = (await self._http.get("/v1/models", timeout=HEALTH_TIMEOUT_S)).json()["data"]
            return [str(card["id"]) for card in cards]
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            return []

    async def forward(
        self, request: Request, body: dict[str, Any], *, adapter: str | None, headers: Mapping[str, str], done: Callable[[], None]
    ) -> Response:
        """The engine's answer, streamed if it streams. `done` is called when the last byte has gone or the client has."""
        try:
            answer = await unless_gone(request, self._ask(request.url.path, body, adapter=adapter))
        except BaseException:
            done()
            raise

        async def close() -> None:
            done()
            await answer.aclose()

        content_type = answer.headers.get("content-type", "application/json")
        chunks = self._chunks(answer, is_stream=content_type.startswith("text/event-stream"))
        return ClosingStream(chunks, close=close, status_code=answer.status_code, headers=headers, media_type=content_type)

    async def _ask(self, path: str, body: dict[str, Any], *, adapter: str | None) -> httpx2.Response:
        answer = await self._send(path, body)
        if answer.status_code != httpx2.codes.NOT_FOUND or adapter is None:
            return answer
        await answer.aclose()
        async with self._loading:
            if adapter not in await self.resident():
                await self._load(adapter)
        answer = await self._send(path, body)
        if answer.status_code == httpx2.codes.NOT_FOUND:
            await answer.aclose()
            raise AdapterNotResident(f"The engine at {self.url} has not got adapter {adapter}, although it said that it had loaded it")
        return answer

    async def _send(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        request = self._http.build_request("POST", path, content=json.dumps(body).encode(), headers=headers)
        try:
            return await self._http.send(request, stream=True)
        except httpx2.ReadTimeout as err:
            raise EngineSilent(f"The engine at {self.url} did not answer within {self._timeout_s:g} s") from err
        except httpx2.HTTPError as err:
            raise EngineDown(f"The engine at {self.url} cannot be reached: {err or type(err).__name__}") from err

    async def _chunks(self, answer: httpx2.Response, *, is_stream: bool) -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.aiter_raw():
                yield chunk
        except httpx2.HTTPError as err:
            log.warning("The engine at %s broke off an answer: %s", self.url, err)
            if not is_stream:
                raise  # the client sees a cut connection, which is what happened
            error = {"message": f"The engine at {self.url} broke off the answer.", "type": "ServiceUnavailable", "param": None, "code": 503}
            yield b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
