"""Garbage collection: given up on its row, drained, unloaded everywhere, a grace period, and only then the files.

Every step is a fact that the next run can see (the row's mark, the engines' lists, the folder), so a run that dies is finished by another one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.serving.client import EngineClient
from daemon.serving.errors import EngineDown, EngineFailed
from daemon.serving.settings import GcSettings
from registry import Adapter, AdapterState, Published, Registry

log = logging.getLogger(__name__)
_MAKING = frozenset({AdapterState.LEARNING, AdapterState.CHECKING})
InFlight = Callable[[], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class GcReport:
    """By adapter name, or folder. `waiting` and `kept` say why."""

    given_up: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    waiting: tuple[tuple[str, str], ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    freed_bytes: int = 0


def collect(
    registry: Registry,
    clients: Sequence[EngineClient],
    *,
    in_flight: InFlight,
    settings: GcSettings,
    now: datetime,
    actor: str,
    dry_run: bool = False,
    give_up: bool = True,
) -> GcReport:
    """Gives up what nothing protects, and deletes the files of what was given up long enough ago. Raises nothing about one adapter only.

    `in_flight` tells how many answers each version is giving; it raises EngineDown where that cannot be known, and then nothing is deleted.
    """
    kept = protected(registry, keep=settings.keep)
    given_up, waiting, deleted, freed = [], [], [], 0
    for adapter in [a for a in registry.read.bare_adapters(present=True) if a.digest is not None][::-1]:
        if give_up and adapter.name not in kept:
            given_up.append(adapter.name)
            waiting.append((adapter.name, f"its files go after {_span(settings.grace_s)}"))
            if not dry_run:
                registry.write.mark_removed(adapter.name, actor=actor, reason="garbage collection")
    folders = registry.artifacts.published()
    rows = registry.read.find_adapters(
        found.adapter for found in folders
    )  # after the folders: what is published meanwhile is not among them
    for found in folders:
        name = found.adapter
        why = _why_not(found, rows.get(name), clients, in_flight, settings, now, is_given_up=name in given_up, dry_run=dry_run)
        if why == "":
            size = sum(file.stat().st_size for file in found.path.rglob("*") if file.is_file())
            if not dry_run:
                registry.artifacts.remove(found.path)
                registry.write.add_event(actor, "deleted", f"adapter {name}", {"folder": str(found.path), "bytes": size})
            deleted.append(name)
            freed += size
        elif why is not None:
            waiting.append((name, why))
    return GcReport(tuple(given_up), tuple(deleted), tuple(waiting), tuple(sorted(kept.items())), freed)


def protected(registry: Registry, *, keep: int) -> dict[str, str]:
    """What must not go, each with why: served, tried, gone back to, in the making, or among the newest of its topic."""
    adapters, aliases = registry.read.adapters_and_aliases(present=True)
    why: dict[str, str] = {}
    for alias in aliases:
        if alias.adapter is not None:
            why.setdefault(alias.adapter, f"served as {alias.name}")
    for canary in registry.read.canaries():
        why.setdefault(canary.adapter, f"canary of {canary.alias}")
    for alias_name, window in registry.read.rollback_windows().items():
        for name in window:
            why.setdefault(name, f"where {alias_name} goes back to")
    for adapter in adapters:
        if adapter.state in _MAKING:
            why.setdefault(adapter.name, f"it is {adapter.state.value}")
            if adapter.parent is not None:
                why.setdefault(adapter.parent, f"{adapter.name} grows from it")
    for topic in {adapter.topic for adapter in adapters}:
        _protect_newest([a for a in adapters if a.topic == topic], why, keep=keep)
    return why


def _protect_newest(adapters: Sequence[Adapter], why: dict[str, str], *, keep: int) -> None:
    """Of one topic, newest first: those left for a newer one, and the one that passed and waits for its release."""
    left = [a for a in adapters if a.state in (AdapterState.RETIRED, AdapterState.ROLLED_BACK)]
    for adapter in left[:keep]:
        why.setdefault(adapter.name, f"among the {keep} newest of {adapter.topic}")
    for adapter in [a for a in adapters if a.state is AdapterState.PASSED][:1]:
        why.setdefault(adapter.name, "it passed and waits for its release")


def _why_not(
    found: Published,
    row: Adapter | None,
    clients: Sequence[EngineClient],
    in_flight: InFlight,
    settings: GcSettings,
    now: datetime,
    *,
    is_given_up: bool,
    dry_run: bool,
) -> str | None:
    """Why this folder\'s files stay: a sentence, None if it is in use, "" if nothing stands against deleting them. `is_given_up`: only just now."""
    if row is not None and row.state is AdapterState.LEARNING:
        return None  # its row takes it in when the daemon starts again
    own = row if row is not None and row.digest == found.digest else None
    if own is not None and (own.removed_at is None or is_given_up):
        return None
    try:
        if own is not None:
            if (answers := in_flight().get(found.adapter, 0)) > 0:
                return f"it gives {answers} answers"
            if (holding := _unload_everywhere(found, clients, dry_run=dry_run)) is not None:
                return holding
    except (EngineDown, EngineFailed) as err:
        return f"it cannot be known who still needs it: {err}"
    since = datetime.fromtimestamp(found.path.stat().st_mtime, now.tzinfo) if own is None else own.removed_at
    assert since is not None, "it is marked"
    left = since + timedelta(seconds=settings.grace_s) - now
    return f"its grace ends in {_span(left.total_seconds())}" if left > timedelta() else ""


def _unload_everywhere(found: Published, clients: Sequence[EngineClient], *, dry_run: bool) -> str | None:
    """Every engine must say that it has not got it: one that is down may come back with it, and die of a missing folder."""
    for client in clients:
        held = [card.name for card in client.models() if card.root == str(found.path.resolve()) or card.name == found.adapter]
        if held and dry_run:
            return f"{client.url} holds it"
        for name in held:
            client.unload(name)
        if held and {card.name for card in client.models()} & set(held):
            return f"{client.url} does not let go of it"
    return None


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"


def gateway_in_flight(url: str, *, api_key: str | None) -> InFlight:
    """Asks the gateway. Nobody at its address gives no answers; a gateway that refuses to say is not taken for silence."""

    def ask() -> Mapping[str, int]:
        with EngineClient(url, timeout_s=5.0, api_key=api_key) as client:
            return client.in_flight()

    return ask
