"""What an operator can set about serving. Values only; daemon/config.py reads them from file and environment."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from daemon.serving.errors import UnsafeBind


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The gateway's front door."""

    host: str = "127.0.0.1"
    port: int = 8700
    api_key: str | None = field(default=None, repr=False)
    body_limit_bytes: int = 1 << 20
    upstream_timeout_s: float = 300.0  # the longest silence of the engine within one answer
    max_concurrent: int = 64  # answers at a time; more are asked to come back
    allowed_hosts: tuple[str, ...] = ()  # further names under which a gateway without a key may be addressed


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """What reconciling an engine needs to know besides the registry."""

    base_name: str
    base_digest: str | None = None  # when known, adapters made for another base are not loaded
    canary_tokens: int = 8  # how much text proves that an adapter does something


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_bind(settings: GatewaySettings) -> None:
    """Refuse to open an unguarded gateway to a network."""
    if not settings.api_key and not is_loopback(settings.host):
        raise UnsafeBind(f"The gateway would listen on {settings.host}:{settings.port} without an API key")
