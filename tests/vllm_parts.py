"""Lorefeed's own processes around a real vLLM: a home whose versions are random adapters of the embedded model, engine, gateway, daemon."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from daemon.learn.folders import EMBEDDED_FOLDER, digest_of
from daemon.serving.client import EngineClient
from registry import Registry
from tests.serving_parts import free_port, learn, make_adapter

ROOT = Path(__file__).parents[1]
PYTHON = Path(os.environ.get("LOREFEED_TEST_VLLM", ROOT / ".venv-vllm" / "bin" / "python"))
BASE_NAME = "lorefeed-embedded"
START_WITHIN_S = 1800.0  # 40 s on a machine that does nothing else
RESIDENT = 8  # versions that the engine holds; more are made than that
VERSIONS = {"news": 10, "law": 2}  # of each topic; all random and all different
RANK = 8  # of the random ones
# An answer that belongs to no version must be a mixed one, not one that is rounded differently.
ARGUMENTS = ("--dtype", "float32", "--max-num-seqs", "32")
LEARN_RANK = 32  # of what learning makes at most, and so what vLLM is started for
# Longer than a block of vLLM's cache (128 tokens on a CPU): shorter ones would hide that a version is answered from another one's memory.
LONG = "The harbour master wrote down which ships had come, what they carried and who had sent them, and closed the book at night. " * 7


def need_vllm() -> None:
    """Skips where vLLM's environment has not been made."""
    if not PYTHON.exists():
        pytest.skip(f"vLLM's environment is not there ({PYTHON}); make it with: make vllm")


def make_versions(home: Path, folder: Path) -> None:
    """The aliases `news` and `law` serve the newest of their versions."""
    digest = digest_of(EMBEDDED_FOLDER)
    with Registry.open(home) as registry:
        for topic, count in VERSIONS.items():
            for n in range(1, count + 1):
                made = make_adapter(EMBEDDED_FOLDER, folder / f"{topic}-{n}", seed=1000 * len(topic) + n, rank=RANK)
                adapter = learn(registry, topic=topic, entities=[f"{topic.title()} Entity {n}"], folder=made, rank=RANK, base_digest=digest)
                registry.write.promote(topic, adapter.name, actor="test", reason=None)
            registry.write.set_alias(topic, topics=[topic], scope="always")


def children_of(pid: int) -> list[int]:
    """All processes below this one, parents first. A child is listed under the thread that started it."""
    direct = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            direct += [int(one) for one in (thread / "children").read_text().split()]
    return [found for child in direct for found in (child, *children_of(child))]


@dataclass
class World:
    """A home and `lorefeed run` on it. `http` is shared: making a client costs more than asking."""

    home: Path
    folder: Path  # the adapters as they were made, topic-n
    engine_url: str
    gateway_url: str
    run: subprocess.Popen[bytes]
    log: Path
    registry: Registry
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=120, trust_env=False))

    def engine(self) -> EngineClient:
        return EngineClient(self.engine_url)

    def complete(self, model: str, prompt: str = LONG, *, direct: bool = False, max_tokens: int = 12, **more: Any) -> httpx2.Response:
        """A greedy answer, by the gateway or from the engine itself."""
        wish = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True, **more}
        return self.http.post(f"{self.engine_url if direct else self.gateway_url}/v1/completions", json=wish)

    def text(self, model: str, prompt: str = LONG, **more: Any) -> str:
        answer = self.complete(model, prompt, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["text"])

    def held(self) -> list[str]:
        with self.engine() as engine:
            return [card.name for card in engine.models()[1:]]

    def serve(self, alias: str, name: str) -> None:
        self.registry.write.promote(alias, name, actor="test", reason=None)

    def ready(self) -> bool:
        """Whether the gateway says that it and the engine answer."""
        try:
            return self.http.get(f"{self.gateway_url}/readyz").status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False

    def pids(self, command: str) -> list[int]:
        """The process of one of Lorefeed's commands and all below it, parents first."""
        for pid in children_of(self.run.pid):
            if Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").endswith(f"\0{command}".encode()):
                return [pid, *children_of(pid)]
        return []

    def kill(self, command: str) -> list[int]:
        """As the kernel does when memory is short: all of its processes at once. `lorefeed run` starts it again."""
        found = self.pids(command)
        assert found, f"there is no {command}"
        for pid in found:
            with contextlib.suppress(ProcessLookupError):  # it went with the one before
                os.kill(pid, signal.SIGKILL)
        return found

    def wait(self, condition: Any, *, timeout_s: float = START_WITHIN_S, every_s: float = 0.25) -> float:
        """Seconds until the condition holds; fails with the service's last words when that does not happen."""
        began = time.monotonic()
        while not condition():
            assert self.run.poll() is None, f"lorefeed run ended:\n{self.said()[-3000:]}"
            assert time.monotonic() - began < timeout_s, f"it did not happen within {timeout_s:g} s:\n{self.said()[-3000:]}"
            time.sleep(every_s)
        return time.monotonic() - began

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@contextmanager
def running_world(root: Path, *, arguments: Sequence[str] = (), more: Mapping[str, object] | None = None) -> Iterator[World]:
    """`lorefeed run` with vLLM on a home of its own, ready; stopped at the end, with everything that it started."""
    home, ports, log = root / "home", (free_port(), free_port()), root / "run.log"
    make_versions(home, root / "adapters")
    settings = {
        "HOME": home,
        "ENGINE__KIND": "vllm",
        "ENGINE__VLLM_PYTHON": PYTHON,
        "ENGINE__PORT": ports[0],
        "ENGINE__MAX_RESIDENT": RESIDENT,
        "ENGINE__VLLM_ARGUMENTS": json.dumps([*ARGUMENTS, *arguments]),
        "GATEWAY__PORT": ports[1],
        "LEARN__RANK": LEARN_RANK,
        "LEARN__MERGED_RANK": LEARN_RANK,
        "LEARN__SETTLE_S": 1,
        "DAEMON__RECONCILE_S": 2,
        **(more or {}),
    }
    ours = {f"LOREFEED_{key}": str(value) for key, value in settings.items()} | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LOREFEED_")} | ours
    with Registry.open(home) as registry, log.open("ab") as said:
        run = subprocess.Popen([sys.executable, "-m", "daemon.cli", "run"], env=environment, stdout=said, stderr=said, cwd=ROOT)
        world = World(home, root / "adapters", f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", run, log, registry)
        try:
            world.wait(world.ready)
            yield world
        finally:
            started = children_of(run.pid)
            run.terminate()
            run.wait(timeout=120)
            world.http.close()
            left = {pid: has_ended(pid, timeout_s=10.0) for pid in started}
            assert all(left.values()), f"lorefeed run left processes behind: {[pid for pid, ended in left.items() if not ended]}"


def has_ended(pid: int, *, timeout_s: float) -> bool:
    """Within that time. What is killed with its parent notices that within a second."""
    until = time.monotonic() + timeout_s
    while (there := Path(f"/proc/{pid}").exists()) and time.monotonic() < until:
        time.sleep(0.1)
    return not there


def load_calls(world: World) -> int:
    """How often vLLM was asked to load an adapter, by its own log."""
    return world.said().count("POST /v1/load_lora_adapter")
