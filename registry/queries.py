"""Every read. Each method sees one consistent moment and returns records."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlmodel import col, func, select

from registry import counting, forgetting, lineage
from registry.errors import NotThere
from registry.forgetting import Forgetting
from registry.models import (
    AdapterRow,
    AliasRow,
    ApiKeyRow,
    CanaryRow,
    CheckResultRow,
    CheckRunRow,
    EventRow,
    FeedRow,
    JobRow,
    ReleaseRow,
)
from registry.queries_intake import IntakeQueries
from registry.records import (
    Adapter,
    Alias,
    ApiKey,
    Canary,
    CheckResult,
    CheckRun,
    Counts,
    Definition,
    Event,
    Job,
    Release,
)
from registry.rows import (
    adapter_names,
    adapter_records,
    adapter_row,
    alias_record,
    alias_records,
    alias_row,
    api_key_record,
    bare_adapters,
    batches,
    canary_record,
    check_result_record,
    check_run_record,
    definition_records,
    event_record,
    job_record,
    job_row,
    key,
    newest_check,
    plain_rows,
    release_records,
)
from registry.states import DefinitionState, FeedState, JobState
from registry.versions import adapter_ids

# Their columns, for reading rows as they are.
RELEASE = tuple(getattr(ReleaseRow, name) for name in ReleaseRow.model_fields)
JOB = tuple(getattr(JobRow, name) for name in JobRow.model_fields)
_WINDOWS = """
    SELECT a.name,
           (SELECT r.from_adapter_id FROM release r WHERE r.alias = a.name ORDER BY r.id DESC LIMIT 1),
           (SELECT r.from_adapter_id FROM release r
            WHERE r.alias = a.name AND r.to_adapter_id = a.adapter_id AND r.rollback = 0 ORDER BY r.id DESC LIMIT 1)
    FROM alias a ORDER BY a.name
