"""The SQLite file: opening, migrating, and one way to hold a transaction. Knows no nouns."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel import Session, create_engine

from registry.errors import RegistryBusy, RegistryDamaged, RegistryError, RegistryNotWritten, RegistryTooNew
from registry.migrations import MIGRATIONS, Migration
from registry.together import Together

FILE_NAME = "registry.sqlite3"
BUSY_TIMEOUT_MS = 5000

_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_NOT_WRITTEN = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_EMPTIED = "no such table"  # every file that was opened had them all: another one has been put in its place


class Database:
    """One file, many short transactions, from any thread."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE_NAME
        # SQLite's own lock is asked for again and again and is not fair: of many threads that write, one would wait in vain.
        self._turn = threading.Lock()
        _make_private(home, self.path)
        with told_plainly(self.path):
            migrate(home, self.path)
        # Each thread takes a connection for one short transaction, so a pool larger than the callers is never waited for. It takes the one
        # that was used last: in turns, each of them would come to hold 2 MB of the file's pages.
        self._engine = create_engine(
            f"sqlite:///{self.path}", pool_size=8, max_overflow=24, pool_use_lifo=True, connect_args={"check_same_thread": False}
        )
        event.listen(self._engine, "connect", _prepare_connection)
        event.listen(self._engine, "begin", _begin)
        self._writing = self._engine.execution_options(writing=True)
        self.together = Together(self.writing)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One consistent view; nothing done in it is kept."""
        with told_plainly(self.path), Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One write transaction: everything in it, or on any error nothing."""
        with self._turn, told_plainly(self.path), Session(self._writing) as session, session.begin():
            yield session

    def problems(self) -> list[str]:
        """What SQLite itself says about the file: damaged pages, rows that name missing rows."""
        with told_plainly(self.path), closing(_connect(self.path)) as connection:
            damaged = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
            dangling = [f"{row[0]} row {row[1]} names a missing {row[2]}" for row in connection.execute("PRAGMA foreign_key_check")]
        return damaged + dangling

    def close(self) -> None:
        self._engine.dispose()


def migrate(home: Path, path: Path, *, steps: Sequence[Migration] = MIGRATIONS) -> None:
    """Brings the file to the last of `steps`, each step in a transaction of its own. Two processes opening at once take turns."""
    latest = steps[-1].version
    with _locked_folder(home), closing(_connect(path)) as connection:
        found = _version(connection)
        if found > latest:
            raise RegistryTooNew(f"{path} has schema version {found}; this lorefeed knows versions up to {latest}")
        connection.execute("PRAGMA journal_mode = WAL")
        for step in steps:
            if step.version > found:
                _apply(connection, step)


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in step.statements:
            connection.execute(statement)
        if step.then is not None:
            step.then(connection)
        connection.execute(f"PRAGMA user_version = {step.version:d}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    _set_pragmas(connection)
    return connection


def _set_pragmas(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    # A promoted alias must survive a power cut, not only a killed process.
    connection.execute("PRAGMA synchronous = FULL")


def _prepare_connection(dbapi_connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    connection = dbapi_connection.driver_connection if hasattr(dbapi_connection, "driver_connection") else dbapi_connection
    assert isinstance(connection, sqlite3.Connection)
    # Python's sqlite3 would begin a deferred transaction at the first write, too late to be sure of the lock; _begin does it instead.
    connection.isolation_level = None
    _set_pragmas(connection)


def _begin(connection: Connection) -> None:
    # A reader that turns writer can fail at once with "locked", whatever the timeout; so a writer takes the lock at its first word.
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turns SQLite's error names into the registry's sentences; what is a programming mistake passes unchanged."""
    try:
        yield
    except DatabaseError as err:
        if isinstance(err.orig, sqlite3.Error) and (plain := _plain_error(path, err.orig)) is not None:
            raise plain from err
        raise
    except sqlite3.Error as err:
        if (plain := _plain_error(path, err)) is not None:
            raise plain from err
        raise


def _plain_error(path: Path, err: sqlite3.Error) -> RegistryError | None:
    code = getattr(err, "sqlite_errorname", "")
    if code.startswith(_BUSY):
        return RegistryBusy(f"{path} stayed locked by another process for {BUSY_TIMEOUT_MS / 1000:g} s")
    if code.startswith(_NOT_WRITTEN):
        return RegistryNotWritten(f"{path} could not be written: {err}")
    if code.startswith(_DAMAGED) or str(err).startswith(_EMPTIED):
        return RegistryDamaged(f"{path} is not a whole registry: {err}")
    return None


def _make_private(home: Path, path: Path) -> None:
    """The texts of private feeds are in there, so only the owner may look. A home that exists keeps its mode: it is somebody's choice."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)  # SQLite gives its -wal and -shm files the mode of this one
    except OSError as err:
        raise RegistryNotWritten(f"{path} could not be opened for writing: {err.strerror}") from err


@contextmanager
def _locked_folder(home: Path) -> Iterator[None]:
    """Switching a file to WAL does not wait for other processes, so openers queue on the folder itself."""
    folder = os.open(home, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
