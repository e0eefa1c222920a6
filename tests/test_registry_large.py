"""A large registry answers as fast as a small one: counts are kept, lines are walked by SQLite, and nothing goes through a whole table."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from daemon.benches.registry_lines import BUSY
from daemon.benches.registry_rows import Filled, fill
from daemon.jobs import pending_definitions, to_relearn
from daemon.serving.stage_measures import StageMeasures
from daemon.web import views
from registry import Registry
from registry import db as database
from registry.migrations import MIGRATIONS
from tests.registry_parts import NOW, add_documents, add_feed, begin, define, learn, promote

LARGE = (
    "definition",
    "document",
    "adapter_definition",
    "event",
    "probe",
    "transfer_example",
    "witness",
    "check_result",
    "near_band",
)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Filled]]:
    home = tmp_path_factory.mktemp("large") / "home"
    filled = fill(home, definitions=4000, adapters=300)
    with Registry.open(home) as registry:
        yield registry, filled


def statements_of(registry: Registry, do: Callable[[], Any]) -> list[tuple[str, Any]]:
    """What is asked of SQLite while something is done."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            seen.append((statement, parameters))

    event.listen(registry._database._engine, "before_cursor_execute", note)
    try:
        do()
    finally:
        event.remove(registry._database._engine, "before_cursor_execute", note)
    assert seen
    return seen


def scans_of(registry: Registry, do: Callable[[], Any], tables: tuple[str, ...] = LARGE) -> list[str]:
    """The large tables that are gone through for it, each with the statement."""
    found = []
    with closing(sqlite3.connect(registry.home / "registry.sqlite3")) as connection:
        for statement, parameters in statements_of(registry, do):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            found += [f"{step}: {statement}" for step in plan for table in tables if step == f"SCAN {table}"]
    return found


READS: dict[str, Callable[[Registry, Filled], Any]] = {
    "home": lambda r, _: views.home(r),
    "topic": lambda r, _: views.topic(r, BUSY, offset=0),
    "adapter": lambda r, f: views.adapter(r, f.newest[BUSY], offset=0),
    "definition": lambda r, f: views.definition(r, f.one),
    "by topic": lambda r, _: views.definitions(r, topic="topic-07", state="", entity="", before=None),
    "by state": lambda r, _: views.definitions(r, topic="", state="review", entity="", before=None),
    "by name": lambda r, _: views.definitions(r, topic="", state="", entity="ba", before=None),
    "by all": lambda r, _: views.definitions(r, topic=BUSY, state="learned", entity="ba", before=3000),
    "difference": lambda r, f: views.difference(r, f"{BUSY}@1", f.newest[BUSY]),
    "metrics": lambda r, _: list(StageMeasures(r).collect()),
    "documents of a feed": lambda r, _: r.read.documents(feed="feed-0002", limit=50, newest=True),
    "definitions of a document": lambda r, f: r.read.definitions(document=f.document),
    "history": lambda r, f: r.read.definition_history(f.one),
    "forgetting": lambda r, f: r.read.forgetting(entity=f.entity),
    "what one did": lambda r, _: r.read.events(50, actor="operator"),
    "forgotten": lambda r, f: r.read.forgotten_in(f.newest[BUSY]),
    "what is to be relearnt": lambda r, _: to_relearn(r),
    "what waits": lambda r, _: pending_definitions(r),
    "rollback windows": lambda r, _: r.read.rollback_windows(),
    "feeds": lambda r, _: r.read.feeds(),
    "topics": lambda r, _: r.read.topics(),
    "standing probes": lambda r, _: r.read.standing_probes(),
}


@pytest.mark.parametrize("name", READS)
def test_no_read_goes_through_a_whole_table(large: tuple[Registry, Filled], name: str) -> None:
    registry, filled = large
    assert scans_of(registry, lambda: READS[name](registry, filled)) == []


def test_a_line_of_versions_is_walked_in_as_many_statements_whatever_its_length(large: tuple[Registry, Filled]) -> None:
    registry, filled = large
    assert int(filled.newest[BUSY].rpartition("@")[2]) > 100
    for ask in (registry.read.forgotten_in, registry.read.carried, registry.read.clean_ancestor):
        assert len(statements_of(registry, lambda ask=ask: ask(filled.newest[BUSY]))) < 8


def test_the_last_end_of_a_job_is_found_by_its_key(large: tuple[Registry, Filled]) -> None:
    registry, _ = large
    assert scans_of(registry, lambda: registry.read.last_ended("poll:feed-0001"), ("job",)) == []
    last = registry.read.last_ended("poll:feed-0001")
    assert (last is not None and last.key, registry.read.last_ended("poll:feed-0001", since=NOW + timedelta(days=4000))) == (
        "poll:feed-0001",
        None,
    )
    assert registry.read.last_ended("nothing") is None


def test_what_is_served_is_read_in_as_many_statements_whatever_there_is(large: tuple[Registry, Filled]) -> None:
    registry, _ = large
    assert len(statements_of(registry, lambda: views.home(registry))) < 30
    assert len(statements_of(registry, lambda: registry.read.aliases())) == 2
    assert len(statements_of(registry, lambda: registry.read.releases(BUSY))) <= 3


def counted(registry: Registry) -> tuple[dict[str, int], dict[str, int]]:
    definitions = {state: number for state, number in registry.read.counts().definitions.items() if number}
    return definitions, {state: number for state, number in registry.pages.count_documents().items() if number}


