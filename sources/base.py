"""What every source has in common: a document, the result of a poll, and the promise between a source and its caller.

A source is asked with `poll(cursor)`. The cursor is the source's own memory: the caller stores it with the documents, in one transaction,
and hands it back unread. Storing, scheduling and retrying after failures are the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Protocol, runtime_checkable

DAY_S = 86_400.0
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Document:
    """One text as it was fetched, before anybody has judged it."""

    external_id: str
    url: str | None
    title: str | None
    text: str
    published_at: datetime | None
    fetch: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Poll:
    """What one look at a source brought. `cursor` goes back into the next poll as it is."""

    documents: tuple[Document, ...]
    cursor: dict[str, Any]
    next_after_s: float | None = None
    problems: tuple[str, ...] = ()
    unchanged: bool = False
    moved_to: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Limits of fetching. `allow_private` holds networks ("10.0.0.0/8") and host names that the address guard lets pass."""

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 20.0
    overall_timeout_s: float = 60.0
    max_bytes: int = 10 * MIB
    max_redirects: int = 5
    attempts: int = 2
    allow_private: tuple[str, ...] = ()
    settle_s: float = 0.5

    def __post_init__(self) -> None:
        for entry in self.allow_private:
            if "/" in entry:
                ip_network(entry)  # a misspelt network must fail here, with its name, and not silently allow nothing

    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(entry) for entry in self.allow_private if _is_network(entry))

    def allowed_hosts(self) -> frozenset[str]:
        return frozenset(entry.lower().rstrip(".") for entry in self.allow_private if not _is_network(entry))


@runtime_checkable
class Source(Protocol):
    """Something that can be asked for documents again and again. A second poll without news brings none."""

    @property
    def kind(self) -> str: ...

    @property
    def location(self) -> str: ...

    def poll(self, cursor: dict[str, Any]) -> Poll: ...


def backoff_s(error_count: int, interval_s: float, *, jitter: float = 0.0) -> float:
    """How long to wait after the `error_count`-th failure in a row: the interval, doubled each time, at most a day.

    `jitter` in [0, 1] takes off up to a fifth, so that feeds which failed together do not come back together. A feed whose own interval
    is longer than a day keeps it.
    """
    if interval_s >= DAY_S:
        return float(interval_s)
    doublings = min(max(error_count - 1, 0), 40)  # 2**40 seconds is past any cap; without the bound the float overflows
    return min(DAY_S, max(interval_s, 1.0) * 2.0**doublings) * (1.0 - 0.2 * min(max(jitter, 0.0), 1.0))


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry)
    except ValueError:
        return False
    return True
