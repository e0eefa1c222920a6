"""Rows to records, and the small lookups that both reads and writes need inside a session they already hold."""

import json
from collections import Counter, defaultdict, namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from sqlalchemy import Select
from sqlmodel import Session, col, select, true

from registry.errors import NotThere
from registry.identity import split_adapter_name
from registry.models import (
    AdapterDefinitionRow,
    AdapterRow,
    AliasRow,
    ApiKeyRow,
    CanaryRow,
    CheckResultRow,
    CheckRunRow,
    DefinitionRow,
    DocumentCountRow,
    DocumentRow,
    EventRow,
    FeedRow,
    JobRow,
    ProbeRow,
    ReleaseRow,
    TransferExampleRow,
)
from registry.records import (
    Adapter,
    Alias,
    ApiKey,
    Canary,
    CheckResult,
    CheckRun,
    Definition,
    Document,
    Event,
    Feed,
    Form,
    Job,
    Probe,
    ProbeKind,
    Release,
    Scope,
    TransferExample,
    Trust,
    Verdict,
)
from registry.states import AdapterState, DefinitionState, DocumentState, FeedState, JobState

LEARNT = "learnt"
REHEARSED = "rehearsed"
_NAMES = "SELECT id, topic, version FROM adapter WHERE id IN (SELECT value FROM json_each(?))"
# SQLite reads a list of numbers faster than it is written into a statement.
_SOURCES = "SELECT d.id, f.name, d.url FROM json_each(?) wanted JOIN document d ON d.id = wanted.value JOIN feed f ON f.id = d.feed_id"
_WITNESSES = "SELECT definition_id, count(*) FROM witness WHERE definition_id IN (SELECT value FROM json_each(?)) GROUP BY definition_id"
_BATCH = 5000  # SQLite takes 32,766 variables in one statement
_Id = TypeVar("_Id", int, str)


# Their columns, for reading rows as they are.
DEFINITION = tuple(getattr(DefinitionRow, name) for name in DefinitionRow.model_fields)
DOCUMENT = tuple(getattr(DocumentRow, name) for name in DocumentRow.model_fields)
FEED = tuple(getattr(FeedRow, name) for name in FeedRow.model_fields)


def plain_rows(session: Session, wanted: Select[Any], columns: Sequence[Any]) -> list[Any]:
    """Of a select of whole rows, tuples with their attributes: to build thousands of objects that nobody changes takes several times as long."""
    found = session.connection().execute(wanted.with_only_columns(*columns)).all()
    return list(map(_named(tuple(c.key for c in columns))._make, found))


@cache
def _named(columns: tuple[str, ...]) -> Any:
    return namedtuple("Plain", columns)  # its attributes are found ten times as fast as those of SQLAlchemy's own rows


def batches(ids: Iterable[_Id]) -> Iterator[list[_Id]]:
    whole = list(dict.fromkeys(ids))
    for start in range(0, len(whole), _BATCH):
        yield whole[start : start + _BATCH]


def key(row_id: int | None) -> int:
    """The number of a row that has been written."""
    assert row_id is not None
    return row_id


def feed_row(session: Session, name: str) -> FeedRow:
    row = session.exec(select(FeedRow).where(FeedRow.name == name)).first()
    if row is None:
        raise NotThere(f"There is no feed named {name!r}", hint="List the feeds: lorefeed feeds list")
    return row


def definition_row(session: Session, definition_id: int) -> DefinitionRow:
    row = session.get(DefinitionRow, definition_id)
    if row is None:
        raise NotThere(f"There is no definition {definition_id}", hint="List the definitions: lorefeed definitions list")
    return row


def document_row(session: Session, document_id: int) -> DocumentRow:
    row = session.get(DocumentRow, document_id)
    if row is None:
        raise NotThere(f"There is no document {document_id}", hint="List the documents: lorefeed documents list")
    return row


def find_adapter(session: Session, topic: str, version: int) -> AdapterRow | None:
    return session.exec(select(AdapterRow).where(AdapterRow.topic == topic, AdapterRow.version == version)).first()


def adapter_row(session: Session, name: str) -> AdapterRow:
    topic, version = split_adapter_name(name)
    row = find_adapter(session, topic, version)
    if row is None:
        raise NotThere(f"There is no adapter {name}", hint="List the adapters: lorefeed adapters list")
    return row


def alias_row(session: Session, name: str) -> AliasRow:
    row = session.get(AliasRow, name)
    if row is None:
        raise NotThere(f"There is no alias {name!r}", hint="List what is served: lorefeed status")
    return row


def job_row(session: Session, job_id: int) -> JobRow:
    row = session.get(JobRow, job_id)
    if row is None:
        raise NotThere(f"There is no job {job_id}")
    return row


def adapter_name(session: Session, adapter_id: int | None) -> str | None:
    row = None if adapter_id is None else session.get(AdapterRow, adapter_id)
    return None if row is None else f"{row.topic}@{row.version}"


