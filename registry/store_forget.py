"""Writes about forgetting: what is not to be known any more, in one transaction. What that comes to: forgetting.py."""

from sqlmodel import Session

from registry import forgetting
from registry.forgetting import Forgetting
from registry.models import DefinitionRow
from registry.rows import key
from registry.states import DefinitionState, DocumentState, check_move
from registry.store_base import StoreBase


class ForgetStore(StoreBase):
    def forget(
        self, *, document: int | None = None, feed: str | None = None, entity: str | None = None, actor: str, reason: str
    ) -> Forgetting:
        """Withdraws the documents and gives up their definitions for good: no version that carries one can be released again.

        A definition that another document says too keeps its row, from there on as that document's. What a forgotten definition had taken the
        place of waits to be learnt again. Twice is once. Raises as forgetting.find().
        """
        with self._db.writing() as session:
            found = forgetting.find(session, document=document, feed=feed, entity=entity)
            plan = forgetting.describe(session, found)
            for row in found.documents:
                row.state, row.problem = DocumentState.WITHDRAWN.value, reason
                self._note(session, actor, action="withdrawn", object=f"document {row.id}", reason=reason)
            forgotten = {key(row.id) for row in found.documents}
            for definition in found.witnessed:
                self._anchor_elsewhere(session, definition, forgotten, actor=actor)
            for definition in found.definitions:
                self._forget(session, definition, actor=actor, reason=reason)
            session.flush()
            return plan

    def _forget(self, session: Session, row: DefinitionRow, *, actor: str, reason: str) -> None:
        check_move(f"Definition {row.id} ({row.entity})", DefinitionState(row.state), DefinitionState.FORGOTTEN)
        was_learnt = row.state == DefinitionState.LEARNED
        row.state, row.reason = DefinitionState.FORGOTTEN.value, reason
        self._note(session, actor, action="forgotten", object=f"definition {row.id}", reason=reason)
        older = None if row.supersedes is None else session.get_one(DefinitionRow, row.supersedes)
        if was_learnt and older is not None and older.state == DefinitionState.SUPERSEDED:
            older.state, older.reason = DefinitionState.WAITING.value, f"definition {row.id}, which had taken its place, was forgotten"
            self._note(session, actor, action="waiting", object=f"definition {older.id}", reason=older.reason)

    def _anchor_elsewhere(self, session: Session, row: DefinitionRow, forgotten: set[int], *, actor: str) -> None:
        """From now on the definition is what another document says."""
        witness = forgetting.other_witness(session, row, forgotten)
        assert witness is not None
        before = row.document_id
        row.document_id, row.span_start, row.span_end = witness.document_id, witness.span_start, witness.span_end
        session.delete(witness)
        self._note(session, actor, action="anchored", object=f"definition {row.id}", before=before, now=row.document_id)
