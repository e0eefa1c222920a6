"""Versions, aliases and rollbacks through the real gateway on a real vLLM, and what must never reach it."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import openai
import pytest
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from daemon.learn.folders import EMBEDDED_FOLDER, digest_of
from daemon.serving.errors import AdapterRefused
from registry import Adapter, Registry
from registry.db import FILE_NAME
from tests.serving_parts import learn, make_adapter
from tests.vllm_parts import BASE_NAME, LEARN_RANK, LONG, RANK, RESIDENT, VERSIONS, World, load_calls

pytestmark = pytest.mark.vllm
NEWEST = f"news@{VERSIONS['news']}"
ROLLBACKS = int(os.environ.get("LOREFEED_MOVES", "100"))
MANY = 2 * ROLLBACKS
BEFORE = f"news@{VERSIONS['news'] - 1}"
BEFORE_THAT = f"news@{VERSIONS['news'] - 2}"


@pytest.fixture(scope="module")
def history(vllm_world: World) -> None:
    """A rollback goes to what was served before, and the tests of the load served these in any order: now one after the other, as they were made."""
    if vllm_world.registry.read.alias("news").adapter != NEWEST:
        vllm_world.serve("news", NEWEST)
    vllm_world.registry.write.rollback("news", to=int(BEFORE_THAT.partition("@")[2]), actor="test", reason="wrong")
    for name in (BEFORE, NEWEST):
        vllm_world.serve("news", name)


@pytest.fixture
def world(vllm_world: World, history: None) -> Iterator[World]:
    """Each test finds and leaves the newest version served and resident."""
    yield vllm_world
    if vllm_world.registry.read.alias("news").adapter != NEWEST:
        vllm_world.serve("news", NEWEST)
    vllm_world.wait(lambda: NEWEST in vllm_world.held(), timeout_s=120)


def passed(
    world: World, *, topic: str, folder: Path, entity: str | None = None, rank: int = RANK, base_digest: str | None = None
) -> Adapter:
    """A version that passed its check and that no alias serves; the daemon finds nothing to learn of it."""
    digest = base_digest or digest_of(EMBEDDED_FOLDER)
    adapter = learn(world.registry, topic=topic, entities=[entity or topic.title()], folder=folder, rank=rank, base_digest=digest)
    world.registry.write.move_definitions(adapter.definitions, "review", reason="test", actor="test")
    return adapter


@contextmanager
def stopped(world: World, command: str) -> Iterator[None]:
    """The command's processes stand still meanwhile, and not in the middle of a write: nobody else could write then."""
    pids = world.pids(command)
    send(signal.SIGSTOP, pids)
    try:
        while not writable(world.registry.home / FILE_NAME):
            send(signal.SIGCONT, pids)
            time.sleep(0.05)
            send(signal.SIGSTOP, pids)
        yield
    finally:
        send(signal.SIGCONT, pids)


def send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, number)


