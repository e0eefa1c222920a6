"""What the service's tests arrange with: homes, folder feeds, a learning that needs no model, and waiting without sleeping long."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon.config import Settings, load_settings
from daemon.jobs import HANDLERS, LEARN, Handlers, Json, Work, pending_definitions
from daemon.runner import run_job
from daemon.scheduler import enqueue_due
from registry import Definition, Feed, Job, Registry

ROOT = Path(__file__).parents[1]


def settings_of(home: Path, *, tick_s: float = 0.05, settle_s: float = 0.0, **more: Any) -> Settings:
    return load_settings(
        home, daemon={"tick_s": tick_s, "reconcile_s": 3600.0, **more}, learn={"settle_s": settle_s}, engine={"url": "http://127.0.0.1:1"}
    )


def folder_feed(registry: Registry, folder: Path, *, topic: str = "news", interval_s: int = 3600) -> Feed:
    folder.mkdir(parents=True, exist_ok=True)
    return registry.write.add_feed(str(folder), name=folder.name, kind="folder", topic=topic, trust="auto", interval_s=interval_s)


def drop(folder: Path, name: str, text: str, *, age_s: float = 60.0) -> Path:
    """A file that is complete at once and, unless said otherwise, old enough that nobody waits for its end."""
    partial = folder / f".{name}"
    partial.write_text(text)
    then = time.time() - age_s
    os.utime(partial, (then, then))
    return partial.rename(folder / name)


def know_all(work: Work) -> Json:
    """A learning that finds everything known."""
    topic = str(work.job.payload["topic"])
    for definition in pending_definitions(work.registry, topic):
        work.registry.write.set_novelty(definition.id, 0.0, "base-digest", "known", "the model knew it")
    return {"topic": topic, "known": 1}


def handlers(**others: Callable[[Work], Json]) -> Handlers:
    return {**HANDLERS, LEARN: know_all, **others}


def defined(registry: Registry, folder: Path) -> list[Definition]:
    """One definition in state found, through the real stages."""
    folder_feed(registry, folder)
    drop(folder, "oslith.txt", "An oslith is a blue lamp that burns under water.")
    settings = settings_of(registry.home)
    for _ in range(2):
        enqueue_due(registry, settings, datetime.now(UTC), settle_s=3600)
        while job := registry.write.claim("test", lease_s=60):
            run_job(registry, settings, job, owner="test", stop=never())
    return pending_definitions(registry)


def never() -> threading.Event:
    return threading.Event()


def claimed(registry: Registry, kind: str, *, payload: Json | None = None, key: str = "k") -> Job:
    registry.write.enqueue(kind, key=key, payload=payload or {})
    job = registry.write.claim("test", lease_s=60, kinds=[kind])
    assert job is not None
    return job


def wait_until(condition: Callable[[], Any], *, timeout_s: float = 20.0, what: str = "it") -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in time"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def daemon_process(home: Path, *, env: dict[str, str] | None = None, code: str | None = None) -> subprocess.Popen[str]:
    """The real daemon on a home, without the command line in between."""
    program = code or (
        "import sys; from pathlib import Path; from daemon.config import load_settings; from daemon.service import run_daemon; "
        "home = Path(sys.argv[1]); sys.exit(run_daemon(home, load_settings(home)))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(home)],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
