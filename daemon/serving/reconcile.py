"""Makes engines hold what the registry says they should: served adapters, canaries, and those a rollback would return to. Safe at any time.

The registry is the only truth: an engine that was restarted, half loaded or filled by another home comes out right. What fails on its way into
an engine is not served, and its row says why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.serving.client import EngineClient
from daemon.serving.errors import AdapterNotResident, AdapterRefused, EngineDown, EngineFailed
from daemon.serving.names import is_adapter_name
from daemon.serving.preload import preload_problem
from daemon.serving.questions import own_questions, right
from daemon.serving.settings import ReconcileSettings
from registry import Adapter, AdapterState, ArtifactDamaged, Registry, signature_problem

log = logging.getLogger(__name__)
ACTOR = "reconcile"
SAME_LOGPROB = 1e-5  # closer than this is the same computation
_NOT_NEEDED = frozenset({AdapterState.RETIRED, AdapterState.ROLLED_BACK, AdapterState.REFUSED})
_UNFIT = (ArtifactDamaged, AdapterRefused, AdapterNotResident)


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What was done to the engine, by adapter name, and sentences about what could not be done."""

    loaded: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def reconcile_all(registry: Registry, clients: Sequence[EngineClient], *, settings: ReconcileSettings) -> dict[str, ReconcileReport]:
    """Every engine of the base model, by its URL. One that is down is a problem in its report; it is asked again next time."""
    reports = {}
    for client in clients:
        try:
            reports[client.url] = reconcile(registry, client, settings=settings)
        except (EngineDown, EngineFailed) as err:
            reports[client.url] = ReconcileReport(problems=(str(err),))
    return reports


def reconcile(registry: Registry, client: EngineClient, *, settings: ReconcileSettings) -> ReconcileReport:
    """Load what is missing, replace what is not ours, unload what is damaged and what nobody may go back to."""
    resident = {card.name: card.root for card in client.models() if is_adapter_name(card.name)}
    wanted = wanted_adapters(registry)
    names = {adapter.name for adapter in wanted[: settings.max_resident]}
    unloaded = _unload_unneeded(registry, client, resident=resident, wanted=names, settings=settings)  # first, so that there is room
    loaded, kept, problems = [], [], []
    for adapter in wanted[: settings.max_resident]:
        is_there = adapter.name in resident and _is_ours(registry, adapter, resident[adapter.name])
        try:
            if is_there and adapter.unserved is None:
                _folders.need_whole(registry, adapter, public_key=settings.public_key)
                kept.append(adapter.name)
                continue
            if adapter.name in resident:
                client.unload(adapter.name)  # of another home: the name means something else here; or it failed before
            load_proven(registry, client, registry.read.adapter(adapter.name), settings=settings)
            loaded.append(adapter.name)
        except _UNFIT as err:
            problems.append(str(err))
            if is_there:
                client.unload(adapter.name)
                _mark(registry, adapter, str(err))
        except EngineFailed as err:
            problems.append(str(err))  # the engine's trouble, not the adapter's
    if loaded:
        keep_warm(client, kept)
    problems += [_no_room(adapter, settings) for adapter in wanted[settings.max_resident :]]
    if loaded or unloaded or problems:
        log.info("Reconciled the engine: %d loaded, %d unloaded, %d problems", len(loaded), len(unloaded), len(problems))
    return ReconcileReport(loaded=tuple(loaded), unloaded=tuple(unloaded), kept=tuple(kept), problems=tuple(problems))


def wanted_adapters(registry: Registry) -> list[Adapter]:
    """Every alias's adapter, the canaries, then those in the rollback windows: should there be too many, the last are left out.

    Without their definitions, which only those that are loaded are asked about.
    """
    aliases = registry.read.aliases()
    names = [alias.adapter for alias in aliases]
    names += [canary.adapter for canary in registry.read.canaries()]
    for window in registry.read.rollback_windows().values():
        names += window
    wanted = dict.fromkeys(name for name in names if name is not None)
    found = registry.read.find_adapters(wanted)
    return [adapter for adapter in (found[name] for name in wanted) if adapter.removed_at is None or adapter.state is AdapterState.LIVE]


