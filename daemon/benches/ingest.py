"""What polling costs on this machine: against the bare parser in the same run, and with thousands of feeds due at once.

`throughput` polls feeds over HTTP into a registry with as many pollers as the daemon has, and gives the bare parser and cleaner the same
bytes, in turns. `due` lets the daemon itself poll many feeds of many hosts, a few of which hang or fail, and tells how late each was and
how politely the hosts were asked.
"""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import feedparser

from daemon.benches.feed_server import Plan, address, made_feed, report, serving
from daemon.config import load_settings
from daemon.service import run_daemon
from daemon.stages.ingest import poll_feed
from registry import Feed, FeedState, Registry
from sources.bench.sets import FEED_SETS, rows
from sources.entry import settle
from sources.errors import SourceError
from sources.feed import parse_feed
from sources.page import html_to_text
from sources.politeness import HOSTS

LARGE_BYTES = 5000  # a feed as sites publish it; what is smaller in the sets is a test of one element
REPEATED = 6  # addresses at which each file lies, so that a turn is long enough to be timed
LOCAL = {"allow_private": ("127.0.0.0/8",)}
_SUFFIXES = (".xml", ".rss", ".atom", ".rdf", ".json")
Json = dict[str, Any]
Say = Callable[[str], None]


def bodies_of(data: Path | None) -> list[bytes]:
    """The feeds to poll: those of the labelled sets or the files of a folder, else made ones."""
    if data is None:
        return [made_feed(number, items=20, paragraphs=6) for number in range(10)]
    found = [row["data"] for name in FEED_SETS for row in rows(data, name)]
    found = found or [file.read_bytes() for file in sorted(data.iterdir()) if file.suffix.lower() in _SUFFIXES]
    return [body for body in found if _is_feed(body)]


def _is_feed(body: bytes) -> bool:
    """The sets hold broken ones and pages as well; what is refused after a look at its beginning would count as quickly read."""
    try:
        return bool(parse_feed(body, "bench", base_url="http://x.example/").entries)
    except SourceError:
        return False


def throughput(bodies: list[bytes], *, rounds: int, repeated: int = REPEATED, say: Say = lambda _: None) -> Json:
    """Documents a second through everything, and of the bare parser and cleaner; the share is the median of the rounds' own."""
    html_to_text("<html><body><p>Loads the extractor first.</p></body></html>")
    files = [body for body in bodies for _ in range(repeated)]
    bare_s, ingest_s, documents = [], [], 0
    with _folder() as folder, serving(_written(bodies, folder), folder) as port:
        places = [f"{address(0, port)}/file/{number // repeated}?{number}" for number in range(len(files))]
        for turn in range(rounds):
            bare_s.append(_timed(lambda: _bare(files)))
            settings = load_settings(folder / f"home{turn}", sources={**LOCAL, "host_gap_s": 0.0})
            with Registry.open(settings.home) as registry, ThreadPoolExecutor(settings.sources.pollers) as pollers:
                feeds = _add_feeds(registry, places)

                def poll(feed: Feed) -> int:
                    return poll_feed(registry, feed, settings, now=datetime.now(UTC)).counts.get("documents", 0)  # noqa: B023

                poll(_add_feeds(registry, [f"{address(0, port)}/file/0?first"], name="first")[0])  # a daemon opens its registry once
                ingest_s.append(_timed(lambda: list(pollers.map(poll, feeds))))  # noqa: B023
                documents = sum(feed.documents for feed in registry.read.feeds() if feed.name != "first0")
            say(f"Turn {turn + 1}: the bare parser {bare_s[-1]:.2f} s, everything {ingest_s[-1]:.2f} s.")
    return {
        "feeds": len(files),
        "size_bytes": sum(map(len, files)),
        "documents": documents,
        "bare_s": round(statistics.median(bare_s), 3),
        "ingest_s": round(statistics.median(ingest_s), 3),
        "documents_a_second": round(documents / statistics.median(ingest_s)),
        "share": round(statistics.median(bare / through for bare, through in zip(bare_s, ingest_s, strict=True)), 3),
    }


