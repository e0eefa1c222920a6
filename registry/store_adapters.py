"""Writes about adapters and their check runs. What is served is store_releases.py's."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, func, select

from registry.errors import BadValue, NotAllowed
from registry.identity import check_name
from registry.models import AdapterDefinitionRow, AdapterRow, AliasRow, CanaryRow, CheckResultRow, CheckRunRow
from registry.records import Adapter, CheckResult, CheckRun, NewCheckRun
from registry.rows import LEARNT, REHEARSED, adapter_records, adapter_row, check_run_record, definition_row, key
from registry.states import AdapterState, check_move
from registry.store_base import DAEMON, StoreBase


class AdapterStore(StoreBase):
    def begin_adapter(
        self,
        topic: str,
        *,
        parent: str | None,
        method: str,
        base_model: str,
        base_digest: str,
        rank: int,
        definitions: Iterable[int],
        rehearsed: Iterable[int],
        settings: Mapping[str, Any],
    ) -> Adapter:
        """The topic's next version, in state learning. One that a crash left there is taken up again with the new facts."""
        check_name("Topic", topic)
        with self._db.writing() as session:
            facts: dict[str, Any] = {
                "parent_id": None if parent is None else key(adapter_row(session, parent).id),
                "method": method,
                "base_model": base_model,
                "base_digest": base_digest,
                "rank": rank,
                "settings": dict(settings),
                "created_at": self._clock(),
            }
            left = session.exec(select(AdapterRow).where(AdapterRow.topic == topic, AdapterRow.state == AdapterState.LEARNING)).first()
            new: dict[str, Any] = {"topic": topic, "version": _next_version(session, topic), "state": AdapterState.LEARNING.value}
            row = left.sqlmodel_update(facts) if left is not None else AdapterRow(**new, **facts)
            session.add(row)
            session.flush()
            _set_definitions(session, key(row.id), learnt=definitions, rehearsed=rehearsed)
            return adapter_records(session, [row])[0]

    def finish_learning(self, adapter_name: str, *, digest: str) -> Adapter:
        """Its folder is published under this digest; now it wants a check. Saying so twice is fine."""
        with self._db.writing() as session:
            row = adapter_row(session, adapter_name)
            if row.state != AdapterState.CHECKING or row.digest != digest:
                check_move(f"Adapter {adapter_name}", AdapterState(row.state), AdapterState.CHECKING)
                row.state, row.digest = AdapterState.CHECKING.value, digest
                self._note(session, DAEMON, action="learnt", object=f"adapter {adapter_name}", digest=digest)
            session.flush()
            return adapter_records(session, [row])[0]

    def record_check(self, adapter_name: str, check: NewCheckRun, results: Sequence[CheckResult] = ()) -> CheckRun:
        """Keeps a verdict with its numbers for ever. It moves only an adapter that waits for one; a later check adds to the record."""
        if check.verdict not in ("passed", "refused"):
            raise BadValue(f"A verdict is 'passed' or 'refused', not {check.verdict!r}")
        subject = f"adapter {adapter_name}"
        with self._db.writing() as session:
            row = adapter_row(session, adapter_name)
            if row.digest is None or row.digest != check.digest:
                what = "has no published folder" if row.digest is None else f"is {row.digest[:12]}"
                again = f"Run: lorefeed check {adapter_name}"
                raise NotAllowed(f"The check was of {check.digest[:12]}, but {subject} {what}", hint=again)
            run = _check_row(row, check, now=self._clock())
            session.add(run)
            session.flush()
            session.add_all(_result_row(key(run.id), result) for result in results)
            if row.state == AdapterState.CHECKING:
                row.state = AdapterState(check.verdict).value
                row.reason = "; ".join(check.reasons) or None
            if check.recovered is not None:
                row.recovered = check.recovered
            self._note(session, DAEMON, action=check.verdict, object=subject, reasons=list(check.reasons), check_run=run.id)
            session.flush()
            return check_run_record(session, run)

    def discard_adapter(self, name: str, reason: str) -> Adapter:
        """Gives up the making of an adapter. Its version is not used again."""
        with self._db.writing() as session:
            row = adapter_row(session, name)
            if row.state != AdapterState.LEARNING:
                look = f"Run: lorefeed adapters show {name}"
                raise NotAllowed(f"Adapter {name} is {row.state}; only one that is being learnt can be discarded", hint=look)
            row.state, row.reason = AdapterState.REFUSED.value, reason
            self._note(session, DAEMON, action="discarded", object=f"adapter {name}", reason=reason)
            session.flush()
            return adapter_records(session, [row])[0]

    def mark_removed(self, name: str, *, actor: str, reason: str | None = None) -> Adapter:
        """Says that the adapter's folder is about to be deleted, so that no alias can move to it. Refused while one points at it."""
        with self._db.writing() as session:
            row = adapter_row(session, name)
            served = session.exec(select(AliasRow.name).where(AliasRow.adapter_id == row.id)).first()
            if served is not None:
                raise NotAllowed(f"Adapter {name} is served as {served}", hint="Promote or roll back to another version first")
            tried = session.exec(select(CanaryRow.alias).where(CanaryRow.adapter_id == row.id)).first()
            if tried is not None:
                raise NotAllowed(f"Adapter {name} is the canary of {tried}", hint=f"End that first: lorefeed canary {tried} --end")
            if row.digest is None:
                raise NotAllowed(f"Adapter {name} has no published folder", hint=f"Run: lorefeed adapters show {name}")
            if row.removed_at is None:
                row.removed_at = self._clock()
                self._note(session, actor, action="removed", object=f"adapter {name}", reason=reason)
            session.flush()
            return adapter_records(session, [row])[0]


def _next_version(session: Session, topic: str) -> int:
    """Rows are never deleted, so a number is never given twice; engines and clients may keep what they know by name."""
    highest = session.exec(select(func.max(AdapterRow.version)).where(AdapterRow.topic == topic)).one()
    return (highest or 0) + 1


def _set_definitions(session: Session, adapter_id: int, *, learnt: Iterable[int], rehearsed: Iterable[int]) -> None:
    for old in session.exec(select(AdapterDefinitionRow).where(AdapterDefinitionRow.adapter_id == adapter_id)).all():
        session.delete(old)
    session.flush()
    # A definition both learnt and rehearsed is new in this version; that is the stronger word.
    roles = dict.fromkeys(rehearsed, REHEARSED) | dict.fromkeys(learnt, LEARNT)
    for definition_id, role in roles.items():
        definition_row(session, definition_id)
        session.add(AdapterDefinitionRow(adapter_id=adapter_id, definition_id=definition_id, role=role))
    session.flush()


def _check_row(adapter: AdapterRow, check: NewCheckRun, *, now: datetime) -> CheckRunRow:
    return CheckRunRow(
        adapter_id=key(adapter.id),
        digest=check.digest,
        base_digest=check.base_digest,
        against=check.against,
        verdict=check.verdict,
        reasons=list(check.reasons),
        metrics=dict(check.metrics),
        duration_s=check.duration_s,
        created_at=now,
    )


def _result_row(check_run_id: int, result: CheckResult) -> CheckResultRow:
    return CheckResultRow(
        check_run_id=check_run_id,
        definition_id=result.definition_id,
        probe_id=result.probe_id,
        kind=result.kind,
        prompt=result.prompt,
        target=result.target,
        base_answer=result.base_answer,
        answer=result.answer,
        passed=result.passed,
        detail=dict(result.detail),
    )
