"""Who may come in, how much they may bring, and the headers that every answer carries. Knows nothing about models."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.serving.protocol import error_json
from daemon.serving.settings import GatewaySettings, is_loopback

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class BodyTooLarge(Exception):
    """The request's body is larger than the gateway reads."""


class Guard:
    """Middleware: asks for the key where one is set; without one, answers only requests that were really meant for this machine."""

    def __init__(self, app: ASGIApp, *, settings: GatewaySettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        if not self._is_meant_for_us(headers):
            refusal = error_json(421, f"This gateway is not {headers.get('host', 'that')[:80]!r}.", kind="MisdirectedRequest")
            await refusal(scope, receive, send_guarded)
        elif scope["path"] not in OPEN_PATHS and not self._has_key(headers.get("authorization", "")):
            ask = {"WWW-Authenticate": 'Basic realm="lorefeed"' if scope["path"] == "/" else "Bearer"}
            refusal = error_json(401, "The API key is missing or wrong.", kind="AuthenticationError", headers=ask)
            await refusal(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def _is_meant_for_us(self, headers: Headers) -> bool:
        """Without a key, a page elsewhere could have its own name resolve to this machine and read what is here (DNS rebinding)."""
        if self._settings.api_key:
            return True
        host = headers.get("host", "")
        name = host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]
        return is_loopback(name) or name.lower() in self._settings.allowed_hosts

    def _has_key(self, authorization: str) -> bool:
        """Bearer for programs; Basic, with the key as password, for a browser that opens the page."""
        if not self._settings.api_key:
            return True
        kind, _, value = authorization.partition(" ")
        given = value.strip().encode("latin-1")  # the bytes that were sent
        if kind.lower() == "basic":
            given = _basic_password(given)
        elif kind.lower() != "bearer":
            given = b""
        return hmac.compare_digest(given, self._settings.api_key.encode())


def _basic_password(value: bytes) -> bytes:
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""  # not Basic at all: no password


async def read_body(request: Request, *, limit_bytes: int) -> bytes:
    """The whole body, or BodyTooLarge as soon as that is known."""
    if int(request.headers.get("content-length") or 0) > limit_bytes:
        raise BodyTooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise BodyTooLarge
    return bytes(body)
