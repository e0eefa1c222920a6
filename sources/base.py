"""What every source has in common: a document, the result of a poll, and the promise between a source and its caller.

A source is asked with `poll(cursor)`. The cursor is the source's own memory: the caller stores it with the documents, in one transaction,
and hands it back unread. Storing, scheduling and retrying after failures are the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Protocol, runtime_checkable

DAY_S = 86_400.0
MIB = 1024 * 1024
#: A source is called silent after this many of its usual gaps, and never before this many seconds.
SILENT_GAPS = 5.0
SILENT_LEAST_S = 3 * DAY_S


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
class Rhythm:
    """How often a source posts: the usual gap between its entries, and when the newest of them is from."""

    gap_s: float
    newest_at: datetime

    def silent_for(self, now: datetime) -> timedelta | None:
        """How long it has been silent, once that is far beyond its habit; None while it keeps to it."""
        silence = now - self.newest_at
        return silence if silence.total_seconds() > max(SILENT_GAPS * self.gap_s, SILENT_LEAST_S) else None


@dataclass(frozen=True, slots=True)
class Poll:
    """What one look at a source brought. `cursor` goes back into the next poll as it is.

    `next_after_s` is how long the server asks us to wait; with `unfinished`, how soon the rest of this poll should be fetched.
    """

    documents: tuple[Document, ...]
    cursor: dict[str, Any]
    next_after_s: float | None = None
    problems: tuple[str, ...] = ()
    unchanged: bool = False
    moved_to: str | None = None
    title: str | None = None
    rhythm: Rhythm | None = None
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Limits of fetching, and what one source needs beside them.

    `allow_private` holds networks ("10.0.0.0/8") and host names that the address guard lets pass. `headers` are sent to the location's own
    host only, and never shown: their values may be secrets. `proxy` is trusted: names are resolved there, and only addresses that are
    written out can be judged here. `host_gap_s` is the least time between two requests to one host.
    """

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 20.0
    overall_timeout_s: float = 60.0
    max_bytes: int = 10 * MIB
    max_redirects: int = 5
    attempts: int = 2
    allow_private: tuple[str, ...] = ()
    settle_s: float = 0.5
    host_gap_s: float = 0.0
    proxy: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    full_text: bool = False
    robots: bool = True

    def __post_init__(self) -> None:
        for entry in self.allow_private:
            if "/" in entry:
                ip_network(entry)  # a misspelt network must fail here, with its name, and not silently allow nothing

    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(entry) for entry in self.allow_private if _is_network(entry))

    def secret_headers(self) -> dict[str, str]:
        return dict(self.headers)

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