def newest_check(session: Session, adapter: AdapterRow) -> CheckRunRow | None:
    """The newest check run of exactly the artifact that the row names."""
    wanted = select(CheckRunRow).where(CheckRunRow.adapter_id == adapter.id, CheckRunRow.digest == adapter.digest)
    return session.exec(wanted.order_by(col(CheckRunRow.id).desc())).first()


def feed_records(session: Session, rows: Sequence[FeedRow]) -> list[Feed]:
    documents = Counter[int]()
    for feed_id, number in _counted_documents(session, [key(r.id) for r in rows]):
        documents[feed_id] += number
    return [
        Feed(
            id=key(r.id),
            name=r.name,
            location=r.location,
            kind=r.kind,
            topic=r.topic,
            state=FeedState(r.state),
            trust=cast("Trust", r.trust),
            interval_s=r.interval_s,
            cursor=dict(r.cursor),
            error_count=r.error_count,
            last_error=r.last_error,
            last_checked_at=r.last_checked_at,
            last_success_at=r.last_success_at,
            next_check_at=r.next_check_at,
            created_at=r.created_at,
            documents=documents[key(r.id)],
        )
        for r in rows
    ]


def _counted_documents(session: Session, feed_ids: list[int]) -> Iterator[tuple[int, int]]:
    some = col(DocumentCountRow.feed_id).in_(feed_ids) if len(feed_ids) <= _BATCH else true()  # one feed is read far more often than all
    yield from session.exec(select(DocumentCountRow.feed_id, DocumentCountRow.number).where(some))


def document_records(session: Session, rows: Sequence[DocumentRow]) -> list[Document]:
    # Never whole rows of feeds: their cursors are long, and this is asked at every poll.
    ids = {r.feed_id for r in rows}
    some = col(FeedRow.id).in_(ids) if len(ids) <= _BATCH else true()
    named = session.exec(select(FeedRow.id, FeedRow.name, FeedRow.topic).where(some))
    feeds = {key(feed_id): (name, topic) for feed_id, name, topic in named}
    return [
        Document(
            id=key(r.id),
            feed_id=r.feed_id,
            feed=feeds[r.feed_id][0],
            topic=feeds[r.feed_id][1],
            external_id=r.external_id,
            url=r.url,
            title=r.title,
            text=r.text,
            digest=r.digest,
            published_at=r.published_at,
            fetched_at=r.fetched_at,
            fetch=dict(r.fetch),
            revises=r.revises,
            state=DocumentState(r.state),
            problem=r.problem,
            near=r.near,
        )
        for r in rows
    ]


def definition_records(session: Session, rows: Sequence[DefinitionRow]) -> list[Definition]:
    session.flush()  # statements of our own do not see what waits to be written
    connection = session.connection()
    asked = connection.exec_driver_sql(_SOURCES, (json.dumps(sorted({r.document_id for r in rows})),)).all()
    sources = {document_id: (feed, url) for document_id, feed, url in asked}
    witnesses: dict[int, int] = dict(connection.exec_driver_sql(_WITNESSES, (json.dumps([r.id for r in rows]),)).all())
    return [_definition(r, sources[r.document_id], witnesses.get(key(r.id), 0)) for r in rows]


def _definition(r: DefinitionRow, source: tuple[str, str | None], witnesses: int) -> Definition:
    return Definition(
        id=key(r.id),
        entity=r.entity,
        entity_key=r.entity_key,
        text=r.text,
        topic=r.topic,
        state=DefinitionState(r.state),
        reason=r.reason,
        novelty=r.novelty,
        novelty_digest=r.novelty_digest,
        document_id=r.document_id,
        feed=source[0],
        url=source[1],
        span=(r.span_start, r.span_end),
        score=r.score,
        supersedes=r.supersedes,
        witnesses=witnesses,
        aliases=tuple(r.aliases),
        created_at=r.created_at,
        against=r.against,
        gone_at=r.gone_at,
    )


def probe_record(r: ProbeRow) -> Probe:
    return Probe(
        id=key(r.id),
        definition_id=r.definition_id,
        kind=cast("ProbeKind", r.kind),
        prompt=r.prompt,
        target=r.target,
        candidates=tuple(r.candidates),
        chat=r.chat,
        origin=r.origin,
    )


def example_record(r: TransferExampleRow) -> TransferExample:
    return TransferExample(
        id=key(r.id),
        definition_id=r.definition_id,
        form=cast("Form", r.form),
        prompt=r.prompt,
        text=r.text,
        generator=r.generator,
    )


