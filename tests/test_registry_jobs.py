"""The job queue: one holder at a time, whatever dies."""

import os
import threading
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest

from registry import AlreadyRunning, BadValue, LeaseLost, Registry
from tests.registry_parts import NOW, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock):
    with Registry.open(tmp_path / "home", clock=clock) as opened:
        yield opened


def enqueue(registry: Registry, key: str = "poll:1", *, kind: str = "poll", max_attempts: int = 3, after_s: float = 0):
    return registry.write.enqueue(kind, key=key, payload={"feed": 1}, run_after=NOW + timedelta(seconds=after_s), max_attempts=max_attempts)


def test_an_unfinished_job_is_not_queued_twice(registry: Registry) -> None:
    first = enqueue(registry)
    assert first is not None
    assert enqueue(registry) is None

    registry.write.claim("w", lease_s=60)
    assert enqueue(registry) is None

    registry.write.complete(first.id, "w", {"documents": 2})
    assert enqueue(registry) is not None
    assert registry.read.job(first.id).result == {"documents": 2}


def test_the_oldest_due_job_of_the_wanted_kinds_is_claimed(registry: Registry, clock: Clock) -> None:
    enqueue(registry, "later", after_s=9)
    enqueue(registry, "second", after_s=-1)
    enqueue(registry, "first", after_s=-2)
    enqueue(registry, "other", kind="learn", after_s=-3)

    claimed = [registry.write.claim("w", lease_s=60, kinds=["poll"]) for _ in range(3)]

    assert [job and job.key for job in claimed] == ["first", "second", None]
    clock.advance(10)
    assert [job.key for job in (registry.write.claim("w", lease_s=60), registry.write.claim("w", lease_s=60)) if job] == ["other", "later"]


