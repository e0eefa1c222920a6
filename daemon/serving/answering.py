"""One request's way through the gateway: read, decide who answers, let an engine answer, count. Plain ASGI, because every request passes here."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from daemon.serving.access import BodyTooLarge, BodyTooSlow, ClientGone, read_body
from daemon.serving.errors import AdapterNotResident, AdapterRefused, EngineDown, EngineFailed, ModelNotServed, ServingError
from daemon.serving.flight import InFlight
from daemon.serving.measures import Measures, UsageTap, usage_in
from daemon.serving.protocol import bad_request, error_json, not_found
from daemon.serving.resolve import Choice, Resolver
from daemon.serving.settings import GatewaySettings
from daemon.serving.streams import WhileClientListens
from daemon.serving.turns import REASON
from daemon.serving.upstream import UNAVAILABLE, Engines, EngineSilent
from daemon.serving.wishes import Unfit, wish_in, with_usage
from registry import RegistryError

log = logging.getLogger(__name__)
RETRY_AFTER_S = 5
ASLEEP_RETRY_S = 30  # learning takes a minute or more
GONE = 499
_PROBLEMS = (EngineDown, EngineFailed, AdapterNotResident, AdapterRefused, RegistryError)


class Answering:
    """The two endpoints that answer. For one event loop."""

    def __init__(
        self,
        resolver: Resolver,
        engines: Engines,
        *,
        in_flight: InFlight,
        measures: Measures,
        base_name: str,
        settings: GatewaySettings,
        asleep: Callable[[], bool],
    ) -> None:
        self._asleep = asleep
        self._resolver = resolver
        self._engines = engines
        self._in_flight = in_flight
        self._measures = measures
        self._base_name = base_name
        self._settings = settings
        self._admitted = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        if self._admitted >= self._settings.max_concurrent:
            message = f"The gateway is already giving {self._settings.max_concurrent} answers; try again shortly."
            refusal = error_json(429, message, kind="RateLimitError", headers={"Retry-After": "1"})
            await refusal(scope, receive, send)
            self._measures.answered("unknown", "none", 429, seconds=time.monotonic() - started)
            return
        self._admitted += 1
        try:
            await self._answer(scope, receive, send, started)
        finally:
            self._admitted -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send, started: float) -> None:
        limits = self._settings
        try:
            content = await read_body(scope, receive, limit_bytes=limits.body_limit_bytes, timeout_s=limits.body_timeout_s)
            body = wish_in(content, max_tokens=limits.max_tokens)
            choice = await self._resolver.choose(body["model"], body)
        except ClientGone:
            return
        except BodyTooLarge:
            message = f"The request is larger than {limits.body_limit_bytes} bytes."
            refusal = error_json(413, message, kind="BadRequestError", headers={"Connection": "close"})
        except BodyTooSlow:
            message = f"The request did not arrive within {limits.body_timeout_s:g} s."
            refusal = error_json(408, message, kind="RequestTimeout", headers={"Connection": "close"})
        except Unfit as err:
            refusal = bad_request(str(err), param=err.param)
        except ModelNotServed as err:
            refusal = not_found(str(err), param="model")
        except (AdapterNotResident, RegistryError) as err:
            refusal = _refusal(err)
        else:
            if not self._asleep():  # as late as can be: what is sent on has to come to its end before the engine sleeps
                await self._forward(scope, receive, send, body, choice, started)
                return
            refusal = error_json(
                503, f"{REASON}; ask again later.", kind="ServiceUnavailable", headers={"Retry-After": str(ASLEEP_RETRY_S)}
            )
        await refusal(scope, receive, send)  # counted without the words of whoever named nothing that we serve
        self._measures.answered("unknown", "none", refusal.status_code, seconds=time.monotonic() - started)

    async def _forward(self, scope: Scope, receive: Receive, send: Send, body: dict[str, Any], choice: Choice, started: float) -> None:
        headers = {"x-lorefeed-model": choice.model, "x-lorefeed-adapter": choice.answered_by, "x-lorefeed-scope": choice.scope}
        body, keep_usage = with_usage(body)
        content = json.dumps(body | {"model": choice.adapter or self._base_name}).encode()
        self._in_flight.begin(choice.answered_by)
        status = GONE
        try:
            async with WhileClientListens(receive), self._engines.ask(scope["path"], content, adapter=choice.adapter) as answer:
                status = answer.status
                self._measures.first_byte(choice.model, choice.answered_by, time.monotonic() - started)
                usage = await _pass_on(answer, send, headers, keep_usage=keep_usage)
                self._measures.used(choice.model, choice.answered_by, usage)
        except ClientDisconnect:
            pass
        except _PROBLEMS as err:
            refusal = _refusal(err, headers=headers)
            status = refusal.status_code
            await refusal(scope, receive, send)
        finally:
            self._in_flight.end(choice.answered_by)
            self._measures.answered(choice.model, choice.answered_by, status, seconds=time.monotonic() - started)


async def _pass_on(answer: aiohttp.ClientResponse, send: Send, headers: Mapping[str, str], *, keep_usage: bool) -> dict[str, int]:
    """The engine's answer to the client, as it comes; returns the usage that it reports."""
    kind = answer.headers.get("content-type", "application/json")
    raw = [(b"content-type", kind.encode("latin-1")), *((name.encode(), value.encode("ascii")) for name, value in headers.items())]
    if answer.status in UNAVAILABLE:
        raw.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    if kind.startswith("text/event-stream"):
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        return await _pass_on_stream(answer, send, keep_usage=keep_usage)
    try:
        body = await answer.read()
    except (aiohttp.ClientError, OSError) as err:
        raise EngineFailed(f"The engine at {answer.url.origin()} broke off its answer: {err or type(err).__name__}", status=502) from err
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
    return usage_in(body)


async def _pass_on_stream(answer: aiohttp.ClientResponse, send: Send, *, keep_usage: bool) -> dict[str, int]:
    tap = UsageTap(keep=keep_usage)
    last = b""
    try:
        async for chunk in answer.content.iter_any():
            if events := tap.feed(chunk):
                await send({"type": "http.response.body", "body": events, "more_body": True})
        last = tap.rest()
    except (aiohttp.ClientError, OSError) as err:
        log.warning("The engine at %s broke off an answer: %r", answer.url.origin(), err, extra={"action": "broken_off"})
        message = f"The engine at {answer.url.origin()} broke off the answer."
        error = {"message": message, "type": "ServiceUnavailable", "param": None, "code": 503}
        last = b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
    await send({"type": "http.response.body", "body": last})
    return tap.usage


def _refusal(error: ServingError | RegistryError, *, headers: Mapping[str, str] | None = None) -> Any:
    if isinstance(error, EngineSilent):
        return error_json(504, str(error), kind="GatewayTimeout", headers=dict(headers or {}))
    more = {**(headers or {}), "Retry-After": str(RETRY_AFTER_S)}
    return error_json(503, f"{error}. {error.hint}.", kind="ServiceUnavailable", headers=more)