def load_verified(registry: Registry, client: EngineClient, adapter: Adapter, *, settings: ReconcileSettings) -> None:
    """Load one adapter after proving that its folder is what was published, that it was made for this base, and that engines can serve it."""
    if adapter.removed_at is not None:
        raise AdapterNotResident(f"{adapter.name} cannot be served: its folder was deleted on {adapter.removed_at:%Y-%m-%d}")
    if settings.base_digest is not None and adapter.base_digest != settings.base_digest:
        raise AdapterNotResident(
            f"{adapter.name} was made for base {adapter.base_digest[:12]}, but the engine serves base {settings.base_digest[:12]}",
            hint=f"Serve the base it was made for, or learn again: lorefeed learn {adapter.topic}",
        )
    path = _folders.verify(registry, adapter, public_key=settings.public_key).resolve()
    if problem := preload_problem(path, max_rank=settings.max_rank, base_folder=settings.base_folder):
        raise AdapterRefused(adapter.name, problem)
    client.load(adapter.name, str(path))
    log.info("Loaded adapter %s", adapter.name, extra={"action": "loaded", "adapter": adapter.name})


def load_proven(registry: Registry, client: EngineClient, adapter: Adapter, *, settings: ReconcileSettings) -> None:
    """Load one adapter and see that it answers as it was checked. What fails is unloaded, and its row says why until it succeeds."""
    try:
        load_verified(registry, client, adapter, settings=settings)
        if problem := proof_problem(registry, client, adapter, settings=settings):
            client.unload(adapter.name)
            raise AdapterNotResident(problem, hint=f"Look: lorefeed adapters show {adapter.name}; or: lorefeed rollback {adapter.topic}")
    except _UNFIT as err:
        _mark(registry, adapter, str(err))
        raise
    except EngineFailed:
        client.unload(adapter.name)  # it could not be asked, so it is not proven
        raise
    _mark(registry, adapter, None)


def load_on_demand(registry: Registry, client: EngineClient, name: str, *, dispensable: Sequence[str], settings: ReconcileSettings) -> None:
    """Load an adapter that is asked for and is not there, in the place of one that nobody wants at the moment.

    An engine never holds more names than it has room for: it would read the others from their folders again, without looking at them.
    """
    log.warning("The engine at %s has not got adapter %s; loading it", client.url, name, extra={"adapter": name})
    resident = [card.name for card in client.models() if is_adapter_name(card.name)]
    wanted = {adapter.name for adapter in wanted_adapters(registry)}
    spare = [one for one in dispensable if one in resident and one not in wanted] or [one for one in dispensable if one in resident]
    gone = spare[: max(0, len(resident) + 1 - settings.max_resident)]
    for one in gone:
        client.unload(one)
    load_proven(registry, client, registry.read.adapter(name), settings=settings)
    keep_warm(client, [one for one in resident if one not in gone])


def keep_warm(client: EngineClient, names: Sequence[str]) -> None:
    """One token from each. vLLM keeps what was unloaded until it is what was used longest ago, so each load brings the end nearer for what is
    registered but seldom asked: put out of memory, it would be read from its folder again, without anybody looking at that first.
    """
    for name in names:
        try:
            client.complete("x", model=name, max_tokens=1)
        except EngineFailed as err:
            log.info("%s was not kept warm at %s: %s", name, client.url, err)  # unloaded meanwhile, or the engine has trouble of its own


def proof_problem(registry: Registry, client: EngineClient, adapter: Adapter, *, settings: ReconcileSettings) -> str | None:
    """Why the loaded adapter is not what was checked; None if it changes the logits and answers its check's questions as it did then."""
    if not changes_answers(registry, client, adapter, settings=settings):
        return f"{adapter.name} was loaded but answers exactly like the base model"
    questions = own_questions(registry, adapter)[: settings.proof_questions]
    found = right(client, questions, model=adapter.name)
    if found * 2 < len(questions):
        return f"{adapter.name} was loaded but answers only {found} of {len(questions)} questions as it did in its check"
    return None


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


