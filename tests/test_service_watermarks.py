"""Learning waits while disk or memory is short, says so once, and goes on by itself; everything else goes on meanwhile."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon.jobs import enqueue_learn
from daemon.scheduler import Ticker
from daemon.sections import Watermarks as WatermarkSettings
from daemon.service import Service
from daemon.watermarks import Watermarks, free_disk_bytes, free_memory_bytes
from registry import NewDocument, Registry, delete_set_aside
from tests.registry_parts import add_feed
from tests.service_parts import handlers, settings_of, wait_until

SETTINGS = WatermarkSettings(disk_free_min_bytes=1000, memory_free_min_bytes=1000)


def marks(home: Path, free: dict[str, int]) -> Watermarks:
    return Watermarks(home, SETTINGS, disk=lambda _: free["disk"], memory=lambda: free["memory"])


def test_the_real_figures_are_plausible(tmp_path: Path) -> None:
    assert 0 < free_disk_bytes(tmp_path) < 2**60
    assert 2**20 < free_memory_bytes() < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize("what", ["disk", "memory"])
def test_a_shortage_names_the_figure_and_the_setting(tmp_path: Path, what: str) -> None:
    free = {"disk": 10**6, "memory": 10**6, what: 999}
    shortage = marks(tmp_path, free).look()

    assert shortage is not None
    assert f"of {what} are free" in shortage
    assert f"watermarks.{what}_free_min_bytes" in shortage


def test_learning_goes_on_only_with_room_to_spare(tmp_path: Path) -> None:
    free = {"disk": 10**6, "memory": 999}
    watermarks = marks(tmp_path, free)
    seen = []
    for memory in (999, 1001, 1249, 1250, 1001, 999):
        free["memory"] = memory
        seen.append(watermarks.look() is not None)

    assert seen == [True, True, True, False, False, True]


def test_a_disk_that_does_not_answer_is_a_shortage(tmp_path: Path) -> None:
    assert "cannot be told" in str(Watermarks(tmp_path / "gone", SETTINGS).look())


def test_a_ticker_writes_the_pause_and_its_end_down_once_each(tmp_path: Path) -> None:
    free = {"disk": 10**6, "memory": 10**6}
    with Registry.open(tmp_path / "home") as registry:
        ticker = Ticker(registry, settings_of(registry.home), ring=lambda: None)
        ticker.watermarks = marks(registry.home, free)
        for disk in (10**6, 1, 1, 2, 10**6, 10**6):
            free["disk"] = disk
            ticker.tick()
        actions = [event.action for event in registry.read.events()]

    assert actions == ["learning goes on", "learning waits"]  # newest first


def test_no_learning_is_begun_while_it_waits(tmp_path: Path) -> None:
    free, stop = {"disk": 1, "memory": 10**6}, threading.Event()
    with Registry.open(tmp_path / "home") as registry:
        registry.write.add_feed(str(tmp_path), name="notes", kind="folder", topic="news", trust="auto", interval_s=3600)
        service = Service(registry, settings_of(registry.home), handlers=handlers(), stop=stop, warm=False)
        service._ticker.watermarks = marks(registry.home, free)
        service._ticker.tick()
        enqueue_learn(registry, "news")
        service.start()
        try:
            wait_until(lambda: service._ticker.ticks > 5)
            assert [job.state for job in registry.read.jobs() if job.kind == "learn"] == ["queued"]
            assert "learning waits" in service.signs_of_life()[0]
            free["disk"] = 10**6
            wait_until(lambda: [job.state for job in registry.read.jobs() if job.kind == "learn"] == ["done"])
        finally:
            service.finish()


def test_what_a_restore_set_aside_goes_when_its_time_is_over(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    for days in (1, 29, 31):
        (tmp_path / f"before-restore-{now - timedelta(days=days):%Y%m%dT%H%M%S}-ab12").mkdir()
    (tmp_path / "before-restore-notes.txt").touch()

    assert len(delete_set_aside(tmp_path, before=now - timedelta(days=30))) == 1
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("days", "kept"), [(0, ["Rain.", "Hail."]), (90, ["", "Hail."])])
def test_texts_that_taught_nothing_go_when_their_time_is_over_and_not_unless_asked_for(tmp_path: Path, days: int, kept: list[str]) -> None:
    now = datetime.now(UTC)
    with Registry.open(tmp_path / "home") as registry:
        feed = add_feed(registry)
        found = [NewDocument(text, text, now - timedelta(days=age)) for text, age in (("Rain.", 91), ("Hail.", 89))]
        for document in registry.write.record_poll(feed.id, cursor={}, next_check_at=now, documents=found):
            registry.write.record_definitions(document.id, [])
        settings = settings_of(registry.home)
        retention = settings.retention.model_copy(update={"idle_texts_days": days})
        ticker = Ticker(registry, settings.model_copy(update={"retention": retention}), ring=lambda: None)
        for _ in range(2):
            ticker._prune()
        assert [document.text for document in registry.read.documents()] == kept
