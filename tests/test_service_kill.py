"""The daemon is killed with SIGKILL at random moments while a folder and a feed are being written: what it has in the end is what a daemon
has that nobody disturbed.

Five kills in the quick suite; LOREFEED_KILLS=100 for the long proof. Learning is left out here: its definitions never settle.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from html import escape
from pathlib import Path

from registry import Registry
from tests.service_parts import ROOT, drop, wait_until
from tests.sources_parts import Site, running_site

KILLS = int(os.environ.get("LOREFEED_KILLS", "5"))
A_ROUND = 4  # files and entries that are new in each round

# Imports once, then forks a daemon for each line: so a kill comes after milliseconds of work and not in the middle of the imports.
NURSERY = """
import os, sys
from pathlib import Path
from daemon.config import load_settings
from daemon.service import run_daemon
import sources.feed, sources.folder, sources.page
home = Path(sys.argv[1])
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(run_daemon(home, load_settings(home)))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

SETTINGS = """
[sources]
allow_private = ["127.0.0.0/8"]
[daemon]
tick_s = 0.05
reconcile_s = 0.2
[learn]
settle_s = 1e9
"""


class Nursery:
    """Starts daemons and reports how they ended."""

    def __init__(self, home: Path) -> None:
        self._said = (home.parent / "said").open("w+")  # a pipe that nobody reads would stop the daemon when it is full
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, str(home)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def start(self) -> int:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end_of(self) -> int:
        return int(self._process.stdout.readline())

    def said(self) -> str:
        self._said.seek(0)
        return self._said.read()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            stream.close()


@contextmanager
def nursery(home: Path):
    made = Nursery(home)
    try:
        yield made
    finally:
        made.close()


def sentence(kind: str, number: int) -> str:
    return f"The {kind}{number:03d}ix is a blue lamp that burns under water in harbour {number}."


def feed_of(count: int) -> str:
    items = "".join(
        f"<item><guid>n-{i}</guid><title>Note {i}</title><description>{escape(sentence('oslith', i))}</description></item>"
        for i in range(count)
    )
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>Notes</title>{items}</channel></rss>'


def taken(registry: Registry) -> Counter[str]:
    return Counter(word for d in registry.read.documents() for word in d.text.split() if word.endswith("ix"))


def watched(home: Path, feed: str, folder: Path) -> Registry:
    """A new home whose daemon watches both."""
    home.mkdir()
    (home / "lorefeed.toml").write_text(SETTINGS)
    registry = Registry.open(home)
    registry.write.add_feed(feed, name="notes", kind="feed", topic="news", trust="auto", interval_s=1)
    registry.write.add_feed(str(folder), name="in", kind="folder", topic="news", trust="auto", interval_s=1)
    return registry


def finish(daemons: Nursery, registry: Registry, expected: set[str]) -> None:
    """Lets a daemon take what is left and read all of it, and ends it in order."""
    pid = daemons.start()
    wait_until(lambda: set(taken(registry)) == expected, timeout_s=60, what="the rest of the documents")
    wait_until(lambda: not registry.read.documents(state="new"), timeout_s=60, what="the rest of the extraction")
    os.kill(pid, signal.SIGTERM)
    assert daemons.end_of() == 0


def documents_of(registry: Registry) -> Counter[tuple[str | None, ...]]:
    return Counter((d.feed, d.external_id, d.title, d.digest, d.state.value) for d in registry.read.documents())


def definitions_of(registry: Registry) -> Counter[tuple[str | None, ...]]:
    """Each with the document that it comes from: numbers are given in the order of coming, which is not the same in every run."""
    places = {d.id: d.external_id for d in registry.read.documents()}
    return Counter((d.entity, d.text, d.topic, d.state.value, places[d.document_id]) for d in registry.read.definitions())


def test_a_daemon_killed_at_any_moment_has_in_the_end_what_an_undisturbed_one_has(tmp_path):
    home, folder, moments = tmp_path / "home", tmp_path / "in", random.Random(11)
    folder.mkdir()
    with running_site() as site:
        feed = site.serve("/feed.xml", feed_of(0))
        with watched(home, feed, folder) as registry, nursery(home) as daemons:
            expected = disturb(registry, daemons, site, folder, moments)
            finish(daemons, registry, expected)
            assert taken(registry) == Counter(dict.fromkeys(expected, 1))
            assert [d.revises for d in registry.read.documents() if d.revises] == []
            assert Counter(d.entity for d in registry.read.definitions()) == Counter(dict.fromkeys(expected, 1))
            assert registry.doctor() == []
            assert "Traceback" not in daemons.said()
            documents, definitions = documents_of(registry), definitions_of(registry)
        undisturbed = tmp_path / "undisturbed"
        with watched(undisturbed, feed, folder) as registry, nursery(undisturbed) as daemons:
            finish(daemons, registry, expected)
            assert documents == documents_of(registry)
            assert definitions == definitions_of(registry)


def disturb(registry: Registry, daemons: Nursery, site: Site, folder: Path, moments: random.Random) -> set[str]:
    """Kills one daemon after the other while files and entries come; the words by which each of these is known."""
    number = 0
    for turn in range(KILLS):
        taken_before = sum(taken(registry).values())
        pid = daemons.start()
        patience_s = moments.uniform(0.05, 1.2)
        for _ in range(A_ROUND):
            drop(folder, f"{number:03d}.txt", sentence("tarn", number))
            number += 1
            site.serve("/feed.xml", feed_of(number))
            time.sleep(patience_s / A_ROUND)
        if turn % 2:  # every other kill comes when work is surely going on, however slow the machine is
            wait_until(lambda before=taken_before: sum(taken(registry).values()) > before, timeout_s=60, what="any work")
        os.kill(pid, signal.SIGKILL)
        assert daemons.end_of() == -signal.SIGKILL
    return {f"{kind}{i:03d}ix" for kind in ("oslith", "tarn") for i in range(number)}
