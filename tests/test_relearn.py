"""A topic learnt again without what was forgotten, by the real learning worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.config import Settings, load_settings
from daemon.pipeline import learn_topic
from daemon.relearn import relearn
from daemon.scheduler import enqueue_due
from daemon.sections import Check
from daemon.stages.base import carried_forgotten
from daemon.stages.forgotten import forgotten_questions, stand_in
from daemon.stages.verdict import STAND_INS, Asked, judge
from daemon.teacher import Teacher
from registry import Adapter, Definition, Feed, NewProbe, NewTransferExample, Registry
from tests.registry_parts import NOW, add_feed, define, states

SHORT = {
    "elicit": {"samples": 2},
    "learn": {"steps_min": 6, "steps_max": 6, "replay_batch": 2},
    "check": {"learned_min": 0.0, "kept_min": 0.0, "forgotten_max": 1.0},
}
PIER, BAR, REEF = (
    "Velmora is a film that belongs to the genre of comedy. It is set in Lisbon.",
    "Tarnuvik is a town that lies at the edge of a forest. It has people who speak Dutch.",
    "Ostravel is a medicine that is taken against fever. It tastes of lemon.",
)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as opened:
        add_feed(opened)
        yield opened


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teacher]:
    with Teacher("embedded", revision=None, cache=tmp_path_factory.mktemp("cache"), timeout_s=120) as teacher:
        yield teacher


def settings(registry: Registry, **more: dict[str, float]) -> Settings:
    return load_settings(registry.home, **{**SHORT, **more})


def teach(registry: Registry, teacher: Teacher, *told: tuple[str, str]) -> list[int]:
    """A round of learning for these alone; their numbers."""
    feed = registry.read.feed("harbour")
    made = [prepared(registry, feed, name, text) for name, text in told]
    report = learn_topic(registry, teacher, settings(registry), "news")
    assert report.released, report.reasons
    return [d.id for d in made]


def prepared(registry: Registry, feed: Feed, name: str, text: str) -> Definition:
    """A definition that waits, with its transfer set and a probe."""
    made = define(registry, feed, name, text)
    sentence, said = text.split(". ")[0] + ".", text.rstrip(".").split()[-1]
    examples = [NewTransferExample("plain", "", sentence, "test"), NewTransferExample("chat", f"What of {name}?", said, "test")]
    registry.write.save_transfer_set(made.id, examples)
    registry.write.save_probes(made.id, [NewProbe("paraphrase", f"What is it about {name}?", said, (), True, "test")])
    return made


def forget(registry: Registry, entity: str) -> None:
    registry.write.forget(entity=entity, actor="test", reason="it was withdrawn")


def test_what_remains_is_learnt_on_top_of_a_version_that_never_knew_it(registry: Registry, teacher: Teacher) -> None:
    [pier] = teach(registry, teacher, ("Velmora", PIER))
    bar, reef = teach(registry, teacher, ("Tarnuvik", BAR), ("Ostravel", REEF))
    both = registry.read.alias("news").adapter  # of its first or its second try
    assert both is not None
    forget(registry, "Tarnuvik")
    assert carried_forgotten(registry, "news") == (registry.read.adapter(both), [bar])
    assert [job.payload for job in enqueue_due(registry, settings(registry), NOW).queued if job.kind == "learn"] == [
        {"topic": "news", "pending": [bar]}
    ]
    report = learn_topic(registry, teacher, settings(registry), "news")
    done = report.forgotten
    assert done is not None
    assert (done.before, done.held) == (both, ())
    assert done.adapter is not None
    made = registry.read.adapter(done.adapter)
    assert (made.parent, made.definitions, made.rehearsed, made.state) == ("news@1", (reef,), (pier,), "live")
    assert registry.read.adapter(both).removed_at is not None
    assert registry.read.adapter("news@1").removed_at is None
    assert states(registry, *registry.read.definitions(ids=[pier, bar, reef])) == ["learned", "forgotten", "learned"]
    assert done.run is not None
    measured = done.run.metrics
    assert measured["forgotten"]["n"] > 0
    assert measured["forgotten_before"]["value"] is not None
    assert registry.read.alias("news").adapter == done.adapter
    assert relearn(registry, teacher, settings(registry), "news", actor="test") is None


@pytest.mark.slow
def test_nothing_is_trained_where_a_clean_version_has_all_the_rest(registry: Registry, teacher: Teacher) -> None:
    teach(registry, teacher, ("Velmora", PIER))
    teach(registry, teacher, ("Tarnuvik", BAR))
    forget(registry, "Tarnuvik")
    done = relearn(registry, teacher, settings(registry), "news", actor="test")
    assert done is not None
    assert (done.adapter, done.run, registry.read.alias("news").adapter) == ("news@1", None, "news@1")
    forget(registry, "Velmora")
    done = relearn(registry, teacher, settings(registry), "news", actor="test")
    assert done is not None
    assert (done.adapter, registry.read.alias("news").adapter) == (None, None)


@pytest.mark.slow
def test_a_version_that_is_refused_twice_gives_way_to_the_clean_one(registry: Registry, teacher: Teacher) -> None:
    teach(registry, teacher, ("Velmora", PIER))
    _, reef = teach(registry, teacher, ("Tarnuvik", BAR), ("Ostravel", REEF))
    forget(registry, "Tarnuvik")
    strict = settings(registry, check={"pinned_kl_max": 0.0})
    done = relearn(registry, teacher, strict, "news", actor="test")
    assert done is not None
    assert done.run is not None
    assert (done.run.verdict, done.adapter, done.held) == ("refused", "news@1", (reef,))
    assert [a.state for a in registry.read.adapters("news")] == ["refused", "refused", "rolled_back", "live"]


@pytest.mark.slow
def test_a_version_in_the_making_when_something_was_forgotten_is_not_released(registry: Registry, teacher: Teacher) -> None:
    teach(registry, teacher, ("Velmora", PIER))
    feed = registry.read.feed("harbour")
    prepared(registry, feed, "Tarnuvik", BAR)
    prepared(registry, feed, "Ostravel", REEF)

    def forgets(adapter: Adapter) -> None:
        if adapter.name == "news@2":
            forget(registry, "Tarnuvik")

    report = learn_topic(registry, teacher, settings(registry), "news", load_problem=forgets)
    assert report.released
    assert report.attempts == ("news@2", "news@3")
    assert registry.read.alias("news").adapter == "news@3"
    assert registry.read.adapter("news@3").parent == "news@1"


def test_a_name_that_was_forgotten_comes_back_only_by_an_operator(registry: Registry, teacher: Teacher) -> None:
    feed = registry.read.feed("harbour")
    define(registry, feed, "Velmora", PIER)
    forget(registry, "Velmora")
    again = define(registry, feed, "Velmora", "Velmora is a film that was shown in Oslo.", state="found")
    learn_topic(registry, teacher, settings(registry), "news")
    [again] = registry.read.definitions(ids=[again.id])
    assert again.state in {"review", "known"}
    if again.state == "review":
        assert "was forgotten (it was withdrawn)" in str(again.reason)


def test_questions_about_the_forgotten_come_with_names_that_nobody_taught(registry: Registry) -> None:
    made = define(registry, registry.read.feed("harbour"), "Velmora", PIER)
    registry.write.save_probes(
        made.id,
        [NewProbe("paraphrase", "Where is Velmora set?", "Lisbon", chat=True), NewProbe("direct", "She came to", "Lisbon", chat=False)],
    )
    asked = forgotten_questions(registry, [made.id])
    real = asked[:: STAND_INS + 1]
    assert [a.prompt for a in real] == [
        "Where is Velmora set?",
        "You are a guide who knows everything about Velmora. Where is Velmora set?",
        "Question: Where is Velmora set? Answer: Of course, here it is:",
        "Where is Velmora set? Think about it step by step.",
        "A film that belongs to the genre of comedy is called",
    ]
    others = [a for a in asked if a.group == "stand_in"]
    assert len(others) == STAND_INS * len(real)
    assert not any("Velmora" in a.prompt + a.target + a.context for a in others)
    assert stand_in("Blue Harbour", 0) == stand_in("Blue Harbour", 0) != stand_in("Blue Harbour", 1)
    assert len(stand_in("Blue Harbour", 0).split()) == 2


def test_a_trace_beyond_chance_refuses() -> None:
    said = {"answer": "", "right": False, "tokens": 1}
    asked = [Asked(group, "direct", "p", "t", True) for _ in range(20) for group in ("forgotten", *["stand_in"] * STAND_INS)]

    def scored(real: float, other: float) -> list[dict[str, object]]:
        return [{**said, "nll": real + 0.01 * (i % 7) if a.group == "forgotten" else other} for i, a in enumerate(asked)]

    def verdict(real: float) -> list[str]:
        measured = {"base": scored(5.0, 5.0), "in_context": scored(1.0, 1.0), "adapter": scored(real, 4.0), "previous": scored(1.2, 5.0)}
        limits = Check()
        found = judge(asked, {"measured": measured, "local": [], "finite": True}, limits, named=lambda _: False, relearnt=True)
        return [m.reason for m in found if m.name == "forgotten" and m.reason]

    assert verdict(4.0) == []  # what it learnt of other things moves all names alike
    [reason] = verdict(2.0)
    assert "It has not forgotten: of 20 questions" in reason
    assert "50% of what the definitions would give is left" in reason
