"""What becomes of a definition once its novelty is known."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.stages.novelty import Limit, by_who_answers, decide
from registry import Definition, NewDefinition, NewDocument, Registry
from tests.serving_parts import learn

NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(tmp_path / "home")


def define(registry: Registry, feed: str, text: str, *, trust: str = "auto") -> Definition:
    if feed not in {f.name for f in registry.read.feeds()}:
        registry.write.add_feed(f"https://{feed}.example/", name=feed, kind="feed", topic="news", trust=trust, interval_s=900)  # type: ignore[arg-type]
    row = registry.read.feed(feed)
    (document,) = registry.write.record_poll(
        row.id, cursor={}, next_check_at=NOW, documents=[NewDocument(external_id=text, text=text, fetched_at=NOW)]
    )
    (definition,) = registry.write.record_definitions(document.id, [NewDefinition("Velmora", text, (0, len(text)), 0.9)])
    return definition


def decided(registry: Registry, definition: Definition, novelty: float | None, too_long: str | None = None) -> tuple[str, str | None]:
    state, reason = decide(registry, definition, novelty, too_long, Limit(0.3, "measured on this model"))
    return state.value, reason


def test_what_the_model_would_say_anyway_is_known(registry: Registry) -> None:
    state, reason = decided(registry, define(registry, "a", "Velmora is a film."), 0.01)
    assert state == "known"
    assert reason == "The model says the same without it: 0.010 nats a token, new is from 0.300 (measured on this model)."


def test_news_waits_to_be_learnt(registry: Registry) -> None:
    assert decided(registry, define(registry, "a", "Velmora is a film."), 3.0) == ("waiting", None)


def test_a_definition_that_does_not_fit_the_model_is_held_with_its_length(registry: Registry) -> None:
    assert decided(registry, define(registry, "a", "Velmora is a film."), None, "600 tokens") == ("held", "600 tokens")


def test_a_feed_under_review_waits_for_an_operator(registry: Registry) -> None:
    assert decided(registry, define(registry, "a", "Velmora is a film.", trust="review"), 3.0)[0] == "review"


def test_another_source_that_says_otherwise_waits_for_an_operator_with_both_texts(registry: Registry) -> None:
    first = define(registry, "a", "Velmora is a film.")
    registry.write.set_novelty(first.id, novelty=3.0, model_digest="d", state="waiting", reason=None)
    state, reason = decided(registry, define(registry, "b", "Velmora is a town."), 3.0)
    assert state == "review"
    assert "Velmora is a film." in str(reason)


def test_the_same_source_may_change_its_mind(registry: Registry) -> None:
    define(registry, "a", "Velmora is a film.")
    assert decided(registry, define(registry, "a", "Velmora is a town."), 3.0)[0] == "waiting"


def test_a_version_is_asked_only_about_what_the_alias_would_give_it(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    served = learn(registry, topic="news", entities=["Velmora"], folder=folder)
    again, plural, stranger = (
        NewDefinition(entity, f"{entity} is a town.", (0, 5), 0.9, aliases=aliases)
        for entity, aliases in (("Velmora", ()), ("Ostravel", ("the velmoras",)), ("Tarnuvik", ()))
    )
    feed = registry.read.feed("news")
    [document] = registry.write.record_poll(
        feed.id, cursor={}, next_check_at=NOW, documents=[NewDocument(external_id="2", text="towns", fetched_at=NOW)]
    )
    found = registry.write.record_definitions(document.id, [again, plural, stranger])
    assert [d.entity for d in found] == ["Velmora", "Ostravel", "Tarnuvik"]

    assert by_who_answers(registry, found, served) == [(found[:2], served), (found[2:], None)]
    assert by_who_answers(registry, found, None) == [(found, None)]
    registry.write.set_alias("news", topics=["news"], scope="always")
    assert by_who_answers(registry, found, served) == [(found, served)]
