"""Writes about definitions, their transfer sets and their probes."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlmodel import Session, col, func, select

from registry import near
from registry.identity import entity_key, text_digest
from registry.linking import STANDING, Compare, Place, find_place, lineage_of, verbatim
from registry.models import DefinitionAliasRow, DefinitionRow, DocumentRow, FeedRow, ProbeRow, TransferExampleRow, WitnessRow
from registry.records import Definition, NewDefinition, NewProbe, NewTransferExample, Probe, TransferExample
from registry.rows import batches, definition_records, definition_row, document_row, example_record, key, probe_record
from registry.states import DefinitionState, DocumentState, check_move
from registry.store_base import DAEMON, StoreBase

_GONE = "The newer version of its document does not say this any more."


class DefinitionStore(StoreBase):
    def record_definitions(
        self,
        document_id: int,
        found: Sequence[NewDefinition],
        *,
        problem: str | None = None,
        compare: Compare = verbatim,
        signature: bytes | None = None,
        suspect: str | None = None,
        a_day: int | None = None,
    ) -> list[Definition]:
        """Writes down what was found in a document and returns the new rows. A document is read once: a second call changes nothing.

        What means the same as a row there is makes the document a witness of it; what the newer version of a document says otherwise takes
        the older row's place; what another source contradicts waits for an operator (see linking.py). `signature` (near.py) tells copies
        of other documents. `suspect` is why nothing of this document is learnt unseen, `a_day` how many new definitions of one feed are
        within 24 hours.
        """
        with self._db.writing() as session:
            document = document_row(session, document_id)
            if document.state != DocumentState.NEW:
                return definition_records(session, _definitions_of(session, document_id))
            lineage = lineage_of(session, document)
            if signature is not None:
                self._tell_copy(session, document, signature, lineage)
            document.state = DocumentState.EXTRACTED.value
            document.problem = problem or document.problem
            feed = session.get_one(FeedRow, document.feed_id)
            left = None if a_day is None or not found else a_day - self._today(session, feed, a_day)
            new: list[DefinitionRow] = []
            told: set[int] = set()
            for one in found:
                place = find_place(session, one, document, feed, compare=compare, lineage=lineage)
                if place.witness_of is not None:
                    told.add(key(place.witness_of.id))
                    self._add_witness(session, place, document, span=one.span, trusted=suspect is None and feed.trust == "auto")
                    continue
                too_many = left is not None and len(new) >= left
                why = suspect or (place.reason if place.review else None) or (_too_many(feed, a_day) if too_many else None)
                row = self._take_in(session, document, feed.topic, one, place=place, review=why, suspect=suspect is not None)
                new.append(row)
                told |= {key(row.id), *([row.supersedes] if row.supersedes is not None else [])}
            self._mark_gone(session, document, lineage, told)
            session.flush()
            return definition_records(session, new)

    def _take_in(
        self, session: Session, document: DocumentRow, topic: str, one: NewDefinition, *, place: Place, review: str | None, suspect: bool
    ) -> DefinitionRow:
        """`suspect`: no second source ends an operator's decision about what stands beside text that talks to a model."""
        row = DefinitionRow(
            entity=one.entity,
            entity_key=entity_key(one.entity),
            text=one.text,
            text_digest=text_digest(one.text),
            topic=topic,
            state=(DefinitionState.FOUND if review is None else DefinitionState.REVIEW).value,
            reason=review,
            document_id=key(document.id),
            span_start=one.span[0],
            span_end=one.span[1],
            score=one.score,
            supersedes=None if place.supersedes is None else key(place.supersedes.id),
            against=None if place.against is None or suspect else key(place.against.id),
            aliases=list(one.aliases),
            created_at=self._clock(),
        )
        session.add(row)
        session.flush()
        names = {entity_key(alias) for alias in one.aliases} - {row.entity_key}
        session.add_all(DefinitionAliasRow(topic=topic, alias_key=name, definition_id=key(row.id)) for name in sorted(names))
        if place.reason is not None:
            older = place.supersedes or place.against
            self._note(
                session, DAEMON, action="compared", object=f"definition {row.id}", reason=place.reason,
                older=None if older is None else older.id, dates=_dates(session, document, older),
            )  # fmt: skip
        if review is not None:
            self._note(session, DAEMON, action=DefinitionState.REVIEW.value, object=f"definition {row.id}", reason=review)
        session.flush()
        return row

    def _add_witness(self, session: Session, place: Place, document: DocumentRow, *, span: tuple[int, int], trusted: bool) -> None:
        """A document that says something twice is one witness, and none of what it said first."""
        same = place.witness_of
        assert same is not None
        if same.gone_at is not None:  # it is said again
            same.gone_at = None
            if same.state == DefinitionState.HELD and same.reason == _GONE:
                same.state, same.reason = DefinitionState.FOUND.value, None
            self._note(session, DAEMON, action="said again", object=f"definition {same.id}", document=document.id)
        pair = {"definition_id": key(same.id), "document_id": key(document.id)}
        if same.document_id == document.id or session.get(WitnessRow, pair) is not None:
            return
        if trusted and _is_second_source(session, same, document):
            self._confirm(session, same, document)
        session.add(WitnessRow(**pair, span_start=span[0], span_end=span[1]))
        if place.reason is not None:
            self._note(session, DAEMON, action="said otherwise", object=f"definition {same.id}", document=document.id, reason=place.reason)
        session.flush()

    def _confirm(self, session: Session, row: DefinitionRow, document: DocumentRow) -> None:
        """Two sources on their own are enough: it may be learnt, and what it stands against is not, if it was not learnt before."""
        why = "A second source says so, independently of the first."
        row.state, row.reason = DefinitionState.WAITING.value, why
        self._note(session, DAEMON, action="confirmed", object=f"definition {row.id}", document=document.id, reason=why)
        older = None if row.supersedes is None else session.get_one(DefinitionRow, row.supersedes)
        if older is not None and older.state in (DefinitionState.FOUND, DefinitionState.WAITING):
            older.state, older.reason = DefinitionState.SUPERSEDED.value, f"Two sources say otherwise: definition {row.id}."
            self._note(session, DAEMON, action=older.state, object=f"definition {older.id}", reason=older.reason)

    def _tell_copy(self, session: Session, document: DocumentRow, signature: bytes, lineage: frozenset[int]) -> None:
        """Names the document that this one nearly repeats, or lets it be found as an original itself."""
        nearest = near.nearest(session, key(document.id), signature, apart_from=lineage)
        if nearest is None:
            near.index(session, key(document.id), signature)
            return
        document.near, alike = nearest
        self._note(session, DAEMON, action="near", object=f"document {document.id}", like=document.near, share=round(alike, 2))

    def _today(self, session: Session, feed: FeedRow, a_day: int) -> int:
        """How many new definitions the feed has brought within 24 hours; of less than `a_day` in all, none is asked for its feed."""
        since = col(DefinitionRow.created_at) > self._clock() - timedelta(days=1)
        if session.exec(select(func.count()).select_from(DefinitionRow).where(since)).one() < a_day:
            return 0
        of_feed = select(DocumentRow.id).where(DocumentRow.feed_id == feed.id)
        return session.exec(select(func.count()).select_from(DefinitionRow).where(col(DefinitionRow.document_id).in_(of_feed), since)).one()

    def _mark_gone(self, session: Session, document: DocumentRow, lineage: frozenset[int], told: set[int]) -> None:
        """Marks what the earlier texts of the document said and this one does not. What nobody else says is not learnt any more."""
        for row in _said_in(session, lineage):
            if key(row.id) in told or row.gone_at is not None or row.state not in STANDING or _said_elsewhere(session, row, lineage):
                continue
            row.gone_at = self._clock()
            if row.state in (DefinitionState.FOUND, DefinitionState.WAITING):
                row.state, row.reason = DefinitionState.HELD.value, _GONE
            self._note(session, DAEMON, action="gone", object=f"definition {row.id}", document=document.id, reason=_GONE)

    def set_novelty(
        self, definition_id: int, novelty: float | None, model_digest: str | None, state: DefinitionState | str, reason: str | None
    ) -> Definition:
        """Keeps the number with the model it was measured on, and moves the definition to where it leads."""
        new = DefinitionState(state)
        with self._db.writing() as session:
            row = definition_row(session, definition_id)
            if row.state != new:
                check_move(f"Definition {definition_id} ({row.entity})", DefinitionState(row.state), new)
            row.novelty, row.novelty_digest, row.state, row.reason = novelty, model_digest, new.value, reason
            self._note(session, DAEMON, action=new.value, object=f"definition {definition_id}", novelty=novelty, reason=reason)
            session.flush()
            return definition_records(session, [row])[0]

    def move_definitions(self, ids: Iterable[int], state: DefinitionState | str, *, reason: str | None, actor: str) -> list[Definition]:
        """Moves all of them or, if one may not move, none. Those already there stay as they are."""
        new = DefinitionState(state)
        with self._db.writing() as session:
            rows = [definition_row(session, definition_id) for definition_id in dict.fromkeys(ids)]
            for row in rows:
                if row.state != new:
                    check_move(f"Definition {row.id} ({row.entity})", DefinitionState(row.state), new)
                    row.state, row.reason = new.value, reason
                    self._note(session, actor, action=new.value, object=f"definition {row.id}", reason=reason)
            session.flush()
            return definition_records(session, rows)

    def save_transfer_set(
        self, definition_id: int, examples: Sequence[NewTransferExample | TransferExample], *, replace: bool = False
    ) -> list[TransferExample]:
        """Keeps a definition's transfer set. One that is there already stays, unless `replace`."""
        with self._db.writing() as session:
            definition_row(session, definition_id)
            wanted = select(TransferExampleRow).where(TransferExampleRow.definition_id == definition_id)
            there = session.exec(wanted.order_by(col(TransferExampleRow.id))).all()
            if there and not replace:
                return [example_record(row) for row in there]
            for old in there:
                session.delete(old)
            rows = [_example_row(definition_id, example) for example in examples]
            session.add_all(rows)
            session.flush()
            return [example_record(row) for row in rows]

    def save_probes(self, definition_id: int | None, probes: Sequence[NewProbe | Probe], *, replace: bool = False) -> list[Probe]:
        """Keeps a definition's probes, or with None the standing ones. Those that are there already stay, unless `replace`."""
        with self._db.writing() as session:
            if definition_id is not None:
                definition_row(session, definition_id)
            wanted = select(ProbeRow).where(
                col(ProbeRow.definition_id).is_not_distinct_from(definition_id), col(ProbeRow.dropped).is_(False)
            )
            there = session.exec(wanted.order_by(col(ProbeRow.id))).all()
            if there and not replace:
                return [probe_record(row) for row in there]
            for old in there:
                old.dropped = True  # old check results name it, so the row stays
            rows = [_probe_row(definition_id, probe) for probe in probes]
            session.add_all(rows)
            session.flush()
            return [probe_record(row) for row in rows]


