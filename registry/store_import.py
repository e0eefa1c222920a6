"""Writes about versions made elsewhere: what they were taught becomes rows here, in one transaction, so that nothing else takes it up."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from registry.identity import check_name, entity_key, text_digest
from registry.models import AliasRow, DefinitionRow, DocumentRow, FeedRow
from registry.records import Definition
from registry.rows import definition_records, key
from registry.states import DefinitionState, DocumentState, FeedState
from registry.store_base import StoreBase

IMPORT = "import"  # the kind of a feed that nobody polls: it stands for where a version was brought from


@dataclass(frozen=True, slots=True)
class Taught:
    """A definition that a version was taught somewhere else."""

    entity: str
    text: str
    url: str | None


class ImportStore(StoreBase):
    def import_taught(self, topic: str, *, feed: str, location: str, taught: Sequence[Taught], actor: str) -> list[Definition]:
        """The definitions' rows, in the order given. What the topic has already keeps its row; what is new is held until its version is
        released. `feed` names the place that they came from, a paused feed that is made when it is new."""
        check_name("Topic", topic)
        with self._db.writing() as session:
            place = self._place(session, topic, feed=feed, location=location, actor=actor)
            return definition_records(session, [self._row(session, topic, place, one, feed=feed) for one in taught])

    def _place(self, session: Session, topic: str, *, feed: str, location: str, actor: str) -> FeedRow:
        row = session.exec(select(FeedRow).where(FeedRow.name == feed)).first()
        if row is None:
            now = self._clock()
            row = FeedRow(
                name=feed, location=location, kind=IMPORT, topic=topic, state=FeedState.PAUSED.value, trust="review", interval_s=86400,
                cursor={}, next_check_at=now, created_at=now,
            )  # fmt: skip
            session.add(row)
            self._note(session, actor, action="added", object=f"feed {feed}", location=location, topic=topic)
        if session.get(AliasRow, topic) is None:
            session.add(AliasRow(name=topic, topics=[topic], scope="mention"))
        session.flush()
        return row

    def _row(self, session: Session, topic: str, place: FeedRow, one: Taught, *, feed: str) -> DefinitionRow:
        name, digest = entity_key(one.entity), text_digest(one.text)
        same = select(DefinitionRow).where(
            DefinitionRow.topic == topic, DefinitionRow.entity_key == name, DefinitionRow.text_digest == digest,
            DefinitionRow.state != DefinitionState.FORGOTTEN,
        )  # fmt: skip
        row = session.exec(same.order_by(col(DefinitionRow.id).desc())).first()
        if row is not None:
            return row
        now = self._clock()
        document = session.exec(select(DocumentRow).where(DocumentRow.feed_id == place.id, DocumentRow.digest == digest)).first()
        if document is None:
            document = DocumentRow(
                feed_id=key(place.id), external_id=f"{name}-{digest[:12]}", url=one.url, title=one.entity, text=one.text, digest=digest,
                fetched_at=now, fetch={}, state=DocumentState.EXTRACTED.value,
            )  # fmt: skip
            session.add(document)
            session.flush()
        row = DefinitionRow(
            entity=one.entity, entity_key=name, text=one.text, text_digest=digest, topic=topic, state=DefinitionState.HELD.value,
            reason=f"brought by {feed}; it is learned when that is released", document_id=key(document.id), span_start=0,
            span_end=len(one.text), score=1.0, aliases=[], created_at=now,
        )  # fmt: skip
        session.add(row)
        session.flush()
        return row
