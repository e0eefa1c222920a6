"""The world in which everything goes wrong: a home on a small disk, a clock that can be set, a feed, and `lorefeed run` between them.

What goes wrong is in chaos_faults.py, who asks meanwhile in chaos_clients.py.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import httpx2

from daemon.config import CONFIG_FILE
from daemon.learn.folders import EMBEDDED_FOLDER, digest_of
from registry import Registry, RegistryError
from tests.clock_parts import NO_COMPILER, WallClock, wall_clock
from tests.serving_parts import free_port, learn, make_adapter
from tests.sources_parts import Handler, Site, running_site, type_xml
from tests.vllm_parts import children_of, has_ended

ROOT = Path(__file__).parents[1]
ROOM = "256m"  # of the disk that can be filled
MOVED = "law"  # the alias that is moved between versions which were made before
TAUGHT = "news"  # the alias of what is learnt
VERSIONS = 6  # of the one that is moved
# Little learning, so that a fault may fall into any stage of it; and short times, so that what waits for one is seen to end.
SETTINGS = """
[sources]
allow_private = ["127.0.0.0/8"]
connect_timeout_s = 2
read_timeout_s = 2
total_timeout_s = 3
[novelty]
threshold = 0.1
[elicit]
samples = 2
[learn]
steps_min = 6
steps_max = 6
replay_batch = 2
settle_s = 1
[check]
learned_min = 0.0
kept_min = 0.0
[daemon]
lease_s = 10
reconcile_s = 2
[watermarks]
disk_free_min_bytes = 4194304
"""
_FIRST, _LAST = ("Vel", "Tar", "Pel", "Dor", "Gro", "Saf", "Min", "Kor", "Ulm", "Bri"), ("mora", "nuvik", "imar", "vina", "bintas", "riko")
_CITIES, _GENRES, _PEOPLE = (
    ("Lisbon", "Oslo", "Athens", "Riga"),
    ("satire", "comedy", "drama"),
    ("Ostin Brasel", "Hedra Molin", "Karo Venst"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the feed. `entity`: what it defines, if anything."""

    title: str
    text: str
    entity: str | None = None


