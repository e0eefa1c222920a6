"""Whether the engine and the gateway answer, and where. Uses the standard library alone, so that `status` need not load an HTTP client."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from daemon.config import Settings

TIMEOUT_S = 2.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - addresses to listen on, not to call


def gateway_url(settings: Settings) -> str:
    """Where this machine reaches the gateway: one that listens everywhere also listens on the loopback."""
    host = _EVERYWHERE.get(settings.gateway.host, settings.gateway.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.gateway.port}"


def gateway_answers(settings: Settings) -> bool:
    return answers(gateway_url(settings), "/healthz")


def engine_answers(settings: Settings) -> bool:
    return answers(settings.engine.address, "/health")


def answers(url: str, path: str, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether a GET is answered with 200. No proxy stands between two processes of one machine."""
    try:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    except ValueError:  # the address is misspelt, so nobody answers there
        return False
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