def adapter_records(session: Session, rows: Sequence[AdapterRow]) -> list[Adapter]:
    uses: dict[int, list[tuple[str, int, int]]] = defaultdict(list)  # adapter -> (role, definition, document)
    for some in batches(key(r.id) for r in rows):
        wanted = select(AdapterDefinitionRow, DefinitionRow.document_id).join(DefinitionRow)
        wanted = wanted.where(col(AdapterDefinitionRow.adapter_id).in_(some)).order_by(col(AdapterDefinitionRow.definition_id))
        for use, document_id in session.exec(wanted):
            uses[use.adapter_id].append((use.role, use.definition_id, document_id))
    names = adapter_names(session, (r.parent_id for r in rows))
    return [_adapter(r, names.get(r.parent_id), uses[key(r.id)]) for r in rows]


def bare_adapters(session: Session, rows: Sequence[AdapterRow]) -> list[Adapter]:
    """The records without their definitions, of which there may be many thousands."""
    names = adapter_names(session, (row.parent_id for row in rows))
    return [_adapter(row, names.get(row.parent_id), []) for row in rows]


def adapter_names(session: Session, ids: Iterable[int | None]) -> dict[int | None, str]:
    session.flush()  # the statement is one of our own
    wanted = json.dumps(sorted({one for one in ids if one is not None}))
    return {number: f"{topic}@{version}" for number, topic, version in session.connection().exec_driver_sql(_NAMES, (wanted,))}


def _adapter(r: AdapterRow, parent: str | None, uses: list[tuple[str, int, int]]) -> Adapter:
    return Adapter(
        id=key(r.id),
        topic=r.topic,
        version=r.version,
        state=AdapterState(r.state),
        parent=parent,
        method=r.method,
        base_model=r.base_model,
        base_digest=r.base_digest,
        rank=r.rank,
        digest=r.digest,
        recovered=r.recovered,
        reason=r.reason,
        definitions=tuple(definition for role, definition, _ in uses if role == LEARNT),
        rehearsed=tuple(definition for role, definition, _ in uses if role == REHEARSED),
        documents=tuple(sorted({document for _, _, document in uses})),
        settings=dict(r.settings),
        created_at=r.created_at,
        removed_at=r.removed_at,
        unserved=r.unserved,
    )


def check_run_record(session: Session, r: CheckRunRow) -> CheckRun:
    return CheckRun(
        id=key(r.id),
        adapter=str(adapter_name(session, r.adapter_id)),
        digest=r.digest,
        base_digest=r.base_digest,
        against=r.against,
        verdict=cast("Verdict", r.verdict),
        reasons=tuple(r.reasons),
        metrics=dict(r.metrics),
        duration_s=r.duration_s,
        created_at=r.created_at,
    )


def check_result_record(r: CheckResultRow) -> CheckResult:
    return CheckResult(
        definition_id=r.definition_id,
        probe_id=r.probe_id,
        kind=r.kind,
        prompt=r.prompt,
        target=r.target,
        base_answer=r.base_answer,
        answer=r.answer,
        passed=r.passed,
        detail=dict(r.detail),
    )


def alias_record(session: Session, r: AliasRow) -> Alias:
    return alias_records(session, [r])[0]


def alias_records(session: Session, rows: Sequence[AliasRow]) -> list[Alias]:
    names = adapter_names(session, (r.adapter_id for r in rows))
    return [
        Alias(name=r.name, topics=tuple(r.topics), scope=cast("Scope", r.scope), adapter=names.get(r.adapter_id), since=r.since)
        for r in rows
    ]


def release_record(session: Session, r: ReleaseRow) -> Release:
    return release_records(session, [r])[0]


def release_records(session: Session, rows: Sequence[ReleaseRow]) -> list[Release]:
    names = adapter_names(session, (number for r in rows for number in (r.from_adapter_id, r.to_adapter_id)))
    return [_release(r, names) for r in rows]


def _release(r: ReleaseRow, names: Mapping[int | None, str]) -> Release:
    return Release(
        id=key(r.id),
        alias=r.alias,
        from_adapter=names.get(r.from_adapter_id),
        to_adapter=names.get(r.to_adapter_id),
        at=r.at,
        actor=r.actor,
        reason=r.reason,
        forced=r.forced,
        check_run_id=r.check_run_id,
        rollback=r.rollback,
    )


def canary_record(session: Session, r: CanaryRow) -> Canary:
    return Canary(alias=r.alias, adapter=str(adapter_name(session, r.adapter_id)), weight=r.weight, since=r.since)


def api_key_record(r: ApiKeyRow) -> ApiKey:
    return ApiKey(name=r.name, digest=r.digest, admin=r.admin, created_at=r.created_at)


def job_record(r: JobRow) -> Job:
    facts: dict[str, Any] = r.model_dump() if isinstance(r, JobRow) else r._asdict()
    return Job(**{**facts, "id": key(r.id), "state": JobState(r.state)})


def event_record(r: EventRow) -> Event:
    return Event(id=key(r.id), at=r.at, actor=r.actor, action=r.action, object=r.object, detail=dict(r.detail), digest=r.digest)
