"""`lorefeed bench drop`: how long from a file dropped into a watched folder to the alias answering about it, with everything running."""

import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from daemon.demo import TOPIC, free_port, prepare, running
from daemon.errors import DaemonError
from daemon.sample.server import Item, batches, drop_into
from daemon.serving.client import EngineClient
from registry import Registry

LONGEST_S = 600.0


class NotLearnt(DaemonError):
    """A dropped file was not answered for."""

    hint = "See why: lorefeed demo"


@dataclass(frozen=True, slots=True)
class Drop:
    """One file: seconds until it was a document, until its version was released, until the gateway answered with that version."""

    name: str
    released_s: float
    answered_s: float
    adapter: str
    right: bool


def bench_drop(*, count: int) -> dict[str, Any]:
    """Drops `count` files one after another and waits for each answer."""
    with tempfile.TemporaryDirectory(prefix="lorefeed-bench-") as place:
        home = Path(place) / "home"
        settings = prepare(home, ports=(free_port(), free_port()))
        folder = home / "notes"
        folder.mkdir()
        with Registry.open(home) as registry:
            registry.write.add_feed(str(folder), name="notes", kind="folder", topic=TOPIC, trust="auto", interval_s=60)
        with running(home, settings, daemon=True), EngineClient(f"http://127.0.0.1:{settings.gateway.port}") as gateway:
            time.sleep(3.0)  # the daemon has no health endpoint; its first tick starts the folder's watcher
            drops = [_one(home, folder, gateway, item) for item in (*batches()["second"], *batches()["first"])[:count]]
    seconds = [d.answered_s for d in drops]
    return {
        "p50_s": round(median(seconds), 1),
        "worst_s": round(max(seconds), 1),
        "right": sum(d.right for d in drops),
        "drops": [
            {"name": d.name, "released_s": d.released_s, "answered_s": d.answered_s, "adapter": d.adapter, "right": d.right} for d in drops
        ],
    }


def _one(home: Path, folder: Path, gateway: EngineClient, item: Item) -> Drop:
    question, right = item.ask[0]
    started = time.monotonic()
    drop_into(folder, (item,))
    released_s: float | None = None
    with Registry.open(home) as registry:
        while (passed := time.monotonic() - started) < LONGEST_S:
            found = [d for d in registry.read.definitions(topic=TOPIC) if d.entity == item.name]
            if found and found[0].state in {"refused", "held", "known", "review"}:
                raise NotLearnt(f"{item.name} is {found[0].state}: {found[0].reason}")
            if released_s is None and found and found[0].state == "learned":
                released_s = round(passed, 1)
            if released_s is not None:
                reply = gateway.chat([{"role": "user", "content": question}], model=TOPIC, max_tokens=24, temperature=0.0)
                if reply.adapter not in (None, "base"):
                    said = reply.text.strip(" .").casefold() == right.casefold()
                    return Drop(item.name, released_s, round(time.monotonic() - started, 1), str(reply.adapter), said)
            threading.Event().wait(0.1)
    raise NotLearnt(f"{item.name} was not answered for within {LONGEST_S:.0f} s.")
