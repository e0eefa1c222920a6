"""Who may come in, how much they may bring, and the headers that every answer carries. Knows nothing about models."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.serving.errors import UnsafeBind
from daemon.serving.keys import Holder, digest_of, holder_of
from daemon.serving.protocol import error_json
from daemon.serving.settings import GatewaySettings, is_loopback
from registry import RegistryError, ServedView

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
LOCAL_PATHS = frozenset({"/lorefeed/inflight"})  # garbage collection asks, and has no key: the registry keeps only digests
ADMIN_PATH = "/lorefeed/admin/"
WEB_PATH = "/ui"  # the dashboard asks for keys itself (daemon/web/session.py), because a browser has to be shown where to give one
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_RAW_SECURITY_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
# The dashboard's own files and forms, and nothing from anywhere else.
WEB_POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_WEB_HEADERS = {
    **SECURITY_HEADERS,
    "Content-Security-Policy": WEB_POLICY,
    "Referrer-Policy": "same-origin",
}  # without it a form's Origin is null
_RAW_WEB_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _WEB_HEADERS.items()]


class BodyTooLarge(Exception):
    """The request's body is larger than the gateway reads."""


class BodyTooSlow(Exception):
    """The request's body did not arrive in time."""


class ClientGone(Exception):
    """The client left before its request was whole."""


class Keys:
    """The keys that open this gateway: the registry's, read for every request, and the one of the configuration."""

    def __init__(self, view: ServedView, settings: GatewaySettings) -> None:
        self._view = view
        self._own = MappingProxyType({digest_of(settings.api_key): False} if settings.api_key else {})

    def all(self) -> Mapping[str, bool]:
        keys = self._view.now().keys
        return {**self._own, **keys} if keys else self._own


def check_bind(settings: GatewaySettings, keys: Mapping[str, bool]) -> None:
    """Refuse to open an unguarded gateway to a network."""
    if not keys and not is_loopback(settings.host):
        raise UnsafeBind(f"The gateway would listen on {settings.host}:{settings.port} without an API key")


class Guard:
    """Middleware: asks for a key where there are any; without one, answers only requests that were really meant for this machine."""

    def __init__(self, app: ASGIApp, *, settings: GatewaySettings, keys: Callable[[], Mapping[str, bool]]) -> None:
        self._app = app
        self._settings = settings
        self._keys = keys
        self._is_local = is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = _RAW_WEB_HEADERS if scope["path"].startswith(WEB_PATH) else _RAW_SECURITY_HEADERS
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        try:
            refusal = self._refusal(scope)
        except RegistryError as err:
            refusal = error_json(503, f"The registry cannot be read: {err}", kind="ServiceUnavailable", headers={"Retry-After": "5"})
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if path in OPEN_PATHS:
            return None
        headers = Headers(scope=scope)
        keys = self._keys()
        if path in LOCAL_PATHS and _is_from_here(scope) and self._is_meant_for_us(headers.get("host", "")):
            return None
        holder = holder_of(_given_key(headers.get("authorization", "")), keys) if keys else Holder.NOBODY
        if not keys and not self._is_meant_for_us(headers.get("host", "")):
            return error_json(421, f"This gateway is not {headers.get('host', 'that')[:80]!r}.", kind="MisdirectedRequest")
        if (path == "/" or path.startswith(f"{WEB_PATH}/")) and (keys or self._is_local):
            return None
        if holder is Holder.NOBODY and (keys or not self._is_local):
            return error_json(401, "The API key is missing or wrong.", kind="AuthenticationError", headers={"WWW-Authenticate": "Bearer"})
        if path.startswith(ADMIN_PATH) and holder is not Holder.ADMIN:
            how = "Make one: lorefeed keys add NAME --admin"
            return error_json(403, f"This changes what is served and needs an administrator's key. {how}", kind="PermissionDenied")
        return None

    def _is_meant_for_us(self, host: str) -> bool:
        """Without a key, a page elsewhere could have its own name resolve to this machine and read what is here (DNS rebinding)."""
        name = host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]
        return is_loopback(name) or name.lower() in self._settings.allowed_hosts


def _is_from_here(scope: Scope) -> bool:
    client = scope.get("client")
    return client is not None and is_loopback(str(client[0]))


def _given_key(authorization: str) -> bytes:
    """Bearer; or Basic, with the key as password, for tools that know no other."""
    kind, _, value = authorization.partition(" ")
    given = value.strip().encode("latin-1")  # the bytes that were sent
    if kind.lower() == "basic":
        return _basic_password(given)
    return given if kind.lower() == "bearer" else b""


def _basic_password(value: bytes) -> bytes:
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""  # not Basic at all: no password


async def read_body(scope: Scope, receive: Receive, *, limit_bytes: int, timeout_s: float) -> bytes:
    """The whole body, or BodyTooLarge as soon as that is known, BodyTooSlow, ClientGone."""
    length = Headers(scope=scope).get("content-length")
    if length is not None and int(length) > limit_bytes:
        raise BodyTooLarge
    try:
        async with asyncio.timeout(timeout_s):
            return await _collect(receive, limit_bytes)
    except TimeoutError as err:
        raise BodyTooSlow from err


async def _collect(receive: Receive, limit_bytes: int) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit_bytes:
            raise BodyTooLarge
        return body
    parts = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts += message.get("body", b"")
        if len(parts) > limit_bytes:
            raise BodyTooLarge
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()
