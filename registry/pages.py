"""Reads for pages that show a little of a lot: everything is counted, ordered and cut by the database, so a page costs what it shows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, select
from sqlmodel.sql.expression import SelectOfScalar

from registry import counting
from registry.db import Database
from registry.models import (
    AdapterDefinitionRow,
    AdapterRow,
    CheckResultRow,
    CheckRunRow,
    DefinitionRow,
    JobRow,
    ReleaseRow,
    WitnessRow,
)
from registry.queries_intake import definition_history
from registry.records import Adapter, CheckResult, Definition, History, Job, Release, Version
from registry.rows import (
    adapter_row,
    bare_adapters,
    check_result_record,
    definition_records,
    job_record,
    key,
    release_records,
)
from registry.states import AdapterState, DefinitionState, JobState
from registry.versions import adapter_ids, version_records

_LAST = "\U0010ffff"  # no name goes on with it


@dataclass(frozen=True, slots=True)
class Standing:
    """How one version did on one definition's probes."""

    adapter: str
    state: AdapterState
    role: str
    passed: int
    asked: int


@dataclass(frozen=True, slots=True)
class TopicCounts:
    topic: str
    versions: int
    waiting: int
    learned: int


@dataclass(frozen=True, slots=True)
class JobCounts:
    """The jobs of one kind: how many by state, since when the oldest that is due has waited, how long the last finished one took."""

    states: dict[str, int]
    due_since: datetime | None
    last_s: float | None


