"""Reads about what comes in: feeds, documents, definitions and what belongs to them. Each sees one consistent moment and returns records."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement
from sqlmodel import Session, and_, col, func, not_, or_, select

from registry import lineage
from registry.clocks import SET_BACK
from registry.db import Database
from registry.models import (
    AdapterDefinitionRow,
    DefinitionRow,
    DocumentRow,
    EventRow,
    FeedRow,
    ProbeRow,
    TransferExampleRow,
    WitnessRow,
)
from registry.records import (
    Definition,
    Document,
    Feed,
    History,
    Probe,
    TransferExample,
)
from registry.rows import (
    DEFINITION,
    DOCUMENT,
    FEED,
    batches,
    definition_records,
    definition_row,
    document_records,
    document_row,
    event_record,
    example_record,
    feed_records,
    feed_row,
    key,
    plain_rows,
    probe_record,
)
from registry.states import DefinitionState, DocumentState, FeedState
from registry.versions import version_records


class IntakeQueries:
    def __init__(self, database: Database) -> None:
        self._db = database

    def feeds(
        self,
        kind: str | None = None,
        *,
        removed: bool = True,
        retired: bool = True,
        newest_before: datetime | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[Feed]:
        """In the order they were added, from those with a larger number than `after`. `removed`: with those that an operator removed;
        `retired`: with those and with what its server said is gone; `newest_before`: only those whose newest entry is from before then, to the
        day."""
        with self._db.reading() as session:
            wanted = select(FeedRow).where(col(FeedRow.id) > after).order_by(col(FeedRow.id)).limit(limit)
            if kind is not None:
                wanted = wanted.where(FeedRow.kind == kind)
            if not removed:
                renamed = col(FeedRow.name).endswith(func.printf("(removed %d)", FeedRow.id))
                wanted = wanted.where(not_(and_(FeedRow.state == FeedState.RETIRED, renamed)))
            if not retired:
                wanted = wanted.where(FeedRow.state != FeedState.RETIRED)
            if newest_before is not None:  # dates of other time zones are up to a day away as text
                until = (newest_before + timedelta(days=1)).astimezone(UTC).isoformat()
                wanted = wanted.where(func.json_extract(FeedRow.cursor, "$.newest_at") < until)
            return feed_records(session, plain_rows(session, wanted, FEED))

    def failing_feeds(self) -> list[Feed]:
        """Those whose last poll failed, without those that were given up."""
        with self._db.reading() as session:
            wanted = select(FeedRow).where(FeedRow.error_count > 0, FeedRow.state != FeedState.RETIRED).order_by(col(FeedRow.id))
            return feed_records(session, session.exec(wanted).all())

    def feed(self, name: str) -> Feed:
        with self._db.reading() as session:
            return feed_records(session, [feed_row(session, name)])[0]

    def feeds_due(self, now: datetime) -> list[Feed]:
        """Active feeds whose time has come, the longest overdue first."""
        with self._db.reading() as session:
            due = select(FeedRow).where(_due(now))
            return feed_records(session, session.exec(due.order_by(col(FeedRow.next_check_at), col(FeedRow.id))).all())

    def feeds_due_names(self, now: datetime) -> list[str]:
        """Their names alone, in the same order: thousands of cursors are not read to be asked every second."""
        with self._db.reading() as session:
            due = select(FeedRow.name).where(_due(now))
            return list(session.exec(due.order_by(col(FeedRow.next_check_at), col(FeedRow.id))))

    def documents(
        self, feed: str | None = None, state: DocumentState | str | None = None, limit: int | None = None, *, newest: bool = False
    ) -> list[Document]:
        """Oldest first, so that reading them in order reads revisions after what they revise; or newest first."""
        with self._db.reading() as session:
            wanted = select(DocumentRow)
            if feed is not None:
                wanted = wanted.where(DocumentRow.feed_id == feed_row(session, feed).id)
            if state is not None:
                wanted = wanted.where(DocumentRow.state == DocumentState(state))
            order = col(DocumentRow.id).desc() if newest else col(DocumentRow.id)
            wanted = wanted.order_by(order).limit(limit)
            return document_records(session, plain_rows(session, wanted, DOCUMENT))

    def document_ids(self, state: DocumentState | str, limit: int | None = None) -> list[int]:
        """The oldest documents in this state."""
        with self._db.reading() as session:
            wanted = select(DocumentRow.id).where(DocumentRow.state == DocumentState(state)).order_by(col(DocumentRow.id)).limit(limit)
            return [key(document_id) for document_id in session.exec(wanted)]

    def document(self, document_id: int) -> Document:
        with self._db.reading() as session:
            return document_records(session, [document_row(session, document_id)])[0]

    def definitions(
        self,
        topic: str | None = None,
        state: DefinitionState | str | None = None,
        ids: Collection[int] | None = None,
        *,
        document: int | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[Definition]:
        """Oldest first, from those with a larger number than `after`. `ids` that do not exist are passed over."""
        with self._db.reading() as session:
            wanted = select(DefinitionRow).order_by(col(DefinitionRow.id)).limit(limit)
            if after:
                wanted = wanted.where(col(DefinitionRow.id) > after)
            if document is not None:
                wanted = wanted.where(DefinitionRow.document_id == document)
            if topic is not None:
                wanted = wanted.where(DefinitionRow.topic == topic)
            if state is not None:
                wanted = wanted.where(DefinitionRow.state == DefinitionState(state))
            if ids is None:
                return definition_records(session, plain_rows(session, wanted, DEFINITION))
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
        with self._db.reading() as session:
            wanted = select(ProbeRow).where(col(ProbeRow.dropped).is_(False), col(ProbeRow.definition_id).is_(None))
            return [probe_record(row) for row in session.exec(wanted.order_by(col(ProbeRow.id)))]

    def transfer_set(self, definition_ids: Iterable[int]) -> list[TransferExample]:
        with self._db.reading() as session:
            wanted = select(TransferExampleRow).order_by(col(TransferExampleRow.definition_id), col(TransferExampleRow.id))
            return [
                example_record(row)
                for some in batches(definition_ids)
                for row in session.exec(wanted.where(col(TransferExampleRow.definition_id).in_(some)))
            ]


def definition_history(session: Session, definition_id: int, *, with_adapters: bool = True) -> History:
    row = definition_row(session, definition_id)
    witnesses = session.exec(select(DocumentRow).join(WitnessRow).where(WitnessRow.definition_id == definition_id)).all()
    carriers = select(AdapterDefinitionRow.adapter_id).where(AdapterDefinitionRow.definition_id == definition_id)
    carrying = session.exec(carriers.order_by(col(AdapterDefinitionRow.adapter_id))).all() if with_adapters else ()
    events = select(EventRow).where(EventRow.object == f"definition {definition_id}").order_by(col(EventRow.id))
    return History(
        definition=definition_records(session, [row])[0],
        document=document_records(session, [document_row(session, row.document_id)])[0],
        witnesses=tuple(document_records(session, witnesses)),
        earlier=_in_order(session, lineage.replaced_by(session, [definition_id])),
        later=_in_order(session, lineage.replacing(session, definition_id)),
        adapters=tuple(version_records(session, [key(number) for number in carrying])),
        events=tuple(event_record(e) for e in session.exec(events)),
    )


def _due(now: datetime) -> ColumnElement[bool]:
    """What was planned by a clock that has been set back since is due too: by that plan it might not be for years."""
    planned_at = func.coalesce(col(FeedRow.last_checked_at), col(FeedRow.created_at))
    return and_(col(FeedRow.state) == FeedState.ACTIVE, or_(col(FeedRow.next_check_at) <= now, planned_at > now + SET_BACK))


def _in_order(session: Session, ids: list[int]) -> tuple[Definition, ...]:
    rows = {key(r.id): r for some in batches(ids) for r in session.exec(select(DefinitionRow).where(col(DefinitionRow.id).in_(some)))}
    return tuple(definition_records(session, [rows[number] for number in ids]))
