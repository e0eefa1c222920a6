"""Writes about jobs: a queue of rows in which a worker holds a lease, so that what a dead worker held is taken up again."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, and_, col, func, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from registry.clocks import SET_BACK
from registry.errors import BadValue, LeaseLost
from registry.models import JobRow
from registry.records import Job
from registry.rows import batches, job_record, job_row
from registry.states import JobState, check_move
from registry.store_base import DAEMON, StoreBase

_LEASE_RAN_OUT = "The worker died or hung: its lease ran out"
_AT_A_TIME = 20  # rows that a claim looks at: the queue may hold thousands, and the first one nearly always does
_BEFORE_ALL = timedelta(days=1)
_UNFINISHED = (JobState.QUEUED, JobState.RUNNING)


class JobStore(StoreBase):
    def enqueue(
        self,
        kind: str,
        *,
        key: str,
        payload: Mapping[str, Any],
        run_after: datetime | None = None,
        max_attempts: int = 3,
        before_others: bool = False,
    ) -> Job | None:
        """Queues a job, or returns None if an unfinished one has the same key. `before_others`: it is claimed before all that wait."""
        if max_attempts < 1:
            raise BadValue(f"A job needs at least one attempt, not {max_attempts}")
        with self._db.writing() as session:
            unfinished = session.exec(select(JobRow).where(JobRow.key == key, col(JobRow.state).in_(_UNFINISHED))).first()
            first_at = self._clock() - _BEFORE_ALL
            if unfinished is not None:
                if before_others and unfinished.state == JobState.QUEUED:
                    unfinished.run_after = first_at
                return None
            row = self._queued(kind, key, payload, max_attempts=max_attempts)
            row.run_after = first_at if before_others else run_after or row.run_after
            session.add(row)
            session.flush()
            return job_record(row)

    def enqueue_all(self, kind: str, wanted: Mapping[str, Mapping[str, Any]], *, max_attempts: int = 3) -> list[Job]:
        """Queues a job for each key with its payload, in one transaction; those that have an unfinished one are passed over."""
        if not wanted:
            return []
        with self._db.writing() as session:
            there = {key for some in batches(wanted) for key in session.exec(_unfinished_keys(some))}
            rows = [self._queued(kind, key, payload, max_attempts=max_attempts) for key, payload in wanted.items() if key not in there]
            session.add_all(rows)
            session.flush()
            return [job_record(row) for row in rows]

    def _queued(self, kind: str, key: str, payload: Mapping[str, Any], *, max_attempts: int) -> JobRow:
        now = self._clock()
        return JobRow(
            kind=kind,
            key=key,
            payload=dict(payload),
            state=JobState.QUEUED.value,
            max_attempts=max_attempts,
            run_after=now,
            created_at=now,
        )

    def claim(self, owner: str, *, lease_s: float, kinds: Collection[str] | None = None) -> Job | None:
        """Hands the oldest due job to `owner`, counting an attempt. A job whose lease ran out is due again."""
        with self._db.writing() as session:
            now = self._clock()
            while rows := _due(session, now, kinds, lease_s):
                for row in rows:
                    if row.attempts >= row.max_attempts:  # its last worker died with it
                        _give_up(row, row.last_error or _LEASE_RAN_OUT, now)
                        continue
                    if row.state == JobState.RUNNING:
                        row.last_error = _LEASE_RAN_OUT
                    row.state = JobState.RUNNING.value
                    row.attempts += 1
                    row.lease_owner, row.lease_until = owner, now + timedelta(seconds=lease_s)
                    row.started_at = now
                    row.progress, row.progress_text = 0.0, None
                    session.flush()
                    return job_record(row)
                session.flush()  # what was given up is not due any more
        return None

    def renew(self, job_id: int, owner: str, lease_s: float) -> Job:
        with self._db.writing() as session:
            row = _held(session, job_id, owner)
            row.lease_until = self._clock() + timedelta(seconds=lease_s)
            session.flush()
            return job_record(row)

    def progress(self, job_id: int, fraction: float, text: str | None) -> None:
        """Says how far a running job is; for one that has ended it says nothing."""
        with self._db.writing() as session:
            row = job_row(session, job_id)
            if row.state == JobState.RUNNING:
                row.progress, row.progress_text = min(max(fraction, 0.0), 1.0), text

    def complete(self, job_id: int, owner: str, result: Mapping[str, Any] | None = None) -> Job:
        with self._db.writing() as session:
            row = _held(session, job_id, owner)
            row.state = JobState.DONE.value
            row.progress = 1.0
            row.result = None if result is None else dict(result)
            row.finished_at = self._clock()
            row.lease_owner = row.lease_until = None
            for failed in session.exec(select(JobRow).where(JobRow.key == row.key, JobRow.state == JobState.FAILED)):
                session.delete(failed)  # whoever does a job does all there is to do: what was given up is done now, and needs nobody
            session.flush()
            return job_record(row)

    def fail(self, job_id: int, owner: str, error: str, *, retry_at: datetime | None) -> Job:
        """Queues the job again for `retry_at`, or gives it up if that is None or its attempts are used up."""
        with self._db.writing() as session:
            row = _held(session, job_id, owner)
            row.last_error = error
            if retry_at is None or row.attempts >= row.max_attempts:
                _give_up(row, error, self._clock())
                self._note(session, DAEMON, action="given up", object=f"job {row.id}", kind=row.kind, key=row.key, error=error)
            else:
                _requeue(row, retry_at)
            session.flush()
            return job_record(row)

    def give_back(self, job_id: int, owner: str) -> Job:
        """Returns a job unharmed, as a worker does that was asked to stop; the attempt does not count."""
        with self._db.writing() as session:
            row = _held(session, job_id, owner)
            row.attempts -= 1
            _requeue(row, self._clock())
            session.flush()
            return job_record(row)

    def retry_job(self, job_id: int) -> Job:
        """Queues a failed job once more, with its attempts counted anew."""
        with self._db.writing() as session:
            row = job_row(session, job_id)
            check_move(f"Job {job_id}", JobState(row.state), JobState.QUEUED)
            row.attempts, row.finished_at = 0, None
            _requeue(row, self._clock())
            session.flush()
            return job_record(row)

    def requeue_expired(self, now: datetime) -> list[Job]:
        """What dead workers held is queued again, or given up if that was the last attempt."""
        with self._db.writing() as session:
            rows = session.exec(_expired(now)).all()
            for row in rows:
                row.last_error = _LEASE_RAN_OUT
                if row.attempts >= row.max_attempts:
                    _give_up(row, _LEASE_RAN_OUT, now)
                else:
                    _requeue(row, now)
            session.flush()
            return [job_record(row) for row in rows]

    def prune_jobs(self, before: datetime, *, spared: Collection[str] = (), failed_before: datetime | None = None) -> int:
        """Deletes the rows of jobs that were done before then. Failed ones, and done ones of kinds that are spared, stay until `failed_before`."""
        with self._db.writing() as session:
            old = and_(col(JobRow.state) == JobState.DONE, col(JobRow.finished_at) < before, col(JobRow.kind).not_in(list(spared)))
            if failed_before is not None:
                ended = col(JobRow.state).in_([JobState.DONE, JobState.FAILED])
                old = or_(old, and_(ended, col(JobRow.finished_at) < failed_before))
            rows = session.exec(select(JobRow).where(old)).all()
            for row in rows:
                session.delete(row)
            return len(rows)


def _unfinished_keys(keys: Sequence[str]) -> SelectOfScalar[str]:
    return select(JobRow.key).where(col(JobRow.key).in_(keys), col(JobRow.state).in_(_UNFINISHED))


def _due(session: Session, now: datetime, kinds: Collection[str] | None, lease_s: float) -> list[JobRow]:
    """Queued and its time has come, or held by nobody any more; and what a clock that has been set back since put off until much later."""
    planned_at = func.coalesce(col(JobRow.started_at), col(JobRow.created_at))
    come = or_(col(JobRow.run_after) <= now, planned_at > now + SET_BACK)
    over = or_(col(JobRow.lease_until) <= now, col(JobRow.lease_until) > now + timedelta(seconds=lease_s) + SET_BACK)
    waiting = and_(col(JobRow.state) == JobState.QUEUED, come)
    abandoned = and_(col(JobRow.state) == JobState.RUNNING, over)
    wanted = select(JobRow).where(or_(waiting, abandoned))
    if kinds is not None:
        wanted = wanted.where(col(JobRow.kind).in_(list(kinds)))
    return list(session.exec(wanted.order_by(col(JobRow.run_after), col(JobRow.id)).limit(_AT_A_TIME)))


def _expired(now: datetime) -> SelectOfScalar[JobRow]:
    return select(JobRow).where(JobRow.state == JobState.RUNNING, col(JobRow.lease_until) <= now)


def _held(session: Session, job_id: int, owner: str) -> JobRow:
    row = job_row(session, job_id)
    if row.state != JobState.RUNNING or row.lease_owner != owner:
        holder = f"held by {row.lease_owner}" if row.lease_owner else row.state
        raise LeaseLost(f"Job {job_id} ({row.kind}) is not held by {owner}: it is {holder}")
    return row


def _requeue(row: JobRow, run_after: datetime) -> None:
    row.state = JobState.QUEUED.value
    row.run_after = run_after
    row.lease_owner = row.lease_until = None


def _give_up(row: JobRow, error: str, now: datetime) -> None:
    row.state = JobState.FAILED.value
    row.last_error = error
    row.finished_at = now
    row.lease_owner = row.lease_until = None
