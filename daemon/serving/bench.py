"""What the gateway costs: its own ceiling in front of an engine that computes nothing, what it adds to the latency of one that leaves this machine's
cores alone, as one on a GPU does, and in front of a real one, each against that engine direct.

Everything runs as its own process on this machine, as in service, and is measured in turns, so that a machine that slows down slows all alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from daemon.mentions import NameFinder
from daemon.serving.errors import ServingError
from registry import NewCheckRun, NewDefinition, NewDocument, Registry

ALIAS = "bench"
BASE = "lorefeed-embedded"
NAMES = 1000  # learnt by the alias's adapter, so that each request is searched for them
MANY_NAMES = 100_000  # of a large topic; more names than that take longer to make a finder of, not to look for
PROMPT = "Please tell me what you had for breakfast today, and whom you met on your way to the harbour. " * 4
PAUSE_MS = 100.0  # about what a short answer takes a model of some billion parameters on a GPU
START_WITHIN_S = 600.0  # a peer imports for minutes on a busy machine
_STANDIN = (sys.executable, "-m", "daemon.serving.standin")
Turn = dict[str, Any]
Start = Callable[..., None]


class BenchFailed(ServingError):
    """A part of the bench did not start."""

    hint = "Its own words stand above"


def bench_gateway(
    *, clients: int, seconds: float, rounds: int, max_tokens: int, engine: bool, litellm: Path | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """`rounds` turns of `seconds` each. `engine`: also before the embedded engine. `litellm`: the peer's executable, measured in the same turns."""
    body = {"model": ALIAS, "prompt": PROMPT, "max_tokens": max_tokens, "temperature": 0}
    answer: dict[str, Any] = {"clients": clients, "seconds": seconds, "rounds": rounds, "cpus": os.cpu_count(), "names": NAMES}
    say(f"Looking for {MANY_NAMES:,} names in a conversation")
    answer["search"] = search(MANY_NAMES, PROMPT)
    with tempfile.TemporaryDirectory(prefix="lorefeed-bench-") as folder, contextlib.ExitStack() as stack:
        home = Path(folder)
        _prepare(home)
        start = _starter(stack, home)
        standin = _port()
        where = _with_gateway(start, "stand-in", [*_STANDIN, str(standin), BASE], standin)
        if litellm is not None:
            where["litellm"] = (_start_litellm(start, litellm, home, standin), ALIAS)
        say("In front of an engine that computes nothing")
        answer["ceiling"] = _turns(where, body, clients=clients, seconds=seconds, rounds=rounds)
        say(", ".join(f"{name} {turn['per_second']:g}/s" for name, turn in answer["ceiling"].items()))
        say(f"In front of an engine that takes {PAUSE_MS:g} ms and none of this machine's cores")
        pausing = _port()
        where = _with_gateway(start, "stand-in", [*_STANDIN, str(pausing), BASE, str(PAUSE_MS)], pausing)
        found = _turns(where, body, clients=clients, seconds=seconds, rounds=rounds)
        answer["paced"] = found | _against(found["direct"], found["gateway"])
        if engine:
            say("In front of the embedded engine")
            where = _with_gateway(start, "engine", _lorefeed("engine"), _port())
            found = _turns(where, body | {"ignore_eos": True}, clients=clients, seconds=seconds, rounds=rounds)
            answer["engine"] = found | _against(found["direct"], found["gateway"])
    return answer


def search(count: int, conversation: str) -> dict[str, Any]:
    """What it takes to make a finder of so many names of two words each, in seconds, and to look for all of them, in microseconds."""
    names = [f"Quorl{n % 317} Vash{n}" for n in range(count)]
    began = time.perf_counter()
    finder = NameFinder(names)
    made, looks = time.perf_counter() - began, []
    for text in (conversation, f"{conversation} {names[count // 2]}") * 50:
        began = time.perf_counter()
        found = finder.find(text)
        looks.append((time.perf_counter() - began) * 1e6)
        assert (found is not None) == (text != conversation), "one of the two names something"
    return {"names": count, "characters": len(conversation), "made_s": round(made, 2), "us": round(statistics.median(looks), 1)}


def _with_gateway(start: Start, name: str, command: list[str], port: int) -> dict[str, tuple[str, str]]:
    """Starts an engine that listens on `port` and a gateway before it. Where either is asked, and for which model."""
    front = _port()
    start(name, command, f"{_at(port)}/health", {"ENGINE__PORT": port})
    start("gateway", _lorefeed("gateway"), f"{_at(front)}/healthz", {"ENGINE__PORT": port, "GATEWAY__PORT": front})
    return {"direct": (_at(port), BASE), "gateway": (_at(front), ALIAS)}


def _against(direct: Turn, gateway: Turn) -> dict[str, float]:
    return {
        "throughput": round(gateway["per_second"] / direct["per_second"], 4),
        "added_p50_ms": round(gateway["p50_ms"] - direct["p50_ms"], 3),
        "added_p99_ms": round(gateway["p99_ms"] - direct["p99_ms"], 3),
    }