def test_counts_follow_every_change_in_its_own_transaction(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home") as registry:
        feed = add_feed(registry)
        first, second = define(registry, feed, "Mole", "Mole is a pier."), define(registry, feed, "Tide", "Tide is a bar.")
        assert counted(registry) == ({"waiting": 2}, {"extracted": 2})
        registry.write.move_definitions([first.id], "held", reason=None, actor="test")
        add_documents(registry, feed, "Nobody has read this.")
        assert counted(registry) == ({"waiting": 1, "held": 1}, {"extracted": 2, "new": 1})
        assert (registry.read.feed("harbour").documents, registry.read.topics()) == (3, ["news"])
        registry.write.forget(document=second.document_id, actor="test", reason="withdrawn")
        assert counted(registry) == ({"held": 1, "forgotten": 1}, {"extracted": 1, "new": 1, "withdrawn": 1})
        with closing(sqlite3.connect(tmp_path / "home" / "registry.sqlite3")) as connection:
            connection.execute("BEGIN")
            connection.execute("DELETE FROM definition WHERE id = ?", (first.id,))
            connection.execute("ROLLBACK")
        assert counted(registry)[0] == {"held": 1, "forgotten": 1}
        assert registry.doctor() == []


def test_doctor_says_which_count_is_wrong(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home") as registry:
        define(registry, add_feed(registry), "Mole", "Mole is a pier.")
        with closing(sqlite3.connect(tmp_path / "home" / "registry.sqlite3")) as connection, connection:
            connection.execute("UPDATE definition_count SET number = number + 2 WHERE state = 'waiting'")
        assert [finding.problem for finding in registry.doctor()] == ["definition_count is wrong by 2 for news, waiting"]


def test_a_registry_of_before_the_counts_is_counted_when_it_is_opened(tmp_path: Path) -> None:
    home = tmp_path / "old"
    home.mkdir()
    database.migrate(home, home / "registry.sqlite3", steps=MIGRATIONS[:6])
    noon = "2026-03-01T12:00:00.000000+00:00"
    with closing(sqlite3.connect(home / "registry.sqlite3")) as connection, connection:
        feed = "INSERT INTO feed VALUES (1, 'harbour', 'x', 'feed', 'news', 'active', 'auto', 60, '{}', 0, NULL, NULL, NULL, ?, ?)"
        connection.execute(feed, (noon, noon))
        document = (
            "INSERT INTO document (feed_id, external_id, text, digest, fetched_at, fetch, state) VALUES (1, ?, 'x', ?, ?, '{}', 'new')"
        )
        connection.executemany(document, [(str(number), str(number), noon) for number in range(3)])
    with Registry.open(home) as registry:
        assert counted(registry) == ({}, {"new": 3})
        assert registry.read.feed("harbour").documents == 3
        assert registry.doctor() == []


def test_the_clean_ancestor_is_below_the_oldest_that_knew_it(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home") as registry:
        feed = add_feed(registry)
        told = [define(registry, feed, name, f"{name} is a pier.") for name in ("Mole", "Tide", "Quay", "Weir")]
        for number, one in enumerate(told, start=1):
            promote(registry, learn(registry, parent=None if number == 1 else f"news@{number - 1}", definitions=[one.id]))
        registry.write.forget(entity="Quay", actor="test", reason="withdrawn")
        clean = registry.read.clean_ancestor("news@4")
        assert clean is not None
        assert clean.name == "news@2"
        assert [d.entity for d in registry.read.forgotten_in("news@4")] == ["Quay"]
        assert registry.read.forgotten_in("news@2") == ()
        assert registry.read.tainted_aliases() == ["news"]
        registry.write.rollback("news", to=2, actor="test", reason=None)
        assert registry.read.tainted_aliases() == []
        assert [a.name for a in registry.read.carriers([told[2].id])] == ["news@4", "news@3"]
        assert registry.read.carried("news@3") == {told[0].id, told[1].id, told[2].id}


def test_names_are_found_by_their_beginning_whatever_follows(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home") as registry:
        feed = add_feed(registry)
        for name in ("Tide", "Tidewater", "Tid\U0001f30a", "100% wool", "Tie"):
            define(registry, feed, name, f"{name} is a thing.")
        assert {d.entity for d in registry.pages.definitions(entity="TID")} == {"Tide", "Tidewater", "Tid\U0001f30a"}
        assert [d.entity for d in registry.pages.definitions(entity="100%")] == ["100% wool"]
        assert [d.entity for d in registry.pages.definitions(entity="t", limit=2)] == ["Tie", "Tid\U0001f30a"]
        assert [d.entity for d in registry.pages.definitions(entity="t", before=3, limit=1)] == ["Tidewater"]


def test_listings_of_versions_count_what_each_learnt_and_not_what_it_rehearsed(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home") as registry:
        feed = add_feed(registry)
        first, second = define(registry, feed, "Mole", "Mole is a pier."), define(registry, feed, "Tide", "Tide is a bar.")
        promote(registry, learn(registry, definitions=[first.id]))
        begin(registry, parent="news@1", definitions=[second.id], rehearsed=[first.id])
        assert [(v.name, v.learnt, v.state) for v in registry.pages.versions(limit=None)] == [
            ("news@2", 1, "learning"),
            ("news@1", 1, "live"),
        ]
        assert [a.definitions for a in registry.read.bare_adapters()] == [(), ()]
        assert registry.read.find_adapters(["news@1", "news@9"]).keys() == {"news@1"}
