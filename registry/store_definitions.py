"""Writes about definitions, their transfer sets and their probes."""

from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, select

from registry.identity import entity_key, text_digest
from registry.models import DefinitionRow, DocumentRow, FeedRow, ProbeRow, TransferExampleRow, WitnessRow
from registry.records import Definition, NewDefinition, NewProbe, NewTransferExample, Probe, TransferExample
from registry.rows import definition_records, definition_row, document_row, example_record, key, probe_record
from registry.states import DefinitionState, DocumentState, check_move
from registry.store_base import DAEMON, StoreBase

# Definitions that a new text about the same entity replaces: those that are, or may still come to be, learnt.
_STANDING = (
    DefinitionState.FOUND,
    DefinitionState.KNOWN,
    DefinitionState.WAITING,
    DefinitionState.REVIEW,
    DefinitionState.HELD,
    DefinitionState.LEARNED,
)


class DefinitionStore(StoreBase):
    def record_definitions(self, document_id: int, found: Sequence[NewDefinition], *, problem: str | None = None) -> list[Definition]:
        """Writes down what was found in a document and returns the new rows. A document is read once: a second call changes nothing.

        The same text about the same entity is a witness of the row there is. Another text is a row that supersedes it.
        """
        with self._db.writing() as session:
            document = document_row(session, document_id)
            if document.state != DocumentState.NEW:
                return definition_records(session, _definitions_of(session, document_id))
            document.state = DocumentState.EXTRACTED.value
            document.problem = problem or document.problem
            new = [row for one in found if (row := self._take_in(session, document, one)) is not None]
            return definition_records(session, new)

    def _take_in(self, session: Session, document: DocumentRow, one: NewDefinition) -> DefinitionRow | None:
        feed = session.get_one(FeedRow, document.feed_id)
        name, digest = entity_key(one.entity), text_digest(one.text)
        same_entity = select(DefinitionRow).where(DefinitionRow.topic == feed.topic, DefinitionRow.entity_key == name)
        others = session.exec(same_entity.order_by(col(DefinitionRow.id).desc())).all()
        # A text that comes back after another took its place is news again, so a superseded row takes no witnesses.
        same = next((o for o in others if o.text_digest == digest and o.state != DefinitionState.SUPERSEDED), None)
        if same is not None:
            _add_witness(session, same, document, span=one.span)
            return None
        older = next((o for o in others if o.state in _STANDING), None)
        row = DefinitionRow(
            entity=one.entity,
            entity_key=name,
            text=one.text,
            text_digest=digest,
            topic=feed.topic,
            state=DefinitionState.FOUND.value,
            document_id=key(document.id),
            span_start=one.span[0],
            span_end=one.span[1],
            score=one.score,
            supersedes=None if older is None else key(older.id),
            aliases=list(one.aliases),
            created_at=self._clock(),
        )
        session.add(row)
        session.flush()
        return row

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


def _add_witness(session: Session, same: DefinitionRow, document: DocumentRow, *, span: tuple[int, int]) -> None:
    """A document that says something twice is one witness, and none of what it said first."""
    pair = {"definition_id": key(same.id), "document_id": key(document.id)}
    if same.document_id != document.id and session.get(WitnessRow, pair) is None:
        session.add(WitnessRow(**pair, span_start=span[0], span_end=span[1]))
        session.flush()


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
