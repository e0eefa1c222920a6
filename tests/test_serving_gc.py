"""Garbage collection: it removes what it may, in order, and nothing else, whatever happened before."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.serving.client import ModelCard
from daemon.serving.errors import EngineDown
from daemon.serving.gc import GcReport, collect, protected
from daemon.serving.settings import GcSettings
from registry import Adapter, AdapterState, NothingToRollBack, NotPromotable, Registry
from tests.registry_parts import Clock, begin, judge, learn, promote, publish

GRACE_S = 3600.0
TOPICS = ("news", "law")


class Holder:
    """An engine as garbage collection sees one: names with folders, and whether it answers. `need` is told of every folder it would read."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.held: dict[str, str] = {}
        self.down = False

    def models(self) -> tuple[ModelCard, ...]:
        if self.down:
            raise EngineDown(f"{self.url} is down")
        return (ModelCard("tiny", None, None), *(ModelCard(name, root, "tiny") for name, root in self.held.items()))

    def unload(self, name: str) -> None:
        self.models()
        self.held.pop(name, None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home", clock=clock) as registry:
        registry.write.set_alias("news", topics=["news"], scope="mention")
        yield registry


def released(registry: Registry, count: int) -> list[Adapter]:
    made = []
    for _ in range(count):
        made.append(learn(registry))
        promote(registry, made[-1])
    return made


def run(
    registry: Registry, clock: Clock, *engines: Holder, keep: int = 0, flying: dict[str, int] | None = None, dry_run: bool = False
) -> GcReport:
    wanted = GcSettings(grace_s=GRACE_S, keep=keep)
    found = flying or {}
    return collect(registry, engines, in_flight=lambda: found, settings=wanted, now=clock(), actor="test", dry_run=dry_run)  # type: ignore[arg-type]


def folders(registry: Registry) -> set[str]:
    return {found.adapter for found in registry.artifacts.published()}


def test_what_nothing_needs_goes_after_its_grace_and_not_before(registry: Registry, clock: Clock) -> None:
    released(registry, 4)
    first = run(registry, clock)
    assert first.given_up == ("news@1", "news@2")
    assert dict(first.kept) == {"news@4": "served as news", "news@3": "where news goes back to"}
    assert folders(registry) == {"news@1", "news@2", "news@3", "news@4"}
    clock.advance(GRACE_S - 1)
    assert run(registry, clock).deleted == ()
    clock.advance(1)
    report = run(registry, clock)
    assert report.deleted == ("news@1", "news@2")
    assert report.freed_bytes > 0
    assert folders(registry) == {"news@3", "news@4"}
    assert run(registry, clock) == GcReport(kept=first.kept), "the second time there is nothing to do"
    assert [finding for finding in registry.doctor() if "news" in finding.object] == []


def test_a_dry_run_says_the_same_and_changes_nothing(registry: Registry, clock: Clock) -> None:
    released(registry, 3)
    assert run(registry, clock, dry_run=True).given_up == ("news@1",)
    assert registry.read.adapter("news@1").removed_at is None
    run(registry, clock)
    clock.advance(GRACE_S)
    assert run(registry, clock, dry_run=True).deleted == ("news@1",)
    assert folders(registry) == {"news@1", "news@2", "news@3"}


def test_files_wait_for_answers_and_for_every_engine(registry: Registry, clock: Clock) -> None:
    released(registry, 3)
    path = str(registry.artifacts.path(registry.read.adapter("news@1")).resolve())
    engines = Holder("http://a"), Holder("http://b")
    for engine in engines:
        engine.held["news@1"] = path
    engines[1].down = True
    run(registry, clock, *engines)
    clock.advance(2 * GRACE_S)
    waiting = dict(run(registry, clock, *engines, flying={"news@1": 2}).waiting)
    assert waiting == {"news@1": "it gives 2 answers"}
    waiting = dict(run(registry, clock, *engines).waiting)
    assert "http://b is down" in waiting["news@1"]
    assert engines[0].held == {}
    engines[1].down = False
    assert run(registry, clock, *engines).deleted == ("news@1",)
    assert engines[1].held == {}


def test_what_is_tried_kept_new_or_grown_from_stays(registry: Registry, clock: Clock) -> None:
    released(registry, 5)
    trial = learn(registry)
    registry.write.set_canary("news", trial.name, weight=5, actor="test")
    refused = learn(registry, verdict="refused")
    grown = begin(registry, parent="news@2")
    publish(registry, grown)
    why = protected(registry, keep=1)
    assert why == {
        "news@5": "served as news",
        "news@4": "where news goes back to",
        trial.name: "canary of news",
        grown.name: "it is learning",
        "news@2": f"{grown.name} grows from it",
    }
    assert run(registry, clock, keep=2).given_up == ("news@1", refused.name)
    assert protected(registry, keep=2)["news@3"] == "among the 2 newest of news"


def test_a_folder_that_no_row_refers_to_goes_too(registry: Registry, clock: Clock) -> None:
    released(registry, 1)
    stray = registry.artifacts.path(registry.read.adapter("news@1")).with_name("1-0123456789ab")
    shutil.copytree(registry.artifacts.path(registry.read.adapter("news@1")), stray)
    (stray / "manifest.json").chmod(0o644)
    (stray / "manifest.json").write_text((stray / "manifest.json").read_text() + "\n")
    clock.now = clock.now.fromtimestamp(stray.stat().st_mtime, clock.now.tzinfo) + timedelta(seconds=GRACE_S)
    assert run(registry, clock).deleted == ("news@1",)
    assert not stray.exists()
    assert registry.artifacts.verify(registry.read.adapter("news@1"))


class Histories(RuleBasedStateMachine):
    """Anything that happens to versions, engines and answers, in any order, with garbage collection in between."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="lorefeed-gc-"))
        self.clock = Clock()
        self.registry = Registry.open(self.home, clock=self.clock)
        self.engines = [Holder("http://a"), Holder("http://b")]
        self.flying: dict[str, int] = {}
        for topic in TOPICS:
            self.registry.write.set_alias(topic, topics=[topic], scope="mention")

    def teardown(self) -> None:
        self.registry.close()
        shutil.rmtree(self.home)

    def served(self) -> set[str]:
        """What must never go: said here from the rows alone."""
        read = self.registry.read
        names = {alias.adapter for alias in read.aliases()} | {canary.adapter for canary in read.canaries()}
        for alias in read.aliases():
            names |= {release.from_adapter for release in read.releases(alias.name)[:1]}
        return {name for name in names if name is not None}

    def whole(self) -> list[Adapter]:
        return [a for a in self.registry.read.adapters() if a.digest is not None and a.removed_at is None]

    @rule(topic=st.sampled_from(TOPICS), verdict=st.sampled_from(["passed", "passed", "refused", None]))
    def makes(self, topic: str, verdict: str | None) -> None:
        adapter = begin(self.registry, topic=topic)
        self.registry.write.finish_learning(adapter.name, digest=publish(self.registry, adapter))
        if verdict is not None:
            judge(self.registry, self.registry.read.adapter(adapter.name), verdict=verdict)

    @rule(data=st.data())
    @precondition(lambda self: self.whole())
    def promotes(self, data: st.DataObject) -> None:
        adapter = data.draw(st.sampled_from(self.whole()))
        with contextlib.suppress(NotPromotable):
            self.registry.write.promote(adapter.topic, adapter.name, actor="test", reason=None)

    @rule(topic=st.sampled_from(TOPICS))
    def rolls_back(self, topic: str) -> None:
        with contextlib.suppress(NothingToRollBack):
            self.registry.write.rollback(topic, to=None, actor="test", reason="test")

    @rule(data=st.data())
    @precondition(lambda self: self.whole())
    def tries(self, data: st.DataObject) -> None:
        adapter = data.draw(st.sampled_from(self.whole()))
        with contextlib.suppress(NotPromotable):
            self.registry.write.set_canary(adapter.topic, adapter.name, weight=5, actor="test")

    @rule(data=st.data(), which=st.integers(0, 1))
    @precondition(lambda self: self.whole())
    def loads(self, data: st.DataObject, which: int) -> None:
        adapter = data.draw(st.sampled_from(self.whole()))
        self.engines[which].held[adapter.name] = str(self.registry.artifacts.path(adapter).resolve())

    @rule(data=st.data())
    @precondition(lambda self: self.whole())
    def begins_an_answer(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.whole())).name
        self.flying[name] = self.flying.get(name, 0) + 1

    @rule()
    def ends_the_answers(self) -> None:
        self.flying.clear()

    @rule(which=st.integers(0, 1), down=st.booleans())
    def breaks_or_heals(self, which: int, down: bool) -> None:
        self.engines[which].down = down

    @rule(seconds=st.sampled_from([60.0, GRACE_S / 2, GRACE_S, 10 * GRACE_S]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(keep=st.integers(0, 2), dry_run=st.booleans())
    def collects(self, keep: int, dry_run: bool) -> None:
        before = folders(self.registry)
        marks = {a.name: a.removed_at for a in self.registry.read.adapters()}
        down = any(engine.down for engine in self.engines)
        report = run(self.registry, self.clock, *self.engines, keep=keep, flying=self.flying, dry_run=dry_run)
        gone = before - folders(self.registry)
        assert gone == (set() if dry_run else set(report.deleted))
        assert not set(report.given_up) & self.served()
        for name in gone:
            marked = marks[name]
            assert marked is not None, f"{name} went without having been given up by an earlier run"
            assert self.clock() - marked >= timedelta(seconds=GRACE_S)
            assert not down, f"{name} went although an engine could not say whether it holds it"
            assert name not in self.flying

    @rule()
    def everything_comes_to_rest(self) -> None:
        """Then nothing that may go is left."""
        self.flying.clear()
        for engine in self.engines:
            engine.down = False
        for _ in range(2):
            run(self.registry, self.clock, *self.engines)
            self.clock.advance(GRACE_S)
        run(self.registry, self.clock, *self.engines)
        assert folders(self.registry) <= set(protected(self.registry, keep=0))

    @invariant()
    def what_is_served_is_whole(self) -> None:
        there = folders(self.registry)
        assert self.served() <= there
        for alias in self.registry.read.aliases():
            if alias.adapter is not None:
                self.registry.artifacts.verify(self.registry.read.adapter(alias.adapter))

    @invariant()
    def no_engine_holds_a_name_without_a_folder(self) -> None:
        there = folders(self.registry)
        assert all(set(engine.held) <= there for engine in self.engines), "its next look at the folder would end the engine"


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def test_every_state_is_collected_or_protected_for_a_reason() -> None:
    """A new state must be thought of here."""
    assert {state.value for state in AdapterState} == {"learning", "checking", "refused", "passed", "live", "retired", "rolled_back"}
