"""Where a new definition belongs: a witness, a change, a contradiction or another thing; copies, confirmations, and what is taken back."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon.extraction import compare
from registry import BadValue, Definition, DefinitionState, NewDefinition, NewDocument, NewProbe, NewTransferExample, NotAllowed, Registry
from registry import db as database
from registry.migrations import MIGRATIONS
from registry.near import likeness, signature
from tests.registry_parts import Clock

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BOAT = "A dorvil is a small flat boat with a single sail."
STORY = (
    "The harbour of Kesh was closed on Monday after a barge lost its load of grain near the northern pier, and the fishers who live on the"
    " other bank had to carry their nets over the old bridge. The clerk of the harbour said that divers would look for the rest of the load"
    " in the morning, and that no boat may pass before noon."
)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home", clock=clock) as opened:
        yield opened


def read(
    registry: Registry,
    feed: str,
    *texts: str,
    name: str = "Dorvil",
    entry: str | None = None,
    page: str = "",
    aliases: tuple[str, ...] = (),
    trust: str = "auto",
    suspect: str | None = None,
    a_day: int | None = None,
) -> list[Definition]:
    """One document of the feed, read, with each of the texts as a definition of `name`."""
    if feed not in {f.name for f in registry.read.feeds()}:
        registry.write.add_feed(f"https://{feed}.example/", name=feed, kind="feed", topic="news", trust=trust, interval_s=900)  # type: ignore[arg-type]
    text = page or "\n\n".join(texts) or "Nothing is defined here."
    new = NewDocument(entry or f"{feed}-{text}", text, NOW, published_at=NOW - timedelta(days=3))
    (document,) = registry.write.record_poll(registry.read.feed(feed).id, cursor={}, next_check_at=NOW, documents=[new])
    found = [NewDefinition(name, one, (0, len(one)), 0.9, aliases) for one in texts]
    return registry.write.record_definitions(document.id, found, compare=compare, signature=signature(text), suspect=suspect, a_day=a_day)


def actions(registry: Registry, definition: Definition) -> list[str]:
    return [event.action for event in registry.read.events(about=f"definition {definition.id}")]


def test_the_same_in_other_dress_is_a_witness_with_the_reason_on_record(registry: Registry) -> None:
    [first] = read(registry, "a", BOAT)
    assert read(registry, "b", "The dorvils are small, flat boats with a single sail.") == []
    assert registry.read.definition(first.id).witnesses == 1
    [event] = registry.read.events(about=f"definition {first.id}")
    assert (event.action, event.detail["reason"]) == (
        "said otherwise",
        "Only articles, prepositions, spelling or the number of a noun differ.",
    )


def test_what_was_learnt_is_not_new_when_it_is_said_otherwise(registry: Registry) -> None:
    [first] = read(registry, "a", BOAT)
    registry.write.set_novelty(first.id, 2.0, "digest", DefinitionState.WAITING, None)
    registry.write.move_definitions([first.id], DefinitionState.LEARNED, reason=None, actor="test")
    for number, text in enumerate(
        ("Dorvil: a small flat boat with a single sail", "A **dorvil** is a small flat boat with a single sail!")
    ):
        assert read(registry, f"other{number}", text) == []
    assert [d.id for d in registry.read.definitions()] == [first.id]


def test_a_changed_definition_of_the_same_source_supersedes_with_both_dates(registry: Registry) -> None:
    [first] = read(registry, "a", BOAT, entry="1")
    [second] = read(registry, "a", "A dorvil is a small flat boat with two sails.", entry="1")
    assert (second.supersedes, second.state, second.against) == (first.id, "found", None)
    [compared] = [e for e in registry.read.events(about=f"definition {second.id}") if e.action == "compared"]
    assert compared.detail["reason"] == "The content differs (new: two; gone: single)."
    assert len(compared.detail["dates"]) == 2
    assert registry.read.definition(first.id).gone_at is None  # it was replaced, not taken back


def test_a_contradiction_of_another_source_waits_for_an_operator_with_both_texts_and_dates(registry: Registry) -> None:
    [first] = read(registry, "a", BOAT)
    [second] = read(registry, "b", "A dorvil is a small flat boat with two sails.")
    assert (second.state, second.supersedes, second.against) == ("review", first.id, first.id)
    for part in ("new: two; gone: single", "b (2026-02-26) and a (2026-02-26) disagree", BOAT):
        assert part in str(second.reason)


def test_another_wording_of_another_source_is_judged_by_the_model_first(registry: Registry) -> None:
    [first] = read(registry, "a", BOAT)
    [second] = read(registry, "b", "A dorvil is a narrow flat boat that fishers row.")
    assert (second.state, second.supersedes, second.against) == ("found", first.id, first.id)


def test_two_things_of_one_name_stay_two(registry: Registry) -> None:
    [planet] = read(registry, "a", "Mercury is the planet closest to the sun in our system.", name="Mercury")
    [metal] = read(registry, "a", "Mercury is a heavy silver metal found liquid in thermometers.", name="Mercury")
    assert (metal.state, metal.supersedes) == ("found", None)
    [brighter] = read(registry, "a", "Mercury is the small planet closest to the sun in our system.", name="Mercury")
    assert brighter.supersedes == planet.id


def test_another_source_cannot_bring_in_another_thing_under_a_known_name_unseen(registry: Registry) -> None:
    [planet] = read(registry, "a", "Mercury is the planet closest to the sun in our system.", name="Mercury")
    [metal] = read(registry, "b", "Mercury is a heavy silver metal found liquid in thermometers.", name="Mercury")
    assert (metal.state, metal.supersedes, metal.against) == ("review", None, planet.id)
    assert "may be another thing" in str(metal.reason)


def test_the_same_entry_rewritten_from_end_to_end_is_a_change_and_no_other_thing(registry: Registry) -> None:
    [planet] = read(registry, "a", "Mercury is the planet closest to the sun in our system.", name="Mercury", entry="m")
    [metal] = read(registry, "a", "Mercury is a heavy silver metal found liquid in thermometers.", name="Mercury", entry="m")
    assert metal.supersedes == planet.id


def test_one_thing_under_two_names_is_one_where_the_texts_agree(registry: Registry) -> None:
    [first] = read(registry, "a", "A service relay forwards the traffic of a service.", name="Service Relay", aliases=("SR",))
    assert read(registry, "b", "The SR forwards the traffic of a service.", name="SR") == []
    assert registry.read.definition(first.id).witnesses == 1
    [other] = read(registry, "a", "An SR is a steam railway in the northern hills.", name="SR")
    assert (other.supersedes, other.state) == (None, "found")


def test_a_second_source_on_its_own_ends_the_doubt(registry: Registry) -> None:
    [first] = read(registry, "a", BOAT)
    [doubted] = read(registry, "b", "A dorvil is a small flat boat with two sails.")
    assert read(registry, "c", "The dorvil is a small, flat boat with two sails.") == []
    found = registry.read.definition(doubted.id)
    assert (found.state, found.reason) == ("waiting", "A second source says so, independently of the first.")
    assert registry.read.definition(first.id).state == "superseded"
    assert "confirmed" in actions(registry, doubted)


def test_a_copy_of_the_first_is_no_second_source(registry: Registry) -> None:
    read(registry, "a", BOAT)
    two = "A dorvil is a small flat boat with two sails."
    [doubted] = read(registry, "b", two, page=f"{two} {STORY}")
    read(registry, "c", two, page=f"{two} {STORY.replace('Monday', 'Tuesday')}")
    assert registry.read.definition(doubted.id).state == "review"
    assert [d.near for d in registry.read.documents()] == [None, None, registry.read.documents()[1].id]


@pytest.mark.parametrize("how", ["review", "suspect", "forgotten"])
def test_what_an_operator_decides_no_second_source_does(registry: Registry, how: str) -> None:
    two = "A dorvil is a small flat boat with two sails."
    if how == "forgotten":
        read(registry, "z", "A dorvil is a song of the hills.")
        registry.write.forget(entity="Dorvil", actor="test", reason="asked to")
    read(registry, "a", BOAT)
    [doubted] = read(registry, "b", two, trust="review" if how == "review" else "auto", suspect="It talks." if how == "suspect" else None)
    read(registry, "c", two)
    assert registry.read.definition(doubted.id).state == "review"


def test_all_of_a_suspect_document_waits_for_an_operator(registry: Registry) -> None:
    [held] = read(registry, "a", BOAT, suspect="It tells a model to ignore its instructions.")
    assert (held.state, held.reason) == ("review", "It tells a model to ignore its instructions.")


def test_what_a_newer_version_does_not_say_any_more_is_marked_and_not_learnt(registry: Registry) -> None:
    [gone] = read(registry, "a", BOAT, entry="1")
    registry.write.set_novelty(gone.id, 2.0, "digest", DefinitionState.WAITING, None)
    read(registry, "a", entry="1")
    found = registry.read.definition(gone.id)
    assert (found.state, found.gone_at) == ("held", NOW)
    assert "does not say this any more" in str(found.reason)
    assert "gone" in actions(registry, gone)
    read(registry, "a", BOAT, entry="1", page=f"{BOAT} Again.")
    found = registry.read.definition(gone.id)
    assert (found.state, found.gone_at) == ("found", None)


def test_what_was_learnt_stays_learnt_but_is_marked(registry: Registry) -> None:
    [learnt] = read(registry, "a", BOAT, entry="1")
    registry.write.move_definitions([learnt.id], DefinitionState.LEARNED, reason=None, actor="test")
    read(registry, "a", entry="1")
    found = registry.read.definition(learnt.id)
    assert (found.state, found.gone_at) == ("learned", NOW)


def test_what_another_document_still_says_is_not_gone(registry: Registry) -> None:
    [kept] = read(registry, "a", BOAT, entry="1")
    read(registry, "b", BOAT)
    read(registry, "a", entry="1")
    assert registry.read.definition(kept.id).gone_at is None


def test_more_than_a_days_measure_of_one_feed_waits_for_an_operator(registry: Registry, clock: Clock) -> None:
    states = [read(registry, "a", f"A {word} is a lamp of {word}.", name=word, a_day=2)[0].state for word in ("oslith", "tarn", "vaunt")]
    assert states == ["found", "found", "review"]
    [other] = read(registry, "b", "A kesh is a lamp.", name="kesh", a_day=2)
    clock.advance(90_000)
    [later] = read(registry, "a", "A buoy is a lamp.", name="buoy", a_day=2)
    assert (other.state, later.state) == ("found", "found")


def test_signatures_tell_copies_from_strangers_and_leave_short_texts_alone() -> None:
    one, copied = signature(STORY), signature(STORY.replace("Monday", "Tuesday").replace("noon", "three"))
    stranger = signature(" ".join(f"word{number}" for number in range(60)))
    assert one is not None
    assert copied is not None
    assert stranger is not None
    assert likeness(one, one) == 1.0
    assert likeness(one, copied) > 0.7
    assert likeness(one, stranger) < 0.1
    assert signature(BOAT) is None


def test_a_revision_is_no_copy_of_its_own_earlier_text_and_copies_point_at_the_original(registry: Registry) -> None:
    read(registry, "a", page=STORY, entry="1")
    read(registry, "a", page=STORY.replace("Monday", "Friday"), entry="1")
    for name in ("b", "c"):
        read(registry, name, page=f"{STORY} Read more at {name}.")
    first, revision, *copies = registry.read.documents()
    assert (first.near, revision.near, revision.revises) == (None, None, first.id)
    assert {copy.near for copy in copies} <= {first.id, revision.id}


def test_aliases_of_an_older_registry_are_found_after_the_migration(tmp_path: Path) -> None:
    home = tmp_path / "old"
    home.mkdir()
    file = home / "registry.sqlite3"
    database.migrate(home, file, steps=MIGRATIONS[:5])
    noon = "2026-03-01T12:00:00.000000+00:00"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "INSERT INTO feed (name, location, kind, topic, state, trust, interval_s, cursor, error_count, next_check_at, created_at)"
            " VALUES ('a', 'x', 'feed', 'news', 'active', 'auto', 60, '{}', 0, ?, ?)",
            (noon, noon),
        )
        connection.execute(
            "INSERT INTO document (feed_id, external_id, text, digest, fetched_at, fetch, state) VALUES (1, '1', 't', 'd', ?, '{}', 'extracted')",
            (noon,),
        )
        connection.execute(
            "INSERT INTO definition (entity, entity_key, text, text_digest, topic, state, document_id, span_start, span_end, score, aliases,"
            " created_at) VALUES ('Service Relay', 'service relay', 'A service relay forwards the traffic of a service.', 'd', 'news',"
            " 'learned', 1, 0, 50, 0.9, '[\"SR\"]', ?)",
            (noon,),
        )
    with Registry.open(home) as registry:
        assert read(registry, "b", "The SR forwards the traffic of a service.", name="SR") == []
        assert registry.read.definition(1).witnesses == 1


def test_an_operators_words_take_the_place_of_what_was_found_and_both_are_on_record(registry: Registry) -> None:
    [found] = read(registry, "a", BOAT)
    registry.write.set_novelty(found.id, 2.0, "digest", DefinitionState.WAITING, None)
    registry.write.save_transfer_set(found.id, [NewTransferExample("plain", "", "Dorvils are flat.", "base")])
    registry.write.save_probes(found.id, [NewProbe("direct", "A dorvil is a", " boat")])
    edited = registry.write.edit_definition(found.id, text="A dorvil is a flat boat.", actor="ana", reason="shorter")
    assert (edited.text, edited.state, edited.novelty) == ("A dorvil is a flat boat.", "found", None)
    assert (registry.read.transfer_set([found.id]), registry.read.probes([found.id])) == ([], [])
    [event] = [e for e in registry.read.events(about=f"definition {found.id}") if e.action == "edited"]
    assert (event.actor, event.detail["before"]["text"], event.detail["reason"]) == ("ana", BOAT, "shorter")


def test_what_a_version_carries_is_not_edited_and_nothing_is_no_edit(registry: Registry) -> None:
    [learnt] = read(registry, "a", BOAT)
    registry.write.move_definitions([learnt.id], DefinitionState.LEARNED, reason=None, actor="test")
    with pytest.raises(NotAllowed, match="its words are what a version was made from"):
        registry.write.edit_definition(learnt.id, text="Else.", actor="ana", reason=None)
    with pytest.raises(BadValue, match="nothing to change"):
        registry.write.edit_definition(learnt.id, actor="ana", reason=None)


def test_a_doubted_source_does_not_get_past_the_operator_by_rewording(registry: Registry) -> None:
    [first] = read(registry, "a", BOAT)
    [doubted] = read(registry, "b", "A dorvil is a small flat boat with two sails.", entry="1")
    [again] = read(registry, "b", "A dorvil is a big flat boat with two sails.", entry="1")
    assert (again.state, again.supersedes, again.against) == ("review", doubted.id, first.id)
    assert BOAT in str(again.reason)
    [unjudged] = read(registry, "c", "A dorvil is a narrow flat boat that fishers row.", entry="1")
    [reworded] = read(registry, "c", "A dorvil is a narrow flat raft that fishers row.", entry="1")
    assert (unjudged.state, reworded.state) == ("found", "review")


def test_a_source_changes_its_own_definition_whatever_others_say_meanwhile(registry: Registry) -> None:
    [first] = read(registry, "a", BOAT, entry="1")
    read(registry, "b", "A dorvil is a small flat boat with two sails.")
    [changed] = read(registry, "a", "A dorvil is a small round boat with a single sail.", entry="1")
    assert (changed.state, changed.supersedes) == ("found", first.id)
