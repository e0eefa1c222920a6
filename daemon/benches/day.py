"""A busy day in minutes: does the memory of daemon and gateway stay as it is after warming up, and do their open files?

Everything runs as a user runs it, `lorefeed run` in a home of its own: feeds are polled, read and learnt from, questions go through the gateway,
pages are looked at. Time is made short by short intervals; the work of the day is done, only sooner.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from daemon.benches.day_feeds import DayFeeds
from daemon.benches.errors import BenchFailed
from daemon.benches.registry_rows import fill
from daemon.config import CONFIG_FILE
from daemon.demo import free_port
from registry import JobState, Registry

Json = dict[str, Any]
Say = Callable[[str], None]
PROCESSES = ("daemon", "gateway")
FEEDS, ITEMS, DEFINITIONS = 25, 48, 30  # a day's: every feed posts each half hour
POLLS_A_FEED, QUESTIONS, PAGES = 96, 1440, 1440  # a poll each quarter of an hour, a question and a page each minute
WARM = 0.25  # of the day
FLAT = 0.05
SAMPLE_EVERY_S = 1.0
START_WITHIN_S = 180.0
FIRST_WITHIN_S = 900.0
TOPIC = "day"
PAST_DEFINITIONS, PAST_VERSIONS = 20_000, 400
PATHS = (
    "/ui/", "/ui/running", "/ui/definitions", "/ui/feeds", "/ui/audit", "/ui/topics/day", "/metrics", "/v1/models", "/readyz",
    "/ui/definitions?state=learned&entity=a",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process. `rss_bytes` counts what it shares with others whole: a part of it would change as others come and go."""

    at_s: float
    rss_bytes: int
    files: int


@dataclass(slots=True)
class Seen:
    pid: int
    samples: list[Sample] = field(default_factory=list)


def bench_day(*, minutes: float, say: Say = lambda _: None) -> Json:
    """A day of 24 hours in so many minutes."""
    lasts_s = 60.0 * minutes
    with (
        tempfile.TemporaryDirectory(prefix="lorefeed-bench-") as folder,
        DayFeeds(feeds=FEEDS, items=ITEMS, definitions=DEFINITIONS, lasts_s=lasts_s) as feeds,
    ):
        home = Path(folder) / "home"
        port, interval_s = _prepare(home, feeds), max(1, round(lasts_s / POLLS_A_FEED))
        with _running(home, port) as run, httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60.0) as client:
            say("Lorefeed runs and learns for the first time.")
            first_s = _await_release(home)
            say(f"It did after {first_s:.0f} s; the day begins.")
            _watch_all(home, feeds, interval_s=interval_s)
            before = _there_is(home)
            feeds.begin()
            done, seen = Counter[str](), {name: Seen(pid) for name, pid in children(run.pid, home).items()}
            _live(feeds, client, seen, done, lasts_s=lasts_s, say=say)
            restarted = [name for name, pid in children(run.pid, home).items() if pid != seen[name].pid]
        done += _there_is(home) - before
    processes = {name: judged(one.samples, day_s=lasts_s) for name, one in seen.items()}
    return {
        "minutes": minutes,
        "work": dict(sorted(done.items())),
        "processes": processes,
        "restarted": restarted,
        "flat": all(one["flat"] for one in processes.values()) and not restarted,
        "cpus": os.cpu_count(),
    }


def judged(samples: Sequence[Sample], *, day_s: float) -> Json:
    """Memory after warming up and at the end by a straight line through the samples between, and what that line gains in 24 hours.

    Files: the most at any moment of the first half of the day, and of its last quarter. Learning and answering open some and close them again.
    """
    after = [s for s in samples if s.at_s >= WARM * day_s]
    slope, start = statistics.linear_regression([s.at_s for s in after], [float(s.rss_bytes) for s in after])
    warm, end = start + slope * after[0].at_s, start + slope * after[-1].at_s
    growth = slope * day_s / warm
    files = [
        max(s.files for s in some)
        for some in ([s for s in samples if s.at_s <= day_s / 2], [s for s in samples if s.at_s >= 0.75 * samples[-1].at_s])
    ]
    return {
        "warm_bytes": round(warm),
        "end_bytes": round(end),
        "most_bytes": max(s.rss_bytes for s in samples),
        "growth": round(growth, 4),
        "files_warm": files[0],
        "files_end": files[1],
        "samples": len(after),
        "flat": abs(growth) <= FLAT and files[1] <= files[0],
    }


def _prepare(home: Path, feeds: DayFeeds) -> int:
    """The home with its past and its first feed; the gateway's port."""
    home.mkdir(mode=0o700)
    engine, port = free_port(), free_port()
    settings: Mapping[str, str] = {
        "sources": 'allow_private = ["127.0.0.0/8"]\nhost_gap_s = 0.0\ninterval_s = 10\ninterval_max_s = 10',
        "engine": f"port = {engine}",
        "gateway": f"port = {port}",
        "daemon": "tick_s = 0.25\nreconcile_s = 1.0",
        "canary": "interval_s = 5.0",
        # Learning is the worker's memory, not theirs: it is short, so that as many versions are made as a day brings.
        "novelty": "threshold = 0.1",
        "elicit": "samples = 4",
        "learn": 'settle_s = 1.0\nmethod = "context"\nsteps_min = 30\nsteps_max = 30\nreplay_batch = 2\nthreads = 1',
        "check": "learned_min = 0.0\nkept_min = 0.0",
    }
    (home / CONFIG_FILE).write_text("".join(f"[{name}]\n{lines}\n" for name, lines in settings.items()), encoding="utf-8")
    _fill_with_the_past(home)
    with Registry.open(home) as registry:
        registry.write.add_feed(feeds.location(0), name="feed-0", kind="feed", topic=TOPIC, trust="auto", interval_s=3600)
    return port


