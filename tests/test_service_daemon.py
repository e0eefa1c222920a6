"""The daemon as a whole: from a dropped file to a learnt topic, one at a time, told to systemd, ended in order. And the same work once."""

import logging
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from daemon.errors import Stopped
from daemon.jobs import Work
from daemon.sdnotify import Notifier
from daemon.service import run_daemon, run_once
from registry import AlreadyRunning, JobState, Registry
from tests.service_parts import daemon_process, drop, folder_feed, handlers, know_all, settings_of, wait_until


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def registry(home):
    with Registry.open(home) as opened:
        yield opened


@contextmanager
def running(home, *, settings=None, **others):
    """The daemon in a thread; it must end by itself, with 0, within 10 s of being told to."""
    stop, ended = threading.Event(), []
    chosen = settings or settings_of(home)
    thread = threading.Thread(target=lambda: ended.append(run_daemon(home, chosen, handlers=handlers(**others), stop=stop, warm=False)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
        assert ended == [0]


def states(registry: Registry, state: str) -> int:
    return registry.read.counts().definitions[state]


def test_a_dropped_file_is_learnt_without_being_asked(home, registry, tmp_path):
    folder_feed(registry, tmp_path / "in")
    with running(home):
        wait_until(lambda: registry.read.feed("in").last_success_at)
        began = time.monotonic()
        drop(tmp_path / "in", "oslith.txt", "An oslith is a blue lamp that burns under water.")
        wait_until(lambda: states(registry, "known") == 1, what="the learning")
    # The feed's interval is an hour: only the folder's own news can have been this fast.
    assert time.monotonic() - began < 30


def test_one_topic_is_learnt_at_a_time_while_feeds_go_on(home, registry, tmp_path):
    at_work, most, go_on = [], [], threading.Event()

    def slow(work: Work):
        at_work.append(work.job.id)
        most.append(len(at_work))
        assert go_on.wait(20)
        at_work.remove(work.job.id)
        return know_all(work)

    for topic, word in (("news", "oslith"), ("lakes", "tarnix")):
        folder_feed(registry, tmp_path / topic, topic=topic)
        drop(tmp_path / topic, "a.txt", f"The {word} is a blue lamp that burns under water.")
    with running(home, learn=slow):
        wait_until(lambda: at_work)
        folder_feed(registry, tmp_path / "late", topic="late")
        wait_until(lambda: registry.read.feed("late").last_success_at, what="the poll beside the learning")
        go_on.set()
        wait_until(lambda: states(registry, "known") == 2)
    assert max(most) == 1


def test_a_stopped_daemon_gives_its_job_back(home, registry, tmp_path):
    def until_stopped(work: Work):
        assert work.stop.wait(20)
        raise Stopped("at a safe point")

    folder_feed(registry, tmp_path / "in")
    drop(tmp_path / "in", "a.txt", "An oslith is a blue lamp that burns under water.")
    with running(home, learn=until_stopped):
        wait_until(lambda: any(job.kind == "learn" for job in registry.read.jobs("running")))
    [job] = [job for job in registry.read.jobs() if job.kind == "learn"]
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)


def test_a_job_that_hears_nothing_is_given_back_for_it(home, registry, tmp_path, monkeypatch):
    monkeypatch.setattr("daemon.service.STOP_WITHIN_S", 0.3)
    let_go = threading.Event()

    def deaf(work: Work):
        let_go.wait(20)
        return {}

    folder_feed(registry, tmp_path / "in")
    drop(tmp_path / "in", "a.txt", "An oslith is a blue lamp that burns under water.")
    with running(home, learn=deaf):
        wait_until(lambda: any(job.kind == "learn" for job in registry.read.jobs("running")))
    [job] = [job for job in registry.read.jobs() if job.kind == "learn"]
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    let_go.set()


def test_a_second_daemon_on_the_same_home_is_refused(home, registry):
    with registry.lock_daemon(), pytest.raises(AlreadyRunning, match=str(os.getpid())):
        run_daemon(home, settings_of(home))
    with registry.lock_daemon(), pytest.raises(AlreadyRunning):
        run_once(home, settings_of(home))


@contextmanager
def manager(tmp_path):
    """A service manager's side of sd_notify."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.settimeout(20)
        yield path, listening


def test_the_real_process_tells_systemd_and_ends_on_sigterm(home, registry, tmp_path):
    folder_feed(registry, tmp_path / "in")
    with manager(tmp_path) as (path, listening):
        process = daemon_process(home, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "600000"})
        try:
            assert "READY=1" in listening.recv(4096).decode()
            while "WATCHDOG=1" not in (told := listening.recv(4096).decode()):
                pass
            assert "STATUS=1 feeds, 0 failing" in told
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert process.wait(10) == 0
            assert time.monotonic() - began < 10
            while "STOPPING=1" not in listening.recv(4096).decode():
                pass
        finally:
            process.kill()
            said = process.communicate()[1]
    assert "Traceback" not in said


def test_the_watchdog_is_not_fed_while_the_registry_is_silent(home, tmp_path, monkeypatch):
    with manager(tmp_path) as (path, listening):
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "150000")
        with running(home):
            while "WATCHDOG=1" not in listening.recv(4096).decode():
                pass
            (home / "registry.sqlite3").write_bytes(b"no database at all" * 100)
            while "registry does not answer" not in (told := listening.recv(4096).decode()):
                pass
            assert "WATCHDOG=1" not in told


def test_a_manager_that_does_not_listen_is_no_failure(tmp_path):
    Notifier(address=str(tmp_path / "nobody")).tell("READY=1")
    Notifier().tell("READY=1")
    assert Notifier.of({}).watchdog_s is None
    assert Notifier.of({"WATCHDOG_USEC": "30000000"}).watchdog_s == 30.0
    assert Notifier.of({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_s is None


def test_an_abstract_address_is_understood(tmp_path):
    name = f"lorefeed-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(5)
        Notifier(address="@" + name).tell("READY=1", "STATUS=x")
        assert listening.recv(100) == b"READY=1\nSTATUS=x"


def test_once_does_everything_that_is_due_and_what_follows(home, registry, tmp_path, capsys):
    folder_feed(registry, tmp_path / "in")
    folder_feed(registry, tmp_path / "in2", topic="lakes")
    drop(tmp_path / "in", "a.txt", "An oslith is a blue lamp that burns under water.")
    drop(tmp_path / "in2", "b.txt", "A tarnix is a small lake that never freezes.")
    assert run_once(home, settings_of(home, settle_s=3600), handlers=handlers()) == 0
    assert states(registry, "known") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "2 polls brought 2 new documents, in which 2 new definitions were found." in said.err


def test_once_again_does_nothing(home, registry, tmp_path, capsys):
    folder_feed(registry, tmp_path / "in")
    drop(tmp_path / "in", "a.txt", "An oslith is a blue lamp that burns under water.")
    assert run_once(home, settings_of(home), handlers=handlers()) == 0
    before = len(registry.read.jobs())
    assert run_once(home, settings_of(home), handlers=handlers()) == 0
    assert len(registry.read.jobs()) == before


def test_once_fails_if_a_job_failed_and_says_which(home, registry, tmp_path, capsys):
    def fail(work: Work):
        raise ValueError("odd")

    folder_feed(registry, tmp_path / "in")
    drop(tmp_path / "in", "a.txt", "An oslith is a blue lamp that burns under water.")
    assert run_once(home, settings_of(home), handlers=handlers(learn=fail)) == 1
    assert "Failed: learn:news: ValueError: odd" in capsys.readouterr().err


def test_once_reports_a_feed_that_cannot_be_read_and_is_content(home, registry, tmp_path, capsys):
    registry.write.add_feed(str(tmp_path / "missing"), name="away", kind="folder", topic="news", trust="auto", interval_s=60)
    assert run_once(home, settings_of(home), handlers=handlers()) == 0
    assert "Feed away cannot be read" in capsys.readouterr().err


def test_once_takes_up_what_a_killed_daemon_held(home, registry, tmp_path, caplog):
    folder_feed(registry, tmp_path / "in")
    drop(tmp_path / "in", "a.txt", "An oslith is a blue lamp that burns under water.")
    registry.write.enqueue("poll", key="poll:in", payload={"feed": "in"})
    registry.write.claim("dead", lease_s=3600)
    with caplog.at_level(logging.WARNING):
        assert run_once(home, settings_of(home), handlers=handlers()) == 0
    assert "was left by a killed daemon" in caplog.text
    assert states(registry, "known") == 1


def test_a_fault_in_one_job_does_not_end_the_worker(home, registry, tmp_path):
    def fail(work: Work):
        raise SystemError("deep")

    folder_feed(registry, tmp_path / "in")
    with running(home, extract=fail):
        drop(tmp_path / "in", "a.txt", "An oslith is a blue lamp that burns under water.")
        wait_until(lambda: any(job.last_error for job in registry.read.jobs()))
        folder_feed(registry, tmp_path / "late")
        wait_until(lambda: registry.read.feed("late").last_success_at, what="the next poll")