"""


class Queries(IntakeQueries):
    """Those about feeds, documents and definitions: queries_intake.py."""

    def topics(self) -> list[str]:
        """Every topic that a feed, a definition, an adapter or an alias names."""
        with self._db.reading() as session:
            named = {*session.exec(select(FeedRow.topic)), *(topic for topic, _ in counting.definitions(session))}
            named |= set(session.exec(select(AdapterRow.topic).distinct()))
            return sorted(named.union(*session.exec(select(AliasRow.topics))))

    def adapters(self, topic: str | None = None) -> list[Adapter]:
        """Newest first."""
        with self._db.reading() as session:
            wanted = select(AdapterRow).order_by(col(AdapterRow.id).desc())
            if topic is not None:
                wanted = wanted.where(AdapterRow.topic == topic)
            return adapter_records(session, session.exec(wanted).all())

    def bare_adapters(self, topic: str | None = None, *, present: bool = False) -> list[Adapter]:
        """Newest first, without their definitions: what they learnt and rehearsed is a thousand times as much as they are.

        `present`: only those that were not given up, and whose folder is there or is being made.
        """
        with self._db.reading() as session:
            wanted = select(AdapterRow).order_by(col(AdapterRow.id).desc())
            if present:
                wanted = wanted.where(col(AdapterRow.removed_at).is_(None))
            if topic is not None:
                wanted = wanted.where(AdapterRow.topic == topic)
            return bare_adapters(session, session.exec(wanted).all())

    def adapter(self, name: str) -> Adapter:
        with self._db.reading() as session:
            return adapter_records(session, [adapter_row(session, name)])[0]

    def find_adapters(self, names: Iterable[str]) -> dict[str, Adapter]:
        """Those of these names that exist, without their definitions."""
        with self._db.reading() as session:
            some_at_a_time = batches(adapter_ids(session, names))
            rows = [row for some in some_at_a_time for row in session.exec(select(AdapterRow).where(col(AdapterRow.id).in_(some)))]
            return {adapter.name: adapter for adapter in bare_adapters(session, rows)}

    def latest_adapter(self, topic: str) -> Adapter | None:
        """The topic's highest version, in whatever state; None if it has none."""
        with self._db.reading() as session:
            row = session.exec(select(AdapterRow).where(AdapterRow.topic == topic).order_by(col(AdapterRow.version).desc())).first()
            return None if row is None else adapter_records(session, [row])[0]

    def forgetting(self, *, document: int | None = None, feed: str | None = None, entity: str | None = None) -> Forgetting:
        """What forgetting one of these would come to; nothing is changed."""
        with self._db.reading() as session:
            return forgetting.describe(session, forgetting.find(session, document=document, feed=feed, entity=entity, to_change=False))

    def forgotten_in(self, adapter: str) -> tuple[Definition, ...]:
        """A forgotten definition that the adapter had in training, or none."""
        with self._db.reading() as session:
            row = forgetting.forgotten_in(session, adapter_row(session, adapter))
            return tuple(definition_records(session, [row] if row else []))

    def tainted_aliases(self) -> list[str]:
        """Those that serve a version which had something forgotten in training."""
        with self._db.reading() as session:
            return lineage.tainted_aliases(session)

    def depth(self, adapter: str) -> int:
        """How many versions lie on top of one another in it, itself among them."""
        with self._db.reading() as session:
            return len(lineage.line(session, key(adapter_row(session, adapter).id)))

    def clean_ancestor(self, adapter: str) -> Adapter | None:
        """The newest version it grew from that had nothing forgotten in training; None: only the base model."""
        with self._db.reading() as session:
            row = forgetting.clean_ancestor(session, adapter_row(session, adapter))
            return None if row is None else adapter_records(session, [row])[0]

    def carriers(self, definition_ids: Iterable[int]) -> list[Adapter]:
        """The versions that had any of the definitions in training, newest first, without their definitions."""
        with self._db.reading() as session:
            return bare_adapters(session, forgetting.carriers(session, definition_ids))

    def carried(self, adapter: str) -> set[int]:
        """The definitions that the adapter learnt and rehearsed, and that the versions it grew from did."""
        with self._db.reading() as session:
            return lineage.carried(session, key(adapter_row(session, adapter).id))

    def check_runs(self, adapter: str) -> list[CheckRun]:
        """Newest first."""
        with self._db.reading() as session:
            wanted = select(CheckRunRow).where(CheckRunRow.adapter_id == adapter_row(session, adapter).id)
            return [check_run_record(session, row) for row in session.exec(wanted.order_by(col(CheckRunRow.id).desc())).all()]

    def newest_check(self, adapter: str) -> CheckRun | None:
        """The one that promotion asks for: the newest of exactly the published artifact."""
        with self._db.reading() as session:
            row = newest_check(session, adapter_row(session, adapter))
            return None if row is None else check_run_record(session, row)

    def check_results(self, run_id: int) -> list[CheckResult]:
        with self._db.reading() as session:
            if session.get(CheckRunRow, run_id) is None:
                raise NotThere(f"There is no check run {run_id}", hint="List an adapter's check runs: lorefeed adapters show A")
            wanted = select(CheckResultRow).where(CheckResultRow.check_run_id == run_id).order_by(col(CheckResultRow.id))
            return [check_result_record(row) for row in session.exec(wanted)]

    def aliases(self) -> list[Alias]:
        with self._db.reading() as session:
            return alias_records(session, session.exec(select(AliasRow).order_by(col(AliasRow.name))).all())

    def adapters_and_aliases(self, *, present: bool = False) -> tuple[list[Adapter], list[Alias]]:
        """Both at one moment, so that what the one says about the other holds; the adapters as from `bare_adapters`."""
        with self._db.reading() as session:
            aliases = session.exec(select(AliasRow).order_by(col(AliasRow.name))).all()
            wanted = select(AdapterRow).order_by(col(AdapterRow.id).desc())
            if present:
                wanted = wanted.where(col(AdapterRow.removed_at).is_(None))
            return bare_adapters(session, session.exec(wanted).all()), alias_records(session, aliases)

    def alias(self, name: str) -> Alias:
        with self._db.reading() as session:
            return alias_record(session, alias_row(session, name))

    def canaries(self) -> list[Canary]:
        with self._db.reading() as session:
            return [canary_record(session, row) for row in session.exec(select(CanaryRow).order_by(col(CanaryRow.alias))).all()]

    def api_keys(self) -> list[ApiKey]:
        with self._db.reading() as session:
            return [api_key_record(row) for row in session.exec(select(ApiKeyRow).order_by(col(ApiKeyRow.name))).all()]

    def releases(self, alias: str | None = None, *, limit: int | None = None) -> list[Release]:
        """Newest first."""
        with self._db.reading() as session:
            wanted = select(ReleaseRow).order_by(col(ReleaseRow.id).desc()).limit(limit)
            if alias is not None:
                wanted = wanted.where(ReleaseRow.alias == alias)
            return release_records(session, plain_rows(session, wanted, RELEASE))

    def rollback_windows(self) -> dict[str, list[str]]:
        """Of each alias, where it came from just now (answers may still be running there), and where a rollback would go."""
        with self._db.reading() as session:
            found = [tuple(row) for row in session.connection().exec_driver_sql(_WINDOWS)]
            names = adapter_names(session, (number for _, *numbers in found for number in numbers))
            return {alias: list(dict.fromkeys(names[number] for number in numbers if number is not None)) for alias, *numbers in found}

    def jobs(self, state: JobState | str | None = None) -> list[Job]:
        """Oldest first."""
        with self._db.reading() as session:
            wanted = select(JobRow).order_by(col(JobRow.id))
            if state is not None:
                wanted = wanted.where(JobRow.state == JobState(state))
            return [job_record(row) for row in plain_rows(session, wanted, JOB)]

    def seconds_of_jobs(self, kinds: Sequence[str], *, since: datetime) -> float:
        """How long jobs of these kinds took that ended after `since`, as far as their rows are still there."""
        with self._db.reading() as session:
            ended = select(JobRow.started_at, JobRow.finished_at).where(
                col(JobRow.kind).in_(kinds), col(JobRow.state).in_([JobState.DONE, JobState.FAILED]), col(JobRow.finished_at) > since
            )
            return sum((last - first).total_seconds() for first, last in session.exec(ended) if first is not None and last is not None)

    def last_ended(self, key: str, *, since: datetime | None = None) -> Job | None:
        """The job with this key that ended last, and not before `since`; None if there is none."""
        with self._db.reading() as session:
            wanted = select(JobRow).where(JobRow.key == key, col(JobRow.state).in_([JobState.DONE, JobState.FAILED]))
            if since is not None:
                wanted = wanted.where(col(JobRow.finished_at) >= since)
            row = session.exec(wanted.order_by(col(JobRow.finished_at).desc(), col(JobRow.id).desc()).limit(1)).first()
            return None if row is None else job_record(row)

    def unfinished_jobs(self) -> set[str]:
        """The keys of all that are queued or running."""
        with self._db.reading() as session:
            return set(session.exec(select(JobRow.key).where(col(JobRow.state).in_([JobState.QUEUED, JobState.RUNNING]))))

    def job(self, job_id: int) -> Job:
        with self._db.reading() as session:
            return job_record(job_row(session, job_id))

    def events(self, limit: int = 100, *, about: str | None = None, actor: str | None = None) -> list[Event]:
        """Newest first. `about` is an object as events name it, such as `alias news`."""
        with self._db.reading() as session:
            wanted = select(EventRow).order_by(col(EventRow.id).desc()).limit(limit)
            if about is not None:
                wanted = wanted.where(EventRow.object == about)
            if actor is not None:
                wanted = wanted.where(EventRow.actor == actor)
            return [event_record(row) for row in session.exec(wanted)]

    def events_after(self, number: int, *, limit: int) -> list[Event]:
        """The oldest `limit` events that are newer than event `number`, oldest first."""
        with self._db.reading() as session:
            wanted = select(EventRow).where(col(EventRow.id) > number).order_by(col(EventRow.id)).limit(limit)
            return [event_record(row) for row in session.exec(wanted)]

    def newest_event(self) -> int:
        """Its number; 0 before the first."""
        with self._db.reading() as session:
            return session.exec(select(func.max(EventRow.id))).one() or 0

    def wrong_counts(self) -> list[str]:
        """A sentence for each count that is not what counting gives."""
        with self._db.reading() as session:
            return counting.problems(session)

    def counts(self) -> Counts:
        with self._db.reading() as session:
            feeds = session.exec(select(FeedRow.error_count).where(FeedRow.state != FeedState.RETIRED)).all()
            jobs = session.exec(select(JobRow.state, func.count()).group_by(col(JobRow.state))).all()
            definitions = Counter[str]()
            for (_, state), number in counting.definitions(session).items():
                definitions[state] += number
            return Counts(
                feeds={"total": len(feeds), "failing": sum(errors > 0 for errors in feeds)},
                jobs={state.value: 0 for state in JobState} | dict(jobs),
                definitions={state.value: 0 for state in DefinitionState} | dict(definitions),
            )