def _definitions_of(session: Session, document_id: int) -> Sequence[DefinitionRow]:
    return session.exec(select(DefinitionRow).where(DefinitionRow.document_id == document_id).order_by(col(DefinitionRow.id))).all()


def _too_many(feed: FeedRow, a_day: int | None) -> str:
    return f"{feed.name} has brought {a_day} new definitions within a day (extract.feed_day_max); what is more waits for an operator."


def _dates(session: Session, document: DocumentRow, older: DefinitionRow | None) -> list[str]:
    """Of the newer text and of the older one, as their sources say or else as they were fetched."""
    documents = [document, *([] if older is None else [session.get_one(DocumentRow, older.document_id)])]
    return [(one.published_at or one.fetched_at).isoformat(timespec="seconds") for one in documents]


def _is_second_source(session: Session, row: DefinitionRow, document: DocumentRow) -> bool:
    """Whether the document ends the doubt about a definition that stands against another source: two feeds on their own say it now."""
    first = session.get_one(DocumentRow, row.document_id)
    copied = (document.near is not None and document.near in {first.id, first.near}) or first.near == document.id
    if row.state != DefinitionState.REVIEW or row.against is None or copied or first.feed_id == document.feed_id:
        return False
    forgotten = select(DefinitionRow.id).where(DefinitionRow.topic == row.topic, DefinitionRow.entity_key == row.entity_key)
    forgotten = forgotten.where(DefinitionRow.state == DefinitionState.FORGOTTEN)
    return session.get_one(FeedRow, first.feed_id).trust == "auto" and session.exec(forgotten).first() is None


