"""What goes wrong, one function a kind. Each does its harm, sees that it was done, and takes it back, except that nobody brings back the killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.db import FILE_NAME
from tests.chaos_parts import News, World
from tests.sources_parts import Handler, type_xml

SERVING = ("run", "engine", "gateway")  # without these somebody may be answered by nobody for a while
_LOCK = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
held.execute(f"BEGIN {sys.argv[2]}")
print("held", flush=True)
sys.stdin.read()
"""
_DAY_S = 86400
_JUMPS_S = (-400 * _DAY_S, -_DAY_S, -3600, -90, 90, 3600, _DAY_S, 400 * _DAY_S)


def kill(world: World, chance: random.Random) -> None:
    """As the kernel does when memory is short, and not always in an idle moment."""
    time.sleep(chance.uniform(0.0, 2.0))
    there = world.processes()
    name = chance.choice(sorted(there))
    world.kills[name] += 1
    if name == "run":
        world.run_killed_at = time.monotonic()
    with world.going_down() if name in SERVING else contextlib.nullcontext():
        end(there[name])


def end(pid: int) -> None:
    """Returns when it is gone; a learning worker may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        while not is_gone(pid):
            time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def disk_full(world: World, chance: random.Random) -> None:
    file = world.home / "ballast"
    with filling(file):
        time.sleep(chance.uniform(2.0, 6.0))
        with pytest.raises(OSError, match="No space left"):
            (world.home / "one more").write_bytes(b"x" * 4096)


@contextmanager
def filling(file: Path) -> Iterator[None]:
    """To the last byte, and again whenever something else has made room."""
    over, full = threading.Event(), threading.Event()

    def fill() -> None:
        with file.open("wb", buffering=0) as ballast:
            while not over.is_set():
                for size in (2**20, 2**12, 1):
                    with contextlib.suppress(OSError):
                        while ballast.write(b"\0" * size) == size:
                            pass
                full.set()
                over.wait(0.02)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        assert full.wait(30)
        yield
    finally:
        over.set()
        thread.join()
        file.unlink()


def clock_jump(world: World, chance: random.Random) -> None:
    """To another time, where it stays until the next jump; the monotonic clock goes on."""
    assert world.clock is not None
    offset_s = chance.choice(_JUMPS_S)
    world.clock.set(offset_s)
    program = [sys.executable, "-c", "import time; print(time.time())"]
    told = subprocess.run(program, env=world.environment, capture_output=True, text=True, check=True).stdout
    assert abs(float(told) - time.time() - offset_s) < 10
    time.sleep(chance.uniform(2.0, 4.0))


def sqlite_busy(world: World, chance: random.Random) -> None:
    """Another program holds the registry, for longer than anybody waits for it, or not quite."""
    command = [sys.executable, "-c", _LOCK, str(world.home / FILE_NAME), chance.choice(("IMMEDIATE", "EXCLUSIVE"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        time.sleep(chance.uniform(2.0, 9.0))
        holder.communicate()


def engine_hang(world: World, chance: random.Random) -> None:
    """For a while; or, one time in ten, until `lorefeed run` has had enough of it."""
    hangs_s, for_good = chance.uniform(2.0, 6.0), chance.random() < 0.1
    if for_good:  # one that still starts has longer
        world.wait(world.ready, what="an engine that answers")
        time.sleep(6.0)  # `lorefeed run` asks every five seconds
    pid = world.processes().get("engine")
    if pid is None:  # it was killed just now
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        if for_good:
            world.kills["engine that hung"] += 1
            with world.going_down():
                world.wait(lambda: is_gone(pid), what="the end of an engine that hangs", timeout_s=120)
        else:
            time.sleep(hangs_s)
            os.kill(pid, signal.SIGCONT)


def feed_garbage(world: World, chance: random.Random) -> None:
    world.news.spoiled = chance.choice((_broken, _binary, _failing, _closed, _endless))
    time.sleep(chance.uniform(3.0, 5.0))
    world.news.spoiled = None


def _broken(news: News, handler: Handler) -> None:
    """Cut off in the middle of an entry."""
    whole = news.rss()
    handler.answer(200, whole[: whole.rindex(b"</description>") - 9], {"Content-Type": type_xml})


def _binary(_: News, handler: Handler) -> None:
    handler.answer(200, os.urandom(20_000), {"Content-Type": type_xml})


def _failing(_: News, handler: Handler) -> None:
    handler.answer(500, b"it broke", {})


def _closed(_: News, handler: Handler) -> None:
    handler.close_connection = True


def _endless(news: News, handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", type_xml)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    for _ in range(100):  # far longer than a poll may take; the caller hangs up
        handler.wfile.write(b"<rss>")
        time.sleep(0.1)


FAULTS: Mapping[str, Callable[[World, random.Random], None]] = {
    "kill": kill,
    "disk_full": disk_full,
    "clock_jump": clock_jump,
    "sqlite_busy": sqlite_busy,
    "engine_hang": engine_hang,
    "feed_garbage": feed_garbage,
}
