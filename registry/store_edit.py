"""Writes an operator's own words in the place of what was found. Where it was found, and what it said, stays on record."""

from sqlmodel import col, select

from registry.errors import BadValue, NotAllowed
from registry.identity import entity_key, text_digest
from registry.models import ProbeRow, TransferExampleRow
from registry.records import Definition
from registry.rows import definition_records, definition_row
from registry.states import DefinitionState
from registry.store_base import StoreBase

_CARRIED = (DefinitionState.LEARNED, DefinitionState.SUPERSEDED, DefinitionState.FORGOTTEN)


class EditStore(StoreBase):
    def edit_definition(
        self, definition_id: int, *, entity: str | None = None, text: str | None = None, actor: str, reason: str | None
    ) -> Definition:
        """Gives the definition another name or text. What was drawn from the old words (transfer set, probes, novelty) is given up.

        What was about to be learnt is measured again; a definition under review stays there. Raises NotAllowed for what a version carries.
        """
        if not (entity or text) or not all(value is None or value.strip() for value in (entity, text)):
            raise BadValue("There is nothing to change", hint="Give the new words: --text TEXT, or the new name: --entity NAME")
        with self._db.writing() as session:
            row = definition_row(session, definition_id)
            if row.state in _CARRIED:
                raise NotAllowed(
                    f"Definition {definition_id} ({row.entity}) is {row.state}: its words are what a version was made from",
                    hint="Let a newer text supersede it, or forget it: lorefeed forget --entity NAME --dry-run",
                )
            before = {"entity": row.entity, "text": row.text}
            row.entity, row.text = (entity or row.entity).strip(), (text or row.text).strip()
            row.entity_key, row.text_digest = entity_key(row.entity), text_digest(row.text)
            row.novelty = row.novelty_digest = None
            if row.state in (DefinitionState.WAITING, DefinitionState.KNOWN):
                row.state, row.reason = DefinitionState.FOUND.value, "An operator changed its words."
            for example in session.exec(select(TransferExampleRow).where(TransferExampleRow.definition_id == definition_id)):
                session.delete(example)
            asked = select(ProbeRow).where(ProbeRow.definition_id == definition_id, col(ProbeRow.dropped).is_(False))
            for probe in session.exec(asked):
                probe.dropped = True  # old check results name it, so the row stays
            now = {"entity": row.entity, "text": row.text}
            self._note(session, actor, action="edited", object=f"definition {definition_id}", reason=reason, before=before, now=now)
            session.flush()
            return definition_records(session, [row])[0]
