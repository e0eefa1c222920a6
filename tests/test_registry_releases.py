"""Adapters, verdicts, and what is served: promotion, rollback, and what they do to definitions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import (
    Adapter,
    AdapterState,
    ArtifactDamaged,
    BadName,
    BadValue,
    CheckResult,
    NewCheckRun,
    NotAllowed,
    NothingToRollBack,
    NotPromotable,
    NotThere,
    Registry,
)
from registry.states import ALLOWED, DefinitionState, DocumentState, FeedState, JobState, check_move
from tests.registry_parts import add_feed, begin, define, folder_of, judge, learn, promote, publish, served, states


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as opened:
        add_feed(opened)
        yield opened


def rollback(registry: Registry, to: int | None = None, *, alias: str = "news") -> None:
    registry.write.rollback(alias, to=to, actor="test", reason="it is wrong")


def grow(registry: Registry, count: int) -> list[Adapter]:
    """Versions 1 to `count`, each learning one definition on top of the one before, each promoted."""
    feed, parent, made = registry.read.feed("harbour"), None, []
    for number in range(1, count + 1):
        definition = define(registry, feed, f"entity {number}", f"Entity {number} is a thing.")
        adapter = learn(registry, parent=parent, definitions=[definition.id])
        promote(registry, adapter)
        parent = adapter.name
        made.append(registry.read.adapter(adapter.name))
    return made


def adapter_states(registry: Registry) -> dict[str, str]:
    return {a.name: a.state.value for a in registry.read.adapters()}


def definition_states(registry: Registry) -> list[str]:
    return [d.state.value for d in registry.read.definitions()]


def test_every_state_has_its_moves_and_only_to_states_of_its_kind() -> None:
    assert set(ALLOWED) == {FeedState, DocumentState, DefinitionState, AdapterState, JobState}
    for kind, table in ALLOWED.items():
        assert list(table) == list(kind)
        assert all(type(new) is kind for moves in table.values() for new in moves)


def test_states_that_read_alike_keep_their_own_moves() -> None:
    check_move("Definition 1", DefinitionState.REFUSED, DefinitionState.WAITING)
    with pytest.raises(NotAllowed, match="Feed x is retired and cannot become active"):
        check_move("Feed x", FeedState.RETIRED, FeedState.ACTIVE)
    with pytest.raises(NotAllowed):
        check_move("Definition 1", DefinitionState.REFUSED, AdapterState.LIVE)


def test_versions_count_up_within_a_topic_and_are_never_reused(registry: Registry) -> None:
    first = begin(registry)
    registry.write.discard_adapter(first.name, "the worker ran out of memory")

    assert begin(registry).name == "news@2"
    assert begin(registry, topic="security").name == "security@1"
    assert registry.read.adapter("news@1").state == "refused"
    assert [a.name for a in registry.read.adapters()] == ["security@1", "news@2", "news@1"]


def test_a_learning_that_a_crash_left_is_taken_up_again_with_the_new_facts(registry: Registry) -> None:
    feed = registry.read.feed("harbour")
    a, b, c = (define(registry, feed, name, f"{name} is a thing.") for name in "abc")
    first = begin(registry, definitions=[a.id])

    again = begin(registry, definitions=[b.id, c.id], rehearsed=[a.id, b.id])

    assert (again.id, again.name) == (first.id, "news@1")
    assert (again.definitions, again.rehearsed) == ((b.id, c.id), (a.id,))
    assert again.documents == (a.document_id, b.document_id, c.document_id)
    assert len(registry.read.adapters()) == 1


def test_an_adapter_needs_definitions_and_a_parent_that_exist(registry: Registry) -> None:
    with pytest.raises(NotThere, match="definition 99"):
        begin(registry, definitions=[99])
    with pytest.raises(NotThere, match="news@9"):
        begin(registry, parent="news@9")
    assert registry.read.adapters() == []
    assert registry.read.latest_adapter("news") is None


def test_a_verdict_moves_the_adapter_and_is_kept_with_its_numbers(registry: Registry) -> None:
    adapter = learn(registry, verdict=None)
    result = CheckResult(None, None, "skill", "2, 4,", " 6", " 6", " cat", False, {"nll": 3.5})
    check = NewCheckRun(
        str(adapter.digest), "base-digest", "refused", against="news@0", reasons=("skills fell",), metrics={"skills": 0.5}, recovered=0.4
    )

    run = registry.write.record_check(adapter.name, check, [result])

    refused = registry.read.adapter(adapter.name)
    assert (refused.state, refused.reason, refused.recovered) == ("refused", "skills fell", 0.4)
    assert registry.read.check_runs(adapter.name) == [run]
    assert (run.metrics, run.reasons, run.against) == ({"skills": 0.5}, ("skills fell",), "news@0")
    assert registry.read.check_results(run.id) == [result]


def test_a_later_check_only_adds_to_the_record(registry: Registry) -> None:
    [adapter] = grow(registry, 1)

    judge(registry, adapter, verdict="refused")

    assert registry.read.adapter(adapter.name).state == "live"
    assert [run.verdict for run in registry.read.check_runs(adapter.name)] == ["refused", "passed"]


def test_a_check_of_other_bytes_is_not_recorded(registry: Registry) -> None:
    adapter = learn(registry, verdict=None)

    with pytest.raises(NotAllowed, match="0000"):
        registry.write.record_check(adapter.name, NewCheckRun("0" * 64, "base-digest", "passed"), [])
    with pytest.raises(BadValue, match="maybe"):
        registry.write.record_check(adapter.name, NewCheckRun(str(adapter.digest), "b", "maybe"), [])  # type: ignore[arg-type]
    assert registry.read.check_runs(adapter.name) == []


def test_finishing_twice_is_finishing_once_but_not_with_other_bytes(registry: Registry) -> None:
    adapter = learn(registry, verdict=None)

    assert registry.write.finish_learning(adapter.name, digest=str(adapter.digest)) == adapter
    with pytest.raises(NotAllowed, match="news@1 is checking"):
        registry.write.finish_learning(adapter.name, digest="0" * 64)


def test_promotion_needs_a_passing_check(registry: Registry) -> None:
    unchecked = learn(registry, verdict=None)
    with pytest.raises(NotPromotable, match="no check run") as error:
        promote(registry, unchecked)
    assert "lorefeed check news@1" in error.value.hint

    refused = learn(registry, verdict="refused")
    with pytest.raises(NotPromotable, match="skills fell by 9 points"):
        promote(registry, refused)
    assert served(registry) is None


def test_the_newest_check_is_the_one_that_counts(registry: Registry) -> None:
    adapter = learn(registry, verdict="passed")
    judge(registry, adapter, verdict="refused")
    with pytest.raises(NotPromotable):
        promote(registry, adapter)

    judge(registry, adapter, verdict="passed")
    promote(registry, adapter)
    assert served(registry) == "news@1"


def test_a_forced_promotion_needs_a_reason_and_is_recorded_as_forced(registry: Registry) -> None:
    adapter = learn(registry, verdict="refused")
    with pytest.raises(NotPromotable, match="reason"):
        registry.write.promote("news", adapter.name, actor="ana", reason=" ", forced=True)

    release = registry.write.promote("news", adapter.name, actor="ana", reason="a demo", forced=True)

    assert (release.forced, release.reason, release.actor, release.to_adapter) == (True, "a demo", "ana", "news@1")
    assert registry.read.adapter(adapter.name).state == "live"


def test_not_even_force_promotes_what_was_never_published(registry: Registry) -> None:
    adapter = begin(registry)

    with pytest.raises(NotPromotable, match="no published folder"):
        registry.write.promote("news", adapter.name, actor="ana", reason="now", forced=True)


def test_promotion_moves_the_alias_the_adapters_and_the_definitions(registry: Registry) -> None:
    grow(registry, 2)

    assert served(registry) == "news@2"
    assert adapter_states(registry) == {"news@1": "retired", "news@2": "live"}
    assert definition_states(registry) == ["learned", "learned"]
    newest, oldest = registry.read.releases("news")
    assert (newest.from_adapter, newest.to_adapter, oldest.from_adapter) == ("news@1", "news@2", None)
    assert newest.check_run_id == registry.read.check_runs("news@2")[0].id
    assert registry.read.alias("news").since == newest.at


def test_promoting_what_is_served_already_adds_no_release(registry: Registry) -> None:
    [adapter] = grow(registry, 1)

    promote(registry, adapter)

    assert len(registry.read.releases()) == 1


def test_a_learned_definition_supersedes_the_one_it_replaces(registry: Registry) -> None:
    feed = registry.read.feed("harbour")
    old = define(registry, feed, "wharf", "A wharf is a quay.")
    promote(registry, learn(registry, definitions=[old.id]))
    new = define(registry, feed, "wharf", "A wharf is a pier.")

    promote(registry, learn(registry, parent="news@1", definitions=[new.id]))

    assert states(registry, old, new) == ["superseded", "learned"]
    assert [d.id for d in registry.read.live_definitions("news")] == [new.id]


def test_a_text_that_comes_back_after_being_superseded_is_news(registry: Registry) -> None:
    feed = registry.read.feed("harbour")
    old = define(registry, feed, "wharf", "A wharf is a quay.")
    new = define(registry, feed, "wharf", "A wharf is a pier.")
    promote(registry, learn(registry, definitions=[old.id, new.id]))
    assert states(registry, old, new) == ["superseded", "learned"]

    back = define(registry, feed, "wharf", "A wharf is a quay.")

    assert back.supersedes == new.id


def test_an_older_version_is_not_promoted_over_a_newer_one(registry: Registry) -> None:
    early, late = learn(registry), learn(registry)
    promote(registry, late)

    with pytest.raises(NotPromotable, match="newer than news@1") as error:
        promote(registry, early)
    assert "rollback news --to 1" in error.value.hint


def test_a_definition_set_aside_while_it_was_learnt_is_not_served(registry: Registry) -> None:
    definition = define(registry, registry.read.feed("harbour"), "wharf", "A wharf is a cat.")
    adapter = learn(registry, definitions=[definition.id])
    registry.write.move_definitions([definition.id], "rejected", reason="nonsense", actor="ana")

    with pytest.raises(NotPromotable, match=r"\(wharf\), which is rejected"):
        promote(registry, adapter)


def test_an_alias_serves_only_its_topics(registry: Registry) -> None:
    adapter = learn(registry, topic="security")

    with pytest.raises(NotPromotable, match="teaches security") as error:
        promote(registry, adapter)
    assert "--topics news,security" in error.value.hint

    registry.write.set_alias("all", topics=["news", "security"], scope="always")
    promote(registry, adapter, alias="all")
    merged = learn(registry, topic="all")
    promote(registry, merged, alias="all")
    assert adapter_states(registry) == {"security@1": "retired", "all@1": "live"}


def test_a_damaged_adapter_is_neither_promoted_nor_rolled_back_to(registry: Registry) -> None:
    first, _ = grow(registry, 2)
    (folder_of(registry, first) / "adapter_model.safetensors").write_bytes(b"x")
    third = learn(registry)
    (folder_of(registry, third) / "adapter_model.safetensors").unlink()

    with pytest.raises(ArtifactDamaged):
        promote(registry, third)
    with pytest.raises(ArtifactDamaged):
        rollback(registry)

    assert served(registry) == "news@2"


def test_rollback_goes_back_one_version_and_holds_what_it_had_learnt(registry: Registry) -> None:
    grow(registry, 3)

    rollback(registry)

    assert served(registry) == "news@2"
    assert adapter_states(registry) == {"news@1": "retired", "news@2": "live", "news@3": "rolled_back"}
    assert definition_states(registry) == ["learned", "learned", "held"]
    held = registry.read.definitions(state="held")[0]
    assert held.reason == "news was rolled back: it is wrong"
    assert registry.read.definition_history(held.id).events[-1].action == "held"
    assert registry.read.releases("news")[0].rollback


def test_rolling_back_again_goes_further_and_ends_at_the_base(registry: Registry) -> None:
    grow(registry, 3)

    went = []
    for _ in range(3):
        rollback(registry)
        went.append(served(registry))

    assert went == ["news@2", "news@1", None]
    assert set(definition_states(registry)) == {"held"}
    with pytest.raises(NothingToRollBack, match="base model"):
        rollback(registry)


def test_rollback_to_a_version_passes_over_those_between(registry: Registry) -> None:
    grow(registry, 3)

    rollback(registry, to=1)

    assert adapter_states(registry) == {"news@1": "live", "news@2": "rolled_back", "news@3": "rolled_back"}
    assert definition_states(registry) == ["learned", "held", "held"]


@pytest.mark.parametrize(("to", "message"), [(9, "no adapter news@9"), (3, "not before it"), (1, "never served")])
def test_rollback_goes_only_to_what_was_served_before(registry: Registry, to: int, message: str) -> None:
    learn(registry)
    promote(registry, learn(registry))
    learn(registry)

    with pytest.raises((NotPromotable, NotThere), match=message):
        rollback(registry, to=to)
    assert served(registry) == "news@2"


def test_after_a_rollback_the_next_version_goes_back_to_the_good_one(registry: Registry) -> None:
    grow(registry, 2)
    rollback(registry)
    promote(registry, learn(registry, parent="news@1"))

    rollback(registry)

    assert served(registry) == "news@1"


def test_rollback_brings_back_the_definition_that_was_superseded(registry: Registry) -> None:
    feed = registry.read.feed("harbour")
    texts = ["A wharf is a quay.", "A wharf is a pier.", "A wharf is a cat."]
    made, parent = [], None
    for text in texts:
        made.append(define(registry, feed, "wharf", text))
        adapter = learn(registry, parent=parent, definitions=[made[-1].id])
        promote(registry, adapter)
        parent = adapter.name

    rollback(registry)
    assert states(registry, *made) == ["superseded", "learned", "held"]

    promote(registry, registry.read.adapter("news@3"))
    assert states(registry, *made) == ["superseded", "superseded", "learned"]

    rollback(registry, to=1)
    assert states(registry, *made) == ["learned", "superseded", "held"]

    promote(registry, registry.read.adapter("news@3"))
    assert states(registry, *made) == ["superseded", "superseded", "learned"]


def test_a_rehearsed_definition_is_not_held_when_the_rehearsing_version_goes(registry: Registry) -> None:
    grow(registry, 1)
    [learned] = registry.read.live_definitions("news")
    promote(registry, learn(registry, parent=None, rehearsed=[learned.id]))

    rollback(registry)

    assert states(registry, learned) == ["learned"]


def test_an_adapter_that_another_alias_serves_stays_live(registry: Registry) -> None:
    registry.write.set_alias("steady", topics=["news"], scope="mention")
    first, second = grow(registry, 2)
    registry.write.promote("steady", second.name, actor="test", reason=None)

    rollback(registry)

    assert adapter_states(registry) == {first.name: "live", second.name: "live"}
    assert definition_states(registry) == ["learned", "learned"]
    registry.write.remove_alias("steady")
    assert adapter_states(registry) == {first.name: "live", second.name: "retired"}
    assert [a.name for a in registry.read.aliases()] == ["news"]


def test_a_served_folder_cannot_be_given_up_and_one_given_up_cannot_be_served(registry: Registry) -> None:
    first, second, _ = grow(registry, 3)
    with pytest.raises(NotAllowed, match="served as news"):
        registry.write.mark_removed("news@3", actor="gc")

    registry.write.mark_removed(second.name, actor="gc", reason="space")
    registry.artifacts.remove(folder_of(registry, second))

    assert registry.doctor() == []
    with pytest.raises(NotPromotable, match="deleted"):
        rollback(registry, to=2)
    rollback(registry)
    assert served(registry) == first.name


@pytest.mark.parametrize("name", ["base", "a b", "../x", ""])
def test_an_alias_needs_a_name_that_can_be_served(registry: Registry, name: str) -> None:
    with pytest.raises(BadName):
        registry.write.set_alias(name, topics=["news"], scope="mention")


def test_an_alias_needs_topics_and_a_known_scope(registry: Registry) -> None:
    with pytest.raises(BadValue, match="topic"):
        registry.write.set_alias("all", topics=[], scope="mention")
    with pytest.raises(BadValue, match="never"):
        registry.write.set_alias("all", topics=["news"], scope="never")  # type: ignore[arg-type]


def test_setting_an_alias_again_does_not_move_it(registry: Registry) -> None:
    grow(registry, 1)

    registry.write.set_alias("news", topics=["news", "security"], scope="always")

    alias = registry.read.alias("news")
    assert (alias.topics, alias.scope, alias.adapter) == (("news", "security"), "always", "news@1")
    with pytest.raises(NotThere, match="'quay'"):
        registry.read.alias("quay")


def test_a_release_is_told_as_an_event(registry: Registry) -> None:
    grow(registry, 1)

    [event] = [e for e in registry.read.events() if e.object == "alias news" and e.action == "promoted"]

    assert (event.actor, event.detail["from"], event.detail["to"]) == ("test", None, "news@1")


def test_a_folder_published_for_other_facts_is_not_taken_for_the_adapter(registry: Registry) -> None:
    adapter = begin(registry)
    publish(registry, adapter)
    registry.write.begin_adapter(
        "news", parent=None, method="context", base_model="other", base_digest="other", rank=4, definitions=(), rehearsed=(), settings={}
    )

    assert registry.recover() == []

    assert registry.read.adapter("news@1").state == "learning"
