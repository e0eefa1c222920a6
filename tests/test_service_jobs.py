"""Jobs: what an error leads to, and what becomes of a job that ends, fails, is stopped, or was left by a killed daemon."""

import errno
import logging
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.errors import BaseChanged, ConfigError, NothingWaiting, Stopped, WorkerFailed
from daemon.jobs import EXTRACT, LEARN, POLL, RECONCILE, Work, describe, enqueue_extract, enqueue_poll, retry_delay_s
from daemon.runner import adopt_orphans, run_job
from daemon.serving.errors import EngineDown
from registry import ArtifactNotWritten, JobState, NotThere, Registry, RegistryBusy, RegistryNotWritten, RegistryTooNew
from sources import SourceError
from tests.service_parts import claimed, defined, drop, folder_feed, handlers, never, settings_of, wait_until


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def run(registry, job, *, stop=None, **others):
    return run_job(registry, settings_of(registry.home), job, owner="test", stop=stop or never(), handlers=handlers(**others))


@pytest.mark.parametrize(
    "error",
    [BaseChanged("a"), ConfigError("a"), NothingWaiting("a"), RegistryTooNew("a"), NotThere("a")],
    ids=lambda error: type(error).__name__,
)
def test_what_time_does_not_mend_is_never_tried_again(error):
    assert retry_delay_s(error, 1) is None