class _Folders:
    """Which folders were whole when last read, by what the file system says of them: the bytes are read again only when that changes."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[tuple[str, int, int, int], ...]] = {}

    def need_whole(self, registry: Registry, adapter: Adapter, *, public_key: Path | None) -> None:
        """Raises what verify() does."""
        path = registry.artifacts.path(adapter)
        if self._seen.get(path) != _signature(path):
            self.verify(registry, adapter, public_key=public_key)

    def verify(self, registry: Registry, adapter: Adapter, *, public_key: Path | None) -> Path:
        """Reads every byte. Raises ArtifactDamaged, or AdapterRefused if it is not signed by whom it must be."""
        before = _signature(registry.artifacts.path(adapter))  # before: what changes meanwhile must be read again
        path = registry.artifacts.verify(adapter)
        if public_key is not None and (problem := signature_problem(path, public_key)):
            raise AdapterRefused(adapter.name, problem)
        self._seen[path] = before
        return path


def _signature(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Name, inode, size and change time of every file. The change time cannot be set by a program."""
    files = sorted(folder.rglob("*")) if folder.is_dir() else []
    return tuple((str(file), stat.st_ino, stat.st_size, stat.st_ctime_ns) for file in files for stat in [file.lstat()])


_folders = _Folders()


def _is_ours(registry: Registry, adapter: Adapter, root: str | None) -> bool:
    """Engines say which folder a name was loaded from; where one does not, the name has to do."""
    return adapter.digest is not None and (root is None or root == str(registry.artifacts.path(adapter).resolve()))


def _unload_unneeded(
    registry: Registry, client: EngineClient, *, resident: dict[str, str | None], wanted: set[str], settings: ReconcileSettings
) -> list[str]:
    """Versions that were left, taken back or refused. Names unknown to this registry are somebody else's and stay.

    What can still be asked for by its name may just have been loaded because somebody does: it stays a while, unless its place is needed.
    """
    states = {name: adapter.state for name, adapter in registry.read.find_adapters(resident).items()}
    unneeded = [name for name in resident if name not in wanted and states.get(name) in _NOT_NEEDED]
    idle = _idle.seen(client.url, unneeded)
    over = [name for name in unneeded if states[name] is AdapterState.REFUSED or idle[name] >= settings.idle_s]
    staying = sorted((name for name in unneeded if name not in over), key=lambda name: -idle[name])
    short = len(wanted | resident.keys()) - len(over) - settings.max_resident
    over += staying[: max(0, short)]
    for name in over:
        client.unload(name)
        _idle.forget(client.url, name)
    return over


class _Idle:
    """For how long versions have lain in an engine that nobody is served by, as far as reconciling has seen."""

    def __init__(self) -> None:
        self._since: dict[str, dict[str, float]] = {}

    def seen(self, url: str, names: Sequence[str]) -> dict[str, float]:
        """Seconds by name. A name that was not seen the last time begins anew."""
        now, before = time.monotonic(), self._since.get(url, {})
        self._since[url] = {name: before.get(name, now) for name in names}
        return {name: now - since for name, since in self._since[url].items()}

    def forget(self, url: str, name: str) -> None:
        self._since[url].pop(name, None)


_idle = _Idle()


def _mark(registry: Registry, adapter: Adapter, problem: str | None) -> None:
    """On its row, for the gateway and for a person; the store writes an event only when it changes."""
    if problem is not None:
        log.warning("%s", problem, extra={"action": "not served", "adapter": adapter.name})
    if problem is not None or adapter.unserved is not None:
        registry.write.set_unserved(adapter.name, problem, actor=ACTOR)


def _no_room(adapter: Adapter, settings: ReconcileSettings) -> str:
    return f"{adapter.name} is wanted but has no room among {settings.max_resident} adapters; it is loaded when it is asked for"
