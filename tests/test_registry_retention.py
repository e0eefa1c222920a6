"""What the registry gives up in time, and what it keeps for ever."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry import NewDefinition, Registry
from tests.registry_parts import NOW, Clock, add_documents, add_feed, define


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home", clock=Clock()) as opened:
        yield opened


def test_only_the_text_of_an_old_document_that_taught_nothing_is_given_up(registry: Registry) -> None:
    feed = add_feed(registry)
    first = define(registry, feed, "Blue Harbour", "It is a wharf.")
    idle, withdrawn, elsewhere, unread = add_documents(registry, feed, "Rain.", "Hail.", "Elsewhere: it is a wharf.", "Snow.")
    registry.write.record_definitions(elsewhere.id, [NewDefinition("Blue Harbour", "It is a wharf.", (11, 25), 0.4)])
    registry.write.record_definitions(idle.id, [])
    registry.write.record_definitions(withdrawn.id, [])
    registry.write.withdraw_document(withdrawn.id, reason="asked for", actor="test")
    later = NOW + timedelta(seconds=1)

    assert registry.write.give_up_texts(NOW) == (0, 0), "nothing is old enough"
    steps = [registry.write.give_up_texts(later, limit=2)]
    while len(steps) < 2 or steps[-1] != steps[-2]:
        steps.append(registry.write.give_up_texts(later, after=steps[-1][1], limit=2))
    assert (sum(number for number, _ in steps), steps[-1]) == (1, (0, unread.id))

    kept = {document.id: document for document in registry.read.documents()}
    assert [number for number, document in kept.items() if not document.text] == [idle.id]
    assert (kept[idle.id].digest, kept[idle.id].url) == (idle.digest, idle.url)
    assert kept[first.document_id].text
    assert add_documents(registry, feed, "Rain.") == [], "what was given up is not taken in again"
    [event] = [event for event in registry.read.events(50) if event.action == "texts_given_up"]
    assert event.detail == {"number": 1, "first": idle.id, "last": idle.id}