@pytest.mark.parametrize(
    "error",
    [
        WorkerFailed("a"),
        RegistryBusy("a"),
        RegistryNotWritten("a"),
        ArtifactNotWritten("a"),
        EngineDown("a"),
        OSError(errno.ENOSPC, "full"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_tried_again_later_and_later(error):
    first, second = retry_delay_s(error, 1), retry_delay_s(error, 2)
    assert first is not None
    assert second is not None
    assert 0 < first < second < 3600


def test_a_fault_of_our_own_is_tried_once_more():
    assert retry_delay_s(KeyError("a"), 1) is not None
    assert retry_delay_s(KeyError("a"), 2) is None


def test_an_error_is_described_with_what_to_try():
    assert describe(NothingWaiting("Nothing waits", hint="Wait")) == "Nothing waits. Try: Wait"
    assert describe(SourceError("x.org", "no answer", hint="Look")) == "x.org: no answer. Try: Look"
    assert describe(ValueError("odd")) == "ValueError: odd"


def test_a_finished_job_keeps_its_result(registry):
    ended = run(registry, claimed(registry, LEARN, payload={"topic": "news"}), learn=lambda work: {"adapter": "news@1"})
    assert ended.state is JobState.DONE
    assert ended.result == {"adapter": "news@1", "left": [], "progressed": False}


def test_a_job_says_what_it_left_and_whether_it_moved_anything(registry, tmp_path):
    [definition] = defined(registry, tmp_path / "in")
    idle = run(registry, claimed(registry, LEARN, payload={"topic": "news"}), learn=lambda work: {})
    busy = run(registry, claimed(registry, LEARN, payload={"topic": "news"}))
    assert (idle.result["left"], idle.result["progressed"]) == ([definition.id], False)
    assert (busy.result["left"], busy.result["progressed"]) == ([], True)


def test_a_failure_that_may_pass_waits_in_the_queue(registry):
    def fail(work: Work):
        raise WorkerFailed("The worker died.", hint="Look at it.")

    ended = run(registry, claimed(registry, LEARN, payload={"topic": "news"}), learn=fail)
    assert ended.state is JobState.QUEUED
    assert ended.last_error == "The worker died. Try: Look at it."
    assert ended.run_after > datetime.now(UTC)


def test_a_changed_base_gives_the_job_up_at_once(registry):
    def fail(work: Work):
        raise BaseChanged("made for aaa, but now bbb")

    ended = run(registry, claimed(registry, LEARN, payload={"topic": "news"}), learn=fail)
    assert ended.state is JobState.FAILED
    assert ended.last_error.startswith("made for aaa, but now bbb. Try: Set model and revision back")


def test_an_unexpected_error_is_logged_with_its_traceback(registry, caplog):
    def fail(work: Work):
        raise ZeroDivisionError("oh")

    with caplog.at_level(logging.ERROR):
        ended = run(registry, claimed(registry, LEARN, payload={"topic": "news"}), learn=fail)
    assert ended.last_error == "ZeroDivisionError: oh"
    assert "raise ZeroDivisionError" in caplog.text


def test_a_plain_error_is_logged_without_a_traceback(registry, caplog):
    def fail(work: Work):
        raise WorkerFailed("The worker died.")

    with caplog.at_level(logging.ERROR):
        run(registry, claimed(registry, LEARN, payload={"topic": "news"}), learn=fail)
    assert "The worker died." in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("end", [Stopped("stopping"), KeyboardInterrupt()])
def test_a_stopped_job_goes_back_without_costing_an_attempt(registry, end):
    def stopped(work: Work):
        raise end

    job = claimed(registry, LEARN, payload={"topic": "news"})
    if isinstance(end, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            run(registry, job, learn=stopped)
    else:
        run(registry, job, learn=stopped)
    back = registry.read.job(job.id)
    assert (back.state, back.attempts, back.last_error) == (JobState.QUEUED, 0, None)


def test_progress_becomes_rows_but_not_many(registry):
    written = []

    def work_on(work: Work):
        for i in range(200):
            work.progress(i / 200, f"step {i}")
            if (text := registry.read.job(work.job.id).progress_text) not in written:
                written.append(text)
        return {}

    run(registry, claimed(registry, LEARN, payload={"topic": "news"}), learn=work_on)
    assert written[0] == "step 0"
    assert len(written) < 10


def test_the_lease_is_kept_while_the_work_is_silent(registry):
    settings = settings_of(registry.home, lease_s=5.0)
    registry.write.enqueue(LEARN, key="k", payload={"topic": "news"})
    job = registry.write.claim("test", lease_s=0.2)

    def silent(work: Work):
        wait_until(lambda: registry.read.job(job.id).lease_until > job.lease_until)
        return {}

    settings = settings.model_copy(update={"daemon": settings.daemon.model_copy(update={"lease_s": 0.3})})
    assert run_job(registry, settings, job, owner="test", stop=never(), handlers=handlers(learn=silent)).state is JobState.DONE


def test_the_result_of_a_job_that_another_worker_took_is_dropped(registry):
    registry.write.enqueue(LEARN, key="k", payload={"topic": "news"})
    job = registry.write.claim("test", lease_s=0.01)

    def slow(work: Work):
        time.sleep(0.02)
        assert registry.write.claim("another", lease_s=60) is not None
        return {"adapter": "news@1"}

    ended = run(registry, job, learn=slow)
    assert (ended.state, ended.lease_owner) == (JobState.RUNNING, "another")


def test_a_feed_that_cannot_be_read_is_no_failed_job(registry, tmp_path):
    registry.write.add_feed(str(tmp_path / "missing"), name="away", kind="folder", topic="news", trust="auto", interval_s=60)
    enqueue_poll(registry, "away")
    ended = run(registry, registry.write.claim("test", lease_s=60))
    feed = registry.read.feed("away")
    assert ended.state is JobState.DONE
    assert feed.error_count == 1
    assert "there is no such folder" in feed.last_error
    assert ended.result["problems"]


def test_a_poll_that_breaks_the_program_rests_the_feed_too(registry, tmp_path):
    folder_feed(registry, tmp_path / "in")
    # A cursor of a form that no version wrote: the source breaks over it.
    registry.write.record_poll(1, cursor={"files": ["odd"]}, next_check_at=datetime.now(UTC), documents=[])
    drop(tmp_path / "in", "a.txt", "Text.")
    enqueue_poll(registry, "in")
    ended = run(registry, registry.write.claim("test", lease_s=60))
    feed = registry.read.feed("in")
    assert ended.state is JobState.QUEUED
    assert ended.last_error.startswith("AttributeError")
    assert feed.error_count == 1
    assert feed.next_check_at > datetime.now(UTC)


def test_a_removed_or_paused_feed_is_not_polled(registry, tmp_path):
    folder_feed(registry, tmp_path / "in")
    enqueue_poll(registry, "in")
    registry.write.set_feed_state("in", "paused")
    assert run(registry, registry.write.claim("test", lease_s=60)).result["note"] == "Feed in is paused"
    registry.write.remove_feed("in")
    enqueue_poll(registry, "in")
    assert run(registry, registry.write.claim("test", lease_s=60)).result["note"] == "Feed in was removed meanwhile"


def test_an_engine_that_is_away_fails_nothing(registry):
    ended = run(registry, claimed(registry, RECONCILE))
    assert ended.state is JobState.DONE
    assert "cannot be reached" in ended.result["problems"][0]


def test_a_feed_and_a_topic_of_one_name_do_not_block_each_other(registry, tmp_path):
    folder_feed(registry, tmp_path / "news")
    assert enqueue_poll(registry, "news") is not None
    assert enqueue_poll(registry, "news") is None
    assert enqueue_extract(registry) is not None
    assert registry.write.enqueue(LEARN, key="learn:news", payload={"topic": "news"}) is not None


def test_jobs_of_a_killed_daemon_are_taken_up_at_once(registry):
    registry.write.enqueue(EXTRACT, key="k", payload={})
    registry.write.claim("dead", lease_s=3600)
    [adopted] = adopt_orphans(registry)
    assert adopted.state is JobState.QUEUED
    assert registry.write.claim("test", lease_s=60).attempts == 2


def test_a_poll_that_killed_the_daemon_three_times_rests_its_feed(registry, tmp_path):
    folder_feed(registry, tmp_path / "in")
    enqueue_poll(registry, "in")
    for _ in range(3):
        assert registry.write.claim("dead", lease_s=3600, kinds=[POLL]) is not None
        adopt_orphans(registry)
    feed = registry.read.feed("in")
    assert [job.state for job in registry.read.jobs()] == [JobState.FAILED]
    assert feed.last_error == "The daemon was killed while this ran, 3 times"
    assert feed.next_check_at > datetime.now(UTC)


def test_a_job_can_see_that_the_service_stops(registry):
    stop = threading.Event()

    def until_stopped(work: Work):
        assert work.stop.wait(10)
        raise Stopped("at a safe point")

    job = claimed(registry, LEARN, payload={"topic": "news"})
    threading.Timer(0.05, stop.set).start()
    assert run(registry, job, stop=stop, learn=until_stopped).state is JobState.QUEUED


def test_an_empty_home_needs_no_learning_worker(registry, tmp_path: Path):
    """Learning a topic with nothing to learn must not cost a model: it ends without asking the worker anything."""
    from daemon.jobs import HANDLERS

    job = claimed(registry, LEARN, payload={"topic": "news"})
    ended = run_job(registry, settings_of(registry.home), job, owner="test", stop=never(), handlers=HANDLERS)
    assert ended.state is JobState.DONE
    assert ended.result["adapter"] is None