def _turns(where: Mapping[str, tuple[str, str]], body: dict[str, Any], *, clients: int, seconds: float, rounds: int) -> dict[str, Turn]:
    """The median over the rounds for each; each has a round to warm up, which is not counted."""
    found: dict[str, list[Turn]] = {name: [] for name in where}
    for number in range(rounds + 1):
        for name, (url, model) in where.items():
            turn = _load(url, body | {"model": model}, clients=clients, seconds=seconds if number else min(seconds, 2.0))
            if number:
                found[name].append(turn)
    keys = ("per_second", "p50_ms", "p99_ms")
    return {
        name: {key: statistics.median(turn[key] for turn in turns) for key in keys}
        | {key: sum(turn[key] for turn in turns) for key in ("answers", "failed")}
        for name, turns in found.items()
    }


def _load(url: str, body: dict[str, Any], *, clients: int, seconds: float) -> Turn:
    wish = {"url": f"{url}/v1/completions", "body": body, "clients": clients, "seconds": seconds}
    command = [sys.executable, "-m", "daemon.serving.load"]
    done = subprocess.run(command, input=json.dumps(wish), stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 300)
    turn: Turn = json.loads(done.stdout)
    return turn


def _prepare(home: Path) -> None:
    """A registry whose alias serves an adapter with many names. No request mentions one, so the base answers, after a whole search."""
    now = datetime.now(UTC)
    with Registry.open(home) as registry:
        write = registry.write
        write.add_feed("/nowhere", name=ALIAS, kind="folder", topic=ALIAS, trust="auto", interval_s=900)
        document = NewDocument(external_id="bench", text="The names of a bench.", fetched_at=now)
        [stored] = write.record_poll(registry.read.feed(ALIAS).id, cursor={}, next_check_at=now, documents=[document])
        names = [NewDefinition(entity=f"Quorl {n} Vash", text=f"Quorl {n} Vash is a name.", span=(0, 3), score=1.0) for n in range(NAMES)]
        ids = [definition.id for definition in write.record_definitions(stored.id, names)]
        facts: dict[str, Any] = {"parent": None, "method": "bench", "base_model": "none", "base_digest": "0", "rank": 1, "settings": {}}
        adapter = write.begin_adapter(ALIAS, definitions=ids, rehearsed=(), **facts)
        folder = registry.artifacts.begin(adapter.name)
        (folder / "nothing").write_text("for a bench")
        digest = registry.artifacts.publish(folder, adapter_name=adapter.name, manifest={})
        write.finish_learning(adapter.name, digest=digest)
        write.record_check(adapter.name, NewCheckRun(digest=digest, base_digest="0", verdict="passed"))
        write.promote(ALIAS, adapter.name, actor="bench", reason=None)


def _starter(stack: contextlib.ExitStack, home: Path) -> Start:
    def start(name: str, command: list[str], ready: str, settings: Mapping[str, Any] | None = None) -> None:
        ours = {"LOREFEED_HOME": str(home), **{f"LOREFEED_{key}": str(value) for key, value in (settings or {}).items()}}
        stack.enter_context(_running(name, command, ready, {k: v for k, v in os.environ.items() if not k.startswith("LOREFEED_")} | ours))

    return start


@contextlib.contextmanager
def _running(name: str, command: list[str], ready: str, environment: Mapping[str, str]) -> Iterator[None]:
    """A process that answers at `ready`, and is stopped at the end."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_WITHIN_S
            while not _answers(ready):
                if process.poll() is not None:
                    raise BenchFailed(f"The {name} ended with status {process.returncode} before it answered")
                if time.monotonic() > deadline:
                    raise BenchFailed(f"The {name} did not answer at {ready} within {START_WITHIN_S:g} s")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _start_litellm(start: Start, executable: Path, home: Path, standin: int) -> str:
    """The peer: the same stand-in behind one name, without its database and its logging."""
    port, config = _port(), home / "litellm.yaml"
    peer = {"model": "text-completion-openai/standin", "api_base": f"{_at(standin)}/v1", "api_key": "none"}
    keyless = {"dangerously_permit_weak_or_unset_master_key": True}
    config.write_text(
        json.dumps({"model_list": [{"model_name": ALIAS, "litellm_params": peer}], "general_settings": keyless})
    )  # JSON is YAML
    command = [
        "env",
        "LITELLM_LOCAL_MODEL_COST_MAP=True",
        str(executable),
        "--config",
        str(config),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
        "--telemetry",
        "False",
    ]
    start("litellm", command, f"{_at(port)}/health/liveliness")
    return _at(port)


def _lorefeed(command: str) -> list[str]:
    return [sys.executable, "-m", "daemon.cli", command]


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2, trust_env=False).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False


def _at(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
