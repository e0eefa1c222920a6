"""Serving's part of the daemon's work, from the configuration: the questions to what is served, and the files that may go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon.config import Settings
from daemon.serving.client import EngineClient
from daemon.serving.gc import GcReport, collect, gateway_in_flight
from daemon.serving.live import ask_live
from daemon.serving.settings import CanarySettings, GcSettings, ReconcileSettings
from daemon.serving.started import last_start
from registry import Registry

GC_ACTOR = "gc"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - addresses to listen on, not to call


def reconcile_settings(settings: Settings) -> ReconcileSettings:
    """With what the engine was started with, where this home started it; of an engine that somebody else starts no more is known than it says."""
    engine = settings.engine
    started = None if engine.url is not None else last_start(settings.home, model=settings.model, revision=settings.revision)
    always = ReconcileSettings(
        base_name=settings.served_name,
        max_resident=engine.max_resident,
        idle_s=engine.idle_s,
        public_key=settings.signing.public_key,
    )
    if started is None:
        return always
    return replace(always, base_digest=started.base_digest, base_folder=Path(started.folder), max_rank=started.max_rank)


@contextmanager
def engine_clients(settings: Settings) -> Iterator[Sequence[EngineClient]]:
    """One for each engine."""
    with ExitStack() as stack:
        yield [stack.enter_context(EngineClient(url)) for url in settings.engine.addresses]


def ask_served(registry: Registry, settings: Settings) -> list[dict[str, Any]]:
    """The live canary's questions, once."""
    wanted = settings.canary
    limits = CanarySettings(questions=wanted.questions, right_min=wanted.right_min)
    with engine_clients(settings) as clients:
        return [asdict(report) for report in ask_live(registry, clients, settings=limits)]


def collect_garbage(registry: Registry, settings: Settings, *, actor: str, dry_run: bool = False, give_up: bool = True) -> GcReport:
    """Garbage collection as configured. Without `give_up` only what was given up before is brought to its end."""
    front = settings.gateway
    url = f"http://{_EVERYWHERE.get(front.host, front.host)}:{front.port}"
    key = front.api_key.get_secret_value() if front.api_key else None
    limits = GcSettings(grace_s=settings.gc.grace_s, keep=settings.gc.keep)
    with engine_clients(settings) as clients:
        return collect(
            registry,
            clients,
            in_flight=gateway_in_flight(url, api_key=key),
            settings=limits,
            now=datetime.now(UTC),
            actor=actor,
            dry_run=dry_run,
            give_up=give_up,
        )


def finish_collecting(registry: Registry, settings: Settings) -> dict[str, Any]:
    """What the daemon does by itself every hour."""
    report = collect_garbage(registry, settings, actor=GC_ACTOR, give_up=settings.gc.automatic)
    return {"given_up": list(report.given_up), "deleted": list(report.deleted), "freed_bytes": report.freed_bytes}
