"""The audit log's chain: whatever is done to a row of it, the chain says where."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from registry import Registry
from registry import db as database
from registry.migrations import MIGRATIONS
from tests.registry_parts import add_feed, define, learn, promote

FILE = "registry.sqlite3"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with Registry.open(tmp_path / "home") as registry:
        feed = add_feed(registry)
        found = define(registry, feed, "oslith", "An oslith is a blue lamp.")
        promote(registry, learn(registry, definitions=[found.id]))
        registry.write.rollback("news", to=None, actor="operator", reason="wrong about the lamp")
        registry.write.add_event("operator", "noted", "topic news", {"half": 0.5, "list": (1, 2), "text": "Grüße — 中"})
    return tmp_path / "home"


def tamper(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / FILE)) as connection:
        connection.execute(statement)
        connection.commit()


def test_every_event_of_an_ordinary_life_is_in_the_chain(home: Path) -> None:
    with Registry.open(home) as registry:
        events = registry.read.events()
        report = registry.audit()

    assert report.whole
    assert report.events == len(events) > 5
    assert report.head == events[0].digest
    assert len({event.digest for event in events}) == len(events)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET actor = 'nobody' WHERE id = 3",
        "UPDATE event SET at = '2020-01-01T00:00:00.000000+00:00' WHERE id = 3",
        "UPDATE event SET detail = '{}' WHERE id = 3",
        "UPDATE event SET object = 'alias other' WHERE id = 3",
        "UPDATE event SET digest = '' WHERE id = 3",
    ],
)
def test_an_altered_event_is_named(home: Path, statement: str) -> None:
    tamper(home, statement)

    with Registry.open(home) as registry:
        assert registry.audit().broken == 3


def test_an_event_taken_out_breaks_the_one_behind_it(home: Path) -> None:
    tamper(home, "DELETE FROM event WHERE id = 3")

    with Registry.open(home) as registry:
        assert registry.audit().broken == 4


def test_a_cut_off_end_is_seen_by_whoever_kept_a_head(home: Path) -> None:
    with Registry.open(home) as registry:
        head = registry.audit().head
        assert registry.audit(known_head=registry.read.events()[-1].digest).whole
    tamper(home, "DELETE FROM event WHERE id = (SELECT max(id) FROM event)")

    with Registry.open(home) as registry:
        assert registry.audit().whole  # by itself the rest agrees
        report = registry.audit(known_head=head)
    assert report.missing == head
    assert not report.whole


def test_events_of_a_transaction_that_fails_leave_no_gap(home: Path) -> None:
    with Registry.open(home) as registry:
        before = registry.audit()
        with pytest.raises(Exception, match="no definition 999"):
            registry.write.move_definitions([1, 999], "rejected", reason="r", actor="operator")
        registry.write.add_event("operator", "noted", "topic news")
        after = registry.audit()

    assert after.whole
    assert after.events == before.events + 1


def test_an_older_registry_is_chained_when_it_is_migrated(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    database.migrate(old, old / FILE, steps=MIGRATIONS[:4])
    with closing(sqlite3.connect(old / FILE)) as connection:
        for number in range(3):
            row = (f"2026-03-01T12:00:0{number}.000000+00:00", "operator", "added", f"feed {number}", '{"n": 1, "a": [2]}')
            connection.execute("INSERT INTO event (at, actor, action, object, detail) VALUES (?, ?, ?, ?, ?)", row)
        connection.commit()

    with Registry.open(old) as registry:
        registry.write.add_event("operator", "noted", "topic news")
        assert registry.audit().whole
        assert registry.audit().events == 4
