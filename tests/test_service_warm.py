"""A learning worker may be started ahead; there is never more than one, and none outlives the service."""

import threading
from pathlib import Path

import pytest

from daemon import warm
from daemon.errors import Stopped
from daemon.warm import Teachers
from tests.service_parts import settings_of, wait_until


def workers(home: Path) -> int:
    """Processes that serve this home's cache, by what the kernel says."""
    marked = f"--cache\0{home / 'cache'}".encode()
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += marked in path.read_bytes()
        except OSError:
            continue  # it ended while we looked
    return count


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def teachers(tmp_path, stop):
    made = Teachers(settings_of(tmp_path), stop=stop)
    yield made
    made.close()
    assert workers(tmp_path) == 0


def started(home: Path) -> bool:
    wait_until(lambda: workers(home) == 1, timeout_s=10, what="the start of the worker")
    return True


def test_a_job_gets_the_worker_that_was_started_ahead(teachers, tmp_path):
    teachers.warm()
    teachers.warm()
    assert started(tmp_path)
    with teachers.take():
        teachers.warm()
        assert workers(tmp_path) == 1
    assert workers(tmp_path) == 0


def test_a_worker_that_nobody_wants_is_ended(teachers, tmp_path, monkeypatch):
    teachers.warm()
    assert started(tmp_path)
    teachers.cool()
    assert workers(tmp_path) == 1
    monkeypatch.setattr(warm, "KEPT_WARM_S", 0.0)
    teachers.cool()
    assert workers(tmp_path) == 0


def test_a_service_that_stops_starts_nothing_ahead_and_stops_what_works(teachers, tmp_path, stop):
    with teachers.take() as teacher:
        stop.set()
        with pytest.raises(Stopped):
            teacher.ask([])
        teachers.warm()
    assert workers(tmp_path) == 0
