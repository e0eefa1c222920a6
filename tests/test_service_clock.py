"""A wall clock that is set, as by a machine that learns the time after it has started: nothing waits for the old time to come again."""

import os
import signal
import threading
import time
from datetime import timedelta
from html import escape

import pytest

from daemon.jobs import LEARN
from daemon.scheduler import TRIED_AGAIN_AFTER, Ticker, enqueue_due
from daemon.steady import Every, Ticks
from registry import Registry
from tests.clock_parts import NO_COMPILER, wall_clock
from tests.registry_parts import NOW, Clock, add_feed
from tests.service_parts import daemon_process, defined, settings_of, wait_until
from tests.sources_parts import running_site

DAY = timedelta(days=1)
SETTINGS = '[sources]\nallow_private = ["127.0.0.0/8"]\n[daemon]\ntick_s = 0.1\n[learn]\nsettle_s = 1e9\n'


def feed_of(count: int) -> str:
    items = "".join(
        f"<item><guid>{i}</guid><title>Note {i}</title><description>{escape(f'Ship {i}.')}</description></item>" for i in range(count)
    )
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>Notes</title>{items}</channel></rss>'


def test_a_daemon_goes_on_polling_however_the_clock_is_set(tmp_path):
    clock = wall_clock(tmp_path)
    if clock is None:
        pytest.skip(NO_COMPILER)
    home = tmp_path / "home"
    home.mkdir()
    (home / "lorefeed.toml").write_text(SETTINGS)
    with running_site() as site, Registry.open(home) as registry:
        registry.write.add_feed(site.serve("/feed.xml", feed_of(1)), name="in", kind="feed", topic="news", trust="auto", interval_s=1)
        process = daemon_process(home, env=clock.environment)
        try:
            for count, offset_s in enumerate((0, -3600, 400 * 86400, 0), start=1):
                clock.set(offset_s)
                time.sleep(1.5)  # what was begun before comes to its end
                site.serve("/feed.xml", feed_of(count))
                wait_until(lambda count=count: len(registry.read.documents()) == count, timeout_s=30, what=f"a poll at {offset_s:+d} s")
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def test_ticks_that_were_missed_are_not_made_up_for():
    assert Every(1.0).get_next_fire_time(NOW - 400 * DAY, NOW) == NOW + timedelta(seconds=1)


def test_a_set_clock_is_noticed_once():
    wall, steady, ticked = [1000.0], [0.0], threading.Event()
    ticks = Ticks(wall=lambda: wall[0], steady=lambda: steady[0])
    ticks.every(3600.0, ticked.set)
    ticks.start()
    try:
        assert ticked.wait(10)
        ticked.clear()
        wall[0], steady[0] = 1005.0, 5.0
        assert ticks.look() == 0.0
        assert not ticked.wait(0.2)
        wall[0] -= 86400
        assert ticks.look() == -86400.0
        assert ticked.wait(10)
        assert ticks.look() == 0.0
    finally:
        ticks.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path, clock):
    with Registry.open(tmp_path / "home", clock=clock) as opened:
        yield opened


def test_a_feed_that_was_planned_by_a_later_clock_is_due(registry, clock):
    feed = add_feed(registry)
    registry.write.record_poll(feed.id, cursor={}, next_check_at=NOW + timedelta(minutes=15), documents=[])
    assert registry.read.feeds_due_names(NOW) == []
    assert registry.read.feeds_due_names(NOW - timedelta(seconds=30)) == []
    assert registry.read.feeds_due_names(NOW - DAY) == ["harbour"]
    assert [due.name for due in registry.read.feeds_due(NOW - DAY)] == ["harbour"]


def test_a_job_that_was_put_off_by_a_later_clock_is_claimed(registry, clock):
    registry.write.enqueue("poll", key="poll:1", payload={})
    job = registry.write.claim("w", lease_s=60)
    registry.write.fail(job.id, "w", "The disk was full", retry_at=NOW + timedelta(minutes=1))
    assert registry.write.claim("w", lease_s=60) is None
    clock.now = NOW - DAY
    assert registry.write.claim("w", lease_s=60).id == job.id


def test_a_lease_that_was_given_by_a_later_clock_does_not_hold_for_ever(registry, clock):
    registry.write.enqueue("poll", key="poll:1", payload={})
    job = registry.write.claim("gone", lease_s=60)
    clock.now = NOW - timedelta(seconds=30)
    assert registry.write.claim("w", lease_s=60) is None
    clock.now = NOW - DAY
    assert registry.write.claim("w", lease_s=60).id == job.id


def test_definitions_that_were_found_by_a_later_clock_have_settled(tmp_path):
    with Registry.open(tmp_path / "home") as registry:
        [found] = defined(registry, tmp_path / "in")
        settings = settings_of(registry.home, settle_s=30.0)
        assert enqueue_due(registry, settings, found.created_at).settling == ("news",)
        assert [job.kind for job in enqueue_due(registry, settings, found.created_at - DAY).queued if job.kind == LEARN] == [LEARN]


def test_what_failed_by_a_later_clock_is_tried_again_once(tmp_path):
    with Registry.open(tmp_path / "home") as registry:
        defined(registry, tmp_path / "in")
        settings = settings_of(registry.home)
        enqueue_due(registry, settings, NOW + 400 * DAY)
        job = registry.write.claim("w", lease_s=60, kinds=[LEARN])
        failed_at = registry.write.fail(job.id, "w", "no", retry_at=None).finished_at
        kinds = [[j.kind for j in enqueue_due(registry, settings, failed_at + by).queued] for by in (TRIED_AGAIN_AFTER / 2, -DAY)]
        assert [LEARN in each for each in kinds] == [False, True]


def test_a_ticker_that_has_started_by_a_later_clock_does_not_spin(tmp_path):
    """What was tried before it started counts as not tried; by its start in the future nothing ever would have been."""
    with Registry.open(tmp_path / "home") as registry:
        defined(registry, tmp_path / "in")
        settings = settings_of(registry.home)
        ticker = Ticker(registry, settings, ring=lambda: None)
        ticker._started_at += DAY
        for _ in range(3):
            ticker.enqueue()
            if (job := registry.write.claim("w", lease_s=60, kinds=[LEARN])) is not None:
                registry.write.fail(job.id, "w", "no", retry_at=None)
            time.sleep(0.01)
        assert len(registry.read.jobs("failed")) == 1
