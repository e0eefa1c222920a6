"""What is due is decided by columns; folders announce themselves; work that comes to nothing does not spin."""

from datetime import UTC, datetime, timedelta

import pytest

from daemon.jobs import LEARN, POLL, Work
from daemon.runner import run_job
from daemon.scheduler import TRIED_AGAIN_AFTER, Ticker, enqueue_due
from daemon.watchers import Watchers
from registry import NewDocument, Registry
from tests.service_parts import defined, drop, folder_feed, handlers, never, settings_of, wait_until


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def now() -> datetime:
    return datetime.now(UTC)


def kinds(due) -> list[str]:
    return sorted(job.key for job in due.queued)


def work_off(registry, **others):
    while job := registry.write.claim("test", lease_s=60):
        run_job(registry, settings_of(registry.home), job, owner="test", stop=never(), handlers=handlers(**others))


def test_an_active_feed_is_due_by_its_own_column(registry, tmp_path):
    feed = folder_feed(registry, tmp_path / "in")
    folder_feed(registry, tmp_path / "paused")
    registry.write.set_feed_state("paused", "paused")
    settings = settings_of(registry.home)
    assert kinds(enqueue_due(registry, settings, now())) == ["poll:in"]
    assert kinds(enqueue_due(registry, settings, now())) == []  # it is queued already
    work_off(registry)
    assert kinds(enqueue_due(registry, settings, now())) == []
    assert kinds(enqueue_due(registry, settings, now() + timedelta(seconds=feed.interval_s))) == ["poll:in"]


def test_an_unread_document_makes_extraction_due(registry, tmp_path):
    feed = folder_feed(registry, tmp_path / "in")
    registry.write.record_poll(feed.id, cursor={}, next_check_at=now() + timedelta(hours=1), documents=[NewDocument("a", "Text.", now())])
    settings = settings_of(registry.home)
    assert kinds(enqueue_due(registry, settings, now())) == ["extract:all"]
    work_off(registry)
    assert kinds(enqueue_due(registry, settings, now())) == []


def test_a_topic_is_learnt_when_its_definitions_have_settled(registry, tmp_path):
    defined(registry, tmp_path / "in")
    settings = settings_of(registry.home, settle_s=30.0)
    early = enqueue_due(registry, settings, now())
    assert (kinds(early), early.settling) == ([], ("news",))
    late = enqueue_due(registry, settings, now() + timedelta(seconds=31))
    assert (kinds(late), late.settling) == (["learn:news"], ())
    assert kinds(enqueue_due(registry, settings, now() + timedelta(seconds=32))) == []


def test_a_topic_whose_job_waits_for_another_try_is_not_queued_twice(registry, tmp_path):
    defined(registry, tmp_path / "in")
    settings = settings_of(registry.home)
    enqueue_due(registry, settings, now())
    [job] = registry.read.jobs("queued")
    registry.write.claim("test", lease_s=60)
    registry.write.fail(job.id, "test", "for now", retry_at=now() + timedelta(seconds=30))
    due = enqueue_due(registry, settings, now())
    assert (kinds(due), due.settling) == ([], ())


def test_learning_that_failed_for_good_rests_until_something_is_new(registry, tmp_path):
    defined(registry, tmp_path / "in")
    settings = settings_of(registry.home)
    job = enqueue_due(registry, settings, now()).queued[0]
    registry.write.claim("test", lease_s=60)
    registry.write.fail(job.id, "test", "no", retry_at=None)
    assert kinds(enqueue_due(registry, settings, now())) == []
    assert kinds(enqueue_due(registry, settings, now() + TRIED_AGAIN_AFTER))[0] == "learn:news"


def test_a_new_definition_ends_the_rest(registry, tmp_path):
    defined(registry, tmp_path / "in")
    settings = settings_of(registry.home)
    job = enqueue_due(registry, settings, now()).queued[0]
    registry.write.claim("test", lease_s=60)
    registry.write.fail(job.id, "test", "no", retry_at=None)
    drop(tmp_path / "in", "tarn.txt", "A tarnix is a small lake that never freezes.")
    registry.write.enqueue(POLL, key="poll:in", payload={"feed": "in"})
    work_off(registry)
    enqueue_due(registry, settings, now(), settle_s=3600)
    work_off(registry)
    assert kinds(enqueue_due(registry, settings, now())) == ["learn:news"]


def test_a_restart_ends_the_rest(registry, tmp_path):
    defined(registry, tmp_path / "in")
    settings = settings_of(registry.home)
    job = enqueue_due(registry, settings, now()).queued[0]
    registry.write.claim("test", lease_s=60)
    registry.write.fail(job.id, "test", "no", retry_at=None)
    assert kinds(enqueue_due(registry, settings, now(), since=now())) == ["learn:news"]


def test_learning_that_changes_nothing_does_not_spin(registry, tmp_path):
    defined(registry, tmp_path / "in")
    settings = settings_of(registry.home)
    enqueue_due(registry, settings, now())
    work_off(registry, learn=lambda work: {})
    assert kinds(enqueue_due(registry, settings, now())) == []