class Pages:
    def __init__(self, database: Database) -> None:
        self._db = database

    def count_documents(self) -> dict[str, int]:
        """By state."""
        with self._db.reading() as session:
            counts = Counter[str]()
            for (_, state), number in counting.documents(session).items():
                counts[state] += number
            return dict(counts)

    def count_definitions(self) -> dict[tuple[str, str], int]:
        """By topic and state."""
        with self._db.reading() as session:
            return counting.definitions(session)

    def count_adapters(self) -> dict[tuple[str, str], int]:
        """By topic and state."""
        with self._db.reading() as session:
            place = (col(AdapterRow.topic), col(AdapterRow.state))
            return {(topic, state): n for topic, state, n in session.exec(select(*place, func.count()).group_by(*place))}

    def count_jobs(self, now: datetime) -> dict[str, JobCounts]:
        """By kind."""
        with self._db.reading() as session:
            states: dict[str, dict[str, int]] = {}
            for kind, state, n in session.exec(select(JobRow.kind, JobRow.state, func.count()).group_by(JobRow.kind, JobRow.state)):
                states.setdefault(kind, {})[state] = n
            due = select(JobRow.kind, func.min(JobRow.run_after)).where(JobRow.state == JobState.QUEUED, JobRow.run_after <= now)
            since = dict(session.exec(due.group_by(JobRow.kind)).all())
            ended = select(func.max(JobRow.id)).where(JobRow.state == JobState.DONE).group_by(JobRow.kind)
            last = {row.kind: row for row in session.exec(select(JobRow).where(col(JobRow.id).in_(ended)))}
            return {kind: JobCounts(by_state, since.get(kind), _lasted(last.get(kind))) for kind, by_state in states.items()}

    def versions(self, topic: str | None = None, *, limit: int | None, offset: int = 0, with_metrics: bool = False) -> list[Version]:
        """Newest first."""
        with self._db.reading() as session:
            wanted = select(AdapterRow.id).order_by(col(AdapterRow.id).desc()).limit(limit).offset(offset)
            if topic is not None:
                # the table's own order of a topic is that of its versions, so nothing is sorted
                wanted = select(AdapterRow.id).where(AdapterRow.topic == topic).order_by(col(AdapterRow.version).desc())
                wanted = wanted.limit(limit).offset(offset)
            return version_records(session, [key(number) for number in session.exec(wanted)], with_metrics=with_metrics)

    def metrics(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What the newest check of each of these adapters measured."""
        with self._db.reading() as session:
            return {version.name: version.metrics for version in version_records(session, adapter_ids(session, names), with_metrics=True)}

    def topics(self) -> list[TopicCounts]:
        with self._db.reading() as session:
            versions = dict(session.exec(select(AdapterRow.topic, func.count()).group_by(col(AdapterRow.topic))).all())
            counted = counting.definitions(session)
            names = sorted({*versions, *(topic for topic, _ in counted)})
            return [
                TopicCounts(
                    name,
                    versions.get(name, 0),
                    counted.get((name, DefinitionState.WAITING), 0) + counted.get((name, DefinitionState.FOUND), 0),
                    counted.get((name, DefinitionState.LEARNED), 0),
                )
                for name in names
            ]

    def definitions(
        self, *, topic: str | None = None, state: str | None = None, entity: str | None = None, before: int | None = None, limit: int = 50
    ) -> list[Definition]:
        """Newest first, from those with a smaller number than `before`. `entity`: the beginning of its name."""
        with self._db.reading() as session:
            wanted = select(DefinitionRow).order_by(col(DefinitionRow.id).desc()).limit(limit)
            if topic:
                wanted = wanted.where(DefinitionRow.topic == topic)
            if state:
                wanted = wanted.where(DefinitionRow.state == state)
            if entity:
                found = _begins_with(entity.casefold(), topic=topic, state=state, before=before)
                wanted = wanted.where(col(DefinitionRow.id).in_(found.limit(limit)))
            if before is not None:
                wanted = wanted.where(col(DefinitionRow.id) < before)
            return definition_records(session, session.exec(wanted).all())

    def refused(self, *, limit: int) -> list[Adapter]:
        """Adapters that their check refused, newest first."""
        with self._db.reading() as session:
            wanted = select(AdapterRow).where(AdapterRow.state == AdapterState.REFUSED).order_by(col(AdapterRow.id).desc()).limit(limit)
            return bare_adapters(session, session.exec(wanted).all())

    def releases(self, *, limit: int, alias: str | None = None) -> list[Release]:
        with self._db.reading() as session:
            wanted = select(ReleaseRow).order_by(col(ReleaseRow.id).desc()).limit(limit)
            if alias is not None:
                wanted = wanted.where(ReleaseRow.alias == alias)
            return release_records(session, session.exec(wanted).all())

    def jobs(self, states: Sequence[JobState], *, limit: int, newest: bool = False) -> list[Job]:
        with self._db.reading() as session:
            order = col(JobRow.id).desc() if newest else col(JobRow.id)
            wanted = select(JobRow).where(col(JobRow.state).in_(states)).order_by(order).limit(limit)
            return [job_record(row) for row in session.exec(wanted)]

    def adapter(self, name: str) -> Adapter:
        """Without its definitions; those are read a page at a time."""
        with self._db.reading() as session:
            return bare_adapters(session, [adapter_row(session, name)])[0]

    def carried_by_one(self, one: str, other: str, *, limit: int | None) -> tuple[int, list[Definition]]:
        """How many definitions the one carries and the other does not, and some of them, newest first."""
        with self._db.reading() as session:
            use = AdapterDefinitionRow
            others = select(use.definition_id).where(use.adapter_id == adapter_row(session, other).id)
            only = (use.adapter_id == adapter_row(session, one).id, col(use.definition_id).not_in(others))
            total = session.exec(select(func.count()).select_from(use).where(*only)).one()
            wanted = select(DefinitionRow).join(use).where(*only).order_by(col(DefinitionRow.id).desc()).limit(limit)
            return total, definition_records(session, session.exec(wanted).all())

    def carried(self, name: str) -> int:
        with self._db.reading() as session:
            use = AdapterDefinitionRow
            return session.exec(select(func.count()).select_from(use).where(use.adapter_id == adapter_row(session, name).id)).one()

    def account(self, definition_id: int) -> History:
        """A definition's history without the versions that carry it; `standings` has those."""
        with self._db.reading() as session:
            return definition_history(session, definition_id, with_adapters=False)

    def adapter_definitions(self, adapter: str, *, role: str, limit: int, offset: int = 0) -> tuple[int, list[Definition]]:
        """How many there are, and some of them, oldest first."""
        with self._db.reading() as session:
            number = adapter_row(session, adapter).id
            use = (AdapterDefinitionRow.adapter_id == number, AdapterDefinitionRow.role == role)
            total = session.exec(select(func.count()).select_from(AdapterDefinitionRow).where(*use)).one()
            wanted = (
                select(DefinitionRow).join(AdapterDefinitionRow).where(*use).order_by(col(DefinitionRow.id)).limit(limit).offset(offset)
            )
            return total, definition_records(session, session.exec(wanted).all())

    def standings(self, definition_id: int, *, limit: int = 100) -> list[Standing]:
        """Every version that carries the definition, newest first, with what its newest check saw of it."""
        with self._db.reading() as session:
            carriers = select(AdapterRow, AdapterDefinitionRow.role).join(AdapterDefinitionRow)
            carriers = carriers.where(AdapterDefinitionRow.definition_id == definition_id).order_by(col(AdapterRow.id).desc()).limit(limit)
            return [self._standing(session, row, role, definition_id) for row, role in session.exec(carriers).all()]

    def results(self, definition_id: int, adapter: str) -> list[CheckResult]:
        """What the newest check of this adapter asked about the definition."""
        with self._db.reading() as session:
            run = _newest_run(session, adapter_row(session, adapter))
            wanted = select(CheckResultRow).where(CheckResultRow.check_run_id == run, CheckResultRow.definition_id == definition_id)
            return [check_result_record(row) for row in session.exec(wanted.order_by(col(CheckResultRow.id)))]

    def spans(self, definition_id: int) -> dict[int, tuple[int, int]]:
        """Where each witness says it: document to characters."""
        with self._db.reading() as session:
            rows = session.exec(select(WitnessRow).where(WitnessRow.definition_id == definition_id))
            return {row.document_id: (row.span_start, row.span_end) for row in rows}

    def _standing(self, session: Session, row: AdapterRow, role: str, definition_id: int) -> Standing:
        run = _newest_run(session, row)
        passed = select(CheckResultRow.passed).where(CheckResultRow.check_run_id == run, CheckResultRow.definition_id == definition_id)
        seen = [] if run is None else list(session.exec(passed))
        return Standing(f"{row.topic}@{row.version}", AdapterState(row.state), role, sum(seen), len(seen))


def _newest_run(session: Session, row: AdapterRow) -> int | None:
    wanted = select(CheckRunRow.id).where(CheckRunRow.adapter_id == row.id, CheckRunRow.digest == row.digest)
    return session.exec(wanted.order_by(col(CheckRunRow.id).desc()).limit(1)).first()


def _begins_with(beginning: str, *, topic: str | None, state: str | None, before: int | None) -> SelectOfScalar[int | None]:
    """The definitions whose entity's key begins so, newest first, found in an index that has all that is asked for."""
    name = col(DefinitionRow.entity_key)
    wanted: SelectOfScalar[int | None] = select(col(DefinitionRow.id)).where(name >= beginning, name < beginning + _LAST)
    if topic:
        wanted = wanted.where(DefinitionRow.topic == topic)
    if state:
        wanted = wanted.where(DefinitionRow.state == state)
    if before is not None:
        wanted = wanted.where(col(DefinitionRow.id) < before)
    return wanted.order_by(col(DefinitionRow.id).desc())


def _lasted(row: JobRow | None) -> float | None:
    """Seconds."""
    return None if row is None or row.started_at is None or row.finished_at is None else (row.finished_at - row.started_at).total_seconds()