def test_two_workers_never_get_the_same_job(registry: Registry) -> None:
    for number in range(30):
        enqueue(registry, f"job-{number}")
    got: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    together = threading.Barrier(len(got))

    def work(owner: str) -> None:
        together.wait()
        while (job := registry.write.claim(owner, lease_s=60)) is not None:
            got[owner].append(job.id)

    threads = [threading.Thread(target=work, args=(owner,)) for owner in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(chain.from_iterable(got.values())) == sorted(job.id for job in registry.read.jobs("running"))
    assert len(registry.read.jobs("running")) == 30
    assert {job.attempts for job in registry.read.jobs()} == {1}


def test_a_job_whose_lease_ran_out_goes_to_another_worker(registry: Registry, clock: Clock) -> None:
    enqueue(registry)
    first = registry.write.claim("dead", lease_s=60)
    assert first is not None
    clock.advance(59)
    assert registry.write.claim("next", lease_s=60) is None

    clock.advance(2)
    second = registry.write.claim("next", lease_s=60)

    assert second is not None
    assert (second.id, second.attempts, second.lease_owner) == (first.id, 2, "next")
    assert "lease ran out" in str(second.last_error)
    with pytest.raises(LeaseLost, match="held by next"):
        registry.write.complete(first.id, "dead", None)


def test_a_renewed_lease_holds(registry: Registry, clock: Clock) -> None:
    enqueue(registry)
    job = registry.write.claim("w", lease_s=60)
    assert job is not None
    clock.advance(50)

    registry.write.renew(job.id, "w", 60)
    clock.advance(50)

    assert registry.write.claim("next", lease_s=60) is None


def test_a_job_that_kills_every_worker_is_given_up(registry: Registry, clock: Clock) -> None:
    job = enqueue(registry, max_attempts=2)
    assert job is not None
    for _ in range(2):
        assert registry.write.claim("w", lease_s=1) is not None
        clock.advance(2)

    assert registry.write.claim("w", lease_s=1) is None

    given_up = registry.read.job(job.id)
    assert (given_up.state, given_up.attempts, given_up.finished_at) == ("failed", 2, clock.now)


def test_a_failed_attempt_is_tried_again_at_its_time_until_attempts_are_used_up(registry: Registry, clock: Clock) -> None:
    job = enqueue(registry, max_attempts=2)
    assert job is not None
    registry.write.claim("w", lease_s=60)

    again = registry.write.fail(job.id, "w", "engine down", retry_at=NOW + timedelta(seconds=30))
    assert (again.state, again.last_error, again.lease_owner) == ("queued", "engine down", None)
    assert registry.write.claim("w", lease_s=60) is None

    clock.advance(31)
    registry.write.claim("w", lease_s=60)
    over = registry.write.fail(job.id, "w", "engine down", retry_at=clock.now)
    assert (over.state, over.attempts) == ("failed", 2)
    assert registry.write.retry_job(job.id).attempts == 0


def test_a_failure_without_a_retry_ends_the_job(registry: Registry) -> None:
    job = enqueue(registry)
    assert job is not None
    registry.write.claim("w", lease_s=60)

    assert registry.write.fail(job.id, "w", "the file is gone", retry_at=None).state == "failed"
    assert registry.read.counts().jobs == {"queued": 0, "running": 0, "done": 0, "failed": 1}


def test_what_was_given_up_needs_nobody_once_it_was_done(registry: Registry) -> None:
    for key in ("poll:1", "poll:2"):
        given_up = enqueue(registry, key)
        registry.write.claim("w", lease_s=60)
        registry.write.fail(given_up.id, "w", "The disk was full", retry_at=None)
    again = enqueue(registry, "poll:1")
    registry.write.claim("w", lease_s=60)
    registry.write.complete(again.id, "w")
    assert [job.key for job in registry.read.jobs("failed")] == ["poll:2"]


def test_a_job_given_back_costs_no_attempt(registry: Registry) -> None:
    job = enqueue(registry)
    assert job is not None
    registry.write.claim("w", lease_s=60)

    back = registry.write.give_back(job.id, "w")

    assert (back.state, back.attempts) == ("queued", 0)
    with pytest.raises(LeaseLost, match="queued"):
        registry.write.give_back(job.id, "w")


def test_progress_is_on_the_row_while_the_job_runs(registry: Registry) -> None:
    job = enqueue(registry)
    assert job is not None
    registry.write.progress(job.id, 0.5, "too early")
    assert registry.read.job(job.id).progress_text is None

    registry.write.claim("w", lease_s=60)
    registry.write.progress(job.id, 0.25, "step 10 of 40")

    running = registry.read.job(job.id)
    assert (running.progress, running.progress_text) == (0.25, "step 10 of 40")


def test_recovery_queues_what_dead_workers_held_and_doctor_says_so_before(registry: Registry, clock: Clock) -> None:
    job = enqueue(registry)
    assert job is not None
    registry.write.claim("dead", lease_s=60)
    clock.advance(61)
    assert [finding.object for finding in registry.doctor()] == [f"job {job.id}"]

    [said] = registry.recover(clock.now)

    assert f"Job {job.id}" in said
    assert registry.read.job(job.id).state == "queued"
    assert registry.doctor() == []


def test_only_old_finished_jobs_are_pruned(registry: Registry, clock: Clock) -> None:
    for key in ("done", "failed", "queued"):
        enqueue(registry, key)
    done, failed = registry.write.claim("w", lease_s=60), registry.write.claim("w", lease_s=60)
    assert done is not None
    assert failed is not None
    registry.write.complete(done.id, "w")
    registry.write.fail(failed.id, "w", "x", retry_at=None)

    assert registry.write.prune_jobs(NOW) == 0
    assert registry.write.prune_jobs(NOW + timedelta(seconds=1)) == 1
    assert [job.state.value for job in registry.read.jobs()] == ["failed", "queued"]


def test_a_job_needs_an_attempt(registry: Registry) -> None:
    with pytest.raises(BadValue):
        enqueue(registry, max_attempts=0)


def test_a_second_daemon_on_the_same_home_is_told_who_is_there(registry: Registry, tmp_path: Path) -> None:
    with registry.lock_daemon(), Registry.open(tmp_path / "home") as other, pytest.raises(AlreadyRunning, match=str(os.getpid())):
        other.lock_daemon().__enter__()
    with registry.lock_daemon():
        pass


def test_an_event_is_kept_as_it_was_told(registry: Registry) -> None:
    registry.write.add_event("ana", "asked", "engine vllm", {"action": "reload", "tries": 2})

    [event] = registry.read.events(1)
    assert (event.actor, event.action, event.object, event.detail, event.at) == (
        "ana",
        "asked",
        "engine vllm",
        {"action": "reload", "tries": 2},
        NOW,
    )