def test_learning_that_took_a_part_goes_on_with_the_rest_at_once(registry, tmp_path):
    folder_feed(registry, tmp_path / "in")
    drop(tmp_path / "in", "a.txt", "An oslith is a blue lamp that burns under water.")
    drop(tmp_path / "in", "b.txt", "A tarnix is a small lake that never freezes.")

    def take_one(work: Work):
        first = work.registry.read.definitions(state="found")[0]
        work.registry.write.set_novelty(first.id, 0.0, "base-digest", "known", None)
        return {}

    settings = settings_of(registry.home)
    enqueue_due(registry, settings, now())
    work_off(registry)
    enqueue_due(registry, settings, now(), settle_s=3600)
    work_off(registry)
    assert len(registry.read.definitions(state="found")) == 2
    for _ in range(2):
        assert kinds(enqueue_due(registry, settings, now())) == ["learn:news"]
        work_off(registry, learn=take_one)
    assert kinds(enqueue_due(registry, settings, now())) == []


@pytest.fixture
def ticker(registry):
    rung: list[bool] = []
    made = Ticker(registry, settings_of(registry.home, settle_s=60.0), ring=lambda: rung.append(True))
    yield made
    made.stop()


def test_a_file_dropped_in_a_folder_is_polled_at_once(registry, ticker, tmp_path):
    folder_feed(registry, tmp_path / "in")
    ticker.tick()
    work_off(registry)
    assert registry.read.feeds_due(now()) == []
    drop(tmp_path / "in", "a.txt", "Text.")
    wait_until(lambda: registry.read.jobs("queued"), timeout_s=5, what="the poll")
    work_off(registry)
    assert len(registry.read.documents()) == 1


def test_a_change_during_a_poll_is_polled_after_it(registry, ticker, tmp_path):
    folder_feed(registry, tmp_path / "in")
    ticker.tick()
    running = registry.write.claim("test", lease_s=60)
    ticker.folder_changed("in")
    assert registry.read.jobs("queued") == []
    registry.write.complete(running.id, "test")
    ticker.enqueue()
    assert [job.key for job in registry.read.jobs("queued")] == ["poll:in"]


def test_an_unanswering_registry_is_no_tick(registry, ticker, tmp_path):
    ticker.tick()
    assert ticker.ticks == 1
    (registry.home / "registry.sqlite3").rename(tmp_path / "aside")
    registry.close()
    (registry.home / "registry.sqlite3").write_bytes(b"no database at all" * 100)
    ticker.tick()
    assert ticker.ticks == 1


def test_watchers_follow_the_feeds(registry, tmp_path):
    changed: list[str] = []
    watchers = Watchers(changed.append)
    try:
        folder_feed(registry, tmp_path / "a")
        folder_feed(registry, tmp_path / "b")
        registry.write.add_feed("https://example.org/x.xml", name="far", kind="feed", topic="news", trust="auto", interval_s=60)
        watchers.follow(registry.read.feeds())
        assert watchers.names == {"a", "b"}
        assert changed == ["a", "b"]
        registry.write.set_feed_state("a", "paused")
        registry.write.remove_feed("b")
        watchers.follow(registry.read.feeds())
        assert watchers.names == frozenset()
    finally:
        watchers.close()


def test_a_missing_folder_is_watched_when_it_appears(registry, tmp_path):
    changed: list[str] = []
    watchers = Watchers(changed.append)
    try:
        folder = tmp_path / "later"
        registry.write.add_feed(str(folder), name="later", kind="folder", topic="news", trust="auto", interval_s=60)
        watchers.follow(registry.read.feeds())
        assert watchers.names == frozenset()
        folder.mkdir()
        watchers.follow(registry.read.feeds())
        assert (watchers.names, changed) == ({"later"}, ["later"])
    finally:
        watchers.close()


def test_a_folder_made_anew_is_watched_anew(registry, tmp_path):
    changed: list[str] = []
    watchers = Watchers(changed.append)
    try:
        folder_feed(registry, tmp_path / "in")
        watchers.follow(registry.read.feeds())
        (tmp_path / "in").rename(tmp_path / "old")
        (tmp_path / "in").mkdir()
        watchers.follow(registry.read.feeds())
        changed.clear()
        drop(tmp_path / "in", "a.txt", "Text.")
        wait_until(lambda: changed == ["in"], timeout_s=5, what="the news of the file")
    finally:
        watchers.close()


@pytest.mark.parametrize(("settle_s", "prepared"), [(20.0, True), (3600.0, False)])
def test_learning_is_prepared_while_definitions_settle_unless_that_is_long(registry, tmp_path, settle_s, prepared):
    warmed: list[bool] = []
    ticker = Ticker(registry, settings_of(registry.home, settle_s=settle_s), ring=lambda: None, warm=lambda: warmed.append(True))
    try:
        ticker.tick()
        assert not warmed
        defined(registry, tmp_path / "in")
        ticker.tick()
        assert bool(warmed) is prepared
        assert not any(job.kind == LEARN for job in registry.read.jobs())
    finally:
        ticker.stop()