def writable(path: Path) -> bool:
    """Whether nobody holds the registry's one lock for writers."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
    return True


def test_what_the_registry_serves_is_in_vllm_under_its_own_folders(world: World) -> None:
    world.wait(lambda: {NEWEST, BEFORE, "law@2", "law@1"} <= set(world.held()), timeout_s=120)
    with world.engine() as engine:
        roots = {card.name: card.root for card in engine.models()}
    for name in (NEWEST, BEFORE):
        assert roots[name] == str(world.registry.artifacts.path(world.registry.read.adapter(name)).resolve())


def test_an_alias_is_answered_by_its_version_and_says_so(world: World) -> None:
    alias, pinned, base = (world.complete(name) for name in ("news", BEFORE, "base"))
    assert [answer.headers["x-lorefeed-adapter"] for answer in (alias, pinned, base)] == [NEWEST, BEFORE, "base"]
    texts = [answer.json()["choices"][0]["text"] for answer in (alias, pinned, base)]
    assert texts == [world.text(name, direct=True) for name in (NEWEST, BEFORE, BASE_NAME)]
    assert len(set(texts)) == 3
    assert world.complete("law").headers["x-lorefeed-adapter"] == "law@2"


def test_a_rollback_is_answered_without_a_load_where_only_the_gateway_is_left(world: World) -> None:
    """Nobody but the gateway could have loaded anything: the version that is gone back to was there."""
    world.wait(lambda: {NEWEST, BEFORE} <= set(world.held()), timeout_s=120)
    expected = world.text(BEFORE, direct=True)
    with stopped(world, "daemon"):
        calls = load_calls(world)
        world.registry.write.rollback("news", to=None, actor="test", reason="wrong")
        answer = world.complete("news")
        assert (answer.headers["x-lorefeed-adapter"], answer.json()["choices"][0]["text"]) == (BEFORE, expected)
        assert load_calls(world) == calls


def test_a_rollback_counts_from_the_next_request_and_loads_nothing(world: World, figures: list[str]) -> None:
    world.wait(lambda: {NEWEST, BEFORE} <= set(world.held()), timeout_s=120)
    expected = {name: world.text(name, direct=True) for name in (NEWEST, BEFORE)}
    # Where the next rollback would go is loaded by the daemon as soon as it sees an alias gone back, once: it is no part of the hundred.
    world.registry.write.rollback("news", to=None, actor="test", reason="wrong")
    world.wait(lambda: BEFORE_THAT in world.held(), timeout_s=120)
    world.serve("news", NEWEST)
    calls = load_calls(world)
    plain, after = [], []
    for _ in range(ROLLBACKS):
        began = time.perf_counter()
        world.text(BEFORE, direct=True)
        plain.append((time.perf_counter() - began) * 1000)
        world.registry.write.rollback("news", to=None, actor="test", reason="wrong")
        began = time.perf_counter()
        answer = world.complete("news")
        after.append((time.perf_counter() - began) * 1000)
        assert answer.headers["x-lorefeed-adapter"] == BEFORE
        assert answer.json()["choices"][0]["text"] == expected[BEFORE]
        world.serve("news", NEWEST)
        assert world.text("news") == expected[NEWEST]
    assert load_calls(world) == calls
    told = [
        f"{name} p50 {sorted(ms)[len(ms) // 2]:.1f} p99 {sorted(ms)[int(len(ms) * 0.99)]:.1f} ms"
        for name, ms in (("engine direct", plain), ("gateway", after))
    ]
    figures.append(f"whole answer of the old version right after each of {ROLLBACKS} rollbacks: {'; '.join(told)}; no load call")


def test_a_stream_ends_on_the_version_it_began_with(world: World) -> None:
    wish = {"prompt": LONG, "max_tokens": 200, "temperature": 0, "extra_body": {"ignore_eos": True}}
    with openai.OpenAI(base_url=f"{world.gateway_url}/v1", api_key="none", max_retries=0) as client:
        expected = client.completions.create(model=NEWEST, **wish).choices[0].text
        stream = client.completions.create(model="news", stream=True, **wish)
        begun = next(stream).choices[0].text
        world.registry.write.rollback("news", to=None, actor="test", reason="wrong")
        with world.engine() as engine:
            engine.unload(NEWEST)  # the worst that could happen meanwhile
        assert world.complete("news", max_tokens=4).headers["x-lorefeed-adapter"] == BEFORE
        assert begun + "".join(chunk.choices[0].text for chunk in stream) == expected


@pytest.mark.parametrize("name", ["nothing", "news@99", "../../etc/passwd", "/etc", "news@1/../x", "<script>"])
def test_a_name_that_is_not_served_is_a_404_that_lists_what_is(world: World, name: str) -> None:
    answer = world.complete(name)
    assert answer.status_code == 404
    assert f"{BASE_NAME}, base, " in answer.json()["error"]["message"]
    assert f"law@2, {NEWEST}" in answer.json()["error"]["message"]


def test_versions_that_are_not_resident_are_answered_and_never_too_many_are_held(world: World) -> None:
    names = [f"news@{n}" for n in range(1, VERSIONS["news"] + 1)]
    first = {}
    for name in [*names, *reversed(names)]:
        text = world.text(name)
        assert first.setdefault(name, text) == text, "loaded again, a version answers as before"
        assert len(world.held()) <= RESIDENT
        assert {NEWEST, BEFORE} <= set(world.held()), "what is served and gone back to stays"
    assert len(set(first.values())) == len(names)


def test_two_hundred_versions_are_answered_by_an_engine_that_holds_a_few(world: World, figures: list[str]) -> None:
    folders = {n: world.folder / f"news-{n}" for n in range(1, 5)}
    expected = {n: world.text(f"news@{n}", max_tokens=4) for n in folders}
    for n in range(MANY):
        passed(world, topic="many", entity=f"Number {n}", folder=folders[1 + n % 4])
    began, versions = time.monotonic(), list(range(1, MANY + 1))
    random.Random(3).shuffle(versions)
    for version in versions:
        assert world.text(f"many@{version}", max_tokens=4) == expected[1 + (version - 1) % 4]
        assert len(world.held()) <= RESIDENT
    took = time.monotonic() - began
    figures.append(
        f"{MANY} versions, {RESIDENT} resident: each asked once, in any order, {took / MANY * 1000:.0f} ms each with load and proof, 0 wrong"
    )
    assert {NEWEST, BEFORE} <= set(world.held())


def test_a_client_that_leaves_is_not_computed_for(world: World) -> None:
    def running() -> float:
        text = world.http.get(f"{world.engine_url}/metrics").text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("vllm:num_requests_running"))

    with openai.OpenAI(base_url=f"{world.gateway_url}/v1", api_key="none", max_retries=0) as client:
        wish = {"prompt": "x", "max_tokens": 480, "temperature": 0, "extra_body": {"ignore_eos": True}}
        stream = client.completions.create(model="news", stream=True, **wish)
        next(stream)
        assert running() >= 1
        stream.close()
        left = world.wait(lambda: running() == 0, timeout_s=10, every_s=0.02)
    assert left < 2.0


class Opened(FileSystemEventHandler):
    def __init__(self) -> None:
        self.events: list[FileSystemEvent] = []

    def on_opened(self, event: FileSystemEvent) -> None:
        self.events.append(event)


def test_what_is_registered_stays_in_memory_however_many_come_and_go(world: World) -> None:
    """vLLM keeps unloaded adapters until they are the coldest: without being kept warm, the served but seldom asked one would go first."""
    world.wait(lambda: NEWEST in world.held(), timeout_s=120)
    for n in range(2 * RESIDENT + 4):  # more loads than its memory has places
        world.text(f"news@{1 + n % (VERSIONS['news'] - 2)}", max_tokens=1)
    folder, seen, observer = world.registry.artifacts.path(world.registry.read.adapter(NEWEST)), Opened(), Observer()
    observer.schedule(seen, str(folder))
    observer.start()
    try:
        text = world.text(NEWEST, direct=True)
        time.sleep(0.5)
    finally:
        observer.stop()
        observer.join()
    assert text
    assert [event.src_path for event in seen.events if not event.is_directory] == []


@pytest.mark.parametrize("damage", ["swapped", "truncated", "deleted"])
def test_a_damaged_folder_never_reaches_vllm(world: World, damage: str) -> None:
    name = "news@1"
    weights = world.registry.artifacts.path(world.registry.read.adapter(name)) / "adapter_model.safetensors"
    other = world.registry.artifacts.path(world.registry.read.adapter("news@2")) / "adapter_model.safetensors"
    with world.engine() as engine:
        engine.unload(name)
    whole, calls = weights.read_bytes(), load_calls(world)
    weights.chmod(0o644)
    try:
        match damage:
            case "swapped":
                weights.write_bytes(other.read_bytes())
            case "truncated":
                weights.write_bytes(whole[: len(whole) // 2])
            case _:
                weights.unlink()
        answer = world.complete(name)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "adapter_model.safetensors" in answer.json()["error"]["message"]
        assert load_calls(world) == calls, "vLLM was not even asked"
        assert world.complete("news").headers["x-lorefeed-adapter"] == NEWEST
    finally:
        weights.write_bytes(whole)
        world.registry.write.set_unserved(name, None, actor="test")
    assert world.text(name)


def test_a_rank_that_vllm_was_not_started_for_is_refused_before_it_is_asked(world: World, tmp_path: Path) -> None:
    made = make_adapter(EMBEDDED_FOLDER, tmp_path / "wide", seed=77, rank=2 * LEARN_RANK)
    adapter = passed(world, topic="wide", folder=made, rank=2 * LEARN_RANK)
    calls = load_calls(world)
    answer = world.complete(adapter.name)
    assert answer.status_code == 503
    assert f"its rank is {2 * LEARN_RANK}, the engine was started for at most {LEARN_RANK}" in answer.json()["error"]["message"]
    assert "lorefeed engine" in answer.json()["error"]["message"]
    assert load_calls(world) == calls
    with world.engine() as engine:
        with pytest.raises(AdapterRefused, match=rf"rank {2 * LEARN_RANK} is greater than max_lora_rank {LEARN_RANK}"):
            engine.load("wide@9", str(made))  # what vLLM itself would have said
        assert engine.healthy()


def test_an_adapter_of_another_base_is_refused_before_it_is_asked(world: World, tmp_path: Path) -> None:
    made = make_adapter(EMBEDDED_FOLDER, tmp_path / "other", seed=78, rank=RANK)
    adapter = passed(world, topic="other", folder=made, base_digest="c" * 64)
    answer = world.complete(adapter.name)
    assert answer.status_code == 503
    assert "was made for base cccccccccccc" in answer.json()["error"]["message"]


def test_an_adapter_that_changes_nothing_is_loaded_by_vllm_and_refused_by_us(world: World, tmp_path: Path) -> None:
    made = make_adapter(EMBEDDED_FOLDER, tmp_path / "zero", seed=79, zero=True, rank=RANK)
    adapter = passed(world, topic="zero", folder=made)
    answer = world.complete(adapter.name)
    assert answer.status_code == 503
    assert "answers exactly like the base model" in answer.json()["error"]["message"]
    assert adapter.name not in world.held()


def test_vllm_finds_what_is_served_by_itself_and_nothing_else(world: World) -> None:
    """The resolver in vLLM: what a restarted engine does before anybody has filled it."""
    expected = world.text(NEWEST, direct=True)
    with stopped(world, "daemon"), stopped(world, "gateway"), world.engine() as engine:
        for name in world.held():
            engine.unload(name)
        assert world.text(NEWEST, direct=True) == expected
        assert NEWEST in world.held()
        for name in ("news@1", "law@1", "news@99", f"../news/{VERSIONS['news']}", f"{NEWEST}/../{NEWEST}"):
            assert world.complete(name, direct=True).status_code == 404, name
        assert world.held() == [NEWEST]


def test_what_is_damaged_is_not_found_by_vllm_itself(world: World) -> None:
    path = world.registry.artifacts.path(world.registry.read.adapter(NEWEST)) / "adapter_model.safetensors"
    whole = path.read_bytes()
    with stopped(world, "daemon"), stopped(world, "gateway"), world.engine() as engine:
        engine.unload(NEWEST)
        path.chmod(0o644)
        try:
            path.write_bytes(whole[:-1] + b"\x01")
            assert world.complete(NEWEST, direct=True).status_code == 404
        finally:
            path.write_bytes(whole)
        assert engine.healthy()


def test_versions_that_go_are_unloaded_before_their_files(world: World, tmp_path: Path) -> None:
    """Pitfall 1: with the order turned round, vLLM would die of the next question."""
    from datetime import UTC, datetime, timedelta

    from daemon.serving.gc import collect
    from daemon.serving.settings import GcSettings

    made = make_adapter(EMBEDDED_FOLDER, tmp_path / "gone", seed=80, rank=RANK)
    adapter = passed(world, topic="gone", folder=made)
    assert world.text(adapter.name)
    folder = world.registry.artifacts.path(adapter)
    registry: Registry = world.registry
    registry.write.mark_removed(adapter.name, actor="test", reason="test")
    with world.engine() as engine:
        later = datetime.now(UTC) + timedelta(days=2)
        report = collect(registry, [engine], in_flight=dict, settings=GcSettings(keep=99), now=later, actor="test", give_up=False)
        assert adapter.name in report.deleted
        assert (folder.exists(), adapter.name in world.held()) == (False, False)
        assert world.complete(adapter.name, direct=True).status_code == 404
        assert world.complete(adapter.name).status_code == 404
        assert engine.healthy()
