"""How many definitions and documents there are, counted by the database as they are written: nobody goes through a million rows for a page.

Triggers keep the counts inside the transaction that changes a row, so they are never behind, whoever writes.
"""

from sqlmodel import Session, col, select

from registry.models import DefinitionCountRow, DocumentCountRow

# What is counted: a table, the columns it is counted by, and where.
_COUNTED = (("definition", ("topic", "state"), "definition_count"), ("document", ("feed_id", "state"), "document_count"))


def statements() -> tuple[str, ...]:
    """For the migration that begins to count; part of a released step, so never edited."""
    made = [
        """
        CREATE TABLE definition_count (
            topic TEXT NOT NULL,
            state TEXT NOT NULL,
            number INTEGER NOT NULL,
            PRIMARY KEY (topic, state)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE document_count (
            feed_id INTEGER NOT NULL,      -- no reference: rows are counted as they come, and a feed is never deleted
            state TEXT NOT NULL,
            number INTEGER NOT NULL,
            PRIMARY KEY (feed_id, state)
        ) STRICT, WITHOUT ROWID
        """,
    ]
    for table, (first, second), counts in _COUNTED:
        more = (
            f"INSERT INTO {counts} ({first}, {second}, number) VALUES (new.{first}, new.{second}, 1)"  # noqa: S608 - names of our own
            f" ON CONFLICT ({first}, {second}) DO UPDATE SET number = number + 1;"
        )
        less = f"UPDATE {counts} SET number = number - 1 WHERE {first} = old.{first} AND {second} = old.{second};"  # noqa: S608
        changed = f"WHEN old.{first} IS NOT new.{first} OR old.{second} IS NOT new.{second}"
        made += [
            f"INSERT INTO {counts} SELECT {first}, {second}, count(*) FROM {table} GROUP BY {first}, {second}",  # noqa: S608
            f"CREATE TRIGGER {table}_counted_in AFTER INSERT ON {table} BEGIN {more} END",
            f"CREATE TRIGGER {table}_counted_out AFTER DELETE ON {table} BEGIN {less} END",
            f"CREATE TRIGGER {table}_counted_anew AFTER UPDATE OF {first}, {second} ON {table} {changed} BEGIN {less} {more} END",
        ]
    return tuple(made)


TRIGGERS = tuple(f"{table}_counted_{how}" for table, _, _ in _COUNTED for how in ("in", "out", "anew"))


def definitions(session: Session) -> dict[tuple[str, str], int]:
    """By topic and state; what there is none of is left out."""
    wanted = select(DefinitionCountRow.topic, DefinitionCountRow.state, DefinitionCountRow.number)
    return {(topic, state): number for topic, state, number in session.exec(wanted.where(col(DefinitionCountRow.number) > 0))}


def documents(session: Session) -> dict[tuple[int, str], int]:
    """By feed and state; what there is none of is left out."""
    wanted = select(DocumentCountRow.feed_id, DocumentCountRow.state, DocumentCountRow.number).where(col(DocumentCountRow.number) > 0)
    return {(feed_id, state): number for feed_id, state, number in session.exec(wanted)}


def problems(session: Session) -> list[str]:
    """Where a count is not what counting gives. For doctor: it reads everything."""
    found = []
    for table, (first, second), counts in _COUNTED:
        rows = session.connection().exec_driver_sql(
            f"SELECT {first}, {second}, sum(n) FROM (SELECT {first}, {second}, count(*) AS n FROM {table} GROUP BY {first}, {second}"  # noqa: S608
            f" UNION ALL SELECT {first}, {second}, -number FROM {counts}) GROUP BY {first}, {second} HAVING sum(n) <> 0"
        )
        found += [f"{counts} is wrong by {-off} for {one}, {other}" for one, other, off in rows]
    return found
