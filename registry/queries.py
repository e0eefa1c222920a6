"""Every read. Each method sees one consistent moment and returns records."""

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlmodel import Session, col, func, select

from registry import forgetting
from registry.db import Database
from registry.errors import NotThere
from registry.forgetting import Forgetting
from registry.models import (
    AdapterDefinitionRow,
    AdapterRow,
    AliasRow,
    ApiKeyRow,
    CanaryRow,
    CheckResultRow,
    CheckRunRow,
    DefinitionRow,
    DocumentRow,
    EventRow,
    FeedRow,
    JobRow,
    ProbeRow,
    ReleaseRow,
    TransferExampleRow,
    WitnessRow,
)
from registry.records import (
    Adapter,
    Alias,
    ApiKey,
    Canary,
    CheckResult,
    CheckRun,
    Counts,
    Definition,
    Document,
    Event,
    Feed,
    History,
    Job,
    Probe,
    Release,
    TransferExample,
)
from registry.release_rules import known_to
from registry.rows import (
    adapter_records,
    adapter_row,
    alias_record,
    alias_row,
    api_key_record,
    batches,
    canary_record,
    check_result_record,
    check_run_record,
    definition_records,
    definition_row,
    document_records,
    document_row,
    event_record,
    example_record,
    feed_records,
    feed_row,
    job_record,
    job_row,
    key,
    newest_check,
    probe_record,
    release_record,
)
from registry.states import DefinitionState, DocumentState, FeedState, JobState


