"""SQLite's own connection below a session, for the statements of a poll: what SQLAlchemy does about each costs ten times the statement."""

import sqlite3

from sqlmodel import Session


def driver_of(session: Session) -> sqlite3.Connection:
    """The session's connection, in its transaction. Its errors are sqlite3's; `told_plainly` knows both."""
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection
