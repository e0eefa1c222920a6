"""`python -m daemon.benches.ingest [DIR] [--feeds N] [--workers N]`: polling as the daemon does it, against a server on this machine.

`throughput` polls real feeds of DIR once, over HTTP, through every stage into a registry, and beside it, in the same run, gives the bare
parser and cleaner the same bytes. `due` polls N feeds that are due at once, a few of whose servers hang or fail, and tells how late each was.
"""

import argparse
import contextlib
import json
import logging
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from daemon.config import Settings, load_settings
from daemon.stages.ingest import poll_feed
from registry import Feed, FeedState, Registry
from sources.bench.sets import rows
from sources.entry import settle
from sources.errors import SourceError
from sources.feed import parse_feed
from sources.page import html_to_text

DEFAULT_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LARGE_BYTES = 5000  # a feed as sites publish it; what is smaller in the sets is a test of one element
HANGS_EVERY, FAILS_EVERY = 100, 50
Json = dict[str, Any]


class Handler(BaseHTTPRequestHandler):
    """Feeds by number; of the made ones every hundredth hangs, and every fiftieth fails."""

    protocol_version = "HTTP/1.1"
    bodies: tuple[bytes, ...] = ()

    def do_GET(self) -> None:
        number = int(self.path.rsplit("/", 1)[-1]) if self.path.rsplit("/", 1)[-1].isdigit() else -1
        if self.path.startswith("/made/"):
            if number % HANGS_EVERY == HANGS_EVERY - 1:
                time.sleep(30)
                return
            self._answer(503 if number % FAILS_EVERY == FAILS_EVERY - 1 else 200, made_feed(number))
        elif 0 <= number < len(self.bodies):
            self._answer(200, self.bodies[number])
        else:
            self._answer(404, b"")

    def _answer(self, status: int, body: bytes) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that gave up on a hanging feed


def made_feed(number: int) -> bytes:
    items = "".join(
        f"<item><guid>{number}-{n}</guid><title>Item {n} of {number}</title><link>http://x.example/{number}/{n}</link>"
        f"<description>&lt;p&gt;Feed {number} says in item {n} that a tarn is a small lake in the hills.&lt;/p&gt;</description></item>"
        for n in range(10)
    )
    return f"<rss version='2.0'><channel><title>Feed {number}</title>{items}</channel></rss>".encode()


@contextlib.contextmanager
def serving(bodies: tuple[bytes, ...]) -> Iterator[str]:
    """The server as a process of its own, so that it takes nothing from what is measured but the machine's time."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(bodies, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(bodies: tuple[bytes, ...], told: Connection) -> None:
    server = _Server(("127.0.0.1", 0), type("BenchHandler", (Handler,), {"bodies": bodies}))
    told.send(server.server_address[1])
    server.serve_forever()


def add_feeds(registry: Registry, locations: list[str]) -> list[Feed]:
    return [
        registry.write.add_feed(location, name=f"f{n}", kind="feed", topic="news", trust="auto", interval_s=3600)
        for n, location in enumerate(locations)
    ]


def throughput(data_dir: Path, home: Path, settings: Settings) -> Json:
    """Feeds a second through everything, and through the bare parser and cleaner; each the best of three."""
    bodies = tuple(
        row["data"] for name in ("feeds_misc", "feeds_feedrs") for row in rows(data_dir, name) if len(row["data"]) >= LARGE_BYTES
    )
    if not bodies:
        return {"absent": str(data_dir)}
    html_to_text("<html><body><p>Loads the extractor first.</p></body></html>")
    bare_s, through_s = [], []
    with serving(bodies) as base:
        for turn in range(3):
            bare_s.append(_timed(lambda: _bare(bodies)))
            with Registry.open(home / f"turn{turn}") as registry:
                feeds = add_feeds(registry, [f"{base}/{n}" for n in range(len(bodies))])
                through_s.append(_timed(lambda: [poll_feed(registry, f, settings, now=datetime.now(UTC)) for f in feeds]))  # noqa: B023
    size = sum(map(len, bodies))
    return {
        "files": len(bodies),
        "size_bytes": size,
        "bare_s": round(min(bare_s), 3),
        "ingest_s": round(min(through_s), 3),
        "share": round(min(bare_s) / min(through_s), 3),
    }


def _bare(bodies: tuple[bytes, ...]) -> None:
    for body in bodies:
        with contextlib.suppress(SourceError):
            settle(parse_feed(body, "bench", base_url="http://x.example/").entries)


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def due(count: int, workers: int, home: Path, settings: Settings) -> Json:
    """How late each of `count` feeds is polled that are due at once, though some of them hang and fail."""
    with serving(()) as base, Registry.open(home / "due") as registry:
        feeds = add_feeds(registry, [f"{base}/made/{n}" for n in range(count)])
        began = time.perf_counter()
        late_s: list[float] = []

        def poll(feed: Feed) -> None:
            poll_feed(registry, feed, settings, now=datetime.now(UTC))
            late_s.append(time.perf_counter() - began)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(poll, feeds))
        took = time.perf_counter() - began
        polled = registry.read.feeds()
        cuts = statistics.quantiles(late_s, n=100)
        return {
            "feeds": count,
            "workers": workers,
            "seconds": round(took, 1),
            "feeds_an_hour": round(3600 * count / took),
            "late_p50_s": round(cuts[49], 2),
            "late_p99_s": round(cuts[98], 2),
            "never_polled": sum(feed.last_checked_at is None for feed in polled),
            "failing": sum(feed.error_count > 0 for feed in polled),
            "wrongly_failing": sum(feed.error_count > 0 and n % FAILS_EVERY != FAILS_EVERY - 1 for n, feed in enumerate(polled)),
            "retired": sum(feed.state is FeedState.RETIRED for feed in polled),
            "documents": sum(feed.documents for feed in polled),
        }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m daemon.benches.ingest")
    parser.add_argument("data", nargs="?", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--feeds", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=4)
    asked = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # what fails here is meant to
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        local = {"allow_private": ("127.0.0.0/8",), "host_gap_s": 0.0, "read_timeout_s": 2.0, "total_timeout_s": 5.0}
        settings = load_settings(home, sources=local)
        report = {"throughput": throughput(asked.data, home, settings), "due": due(asked.feeds, asked.workers, home, settings)}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
