"""What an operator can set about serving. Values only; daemon/config.py reads them from file and environment."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

ANSWERS_MAY_END_S = 30  # of whoever is asked to end: gateway, embedded engine and vLLM alike


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The gateway's front door."""

    host: str = "127.0.0.1"
    port: int = 8700
    api_key: str | None = field(default=None, repr=False)  # beside the keys of the registry; never an administrator's
    body_limit_bytes: int = 1 << 20
    body_timeout_s: float = 30.0  # for the whole request to arrive
    upstream_timeout_s: float = 300.0  # the longest silence of the engine within one answer
    max_concurrent: int = 64  # answers at a time; more are asked to come back
    max_tokens: int = 4096  # most tokens that one request may ask for, all its answers together
    allowed_hosts: tuple[str, ...] = ()  # further names under which a gateway without a key may be addressed


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """What reconciling an engine needs to know besides the registry."""

    base_name: str
    base_digest: str | None = None  # when known, adapters made for another base are not loaded
    public_key: Path | None = None  # when given, adapters must be signed by its private key
    base_folder: Path | None = None  # when known, adapters must fit the shapes of its layers
    canary_tokens: int = 8  # how much text proves that an adapter does something
    proof_questions: int = 4  # of the check's own questions, asked again after each load
    max_resident: int = 8  # adapters an engine holds without reading any from disk again
    idle_s: float = 0.0  # how long a version stays that was loaded for those who ask for it by name
    max_rank: int | None = None  # when known, adapters of a higher rank are not offered to the engine


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """The questions that a served version is asked again and again."""

    questions: int = 6
    right_min: float = 0.5  # share of what it answered rightly in its check; below it, twice running, is a regression


@dataclass(frozen=True, slots=True)
class GcSettings:
    """What garbage collection leaves alone."""

    grace_s: float = 86400.0  # from the moment nobody can ask for a version until its files go
    keep: int = 3  # newest retired versions of each topic that stay whatever their age


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