def due(
    count: int, *, hosts: int, hanging: int, failing: int, patience_s: float = 3600.0, say: Say = lambda _: None, **sources: Any
) -> Json:
    """How late each of `count` feeds is polled by the daemon when all are due at once, and how the `hosts` they lie on were asked."""
    plan = Plan(hosts=hosts, hanging=_spread(hanging, count, 1), failing=_spread(failing, count, 2))
    with _folder() as folder, serving(plan, folder) as port:
        home = folder / "home"
        settings = load_settings(
            home,
            sources={**LOCAL, **sources},
            learn={"settle_s": 1e9},
            engine={"url": "http://127.0.0.1:1"},
            daemon={"reconcile_s": 3600.0},
        )
        with Registry.open(home) as registry:
            _add_feeds(registry, [f"{address(_host_of(number, count, hosts), port)}/made/{number}" for number in range(count)])
            say(f"{count} feeds of {hosts} hosts are due; {hanging} hang and {failing} fail.")
            began = datetime.now(UTC)
            with _daemon(home, settings):
                deadline = time.monotonic() + patience_s
                while (left := sum(f.last_checked_at is None for f in registry.read.feeds())) and time.monotonic() < deadline:
                    say(f"{(datetime.now(UTC) - began).total_seconds():.0f} s: {count - left} polled.")
                    time.sleep(2.0)
            polled = registry.read.feeds()
        late_s = [(f.last_checked_at - began).total_seconds() for f in polled if f.last_checked_at is not None]
        cuts = statistics.quantiles(late_s, n=100) if len(late_s) > 1 else [0.0] * 99
        wrong = {number for number, f in enumerate(polled) if f.error_count} - {*plan.hanging, *plan.failing}
        return {
            "feeds": count,
            "pollers": settings.sources.pollers,
            "seconds": round(max(late_s, default=0.0), 1),
            "late_p50_s": round(cuts[49], 1),
            "late_p99_s": round(cuts[98], 1),
            "never_polled": sum(f.last_checked_at is None for f in polled),
            "failing": sum(f.error_count > 0 for f in polled),
            "wrongly_failing": len(wrong),
            "retired": sum(f.state is FeedState.RETIRED for f in polled),
            "documents": sum(f.documents for f in polled),
            "host_gap_s": settings.sources.host_gap_s,
            "asked": report(port),
        }


def _spread(some: int, count: int, offset: int) -> list[int]:
    return [(index * count) // some + offset for index in range(some)] if some else []


def _host_of(number: int, count: int, hosts: int) -> int:
    """Neighbours lie on different hosts, and so do those that hang: one silent host is not the bench."""
    return (number + number * hosts // max(1, count)) % hosts


@contextlib.contextmanager
def _daemon(home: Path, settings: Any) -> Iterator[None]:
    stop = threading.Event()
    HOSTS.forget()
    thread = threading.Thread(target=run_daemon, args=(home, settings), kwargs={"stop": stop, "warm": False})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A place for the bench's own registry; and no log lines about the feeds that are meant to fail."""
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory(prefix="lorefeed-bench-") as folder:
            yield Path(folder)
    finally:
        logging.disable(logging.NOTSET)


def _written(bodies: list[bytes], folder: Path) -> Plan:
    files = [folder / f"{number}.feed" for number in range(len(bodies))]
    for file, body in zip(files, bodies, strict=True):
        file.write_bytes(body)
    return Plan(files=[str(file) for file in files])


def _add_feeds(registry: Registry, locations: Iterable[str], *, name: str = "f") -> list[Feed]:
    return [
        registry.write.add_feed(location, name=f"{name}{n}", kind="feed", topic="news", trust="auto", interval_s=3600)
        for n, location in enumerate(locations)
    ]


def _bare(bodies: Iterable[bytes]) -> None:
    """feedparser as it comes and the cleaning of HTML, and nothing else. A JSON Feed, which feedparser does not read, goes to our reader."""
    for body in bodies:
        if body.lstrip().startswith(b"{"):
            with contextlib.suppress(SourceError):
                settle(parse_feed(body, "bench", base_url="http://x.example/").entries)
            continue
        with contextlib.suppress(Exception):  # what it cannot read is not what is measured
            for entry in feedparser.parse(io.BytesIO(body), resolve_relative_uris=False, sanitize_html=False).entries:
                content = entry.get("content")
                html_to_text(str(content[0].get("value") if content else entry.get("summary") or ""))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
