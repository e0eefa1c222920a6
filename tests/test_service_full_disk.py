"""A disk without a byte left: what is started then starts, and works as soon as there is room."""

import os
import signal
import time
from pathlib import Path

import pytest

from daemon.serving.started import Started, read_start, record_start
from registry import AlreadyRunning, JobState, Registry
from tests.chaos_faults import filling
from tests.chaos_parts import small_disk
from tests.service_parts import daemon_process, wait_until

STARTED = Started("embedded", "embedded", None, "/models/embedded", "d" * 64)


@pytest.fixture
def home(tmp_path: Path):
    with small_disk(tmp_path / "home", "8m") as missing:
        if missing is not None:
            pytest.skip(missing)
        yield tmp_path / "home"


def test_a_daemon_waits_until_what_a_killed_one_left_can_be_put_right(home: Path) -> None:
    (home / "lorefeed.toml").write_text("[daemon]\ntick_s = 0.1\n")
    with Registry.open(home) as registry:
        registry.write.enqueue("gc", key="gc:all", payload={})
        left = registry.write.claim("a killed daemon", lease_s=3600)
        with filling(home / "ballast"):
            process = daemon_process(home)
            time.sleep(4.0)
            assert process.poll() is None, process.stderr.read()
            assert registry.read.job(left.id).state is JobState.RUNNING
        try:
            wait_until(lambda: registry.read.job(left.id).state is JobState.DONE, what="the rest of the job")
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def test_the_lock_is_held_though_its_holder_cannot_be_written_down(home: Path) -> None:
    with Registry.open(home) as registry, filling(home / "ballast"), registry.lock_daemon(), pytest.raises(AlreadyRunning):
        registry.lock_daemon().__enter__()


def test_an_engine_that_starts_as_before_writes_nothing(home: Path) -> None:
    record_start(home, STARTED)
    with filling(home / "ballast"):
        record_start(home, STARTED)
        assert read_start(home) == STARTED
