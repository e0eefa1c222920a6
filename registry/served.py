"""What is served at this moment, read again whenever anybody has committed anything, and for microseconds otherwise.

SQLite counts the commits of all other connections (`PRAGMA data_version`), so asking for every request costs one look at shared memory, and a
rollback in another process still counts from the next request on.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from registry.db import FILE_NAME, told_plainly
from registry.errors import BadName
from registry.identity import split_adapter_name
from registry.records import Scope
from registry.states import AdapterState

BUSY_TIMEOUT_MS = 250  # readers of a WAL file wait for nobody, except while it is being recovered
PINNED_KEPT = 10_000
_ADAPTER = "SELECT topic, version, state, digest, reason, removed_at, unserved FROM adapter"
_FORGOTTEN = "SELECT count(*) FROM definition WHERE topic = ? AND state = 'forgotten'"
_ALIASES = """
    SELECT name, topics, scope, alias.adapter_id, alias.since, canary.adapter_id, canary.weight
    FROM alias LEFT JOIN canary ON canary.alias = alias.name
"""


@dataclass(frozen=True, slots=True)
class ServedAdapter:
    """What deciding about an adapter needs: may it answer, and why not."""

    name: str
    topic: str
    state: AdapterState
    digest: str | None
    reason: str | None
    removed_at: datetime | None
    unserved: str | None


@dataclass(frozen=True, slots=True)
class ServedAlias:
    """`adapter` None: the base answers. `weight` is the canary's percentage of the conversations. `moved`: a release has set it."""

    name: str
    topics: tuple[str, ...]
    scope: Scope
    adapter: ServedAdapter | None
    moved: bool = False
    canary: ServedAdapter | None = None
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Served:
    """One moment. `keys` are the digests of the API keys, each with whether it is an administrator's; `forgotten` counts the forgotten
    definitions of the topics that are served, so that names which must not be answered for any more are noticed."""

    aliases: Mapping[str, ServedAlias]
    keys: Mapping[str, bool]
    forgotten: Mapping[str, int] = field(default_factory=dict)


class ServedView:
    """A connection of its own. Thread-safe; close it."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE_NAME
        self._lock = threading.Lock()
        with told_plainly(self._path):
            self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            self._connection.execute("PRAGMA query_only = ON")  # not mode=ro, which cannot open a WAL file that nobody else has open
        self._seen: int | None = None
        self._served = Served(aliases={}, keys={})
        self._pinned: dict[str, ServedAdapter | None] = {}

    def now(self) -> Served:
        """What is served now."""
        with self._lock, told_plainly(self._path):
            self._look()
            return self._served

    def adapter(self, name: str) -> ServedAdapter | None:
        """Any adapter, served or not; None if there is none of that name."""
        with self._lock, told_plainly(self._path):
            self._look()
            if name not in self._pinned:
                if len(self._pinned) >= PINNED_KEPT:
                    self._pinned.clear()  # strangers can ask for a thousand million versions
                self._pinned[name] = self._find(name)
            return self._pinned[name]

    def _look(self) -> None:
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._seen:
            return
        self._connection.execute("BEGIN")  # one moment for all of it
        try:
            self._served = self._read()
        finally:
            self._connection.execute("COMMIT")
        # What was committed since the look is read again at the next one: better once too often than once too seldom.
        self._seen = version
        self._pinned.clear()

    def _read(self) -> Served:
        aliases = {
            name: ServedAlias(
                name, tuple(json.loads(topics)), scope, self._by_id(own), since is not None, self._by_id(canary), weight or 0.0
            )
            for name, topics, scope, own, since, canary, weight in self._connection.execute(_ALIASES)
        }
        keys = {digest: bool(admin) for digest, admin in self._connection.execute("SELECT digest, admin FROM api_key")}
        return Served(aliases=aliases, keys=keys, forgotten=self._forgotten(aliases.values()))

    def _forgotten(self, aliases: Iterable[ServedAlias]) -> dict[str, int]:
        topics = {adapter.topic for alias in aliases for adapter in (alias.adapter, alias.canary) if adapter is not None}
        return {topic: self._connection.execute(_FORGOTTEN, (topic,)).fetchone()[0] for topic in topics}

    def _by_id(self, adapter_id: int | None) -> ServedAdapter | None:
        row = None if adapter_id is None else self._connection.execute(f"{_ADAPTER} WHERE id = ?", (adapter_id,)).fetchone()
        return None if row is None else _adapter(*row)

    def _find(self, name: str) -> ServedAdapter | None:
        try:
            row = self._connection.execute(f"{_ADAPTER} WHERE topic = ? AND version = ?", split_adapter_name(name)).fetchone()
        except BadName:
            return None
        return None if row is None else _adapter(*row)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _adapter(
    topic: str, version: int, state: str, digest: str | None, reason: str | None, removed_at: str | None, unserved: str | None
) -> ServedAdapter:
    removed = None if removed_at is None else datetime.fromisoformat(removed_at)
    return ServedAdapter(f"{topic}@{version}", topic, AdapterState(state), digest, reason, removed, unserved)
