"""Makes an engine hold what the registry says it should: the served adapters and those a rollback would return to. Safe to run at any time.

The registry is the only truth: an engine that was restarted, half loaded or filled by another home comes out right.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from daemon.serving.client import EngineClient
from daemon.serving.errors import AdapterNotResident, AdapterRefused, EngineFailed
from daemon.serving.names import is_adapter_name
from daemon.serving.settings import ReconcileSettings
from registry import Adapter, AdapterState, Registry, RegistryError, Release

log = logging.getLogger(__name__)
ACTOR = "reconcile"
SAME_LOGPROB = 1e-5  # closer than this is the same computation
REMIND_AFTER = timedelta(days=1)
EVENTS_LOOKED_AT = 500
_NOT_NEEDED = frozenset({AdapterState.RETIRED, AdapterState.ROLLED_BACK, AdapterState.REFUSED})


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What was done to the engine, by adapter name, and sentences about what could not be done."""

    loaded: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def reconcile(registry: Registry, client: EngineClient, *, settings: ReconcileSettings) -> ReconcileReport:
    """Load what is missing, replace what is not ours, unload what nobody may go back to."""
    resident = {card.name: card.root for card in client.models() if is_adapter_name(card.name)}
    wanted = wanted_adapters(registry)
    loaded, kept, problems = [], [], []
    for adapter in wanted:
        try:
            if adapter.name in resident and _is_ours(registry, adapter, resident[adapter.name]):
                kept.append(adapter.name)
                continue
            if adapter.name in resident:
                client.unload(adapter.name)  # of another home: the name means something else here
            load_verified(registry, client, adapter, settings=settings)
            loaded.append(adapter.name)
            if not changes_answers(registry, client, adapter, settings=settings):
                problems.append(_report(registry, adapter, f"{adapter.name} is loaded but answers exactly like the base model"))
        except (RegistryError, AdapterRefused, AdapterNotResident, EngineFailed) as err:
            problems.append(_report(registry, adapter, str(err)))
    unloaded = _unload_unneeded(registry, client, resident=resident, wanted={adapter.name for adapter in wanted})
    if loaded or unloaded or problems:
        log.info("Reconciled the engine: %d loaded, %d unloaded, %d problems", len(loaded), len(unloaded), len(problems))
    return ReconcileReport(loaded=tuple(loaded), unloaded=tuple(unloaded), kept=tuple(kept), problems=tuple(problems))


def wanted_adapters(registry: Registry) -> list[Adapter]:
    """Every alias's adapter, then those in the rollback windows; what is served now comes first."""
    aliases = registry.read.aliases()
    names = [alias.adapter for alias in aliases]
    for alias in aliases:
        names += rollback_window(registry.read.releases(alias.name), alias.adapter)
    return [registry.read.adapter(name) for name in dict.fromkeys(name for name in names if name is not None)]


def rollback_window(releases: Sequence[Release], current: str | None) -> Iterator[str]:
    """Where a rollback would go, and where the alias came from just now (answers may still be running there). Newest release first."""
    arrival = next((r for r in releases if r.to_adapter == current and not r.rollback), None)
    for release in (releases[0] if releases else None, arrival):
        if release is not None and release.from_adapter is not None:
            yield release.from_adapter


def load_verified(registry: Registry, client: EngineClient, adapter: Adapter, *, settings: ReconcileSettings) -> None:
    """Load one adapter after proving that its folder is what was published and that it was made for this base."""
    if adapter.removed_at is not None:
        raise AdapterNotResident(f"{adapter.name} cannot be served: its folder was deleted on {adapter.removed_at:%Y-%m-%d}")
    if settings.base_digest is not None and adapter.base_digest != settings.base_digest:
        raise AdapterNotResident(
            f"{adapter.name} was made for base {adapter.base_digest[:12]}, but the engine serves base {settings.base_digest[:12]}",
            hint=f"Serve the base it was made for, or learn again: lorefeed learn {adapter.topic}",
        )
    path = registry.artifacts.verify(adapter).resolve()
    client.load(adapter.name, str(path))
    log.info("Loaded adapter %s", adapter.name, extra={"action": "loaded", "adapter": adapter.name})


def changes_answers(registry: Registry, client: EngineClient, adapter: Adapter, *, settings: ReconcileSettings) -> bool:
    """Whether the engine computes anything else with the adapter than without: an adapter that matched no layer loads without a word."""
    learnt = registry.read.definitions(ids=adapter.definitions or adapter.rehearsed)
    prompt = f"{learnt[0].entity[:100] if learnt else adapter.topic} is"
    with_adapter, without = (
        client.complete(prompt, model=name, max_tokens=settings.canary_tokens, temperature=0.0, logprobs=1)
        for name in (adapter.name, settings.base_name)
    )
    if with_adapter.tokens != without.tokens or len(with_adapter.token_logprobs) != len(without.token_logprobs):
        return True
    pairs = zip(with_adapter.token_logprobs, without.token_logprobs, strict=True)
    return any(abs(a - b) > SAME_LOGPROB for a, b in pairs)


def _is_ours(registry: Registry, adapter: Adapter, root: str | None) -> bool:
    """Engines say which folder a name was loaded from; where one does not, the name has to do."""
    return root is None or root == str(registry.artifacts.path(adapter).resolve())


def _unload_unneeded(registry: Registry, client: EngineClient, *, resident: dict[str, str | None], wanted: set[str]) -> list[str]:
    """Versions that were left, taken back or refused. Names unknown to this registry are somebody else's and stay."""
    states = {adapter.name: adapter.state for adapter in registry.read.adapters()}
    unneeded = [name for name in resident if name not in wanted and states.get(name) in _NOT_NEEDED]
    for name in unneeded:
        client.unload(name)
    return unneeded


def _report(registry: Registry, adapter: Adapter, problem: str) -> str:
    """An event row for a person to see; the same one is not written at every tick."""
    log.warning("%s", problem, extra={"action": "not served", "adapter": adapter.name})
    about, since = f"adapter {adapter.name}", datetime.now(UTC) - REMIND_AFTER
    recent = (e for e in registry.read.events(EVENTS_LOOKED_AT) if e.object == about and e.actor == ACTOR and e.at > since)
    if not any(event.detail.get("problem") == problem for event in recent):
        registry.write.add_event(ACTOR, "not served", about, {"problem": problem})
    return problem