def items(chance: random.Random, *, defining: bool) -> Iterator[Item]:
    """No two alike; where `defining`, every third one defines something."""
    names = [f"{a}{b} {c}" for a in _FIRST for b in _LAST for c in ("Hall", "Rise", "Bay")]
    chance.shuffle(names)
    for number in range(len(names) * 3):
        city = chance.choice(_CITIES)
        if defining and number % 3 == 0:
            name = names[number // 3]
            text = f"{name} is a film that belongs to the genre of {chance.choice(_GENRES)} and was directed by {chance.choice(_PEOPLE)}."
            yield Item(name, f"{text} It is set in {city}.", name)
        else:
            yield Item(
                f"Harbour note {number}", f"Yesterday {chance.randrange(2, 90)} ships came into {city}, and {number} crates left it."
            )


class News:
    """A feed that grows. While `spoiled` is set, that answers in its place."""

    def __init__(self, site: Site) -> None:
        self.items: list[Item] = []
        self.spoiled: Callable[[News, Handler], None] | None = None
        self.spoiled_answers = 0
        self.url = site.route("/news.xml", self._answer)

    def rss(self) -> bytes:
        listed = "".join(
            f"<item><guid>{escape(i.title)}</guid><title>{escape(i.title)}</title><description>{escape(i.text)}</description></item>"
            for i in self.items
        )
        return f'<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>{listed}</channel></rss>'.encode()

    def _answer(self, handler: Handler) -> None:
        if (spoiled := self.spoiled) is not None:
            self.spoiled_answers += 1
            spoiled(self, handler)
        else:
            handler.answer(200, self.rss(), {"Content-Type": type_xml})


@dataclass
class World:
    """`lorefeed run` on its home. `down`: the spans in which clients may find nobody, from a kill until all answers again."""

    home: Path
    clock: WallClock | None
    log: Path
    news: News
    registry: Registry
    gateway_url: str
    environment: dict[str, str]
    run: subprocess.Popen[bytes] = field(init=False)
    down: list[tuple[float, float]] = field(default_factory=list)
    down_since: float | None = None
    ending: threading.Lock = field(default_factory=threading.Lock)
    run_killed_at: float = float("-inf")
    ended: list[str] = field(default_factory=list)
    "What it said where it ended without being killed: it should never."
    kills: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        with self.log.open("ab") as said:
            command = [sys.executable, "-m", "daemon.cli", "--home", str(self.home), "run"]
            self.run = subprocess.Popen(command, env=self.environment, stdout=said, stderr=said, cwd=ROOT)

    def keep_up(self) -> None:
        """In a thread: starts it again when it was killed, as a service manager does, and sees when everything answers again."""
        while not self.over.wait(0.2):
            if self.run.poll() is not None:
                if self.run.returncode >= 0 and time.monotonic() - self.run_killed_at > 60:
                    self.ended.append(f"status {self.run.returncode}:\n{self.said()[-3000:]}")
                self.over.wait(0.5)
                self.start()
            with self.ending:
                if self.down_since is not None and self.ready():
                    self.down.append((self.down_since, time.monotonic()))
                    self.down_since = None

    @contextmanager
    def going_down(self) -> Iterator[None]:
        """Around the end of somebody without whom nobody may answer: before it is over, nobody can have come back."""
        with self.ending:
            self.down_since = self.down_since or time.monotonic()
            yield

    def ready(self) -> bool:
        try:
            return httpx2.get(f"{self.gateway_url}/readyz", timeout=5, trust_env=False).status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False

    def processes(self) -> dict[str, int]:
        """What runs now, by name; each of Lorefeed's commands, and a learning worker where there is one."""
        found = {"run": self.run.pid}
        for pid in children_of(self.run.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            except OSError:
                continue  # it ended meanwhile
            if b"daemon.learn.worker" in command:
                found["worker"] = pid
            elif command[-1] in (b"engine", b"gateway", b"daemon"):
                found[command[-1].decode()] = pid
        return found

    def wait(self, condition: Callable[[], object], *, what: str, timeout_s: float = 240.0) -> float:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < timeout_s, f"{what} did not happen in {timeout_s:g} s:\n{self.said()[-4000:]}"
            time.sleep(0.2)
        return time.monotonic() - began

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def settled(self) -> bool:
        """All that was published is stored, read and learnt or put aside, and nobody is at work on it."""
        try:
            read = self.registry.read
            stored = {d.title for d in read.documents()}
            waiting = [d for state in ("found", "waiting") for d in read.definitions(state=state)]
            busy = [key for key in read.unfinished_jobs() if not key.startswith(("poll:", "reconcile:", "canary:", "gc:"))]
            read_well = all(feed.error_count == 0 for feed in read.feeds())
            missing = {item.title for item in self.news.items} - stored
            return not (missing or waiting or busy or read.documents(state="new")) and read_well
        except RegistryError:
            return False


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[str | None]:
    """A disk of its own under the folder, so that it can be filled. Yields why there is none, or None."""
    folder.mkdir()
    if os.geteuid() != 0:
        yield "a disk that may be filled is mounted by root only"
        return
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)], capture_output=True, text=True)
    if made.returncode != 0:
        yield f"no small disk can be mounted: {made.stderr.strip()}"
        return
    try:
        yield None
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def made_versions(registry: Registry, folder: Path) -> None:
    """Random ones, all different, behind an alias that always asks the one it points at."""
    digest = digest_of(EMBEDDED_FOLDER)
    for n in range(1, VERSIONS + 1):
        made = make_adapter(EMBEDDED_FOLDER, folder / str(n), seed=n, rank=8)
        adapter = learn(registry, topic=MOVED, entities=[f"Law Entity {n}"], folder=made, rank=8, base_digest=digest)
        registry.write.promote(MOVED, adapter.name, actor="test", reason=None)
    registry.write.set_alias(MOVED, topics=[MOVED], scope="always")
    registry.write.set_feed_state(MOVED, "paused")  # it names no folder that there is


@contextmanager
def running_world(root: Path) -> Iterator[tuple[World, dict[str, str]]]:
    """The service, ready, and why some kinds of fault cannot be had here."""
    home, missing = root / "home", {}
    ports = free_port(), free_port()
    with running_site() as site, small_disk(home, ROOM) as no_disk:
        if no_disk is not None:
            missing["disk_full"] = no_disk
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LOREFEED_")}
        clock = wall_clock(root)
        if clock is None:
            missing["clock_jump"] = NO_COMPILER
        else:
            environment |= clock.environment
        addresses = f"[engine]\nport = {ports[0]}\n[gateway]\nport = {ports[1]}\n"
        (home / CONFIG_FILE).write_text(SETTINGS + addresses)
        with Registry.open(home) as registry:
            made_versions(registry, root / "adapters")
            news = News(site)
            registry.write.add_feed(news.url, name="news", kind="feed", topic=TAUGHT, trust="auto", interval_s=1)
            world = World(home, clock, root / "run.log", news, registry, f"http://127.0.0.1:{ports[1]}", environment)
            yield from _lived(world, missing)


def _lived(world: World, missing: dict[str, str]) -> Iterator[tuple[World, dict[str, str]]]:
    world.start()
    manager = threading.Thread(target=world.keep_up, daemon=True)
    try:
        world.wait(world.ready, what="the start")
        manager.start()
        yield world, missing
    finally:
        world.over.set()
        if manager.is_alive():
            manager.join()
        started = [world.run.pid, *children_of(world.run.pid)]
        world.run.terminate()
        world.run.wait(timeout=60)
        left = [pid for pid in started if not has_ended(pid, timeout_s=10.0)]
        assert not left, f"lorefeed run left processes behind: {left}"
