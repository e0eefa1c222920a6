"""How fast a large registry answers: every command, every page, every address of the gateway; and whether a backup taken while others write is whole.

Commands are run in this process, from their words to their last line, because starting Python takes longer than most of them; what starting
takes is told apart. Pages come over HTTP from a real gateway.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from daemon.benches.errors import BenchFailed
from daemon.benches.registry_lines import BUSY
from daemon.benches.registry_rows import Filled, fill
from daemon.config import CONFIG_FILE, load_settings
from daemon.demo import free_port
from registry import Registry
from registry.backup import write_backup
from registry.restore import restore

Json = dict[str, Any]
Say = Callable[[str], None]
RunCommand = Callable[[Sequence[str]], None]
BUDGET_MS = 100.0
STARTS = 5
START_WITHIN_S = 120.0
LONG = {(kind, "list") for kind in ("feeds", "documents", "definitions", "adapters")}


def bench_registry(
    *, definitions: int, adapters: int, rounds: int, run_command: RunCommand, keep: Path | None = None, say: Say = lambda _: None
) -> Json:
    """`run_command` runs one command from its words. `keep`: the home to fill and leave there, or to use again if it is filled."""
    with contextlib.ExitStack() as stack:
        home = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lorefeed-bench-"))) / "home"
        began = time.perf_counter()
        filled = _filled(home, definitions, adapters, say)
        _settings(home)
        say(f"Filled in {time.perf_counter() - began:.0f} s: {filled.file_bytes / 2**20:.0f} MiB.")
        found: Json = {"filled": _facts(filled), "budget_ms": BUDGET_MS, "start_ms": _start_ms()}
        found["commands"] = _timed_all(commands(filled), lambda words: _quietly(run_command, ["--home", str(home), *words]), rounds, say)
        with _gateway(home) as client:
            found["pages"] = _timed_all([(path,) for path in pages(filled)], lambda path: _get(client, path[0]), rounds, say)
        found["whole"] = {
            name: round(_once(partial(_quietly, run_command, ["--home", str(home), *words])), 1)
            for name, words in (("doctor", ["doctor", "--json"]), ("audit verify", ["audit", "verify", "--json"]))
        }
        found["backup"] = _backed_up(home, say)
        return found


def commands(filled: Filled) -> list[tuple[str, ...]]:
    """Every command that reads, and those that write little; each may be run again and again."""
    live = filled.newest[BUSY]
    number = int(live.rpartition("@")[2])
    before, first = f"{BUSY}@{number - 1}", f"{BUSY}@1"
    one, document = str(filled.one), str(filled.document)
    read = [
        ("status",), ("feeds", "list"), ("feeds", "export"), ("documents", "list"), ("documents", "list", "--feed", "feed-0002", "--limit", "50"),
        ("documents", "list", "--state", "withdrawn"), ("documents", "show", document), ("definitions", "list"),
        ("definitions", "list", "--topic", BUSY), ("definitions", "list", "--state", "review"),
        ("definitions", "list", "--topic", BUSY, "--state", "forgotten"), ("definitions", "show", one), ("definitions", "transfer", one),
        ("adapters", "list"), ("adapters", "list", "--topic", BUSY), ("adapters", "show", live), ("adapters", "diff", before, live),
        ("adapters", "diff", first, live), ("adapters", "gc", "--dry-run"), ("aliases", "list"), ("releases", BUSY), ("canary",), ("keys", "list"),
        ("audit", "list"), ("audit", "list", "--about", f"alias {BUSY}"), ("audit", "list", "--actor", "operator"),
        ("audit", "list", "--actor", "nobody"), ("forget", "--document", document, "--dry-run"),
        ("forget", "--feed", "feed-0002", "--dry-run"), ("forget", "--entity", filled.entity, "--dry-run"), ("learn", BUSY, "--dry-run"),
    ]  # fmt: skip
    written = [
        ("feeds", "pause", "feed-0002"), ("feeds", "resume", "feed-0002"), ("definitions", "hold", one), ("definitions", "release", one),
        ("aliases", "set", BUSY, "--scope", "mention"), ("rollback", BUSY), ("promote", live), ("pause",), ("resume",),
    ]  # fmt: skip
    return [_for_scripts(words) for words in (*read, *written)] + [
        ("definitions", "list"), ("adapters", "list"), ("feeds", "list"), ("audit", "list"), ("releases", BUSY),
    ]  # fmt: skip


def _for_scripts(words: tuple[str, ...]) -> tuple[str, ...]:
    """With --json, and a page of a long listing: all million of its rows would be measured otherwise, as nobody asks for them."""
    if words[1:2] == ("export",):
        return words
    long = (words[:2] in LONG or words[0] == "releases") and "--limit" not in words
    return (*words, *(("--limit", "500") if long else ()), "--json")


def pages(filled: Filled) -> list[str]:
    live = filled.newest[BUSY]
    number = int(live.rpartition("@")[2])
    return [
        "/ui/", "/ui/running", "/ui/definitions", f"/ui/definitions?topic={BUSY}", "/ui/definitions?topic=topic-07", "/ui/definitions?state=review",
        "/ui/definitions?state=forgotten&topic=topic-07", "/ui/definitions?entity=b", "/ui/definitions?entity=bad", "/ui/definitions?entity=xyz",
        f"/ui/definitions?entity=ba&topic={BUSY}&state=learned", "/ui/definitions?state=forgotten&before=1000", f"/ui/definitions/{filled.one}",
        f"/ui/topics/{BUSY}", f"/ui/topics/{BUSY}?offset={number - 200}", "/ui/topics/topic-07", f"/ui/adapters/{live}", f"/ui/adapters/{BUSY}@1",
        f"/ui/diff?left={BUSY}@1&right={live}", "/ui/feeds", "/ui/audit", f"/ui/audit?about=alias%20{BUSY}", "/ui/playground",
        "/v1/models", "/lorefeed/inflight", "/healthz", "/openapi.json", "/metrics",
    ]  # fmt: skip


def _filled(home: Path, definitions: int, adapters: int, say: Say) -> Filled:
    note = home / "filled.json"
    if note.is_file():
        return Filled.read(note)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    filled = fill(home, definitions=definitions, adapters=adapters, say=say)
    filled.write(note)
    return filled


def _settings(home: Path) -> None:
    """Ports of its own, on which no engine answers: what is served elsewhere on this machine is nobody's business here."""
    (home / CONFIG_FILE).write_text(f"[engine]\nport = {free_port()}\n[gateway]\nport = {free_port()}\n", encoding="utf-8")