class Queries:
    def __init__(self, database: Database) -> None:
        self._db = database

    def feeds(self) -> list[Feed]:
        with self._db.reading() as session:
            return feed_records(session, session.exec(select(FeedRow).order_by(col(FeedRow.id))).all())

    def feed(self, name: str) -> Feed:
        with self._db.reading() as session:
            return feed_records(session, [feed_row(session, name)])[0]

    def feeds_due(self, now: datetime) -> list[Feed]:
        """Active feeds whose time has come, the longest overdue first."""
        with self._db.reading() as session:
            due = select(FeedRow).where(FeedRow.state == FeedState.ACTIVE, FeedRow.next_check_at <= now)
            return feed_records(session, session.exec(due.order_by(col(FeedRow.next_check_at), col(FeedRow.id))).all())

    def feeds_due_names(self, now: datetime) -> list[str]:
        """Their names alone, in the same order: thousands of cursors are not read to be asked every second."""
        with self._db.reading() as session:
            due = select(FeedRow.name).where(FeedRow.state == FeedState.ACTIVE, FeedRow.next_check_at <= now)
            return list(session.exec(due.order_by(col(FeedRow.next_check_at), col(FeedRow.id))))

    def documents(self, feed: str | None = None, state: DocumentState | str | None = None, limit: int | None = None) -> list[Document]:
        """Oldest first, so that reading them in order reads revisions after what they revise."""
        with self._db.reading() as session:
            wanted = select(DocumentRow)
            if feed is not None:
                wanted = wanted.where(DocumentRow.feed_id == feed_row(session, feed).id)
            if state is not None:
                wanted = wanted.where(DocumentRow.state == DocumentState(state))
            return document_records(session, session.exec(wanted.order_by(col(DocumentRow.id)).limit(limit)).all())

    def document_ids(self, state: DocumentState | str, limit: int | None = None) -> list[int]:
        """The oldest documents in this state."""
        with self._db.reading() as session:
            wanted = select(DocumentRow.id).where(DocumentRow.state == DocumentState(state)).order_by(col(DocumentRow.id)).limit(limit)
            return [key(document_id) for document_id in session.exec(wanted)]

    def document(self, document_id: int) -> Document:
        with self._db.reading() as session:
            return document_records(session, [document_row(session, document_id)])[0]

    def definitions(
        self, topic: str | None = None, state: DefinitionState | str | None = None, ids: Collection[int] | None = None
    ) -> list[Definition]:
        """Oldest first. `ids` that do not exist are passed over."""
        with self._db.reading() as session:
            wanted = select(DefinitionRow).order_by(col(DefinitionRow.id))
            if topic is not None:
                wanted = wanted.where(DefinitionRow.topic == topic)
            if state is not None:
                wanted = wanted.where(DefinitionRow.state == DefinitionState(state))
            if ids is None:
                return definition_records(session, session.exec(wanted).all())
            found = [row for some in batches(sorted(ids)) for row in session.exec(wanted.where(col(DefinitionRow.id).in_(some)))]
            return definition_records(session, found)

    def definition(self, definition_id: int) -> Definition:
        with self._db.reading() as session:
            return definition_records(session, [definition_row(session, definition_id)])[0]

    def live_definitions(self, topic: str) -> list[Definition]:
        """What the topic's served adapter carries."""
        return self.definitions(topic=topic, state=DefinitionState.LEARNED)

    def definition_history(self, definition_id: int) -> History:
        with self._db.reading() as session:
            return definition_history(session, definition_id)

    def probes(self, definition_ids: Iterable[int] | None = None) -> list[Probe]:
        """The probes of these definitions; without an argument all there are, the standing ones included."""
        with self._db.reading() as session:
            wanted = select(ProbeRow).where(col(ProbeRow.dropped).is_(False)).order_by(col(ProbeRow.id))
            if definition_ids is None:
                return [probe_record(row) for row in session.exec(wanted)]
            some_at_a_time = batches(definition_ids)
            return [
                probe_record(row) for some in some_at_a_time for row in session.exec(wanted.where(col(ProbeRow.definition_id).in_(some)))
            ]

    def standing_probes(self) -> list[Probe]:
        """Those that belong to no definition: locality and skills."""
        return [probe for probe in self.probes() if probe.definition_id is None]

    def transfer_set(self, definition_ids: Iterable[int]) -> list[TransferExample]:
        with self._db.reading() as session:
            wanted = select(TransferExampleRow).order_by(col(TransferExampleRow.definition_id), col(TransferExampleRow.id))
            return [
                example_record(row)
                for some in batches(definition_ids)
                for row in session.exec(wanted.where(col(TransferExampleRow.definition_id).in_(some)))
            ]

    def topics(self) -> list[str]:
        """Every topic that a feed, a definition, an adapter or an alias names."""
        with self._db.reading() as session:
            named = {*session.exec(select(FeedRow.topic)), *session.exec(select(DefinitionRow.topic).distinct())}
            named |= set(session.exec(select(AdapterRow.topic).distinct()))
            return sorted(named.union(*session.exec(select(AliasRow.topics))))

    def adapters(self, topic: str | None = None) -> list[Adapter]:
        """Newest first."""
        with self._db.reading() as session:
            wanted = select(AdapterRow).order_by(col(AdapterRow.id).desc())
            if topic is not None:
                wanted = wanted.where(AdapterRow.topic == topic)
            return adapter_records(session, session.exec(wanted).all())

    def adapter(self, name: str) -> Adapter:
        with self._db.reading() as session:
            return adapter_records(session, [adapter_row(session, name)])[0]

    def latest_adapter(self, topic: str) -> Adapter | None:
        """The topic's highest version, in whatever state; None if it has none."""
        with self._db.reading() as session:
            row = session.exec(select(AdapterRow).where(AdapterRow.topic == topic).order_by(col(AdapterRow.version).desc())).first()
            return None if row is None else adapter_records(session, [row])[0]

    def forgetting(self, *, document: int | None = None, feed: str | None = None, entity: str | None = None) -> Forgetting:
        """What forgetting one of these would come to; nothing is changed."""
        with self._db.reading() as session:
            return forgetting.describe(session, forgetting.find(session, document=document, feed=feed, entity=entity))

    def forgotten_in(self, adapter: str) -> tuple[Definition, ...]:
        """A forgotten definition that the adapter had in training, or none."""
        with self._db.reading() as session:
            row = forgetting.forgotten_in(session, adapter_row(session, adapter))
            return tuple(definition_records(session, [row] if row else []))

    def clean_ancestor(self, adapter: str) -> Adapter | None:
        """The newest version it grew from that had nothing forgotten in training; None: only the base model."""
        with self._db.reading() as session:
            row = forgetting.clean_ancestor(session, adapter_row(session, adapter))
            return None if row is None else adapter_records(session, [row])[0]

    def carriers(self, definition_ids: Iterable[int]) -> list[Adapter]:
        """The versions that had any of the definitions in training, newest first."""
        with self._db.reading() as session:
            return adapter_records(session, forgetting.carriers(session, definition_ids))

    def carried(self, adapter: str) -> set[int]:
        """The definitions that the adapter learnt and rehearsed, and that the versions it grew from did."""
        with self._db.reading() as session:
            return known_to(session, adapter_row(session, adapter))

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
            return [alias_record(session, row) for row in session.exec(select(AliasRow).order_by(col(AliasRow.name))).all()]

    def adapters_and_aliases(self) -> tuple[list[Adapter], list[Alias]]:
        """Both at one moment, so that what the one says about the other holds."""
        with self._db.reading() as session:
            aliases = session.exec(select(AliasRow).order_by(col(AliasRow.name))).all()
            adapters = session.exec(select(AdapterRow).order_by(col(AdapterRow.id).desc())).all()
            return adapter_records(session, adapters), [alias_record(session, row) for row in aliases]

    def alias(self, name: str) -> Alias:
        with self._db.reading() as session:
            return alias_record(session, alias_row(session, name))

    def canaries(self) -> list[Canary]:
        with self._db.reading() as session:
            return [canary_record(session, row) for row in session.exec(select(CanaryRow).order_by(col(CanaryRow.alias))).all()]

    def api_keys(self) -> list[ApiKey]:
        with self._db.reading() as session:
            return [api_key_record(row) for row in session.exec(select(ApiKeyRow).order_by(col(ApiKeyRow.name))).all()]

    def releases(self, alias: str | None = None) -> list[Release]:
        """Newest first."""
        with self._db.reading() as session:
            wanted = select(ReleaseRow).order_by(col(ReleaseRow.id).desc())
            if alias is not None:
                wanted = wanted.where(ReleaseRow.alias == alias)
            return [release_record(session, row) for row in session.exec(wanted).all()]

    def jobs(self, state: JobState | str | None = None) -> list[Job]:
        """Oldest first."""
        with self._db.reading() as session:
            wanted = select(JobRow).order_by(col(JobRow.id))
            if state is not None:
                wanted = wanted.where(JobRow.state == JobState(state))
            return [job_record(row) for row in session.exec(wanted)]

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

    def counts(self) -> Counts:
        with self._db.reading() as session:
            feeds = session.exec(select(FeedRow.error_count).where(FeedRow.state != FeedState.RETIRED)).all()
            jobs = session.exec(select(JobRow.state, func.count()).group_by(col(JobRow.state))).all()
            definitions = session.exec(select(DefinitionRow.state, func.count()).group_by(col(DefinitionRow.state))).all()
            return Counts(
                feeds={"total": len(feeds), "failing": sum(errors > 0 for errors in feeds)},
                jobs={state.value: 0 for state in JobState} | dict(jobs),
                definitions={state.value: 0 for state in DefinitionState} | dict(definitions),
            )


