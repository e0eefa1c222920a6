"""Feeds, what was fetched from them, and what was found in it."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import (
    AlreadyThere,
    BadName,
    BadValue,
    DefinitionState,
    NewDefinition,
    NewDocument,
    NewProbe,
    NewTransferExample,
    NotAllowed,
    NotThere,
    Registry,
    entity_key,
    split_adapter_name,
    text_digest,
)
from tests.registry_parts import NOW, Clock, add_documents, add_feed, define, states


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock):
    with Registry.open(tmp_path / "home", clock=clock) as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Blue Harbour", "blue harbour"),
        ("  the “Blue\n Harbour” ", "blue harbour"),
        ("'The Blue Harbour'", "blue harbour"),
        ("A Blue Harbour", "blue harbour"),
        ("Ｂｌｕｅ Harbour", "blue harbour"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("Vitamin A", "vitamin a"),
        ("A", "a"),
        ("The The", "the"),
        ("Rock 'n'", "rock 'n'"),
        ("soft\u00adhyphen", "softhyphen"),
    ],
)
def test_an_entity_has_one_key_however_it_is_written(name: str, key: str) -> None:
    assert entity_key(name) == key


@given(st.text(max_size=30))
def test_an_entity_key_is_its_own_key(name: str) -> None:
    key = entity_key(name)

    assert entity_key(key) == key
    assert bool(key) == any(not c.isspace() for c in key)


@given(st.lists(st.text("abcß ΑÅ", min_size=1, max_size=6), min_size=1, max_size=5))
def test_wrapping_a_text_differently_keeps_its_digest(words: list[str]) -> None:
    assert text_digest(" ".join(words)) == text_digest("\n\t ".join(words) + "\n")


def test_different_texts_have_different_digests() -> None:
    assert text_digest("A wharf.") != text_digest("a wharf.")


@pytest.mark.parametrize("name", ["news", "news@", "news@0", "@1", "news@1@2", "../x@1", "news@1\n"])
def test_what_does_not_name_an_adapter_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        split_adapter_name(name)


def test_a_new_feed_is_due_at_once_and_its_topic_has_an_alias(registry: Registry) -> None:
    feed = add_feed(registry)

    assert registry.read.feeds_due(NOW) == [feed]
    alias = registry.read.alias("news")
    assert (alias.topics, alias.scope, alias.adapter) == (("news",), "mention", None)
    assert registry.read.topics() == ["news"]


def test_a_second_feed_of_a_topic_leaves_the_alias_as_it_was_set(registry: Registry) -> None:
    add_feed(registry)
    registry.write.set_alias("news", topics=["news"], scope="always")

    add_feed(registry, "quay")

    assert registry.read.alias("news").scope == "always"


def test_two_feeds_cannot_have_one_name(registry: Registry) -> None:
    add_feed(registry)

    with pytest.raises(AlreadyThere, match="harbour"):
        add_feed(registry)


@pytest.mark.parametrize("topic", ["", "a/b", "..", "news@1", "base", "ne ws"])
def test_a_topic_that_cannot_be_a_folder_or_an_address_is_refused(registry: Registry, topic: str) -> None:
    with pytest.raises(BadName):
        add_feed(registry, topic=topic)
    assert registry.read.feeds() == []


def test_a_feed_needs_a_known_trust_and_a_positive_interval(registry: Registry) -> None:
    facts = {"name": "x", "kind": "feed", "topic": "news"}
    with pytest.raises(BadValue, match="always"):
        registry.write.add_feed("x", **facts, trust="always", interval_s=60)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="0 s"):
        registry.write.add_feed("x", **facts, trust="auto", interval_s=0)  # type: ignore[arg-type]


def test_a_feed_that_is_not_there_is_named(registry: Registry) -> None:
    with pytest.raises(NotThere, match="'quay'") as error:
        registry.read.feed("quay")
    assert "feeds list" in error.value.hint


def test_feeds_can_be_asked_for_by_kind(registry: Registry) -> None:
    registry.write.add_feed("/notes", name="notes", kind="folder", topic="news", trust="auto", interval_s=60)
    registry.write.add_feed("https://x.example/", name="x", kind="feed", topic="news", trust="auto", interval_s=60)
    assert [feed.name for feed in registry.read.feeds("folder")] == ["notes"]
    assert [feed.name for feed in registry.read.feeds()] == ["notes", "x"]


def test_a_paused_feed_is_not_due_until_it_is_resumed(registry: Registry, clock: Clock) -> None:
    add_feed(registry)
    registry.write.set_feed_state("harbour", "paused")
    assert registry.read.feeds_due(NOW + timedelta(days=1)) == []

    clock.advance(5)
    registry.write.set_feed_state("harbour", "active")

    assert [feed.name for feed in registry.read.feeds_due(clock.now)] == ["harbour"]


def test_a_removed_feed_frees_its_name_and_keeps_its_documents(registry: Registry) -> None:
    feed = add_feed(registry)
    add_documents(registry, feed, "A wharf is a quay.")

    removed = registry.write.remove_feed("harbour")

    assert (removed.state, removed.documents) == ("retired", 1)
    assert registry.read.documents()[0].feed == removed.name
    assert add_feed(registry).documents == 0
    with pytest.raises(NotAllowed, match="retired"):
        registry.write.set_feed_state(removed.name, "active")


def test_a_failed_poll_is_counted_and_a_good_one_forgives(registry: Registry) -> None:
    feed = add_feed(registry)
    later = NOW + timedelta(hours=2)
    for _ in range(2):
        registry.write.record_poll_failure(feed.id, error="503 from example.org", next_check_at=later)

    failing = registry.read.feed("harbour")
    assert (failing.error_count, failing.last_error, failing.next_check_at, failing.last_success_at) == (
        2,
        "503 from example.org",
        later,
        None,
    )
    assert registry.read.counts().feeds == {"total": 1, "failing": 1}
    assert registry.read.feeds_due(NOW) == []

    registry.write.record_poll(feed.id, cursor={"etag": "8"}, next_check_at=later, documents=[])

    good = registry.read.feed("harbour")
    assert (good.error_count, good.last_error, good.last_success_at, good.cursor) == (0, None, NOW, {"etag": "8"})


def test_a_failed_poll_keeps_the_cursor_unless_it_brings_one(registry: Registry) -> None:
    feed = add_feed(registry)
    registry.write.record_poll(feed.id, cursor={"etag": "8"}, next_check_at=NOW, documents=[])

    assert registry.write.record_poll_failure(feed.id, error="x", next_check_at=NOW).cursor == {"etag": "8"}
    assert registry.write.record_poll_failure(feed.id, error="x", next_check_at=NOW, cursor={}).cursor == {}


def test_a_feed_that_is_gone_for_good_is_retired(registry: Registry) -> None:
    feed = add_feed(registry)

    registry.write.record_poll_failure(feed.id, error="410 Gone", next_check_at=NOW, retire=True)

    assert registry.read.feed("harbour").state == "retired"
    assert registry.read.feeds_due(NOW + timedelta(days=9)) == []


def test_the_same_text_is_taken_in_once(registry: Registry) -> None:
    feed = add_feed(registry)

    first = add_documents(registry, feed, "A wharf is a quay.", "A wharf  is\na quay.")
    again = add_documents(registry, feed, "A wharf is a quay.")

    assert (len(first), again) == (1, [])
    assert registry.read.feed("harbour").documents == 1
    assert len(add_documents(registry, add_feed(registry, "quay"), "A wharf is a quay.")) == 1


def test_a_changed_text_revises_the_one_before_it(registry: Registry) -> None:
    feed = add_feed(registry)
    [first] = add_documents(registry, feed, "A wharf is a quay.", external_id="7")
    [second] = add_documents(registry, feed, "A wharf is a pier.", external_id="7")
    [other] = add_documents(registry, feed, "A buoy floats.", external_id="8")

    assert (first.revises, second.revises, other.revises) == (None, first.id, None)


def test_a_document_comes_back_as_it_was_given(registry: Registry) -> None:
    feed = add_feed(registry)
    published = NOW - timedelta(days=3, microseconds=7)
    new = NewDocument("7", "Ein Kai\r\n", NOW, url="https://x", title="Kai", published_at=published, fetch={"status": 200})

    [document] = registry.write.record_poll(feed.id, cursor={}, next_check_at=NOW, documents=[new])

    assert document == registry.read.document(document.id)
    assert (document.text, document.title, document.published_at, document.fetch) == ("Ein Kai\r\n", "Kai", published, {"status": 200})
    assert (document.feed, document.topic, document.state) == ("harbour", "news", "new")
    assert document.published_at is not None
    assert document.published_at.tzinfo is not None


def test_documents_can_be_asked_for_by_feed_and_state(registry: Registry) -> None:
    feed, other = add_feed(registry), add_feed(registry, "quay")
    [a, b] = add_documents(registry, feed, "one", "two")
    [c] = add_documents(registry, other, "three")
    registry.write.record_definitions(a.id, [], problem="nothing defined")

    assert [d.id for d in registry.read.documents(feed="harbour", state="new")] == [b.id]
    assert [d.id for d in registry.read.documents(state="new", limit=1)] == [b.id]
    assert [d.id for d in registry.read.documents(feed="quay")] == [c.id]
    assert registry.read.document(a.id).problem == "nothing defined"


def test_a_withdrawn_document_is_not_taken_in_again(registry: Registry) -> None:
    feed = add_feed(registry)
    [document] = add_documents(registry, feed, "A wharf is a quay.")

    registry.write.withdraw_document(document.id, reason="asked to forget", actor="ana")

    assert add_documents(registry, feed, "A wharf is a quay.") == []
    assert registry.write.record_definitions(document.id, [NewDefinition("wharf", "x", (0, 1), 0.5)]) == []


def test_a_document_is_read_once(registry: Registry) -> None:
    feed = add_feed(registry)
    [document] = add_documents(registry, feed, "A wharf is a quay.")
    found = [NewDefinition("Wharf", "A wharf is a quay.", (0, 18), 0.8, aliases=("pier",))]

    first = registry.write.record_definitions(document.id, found)
    again = registry.write.record_definitions(document.id, [*found, NewDefinition("Quay", "x", (0, 1), 0.1)])

    assert first == again == registry.read.definitions()
    assert (first[0].entity_key, first[0].span, first[0].aliases, first[0].feed) == ("wharf", (0, 18), ("pier",), "harbour")
    assert registry.read.document(document.id).state == "extracted"


def test_the_same_definition_elsewhere_is_a_witness_counted_once(registry: Registry) -> None:
    feed = add_feed(registry)
    first = define(registry, feed, "Blue Harbour", "It is a wharf.")
    [elsewhere] = add_documents(registry, feed, "Elsewhere: it is a wharf.")
    same = NewDefinition("the “blue harbour”", "It is  a wharf.", (11, 25), 0.4)

    assert registry.write.record_definitions(elsewhere.id, [same, same]) == []

    assert registry.read.definition(first.id).witnesses == 1
    assert [d.id for d in registry.read.definition_history(first.id).witnesses] == [elsewhere.id]


def test_a_definition_is_no_witness_of_itself(registry: Registry) -> None:
    feed = add_feed(registry)
    [document] = add_documents(registry, feed, "A wharf is a quay. A wharf is a quay.")
    twice = [NewDefinition("wharf", "A wharf is a quay.", span, 0.8) for span in ((0, 18), (19, 37))]

    [only] = registry.write.record_definitions(document.id, twice)

    assert registry.read.definition(only.id).witnesses == 0


def test_another_definition_of_the_same_entity_supersedes_the_older(registry: Registry) -> None:
    feed = add_feed(registry)
    first = define(registry, feed, "wharf", "A wharf is a quay.")
    second = define(registry, feed, "The Wharf", "A wharf is a pier.")
    third = define(registry, feed, "wharf", "A wharf is a dock.")

    assert (first.supersedes, second.supersedes, third.supersedes) == (None, first.id, second.id)
    history = registry.read.definition_history(second.id)
    assert [d.id for d in history.earlier] == [first.id]
    assert [d.id for d in history.later] == [third.id]
    assert history.document.id == second.document_id


def test_a_rejected_definition_is_not_superseded_but_still_takes_witnesses(registry: Registry) -> None:
    feed = add_feed(registry)
    rejected = define(registry, feed, "wharf", "A wharf is a cat.", state="rejected")

    [document] = add_documents(registry, feed, "Again: A wharf is a cat.")
    assert registry.write.record_definitions(document.id, [NewDefinition("wharf", "A wharf is a cat.", (7, 24), 0.8)]) == []

    assert registry.read.definition(rejected.id).witnesses == 1
    assert define(registry, feed, "wharf", "A wharf is a quay.").supersedes is None


def test_topics_keep_their_definitions_apart(registry: Registry) -> None:
    one = define(registry, add_feed(registry), "wharf", "A wharf is a quay.")
    other = define(registry, add_feed(registry, "s", topic="security"), "wharf", "A wharf is a host.")

    assert other.supersedes is None
    assert [d.id for d in registry.read.definitions(topic="news")] == [one.id]
    assert registry.read.topics() == ["news", "security"]


def test_novelty_is_kept_with_the_model_it_was_measured_on(registry: Registry) -> None:
    definition = define(registry, add_feed(registry), "wharf", "A wharf is a quay.", state="found")

    moved = registry.write.set_novelty(definition.id, 0.01, "digest-9", DefinitionState.KNOWN, "the model says so already")

    assert (moved.state, moved.novelty, moved.novelty_digest, moved.reason) == ("known", 0.01, "digest-9", "the model says so already")
    assert registry.read.counts().definitions["known"] == 1


def test_definitions_move_together_or_not_at_all(registry: Registry) -> None:
    feed = add_feed(registry)
    waiting, rejected = define(registry, feed, "a", "A is b."), define(registry, feed, "c", "C is d.", state="rejected")

    with pytest.raises(NotAllowed, match=rf"Definition {rejected.id} \(c\) is rejected and cannot become learned") as error:
        registry.write.move_definitions([waiting.id, rejected.id], "learned", reason=None, actor="ana")

    assert states(registry, waiting, rejected) == ["waiting", "rejected"]
    assert "held, review, waiting" in error.value.hint


def test_who_moved_a_definition_and_why_is_in_its_history(registry: Registry) -> None:
    definition = define(registry, add_feed(registry), "wharf", "A wharf is a quay.")

    registry.write.move_definitions([definition.id], "held", reason="doubtful", actor="ana")

    last = registry.read.definition_history(definition.id).events[-1]
    assert (last.actor, last.action, last.detail, last.at) == ("ana", "held", {"reason": "doubtful"}, NOW)


def test_definitions_can_be_asked_for_by_number_in_any_amount(registry: Registry) -> None:
    definition = define(registry, add_feed(registry), "wharf", "A wharf is a quay.")

    assert registry.read.definitions(ids=range(40_000)) == [definition]
    assert registry.read.definitions(ids=[]) == []
    assert registry.read.definitions(ids=[definition.id], state="learned") == []


def test_a_transfer_set_is_kept_once_unless_replaced(registry: Registry) -> None:
    definition = define(registry, add_feed(registry), "wharf", "A wharf is a quay.")
    first = registry.write.save_transfer_set(definition.id, [NewTransferExample("chat", "What is a wharf?", "A quay.", "self")])

    again = registry.write.save_transfer_set(definition.id, [NewTransferExample("plain", "", "Wharves …", "self")])
    assert first == again == registry.read.transfer_set([definition.id])

    registry.write.save_transfer_set(definition.id, [NewTransferExample("plain", "", "Wharves …", "self")], replace=True)
    assert [e.text for e in registry.read.transfer_set([definition.id])] == ["Wharves …"]


def test_probes_are_kept_once_and_standing_ones_belong_to_no_definition(registry: Registry) -> None:
    definition = define(registry, add_feed(registry), "wharf", "A wharf is a quay.")
    mine = registry.write.save_probes(definition.id, [NewProbe("direct", "A wharf is", " a quay", candidates=(" a quay", " a cat"))])
    standing = registry.write.save_probes(None, [NewProbe("skill", "2, 4,", " 6", chat=True, origin="skills 1")])

    assert registry.write.save_probes(None, [NewProbe("skill", "other", "x")]) == standing == registry.read.standing_probes()
    assert registry.read.probes([definition.id]) == mine
    assert registry.read.probes() == mine + standing

    replaced = registry.write.save_probes(definition.id, [NewProbe("direct", "Wharf:", " quay")], replace=True)
    assert registry.read.probes([definition.id]) == replaced


def test_the_same_words_under_another_title_are_another_document(registry: Registry) -> None:
    feed = add_feed(registry, "notices")

    def poll(*titles: str) -> list[str | None]:
        new = [NewDocument(f"id-{title}", "It is unmaintained.", NOW, title=title) for title in titles]
        return [d.title for d in registry.write.record_poll(feed.id, cursor={}, next_check_at=NOW, documents=new)]

    assert poll("utils", "case", "utils") == ["utils", "case"]
    assert poll("case", "utils", "names") == ["names"]
    assert poll("utils", "case", "names") == []


def test_a_text_that_is_another_s_title_and_text_is_taken_in_beside_it(registry: Registry) -> None:
    feed = add_feed(registry, "notices")
    words = "It is unmaintained."
    new = [
        NewDocument(f"{n}", text, NOW, title=title) for n, (title, text) in enumerate([("a", words), ("b", words), ("c", f"b\n{words}")])
    ]

    def poll() -> list[str | None]:
        return [d.title for d in registry.write.record_poll(feed.id, cursor={}, next_check_at=NOW, documents=new)]

    assert poll() == ["a", "b", "c"]
    assert poll() == []