def _facts(filled: Filled) -> Json:
    return {name: getattr(filled, name) for name in ("documents", "definitions", "adapters", "feeds", "events", "links", "file_bytes")}


def _timed_all(wanted: Sequence[tuple[str, ...]], do: Callable[[tuple[str, ...]], object], rounds: int, say: Say) -> list[Json]:
    """In turns, so that a moment in which the machine is slow is not one entry's alone. Worst first."""
    taken: dict[tuple[str, ...], list[float]] = {one: [] for one in wanted}
    for turn in range(rounds + 1):
        for one in wanted:
            gc.collect()  # each command is a process of its own elsewhere, and finds no garbage of the one before
            seconds = _once(partial(do, one))
            if turn:  # the first one warms the caches of the file system, as the last command did for the next
                taken[one].append(1000 * seconds)
        say(f"Turn {turn} of {rounds}.")
    rows = [{"asked": " ".join(one), "p50_ms": round(statistics.median(ms), 1), "p95_ms": round(p95(ms), 1)} for one, ms in taken.items()]
    return sorted(rows, key=lambda row: -row["p95_ms"])


def p95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, -(-95 * len(values) // 100) - 1)]


def _once(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _quietly(run_command: RunCommand, words: Sequence[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run_command(words)


def _get(client: httpx2.Client, path: str) -> None:
    answer = client.get(path)
    if answer.status_code != httpx2.codes.OK:
        raise BenchFailed(f"{path} answered {answer.status_code}.")


def _start_ms() -> float:
    """What every command costs before it does anything: Python and its imports."""
    words = [sys.executable, "-m", "daemon.cli", "--version"]
    times = [_once(lambda: subprocess.run(words, check=True, capture_output=True)) for _ in range(STARTS)]
    return round(1000 * statistics.median(times), 1)


@contextlib.contextmanager
def _gateway(home: Path) -> Iterator[httpx2.Client]:
    words = [sys.executable, "-m", "daemon.cli", "--home", str(home), "gateway"]
    url = f"http://127.0.0.1:{load_settings(home).gateway.port}"
    with (
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
        httpx2.Client(base_url=url, trust_env=False, timeout=60.0) as client,
    ):
        try:
            _await(client, process)
            yield client
        finally:
            process.terminate()


def _await(client: httpx2.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx2.HTTPError):
            client.get("/healthz")
            return
        time.sleep(0.1)
    raise BenchFailed("The gateway did not start.")


def _backed_up(home: Path, say: Say) -> Json:
    """A backup of one moment, made while another thread writes without rest, restored elsewhere and looked through."""
    stop, written = threading.Event(), [0]

    def write() -> None:
        with Registry.open(home) as registry:
            while not stop.is_set():
                registry.write.add_event("bench", "written", "bench", {"number": written[0]})
                written[0] += 1
                time.sleep(0.002)

    with tempfile.TemporaryDirectory(prefix="lorefeed-bench-", dir=home.parent) as folder:
        writer = threading.Thread(target=write)
        writer.start()
        try:
            while not written[0]:
                time.sleep(0.01)
            before = written[0]
            began = time.perf_counter()
            made = write_backup(home, Path(folder) / "bench.tar", version="bench")
            backup_s, meanwhile = time.perf_counter() - began, written[0] - before
        finally:
            stop.set()
            writer.join()
        say(f"Backed up in {backup_s:.0f} s, while {meanwhile} events were written.")
        again = Path(folder) / "restored"
        restore_s = _once(lambda: restore(made.path, again))
        with Registry.open(again) as registry:
            errors = [finding for finding in registry.doctor() if finding.level == "error"]
            report = registry.audit(known_head=made.audit_head)
        shutil.rmtree(again)
    return {
        "backup_s": round(backup_s, 1),
        "size_bytes": made.size_bytes,
        "written_meanwhile": meanwhile,
        "restore_s": round(restore_s, 1),
        "errors": len(errors),
        "audit_whole": report.whole,
        "events": report.events,
        "cpus": os.cpu_count(),
    }