def definition_history(session: Session, definition_id: int, *, with_adapters: bool = True) -> History:
    row = definition_row(session, definition_id)
    witnesses = session.exec(select(DocumentRow).join(WitnessRow).where(WitnessRow.definition_id == definition_id)).all()
    carriers = select(AdapterRow).join(AdapterDefinitionRow).where(AdapterDefinitionRow.definition_id == definition_id)
    carrying = session.exec(carriers.order_by(col(AdapterRow.id))).all() if with_adapters else ()
    events = select(EventRow).where(EventRow.object == f"definition {definition_id}").order_by(col(EventRow.id))
    return History(
        definition=definition_records(session, [row])[0],
        document=document_records(session, [document_row(session, row.document_id)])[0],
        witnesses=tuple(document_records(session, witnesses)),
        earlier=tuple(definition_records(session, _earlier(session, row))),
        later=tuple(definition_records(session, _later(session, row))),
        adapters=tuple(adapter_records(session, carrying)),
        events=tuple(event_record(e) for e in session.exec(events)),
    )


def _earlier(session: Session, row: DefinitionRow) -> list[DefinitionRow]:
    chain = []
    while row.supersedes is not None:
        row = definition_row(session, row.supersedes)
        chain.append(row)
    return chain


def _later(session: Session, row: DefinitionRow) -> list[DefinitionRow]:
    """A definition may be superseded more than once: when the first that tried was rejected."""
    found: list[DefinitionRow] = []
    asked = [key(row.id)]
    while asked:
        newer = session.exec(select(DefinitionRow).where(col(DefinitionRow.supersedes).in_(asked)).order_by(col(DefinitionRow.id))).all()
        found += newer
        asked = [key(n.id) for n in newer]
    return found
