"""The file itself: its schema, its migrations, its privacy, and many hands on it at once."""

import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlmodel import Session, SQLModel

from registry import NewDocument, NotThere, Registry, RegistryBusy, RegistryDamaged, RegistryNotWritten, RegistryTooNew, audit, counting
from registry import db as database
from registry.migrations import LATEST, MIGRATIONS
from registry.models import FeedRow
from tests.registry_parts import NOW, add_documents, add_feed

FILE = "registry.sqlite3"
AFFINITY = {"INTEGER": "INTEGER", "BOOLEAN": "INTEGER", "FLOAT": "REAL", "TEXT": "TEXT", "JSON": "TEXT", "BLOB": "BLOB"}


def make_old(home: Path, version: int) -> None:
    """A registry as a lorefeed of that schema version left it."""
    home.mkdir()
    database.migrate(home, home / FILE, steps=MIGRATIONS[:version])


def schema(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def columns(path: Path, table: str) -> dict[str, tuple[str, bool, bool]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return {name: (kind, bool(not_null), bool(key)) for _, name, kind, not_null, _, key in rows}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Registry.open(tmp_path / "home").close()
    return tmp_path / "home" / FILE


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as open_connection:
        yield open_connection


@pytest.mark.parametrize("table", SQLModel.metadata.sorted_tables, ids=lambda table: str(table.name))
def test_the_migrated_schema_is_what_the_models_describe(path: Path, table) -> None:
    described = {c.name: (AFFINITY[str(c.type)], not c.nullable, c.primary_key) for c in table.columns}

    assert columns(path, table.name) == described


def test_the_models_and_the_counting_describe_all_there_is(connection: sqlite3.Connection) -> None:
    made = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE sql IS NOT NULL")}

    tables = SQLModel.metadata.tables.values()
    assert made == {str(t.name) for t in tables} | {str(i.name) for t in tables for i in t.indexes} | {*counting.TRIGGERS}


def test_the_migrations_are_numbered_without_gaps_and_say_why() -> None:
    assert [step.version for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    assert all(step.why.endswith(".") for step in MIGRATIONS)


@pytest.mark.parametrize("version", range(1, LATEST))
def test_an_old_file_becomes_like_a_fresh_one_and_keeps_its_rows(tmp_path: Path, path: Path, version: int) -> None:
    old = tmp_path / "old"
    make_old(old, version)
    with closing(sqlite3.connect(old / FILE)) as connection:
        connection.execute(
            "INSERT INTO feed (name, location, kind, topic, state, trust, interval_s, cursor, error_count, next_check_at, created_at)"
            " VALUES ('harbour', 'x', 'feed', 'news', 'active', 'auto', 60, '{\"etag\": \"7\"}', 0, :noon, :noon)",
            {"noon": "2026-03-01T12:00:00.000000+00:00"},
        )
        connection.commit()

    with Registry.open(old) as registry:
        assert registry.read.feed("harbour").cursor == {"etag": "7"}
        assert registry.doctor() == []
    assert schema(old / FILE) == schema(path)


def test_a_migration_that_fails_leaves_the_old_version_whole(tmp_path: Path) -> None:
    make_old(tmp_path / "home", 1)
    before = schema(tmp_path / "home" / FILE)
    broken = database.Migration(2, "It fails halfway.", ("CREATE TABLE half (id INTEGER) STRICT", "CREATE NONSENSE"))

    with pytest.raises(sqlite3.OperationalError):
        database.migrate(tmp_path / "home", tmp_path / "home" / FILE, steps=(*MIGRATIONS[:1], broken))

    assert schema(tmp_path / "home" / FILE) == before
    Registry.open(tmp_path / "home").close()


def test_a_newer_registry_is_refused_and_not_touched(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA user_version = {LATEST + 4}")

    with pytest.raises(RegistryTooNew) as error:
        Registry.open(path.parent)

    assert str(path) in str(error.value)
    assert f"version {LATEST + 4}" in str(error.value)
    assert f"up to {LATEST}" in str(error.value)
    assert "Upgrade" in error.value.hint
    assert connection.execute("PRAGMA user_version").fetchone() == (LATEST + 4,)


def test_the_home_and_the_file_are_the_owners_alone(path: Path) -> None:
    with Registry.open(path.parent) as registry:
        add_feed(registry)
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.glob(f"{FILE}*")}

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert set(modes) >= {FILE, f"{FILE}-wal"}
    assert set(modes.values()) == {0o600}


def test_the_file_is_in_wal_and_each_connection_is_careful(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path / "home")
    with registry._database.writing() as session:
        pragmas = {
            name: session.connection().exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    registry.close()

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"this is not a database, whatever its name says" * 100)

    with pytest.raises(RegistryDamaged, match=FILE):
        Registry.open(tmp_path)


def test_a_file_without_tables_in_the_place_of_an_open_one_is_said_to_be_damaged(tmp_path: Path) -> None:
    with Registry.open(tmp_path) as registry:
        for file in tmp_path.glob(f"{FILE}*"):
            file.unlink()
        registry._database._engine.dispose()  # as where a connection is opened anew
        with pytest.raises(RegistryDamaged, match="no such table"):
            registry.read.counts()
        with pytest.raises(RegistryDamaged, match="no such table"):
            add_feed(registry)


def test_a_home_that_cannot_be_made_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file stands here")

    with pytest.raises(RegistryNotWritten, match="home"):
        Registry.open(tmp_path / "home")


def test_a_registry_that_stays_locked_is_said_to_be_busy(
    path: Path, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    with Registry.open(path.parent) as registry:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryBusy, match="locked"):
            add_feed(registry)
        connection.execute("ROLLBACK")
        add_feed(registry)


def test_a_transaction_that_fails_changes_nothing(path: Path) -> None:
    with Registry.open(path.parent) as registry:

        def half() -> None:
            with registry._database.writing() as session:
                row = {"name": "half", "location": "x", "kind": "feed", "topic": "news", "state": "active", "trust": "auto"}
                now = registry._clock()
                session.add(FeedRow(**row, interval_s=1, cursor={}, next_check_at=now, created_at=now))
                session.flush()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            half()
        assert registry.read.feeds() == []


def test_openers_and_writers_at_once_all_succeed(tmp_path: Path) -> None:
    """Several processes open a fresh home at the same time; threads stand for them, each with its own file handles."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with Registry.open(tmp_path / "home") as registry:
                feed = add_feed(registry, f"feed-{number}")
                for text in ("one", "two", "three"):
                    add_documents(registry, feed, text)
        except BaseException as err:  # a thread's error would be lost; the assertion below shows it
            failures.append(err)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with Registry.open(tmp_path / "home") as registry:
        assert [feed.documents for feed in registry.read.feeds()] == [3] * 6


def test_writes_that_wait_together_share_a_transaction_and_not_their_failures(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home") as registry:
        feeds = [add_feed(registry, f"feed-{number}") for number in range(12)]
        begun, go = threading.Event(), threading.Event()
        outcomes: dict[int, object] = {}
        transactions: list[object] = []
        event.listen(registry.write._db._engine, "commit", lambda connection: transactions.append(connection))

        def hold(session: Session) -> None:
            begun.set()
            assert go.wait(10)

        def poll(number: int) -> None:
            feed_id = feeds[number].id if number else 999  # there is no feed 999
            new = [NewDocument("1", f"Text {number}.", NOW)]
            noticed = [("silent", {"days": number})]
            try:
                outcomes[number] = registry.write.record_poll(feed_id, cursor={}, next_check_at=NOW, documents=new, noticed=noticed)
            except NotThere as err:
                outcomes[number] = err

        threads = [threading.Thread(target=registry.write._db.together.do, args=(hold,))]
        threads += [threading.Thread(target=poll, args=(number,)) for number in range(12)]
        threads[0].start()
        assert begun.wait(10)
        for thread in threads[1:]:
            thread.start()
        while len(registry.write._db.together._asked) < 12:
            time.sleep(0.001)
        go.set()
        for thread in threads:
            thread.join(10)

        assert len(transactions) == 2  # the one that held the others up, and one for all of them
        assert isinstance(outcomes[0], NotThere)
        assert sorted(d.text for d in registry.read.documents()) == sorted(f"Text {number}." for number in range(1, 12))
        with closing(sqlite3.connect(tmp_path / "home" / FILE)) as connection:
            assert audit.verify_file(connection).whole


def test_when_the_disk_is_full_everybody_who_wrote_together_hears_of_it(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home") as registry:
        feeds = [add_feed(registry, f"feed-{number}") for number in range(3)]
        begun, go = threading.Event(), threading.Event()
        failed: list[int] = []

        def hold(session: Session) -> None:
            pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar_one()
            begun.set()
            assert go.wait(10)
            session.connection().exec_driver_sql(f"PRAGMA max_page_count = {pages + 12}")

        def poll(number: int) -> None:
            text = f"Text {number} " + ("word " * 40_000 if number == 2 else "")
            try:
                registry.write.record_poll(feeds[number].id, cursor={}, next_check_at=NOW, documents=[NewDocument("1", text, NOW)])
            except RegistryNotWritten:
                failed.append(number)

        threads = [threading.Thread(target=registry.write._db.together.do, args=(hold,))]
        threads[0].start()
        assert begun.wait(10)
        for number in range(3):
            threads.append(threading.Thread(target=poll, args=(number,)))
            threads[-1].start()
            while len(registry.write._db.together._asked) <= number:
                time.sleep(0.001)
        go.set()
        for thread in threads:
            thread.join(10)
        assert sorted(failed) == [0, 1, 2]
        assert registry.read.documents() == []
