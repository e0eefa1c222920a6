"""Whatever is killed, and in whatever order things are promoted and rolled back, the registry agrees with its folders."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from registry import AdapterState, NothingToRollBack, NotPromotable, NotThere, Registry
from tests.registry_parts import add_feed, begin, define, folder_of, learn, promote, publish, served

# One interpreter that forks the processes it kills, because starting one for each would take most of the time.
KILLER = """
import json, os, random, signal, sys, time
from pathlib import Path
from registry import NewCheckRun, Registry

def work(home, step):
    registry = Registry.open(home)
    registry.recover()
    while True:
        step()
        adapter = registry.write.begin_adapter("news", parent=None, method="context", base_model="tiny", base_digest="b", rank=4,
                                               definitions=(), rehearsed=(), settings={})
        step()
        folder = registry.artifacts.begin(adapter.name)
        for number in range(3):
            (folder / f"part-{number}").write_bytes(adapter.name.encode() * 500)
        step()
        digest = registry.artifacts.publish(folder, adapter_name=adapter.name, manifest={})
        step()
        registry.write.finish_learning(adapter.name, digest=digest)
        step()
        registry.write.record_check(adapter.name, NewCheckRun(digest, "b", "passed"), [])
        step()
        registry.write.promote("news", adapter.name, actor="worker", reason=None)

def healed(home):
    with Registry.open(home) as registry:
        said = registry.recover()
        return {"said": said, "findings": [finding.problem for finding in registry.doctor()]}

home, chance = Path(sys.argv[1]), random.Random(7)
for _ in range(int(sys.argv[2])):
    steps, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(home, lambda: os.write(told, b"."))
        finally:
            os._exit(9)
    os.close(told)
    for _ in range(chance.randint(1, 12)):  # so far, however slow the machine is today; and then somewhere within a step
        os.read(steps, 1)
    time.sleep(chance.uniform(0.0, 0.015))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(steps)
    print(json.dumps({"killed": os.WIFSIGNALED(status)} | healed(home)), flush=True)
