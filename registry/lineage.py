"""What grew from what: versions from versions, definitions in the place of definitions. A line may be thousands long, so SQLite walks it.

Works inside the caller's transaction, on numbers alone.
"""

import json
from collections.abc import Iterable

from sqlmodel import Session

_LINE = (
    "WITH RECURSIVE line (id, depth) AS ("
    " SELECT ?, 0 UNION ALL SELECT parent_id, depth + 1 FROM adapter JOIN line USING (id) WHERE parent_id IS NOT NULL)"
)
_IN_ORDER = f"{_LINE} SELECT id FROM line ORDER BY depth"  # noqa: S608
# In this order of joining, and by the definitions (the plus takes the other way from SQLite): a line is thousands of versions long, which would
# each be looked up for each definition.
_TAINTED = (
    f"{_LINE} SELECT u.adapter_id, u.definition_id FROM definition d CROSS JOIN adapter_definition u ON u.definition_id = d.id"  # noqa: S608
    " WHERE d.state = 'forgotten' AND +u.adapter_id IN (SELECT id FROM line)"
)
_GROWN = (
    "WITH RECURSIVE grown (id) AS ("
    " SELECT adapter_id FROM adapter_definition WHERE definition_id IN (SELECT value FROM json_each(?))"
    " UNION SELECT a.id FROM adapter a JOIN grown ON a.parent_id = grown.id) SELECT id FROM grown ORDER BY id DESC"
)
_SERVED = (
    "WITH RECURSIVE grown (id) AS ("
    " SELECT u.adapter_id FROM definition d CROSS JOIN adapter_definition u ON u.definition_id = d.id WHERE d.state = 'forgotten'"
    " UNION SELECT a.id FROM adapter a JOIN grown ON a.parent_id = grown.id)"
    " SELECT name FROM alias WHERE adapter_id IN (SELECT id FROM grown) ORDER BY name"
)
_CARRIED = f"{_LINE} SELECT DISTINCT definition_id FROM adapter_definition WHERE adapter_id IN (SELECT id FROM line)"  # noqa: S608
_OF_THESE = (
    f"{_LINE} SELECT DISTINCT u.definition_id FROM json_each(?) wanted"  # noqa: S608
    " CROSS JOIN adapter_definition u ON u.definition_id = wanted.value WHERE +u.adapter_id IN (SELECT id FROM line)"
)
_REPLACED = (
    "WITH RECURSIVE chain (id, depth) AS (SELECT value, 0 FROM json_each(?)"
    " UNION SELECT d.supersedes, depth + 1 FROM definition d JOIN chain ON d.id = chain.id WHERE d.supersedes IS NOT NULL)"
    " SELECT id FROM chain WHERE depth > 0 GROUP BY id ORDER BY min(depth)"
)
_REPLACING = (
    "WITH RECURSIVE chain (id, depth) AS (SELECT ?, 0"
    " UNION SELECT d.id, depth + 1 FROM definition d JOIN chain ON d.supersedes = chain.id)"
    " SELECT id FROM chain WHERE depth > 0 GROUP BY id ORDER BY min(depth), id"
)


def line(session: Session, adapter_id: int) -> list[int]:
    """The adapter and what it grew from, the root last."""
    return _ids(session, _IN_ORDER, adapter_id)


def tainted(session: Session, adapter_id: int) -> dict[int, int]:
    """Of those in the line that had something forgotten in training, each with one such definition."""
    return dict(session.connection().exec_driver_sql(_TAINTED, (adapter_id,)).all())


def grown_from(session: Session, definition_ids: Iterable[int]) -> list[int]:
    """The adapters that name any of the definitions, and all that grew from them, newest first."""
    return _ids(session, _GROWN, _many(definition_ids))


def tainted_aliases(session: Session) -> list[str]:
    """The aliases that serve a version which had something forgotten in training."""
    return [name for (name,) in session.connection().exec_driver_sql(_SERVED)]


def carried(session: Session, adapter_id: int) -> set[int]:
    """The definitions that the line learnt or rehearsed."""
    return set(_ids(session, _CARRIED, adapter_id))


def carried_of(session: Session, adapter_id: int, definition_ids: Iterable[int]) -> set[int]:
    """Those of these definitions that the line learnt or rehearsed."""
    return set(_ids(session, _OF_THESE, adapter_id, _many(definition_ids)))


def replaced_by(session: Session, definition_ids: Iterable[int]) -> list[int]:
    """The definitions whose place these took, and whose place those had taken, and so on; the nearest first."""
    return _ids(session, _REPLACED, _many(definition_ids))


def replacing(session: Session, definition_id: int) -> list[int]:
    """The definitions that took its place, and those that took theirs, the nearest first."""
    return _ids(session, _REPLACING, definition_id)


def _ids(session: Session, statement: str, *values: object) -> list[int]:
    return [found for (found,) in session.connection().exec_driver_sql(statement, values).all()]


def _many(ids: Iterable[int]) -> str:
    return json.dumps(sorted(set(ids)))