def _said_in(session: Session, documents: frozenset[int]) -> list[DefinitionRow]:
    """The definitions that one of the documents gave or witnesses."""
    found: dict[int, DefinitionRow] = {}
    for some in batches(documents):
        by_witness = select(DefinitionRow).join(WitnessRow, col(WitnessRow.definition_id) == col(DefinitionRow.id))
        for wanted in (
            select(DefinitionRow).where(col(DefinitionRow.document_id).in_(some)),
            by_witness.where(col(WitnessRow.document_id).in_(some)),
        ):
            found |= {key(row.id): row for row in session.exec(wanted)}
    return [found[number] for number in sorted(found)]


def _said_elsewhere(session: Session, row: DefinitionRow, documents: frozenset[int]) -> bool:
    """Whether a document that is none of these, and not withdrawn, says it too."""
    witnesses = set(session.exec(select(WitnessRow.document_id).where(WitnessRow.definition_id == row.id)))
    others = ({row.document_id} | witnesses) - documents
    return any(session.get_one(DocumentRow, other).state != DocumentState.WITHDRAWN for other in sorted(others))


def _example_row(definition_id: int, example: NewTransferExample | TransferExample) -> TransferExampleRow:
    return TransferExampleRow(
        definition_id=definition_id, form=example.form, prompt=example.prompt, text=example.text, generator=example.generator
    )


def _probe_row(definition_id: int | None, probe: NewProbe | Probe) -> ProbeRow:
    return ProbeRow(
        definition_id=definition_id,
        kind=probe.kind,
        prompt=probe.prompt,
        target=probe.target,
        candidates=list(probe.candidates),
        chat=probe.chat,
        origin=probe.origin,
    )