def _watch_all(home: Path, feeds: DayFeeds, *, interval_s: int) -> None:
    with Registry.open(home) as registry:
        registry.write.remove_feed("feed-0")
        for number in range(feeds.feeds):
            location = feeds.location(number)
            registry.write.add_feed(location, name=f"feed-{number}", kind="feed", topic=TOPIC, trust="auto", interval_s=interval_s)


def _fill_with_the_past(home: Path) -> None:
    """A day does not begin with nothing: SQLite's caches are full soon. What was served then is not, so that no engine asks for its files."""
    fill(home, definitions=PAST_DEFINITIONS, adapters=PAST_VERSIONS)
    with contextlib.closing(sqlite3.connect(home / "registry.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM alias")
        connection.execute("UPDATE adapter SET state = 'retired' WHERE state = 'live'")
        connection.execute("UPDATE definition SET state = 'held' WHERE state IN ('found', 'waiting')")


def _await_release(home: Path) -> float:
    """Until the topic has its first version; a model is measured before it first learns, which is no part of any later day."""
    began = time.monotonic()
    with Registry.open(home) as registry:
        while registry.read.alias(TOPIC).adapter is None:
            if time.monotonic() - began > FIRST_WITHIN_S:
                raise BenchFailed(f"Nothing was learnt within {FIRST_WITHIN_S:.0f} s.")
            time.sleep(1.0)
    return time.monotonic() - began


@contextlib.contextmanager
def _running(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", "daemon.cli", "--home", str(home), "run"]
    with (home / "run.log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            _await(process, home, port)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def _await(process: subprocess.Popen[bytes], home: Path, port: int) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx2.HTTPError):
            ready = httpx2.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == httpx2.codes.OK
            if ready and set(PROCESSES) <= children(process.pid, home).keys():
                return
        time.sleep(0.5)
    raise BenchFailed("lorefeed run did not start: " + (home / "run.log").read_text(errors="replace")[-2000:])


def children(pid: int, home: Path) -> dict[str, int]:
    """The processes that `lorefeed run` started, by their part."""
    found = {}
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            words = (place / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
            if parent == pid and words[-1] in PROCESSES and str(home) in words:
                found[words[-1]] = int(place.name)
    return found


def look(pid: int, *, at_s: float) -> Sample:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return Sample(at_s, 1024 * int(lines["Rss"].split()[0]), sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))


def _live(feeds: DayFeeds, client: httpx2.Client, seen: Mapping[str, Seen], done: Counter[str], *, lasts_s: float, say: Say) -> None:
    """Asks, looks and samples until the day is over."""
    names = itertools.cycle(name for name, _ in feeds.told)
    paths = itertools.cycle(PATHS)

    def question() -> None:
        body = {"model": TOPIC, "messages": [{"role": "user", "content": f"What is {next(names)}?"}], "max_tokens": 8, "temperature": 0}
        _count(done, "questions", client.post("/v1/chat/completions", json=body))

    def page() -> None:
        _count(done, "pages", client.get(next(paths)))

    over, began = threading.Event(), time.monotonic()
    busy = [threading.Thread(target=_again, args=(do, lasts_s / times, over)) for do, times in ((question, QUESTIONS), (page, PAGES))]
    for one in busy:
        one.start()
    try:
        for turn in itertools.count(1):
            at_s = time.monotonic() - began
            for watched in seen.values():
                watched.samples.append(look(watched.pid, at_s=at_s))
            if at_s >= lasts_s:
                return
            if turn % 30 == 0:
                shown = ", ".join(
                    f"{name} {s.rss_bytes / 2**20:.1f} MiB, {s.files} files"
                    for name, s in ((name, each.samples[-1]) for name, each in seen.items())
                )
                say(f"{24 * at_s / lasts_s:04.1f} h: {shown}; {dict(done)}")
            time.sleep(SAMPLE_EVERY_S)
    finally:
        over.set()
        for one in busy:
            one.join()


def _again(do: Callable[[], None], every_s: float, over: threading.Event) -> None:
    """At a steady pace, or as fast as it goes."""
    due = time.monotonic()
    while not over.wait(max(0.0, due - time.monotonic())):
        due = max(due + every_s, time.monotonic() - 5.0)
        do()


def _count(done: Counter[str], what: str, answer: httpx2.Response) -> None:
    done[what if answer.status_code == httpx2.codes.OK else f"{what} refused"] += 1


def _there_is(home: Path) -> Counter[str]:
    """What the registry has, by which the day's part is known."""
    with Registry.open(home) as registry:
        found = Counter(f"jobs {job.kind}" for job in registry.read.jobs(JobState.DONE))
        found["jobs failed"] = len(registry.read.jobs(JobState.FAILED))
        found["documents"] = sum(registry.pages.count_documents().values())
        found["definitions"] = sum(registry.read.counts().definitions.values())
        found["versions"] = sum(registry.pages.count_adapters().values())
        found["releases"] = len(registry.read.releases(TOPIC))
        return found