"""
KILLS = 10


def test_a_process_killed_at_any_moment_leaves_a_registry_that_heals(tmp_path: Path) -> None:
    with Registry.open(tmp_path) as registry:
        add_feed(registry)

    killer = subprocess.run([sys.executable, "-c", KILLER, str(tmp_path), str(KILLS)], check=True, stdout=subprocess.PIPE, text=True)

    rounds = [json.loads(line) for line in killer.stdout.splitlines()]
    assert [(each["killed"], each["findings"]) for each in rounds] == [(True, [])] * KILLS
    with Registry.open(tmp_path) as registry:
        assert_whole(registry)
        assert len(registry.read.adapters()) >= KILLS / 2, "the workers were killed too early to prove anything"
    assert any(each["said"] for each in rounds), "no kill left anything half done"


def assert_whole(registry: Registry) -> None:
    adapters = {a.name: a for a in registry.read.adapters()}
    assert sorted(a.version for a in adapters.values()) == list(range(1, len(adapters) + 1))
    assert sum(a.state is AdapterState.LEARNING for a in adapters.values()) <= 1
    name = served(registry)
    assert [a.name for a in adapters.values() if a.state is AdapterState.LIVE] == ([] if name is None else [name])
    if name is not None:
        registry.artifacts.verify(adapters[name])


def test_a_folder_published_before_a_crash_is_taken_up_at_start(tmp_path: Path) -> None:
    with Registry.open(tmp_path) as registry:
        adapter = begin(registry)
        digest = publish(registry, adapter)
        [finding] = registry.doctor()
        assert (finding.level, "does not know it yet" in finding.problem) == ("warning", True)

        [said] = registry.recover()

        assert "news@1 was published before a crash" in said
        recovered = registry.read.adapter("news@1")
        assert (recovered.state, recovered.digest) == ("checking", digest)
        assert registry.recover() == []
        assert registry.doctor() == []


def test_a_damaged_folder_is_not_taken_up(tmp_path: Path) -> None:
    with Registry.open(tmp_path) as registry:
        adapter = begin(registry)
        publish(registry, adapter)
        (registry.artifacts.published()[0].path / "adapter_model.safetensors").write_bytes(b"")

        registry.recover()

        assert registry.read.adapter("news@1").state == "learning"


def test_what_is_served_and_damaged_is_said_at_start_and_by_doctor(tmp_path: Path) -> None:
    with Registry.open(tmp_path) as registry:
        add_feed(registry)
        retired, live = learn(registry), learn(registry)
        for adapter in (retired, live):
            promote(registry, adapter)
            file = folder_of(registry, adapter) / "adapter_model.safetensors"
            file.write_bytes(file.read_bytes()[::-1]) if adapter is live else file.unlink()

        said = registry.recover()
        findings = {finding.object: finding for finding in registry.doctor()}

    assert any("news@2, served as news" in s and "altered" in s for s in said)
    assert any("news@1" in s and "is missing" in s for s in said)
    assert (findings["adapter news@2"].level, findings["adapter news@1"].level) == ("error", "warning")
    assert "lorefeed rollback news" in findings["adapter news@2"].remedy


def test_a_folder_that_no_row_knows_is_said_and_kept(tmp_path: Path) -> None:
    with Registry.open(tmp_path) as registry:
        adapter = begin(registry)
        publish(registry, adapter, content=b"first")
        registry.write.finish_learning(adapter.name, digest=publish(registry, adapter, content=b"second"))

        registry.recover()
        [finding] = registry.doctor()

        assert "does not refer to it" in finding.problem
        assert "adapters gc" in finding.remedy
        assert len(registry.artifacts.published()) == 2


class Releases(RuleBasedStateMachine):
    """Any order of learning, promoting, rolling back and clearing away, over two aliases of one topic."""

    ALIASES = ("news", "steady")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.registry = Registry.open(Path(self.folder.name))
        self.feed = add_feed(self.registry)
        self.registry.write.set_alias("steady", topics=["news"], scope="always")

    def teardown(self) -> None:
        assert self.registry.doctor() == []
        self.registry.close()
        self.folder.cleanup()

    @rule(verdict=st.sampled_from(["passed", "passed", "refused"]), grows=st.booleans())
    def learn(self, verdict: str, grows: bool) -> None:
        number = len(self.registry.read.definitions()) + 1
        definition = define(self.registry, self.feed, f"entity {number // 2}", f"It is number {number}.")
        learn(self.registry, parent=served(self.registry) if grows else None, definitions=[definition.id], verdict=verdict)

    @precondition(lambda self: self.registry.read.adapters())
    @rule(data=st.data(), alias=st.sampled_from(ALIASES), forced=st.booleans())
    def promote(self, data: st.DataObject, alias: str, forced: bool) -> None:
        adapter = data.draw(st.sampled_from(self.registry.read.adapters()))
        try:
            self.registry.write.promote(alias, adapter.name, actor="test", reason="because", forced=forced)
        except NotPromotable:
            check = self.registry.read.newest_check(adapter.name)
            newer = [a for a in self.registry.read.adapters() if a.version > adapter.version]
            refused = check is None or check.verdict == "refused"
            assert refused or adapter.removed_at is not None or newer or self._has_unwanted(adapter.definitions)

    @rule(alias=st.sampled_from(ALIASES), to=st.none() | st.integers(1, 4))
    def rollback(self, alias: str, to: int | None) -> None:
        before = served(self.registry, alias)
        try:
            self.registry.write.rollback(alias, to=to, actor="test", reason=None)
        except NothingToRollBack:
            assert before is None
        except (NotPromotable, NotThere):
            assert to is not None
        else:
            assert served(self.registry, alias) != before

    @precondition(lambda self: self.registry.read.adapters())
    @rule(data=st.data())
    def clear_away(self, data: st.DataObject) -> None:
        adapter = data.draw(st.sampled_from(self.registry.read.adapters()))
        if adapter.removed_at is None and adapter.name not in {a.adapter for a in self.registry.read.aliases()}:
            self.registry.write.mark_removed(adapter.name, actor="gc")
            self.registry.artifacts.remove(self.registry.artifacts.path(adapter))

    def _has_unwanted(self, definitions: tuple[int, ...]) -> bool:
        return any(d.state in ("held", "rejected") for d in self.registry.read.definitions(ids=definitions))

    @invariant()
    def every_alias_points_at_a_whole_folder(self) -> None:
        for alias in self.registry.read.aliases():
            if alias.adapter is not None:
                self.registry.artifacts.verify(self.registry.read.adapter(alias.adapter))

    @invariant()
    def exactly_what_is_served_is_live(self) -> None:
        live = {a.name for a in self.registry.read.adapters() if a.state is AdapterState.LIVE}
        assert live == {a.adapter for a in self.registry.read.aliases() if a.adapter is not None}

    @invariant()
    def the_releases_tell_how_the_alias_came_to_where_it_is(self) -> None:
        for alias in self.ALIASES:
            story = self.registry.read.releases(alias)
            assert served(self.registry, alias) == (story[0].to_adapter if story else None)
            for later, earlier in pairwise(story):
                assert later.from_adapter == earlier.to_adapter

    @invariant()
    def an_entity_has_at_most_one_learned_definition_of_a_line(self) -> None:
        learned = {d.id: d for d in self.registry.read.live_definitions("news")}
        assert not [d for d in learned.values() if d.supersedes in learned and self._one_alias()]

    def _one_alias(self) -> bool:
        """With both aliases on different versions, an entity may rightly have two served definitions."""
        return len({a.adapter for a in self.registry.read.aliases()} - {None}) <= 1


Releases.TestCase.settings = settings(max_examples=8, stateful_step_count=10, deadline=None)
TestReleases = Releases.TestCase
