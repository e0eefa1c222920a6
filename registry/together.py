"""Writes of several threads in one transaction: the disk is waited for once and not once for each of them.

A commit waits until the disk has the data. While it does, the writes that come in the meantime queue up, and whoever is next does all of
them. Each stands in a savepoint of its own, so that one that fails takes nobody's with it.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlmodel import Session

from registry.driver import driver_of

Write = Callable[[Session], Any]
"Called with the session of a write transaction; what it returns is handed to the caller once it is on the disk."


@dataclass(slots=True)
class _Asked:
    write: Write
    done: bool = False
    result: Any = None
    error: BaseException | None = None


class Together:
    """Does writes in the transactions that `writing` opens, those that wait at the same time in one."""

    def __init__(self, writing: Callable[[], AbstractContextManager[Session]]) -> None:
        self._writing = writing
        self._first = threading.Lock()  # held by whoever does the writes of all that have asked
        self._asking = threading.Lock()
        self._asked: list[_Asked] = []

    def do(self, write: Write) -> Any:
        """The result of `write`, or what it raised, when it is on the disk or has been taken back."""
        mine = _Asked(write)
        with self._asking:
            self._asked.append(mine)
        with self._first:
            if not mine.done:
                with self._asking:
                    group, self._asked = self._asked, []
                self._do_all(group)
        if mine.error is not None:
            raise mine.error
        return mine.result

    def _do_all(self, group: list[_Asked]) -> None:
        try:
            with self._writing() as session:
                for one in group:
                    _do(session, one)
        except BaseException as err:  # the transaction itself: nobody's write was kept, and each of them hears why
            for one in group:
                one.error = one.error or err
        finally:
            for one in group:
                one.done = True


def _do(session: Session, one: _Asked) -> None:
    # In plain statements: a savepoint of the session's own is rolled back once more after SQLite has taken back everything, which fails
    # and hides why.
    connection = driver_of(session)
    connection.execute("SAVEPOINT one")
    try:
        one.result = one.write(session)
        session.flush()
        connection.execute("RELEASE one")
    except Exception as err:
        if isinstance(err, (DatabaseError, sqlite3.Error)) and not isinstance(err, (IntegrityError, sqlite3.IntegrityError)):
            raise  # a full disk, say: SQLite may have taken back the whole transaction, and with it what the others wrote
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        session.expunge_all()
        session.info.clear()  # what was remembered of rows that are gone again
        one.error = err
