"""Versions as lines of a history: found by their names, and with what a listing shows of each. In statements of their own, for thousands at once."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlmodel import Session

from registry.identity import split_adapter_name
from registry.records import Version
from registry.states import AdapterState

_NUMBERS = "SELECT a.id FROM json_each(?) w CROSS JOIN adapter a ON a.topic = w.value ->> 0 AND a.version = w.value ->> 1"


def adapter_ids(session: Session, names: Iterable[str]) -> list[int]:
    """Of those that exist."""
    wanted = json.dumps([split_adapter_name(name) for name in dict.fromkeys(names)])
    return [number for (number,) in session.connection().exec_driver_sql(_NUMBERS, (wanted,))]


def version_records(session: Session, ids: Sequence[int], *, with_metrics: bool = False) -> list[Version]:
    """In the order of `ids`; `with_metrics`: of the newest check of exactly the published artifact."""
    rows = session.connection().exec_driver_sql(_VERSIONS.format(metrics=_METRICS if with_metrics else "NULL"), (json.dumps(list(ids)),))
    return [_version(row) for row in rows]


_METRICS = "(SELECT c.metrics FROM check_run c WHERE c.adapter_id = a.id AND c.digest = a.digest ORDER BY c.id DESC LIMIT 1)"
# The statement keeps the order of the numbers that it is given.
_VERSIONS = """
    SELECT a.topic, a.version, a.state, a.method, a.created_at, a.reason, a.removed_at, a.recovered,
           (SELECT count(*) FROM adapter_definition u WHERE u.adapter_id = a.id AND u.role = 'learnt') AS learnt, {metrics} AS metrics
    FROM json_each(?) wanted CROSS JOIN adapter a ON a.id = wanted.value ORDER BY wanted.key
"""


def _version(row: Row[Any]) -> Version:
    return Version(
        name=f"{row.topic}@{row.version}",
        topic=row.topic,
        version=row.version,
        state=AdapterState(row.state),
        method=row.method,
        created_at=datetime.fromisoformat(row.created_at),
        reason=row.reason,
        removed=row.removed_at is not None,
        recovered=row.recovered,
        learnt=row.learnt,
        metrics=json.loads(row.metrics) if row.metrics else {},
    )
