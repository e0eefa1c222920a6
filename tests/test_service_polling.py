"""Polling by several workers: a host that hangs holds up one of them and no other host, and each host is asked politely."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.benches.feed_server import Plan, address, report, serving
from daemon.benches.ingest import due
from daemon.config import load_settings
from daemon.service import crews_of, run_daemon, run_once
from registry import Registry
from sources import Busy, FetchSettings
from sources.politeness import HOSTS, Hosts
from tests.service_parts import folder_feed, handlers, wait_until

GAP = FetchSettings(host_gap_s=0.2)


@pytest.fixture(autouse=True)
def nobody_was_asked() -> Iterator[None]:
    """The hosts of this machine are the same in every test."""
    HOSTS.forget()
    yield
    HOSTS.forget()


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


def settings_of(home: Path, **sources: object):
    chosen = {"allow_private": ("127.0.0.0/8",), "host_gap_s": 0.05, **sources}
    return load_settings(
        home, sources=chosen, daemon={"tick_s": 0.05, "reconcile_s": 3600.0}, learn={"settle_s": 1e9}, engine={"url": "http://127.0.0.1:1"}
    )


@contextmanager
def running(home: Path, settings) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run_daemon, args=(home, settings), kwargs={"stop": stop, "warm": False})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def add(registry: Registry, location: str, name: str) -> None:
    registry.write.add_feed(location, name=name, kind="feed", topic="news", trust="auto", interval_s=3600)


def polled(registry: Registry, *names: str) -> bool:
    return all(registry.read.feed(name).last_success_at for name in names)


def test_as_many_workers_poll_as_are_asked_for(tmp_path: Path) -> None:
    crews = crews_of(settings_of(tmp_path, pollers=3))
    assert [name for name, kinds in crews.items() if "poll" in kinds] == ["polling-1", "polling-2", "polling-3"]
    assert [name for name, kinds in crews.items() if "learn" in kinds] == ["learning"]


def test_hosts_that_hang_do_not_hold_up_the_others(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = settings_of(home, pollers=4, read_timeout_s=300, total_timeout_s=300)
    with serving(Plan(hosts=9, hanging=[0, 1, 2]), tmp_path) as port, Registry.open(home) as registry:
        for number in range(9):
            add(registry, f"{address(number, port)}/made/{number}", f"f{number}")
        with running(home, settings):
            wait_until(
                lambda: polled(registry, *(f"f{number}" for number in range(3, 9))), timeout_s=120, what="the polls of those that answer"
            )
        assert not any(registry.read.feed(f"f{number}").last_checked_at for number in range(3))


def test_a_host_with_many_silent_feeds_holds_one_worker(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = settings_of(home, pollers=2, read_timeout_s=300, total_timeout_s=300)
    with serving(Plan(hosts=2, hanging=list(range(6))), tmp_path) as port, Registry.open(home) as registry:
        for number in range(6):
            add(registry, f"{address(0, port)}/made/{number}", f"silent{number}")
        for number in range(6, 9):
            add(registry, f"{address(1, port)}/made/{number}", f"f{number}")
        with running(home, settings):
            wait_until(lambda: polled(registry, "f6", "f7", "f8"), timeout_s=120, what="the polls of the other host")
        assert report(port)["most_at_once"] == 1


def test_a_dropped_file_does_not_wait_behind_what_is_merely_due(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Registry.open(home) as registry:
        registry.write.enqueue_all("poll", {f"poll:f{n}": {"feed": f"f{n}"} for n in range(50)})
        folder_feed(registry, tmp_path / "in")
        registry.write.enqueue("poll", key="poll:in", payload={"feed": "in"}, before_others=True)
        first = registry.write.claim("w", lease_s=60)
        assert first is not None
        assert first.key == "poll:in"
        assert registry.write.enqueue("poll", key="poll:f30", payload={}, before_others=True) is None  # queued already, and now the next
        second = registry.write.claim("w", lease_s=60)
        assert second is not None
        assert second.key == "poll:f30"
        assert registry.write.enqueue_all("poll", {"poll:f30": {}, "poll:new": {}})[0].key == "poll:new"


def test_once_waits_for_the_turn_of_a_feed_that_its_busy_host_sent_away(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = settings_of(home, host_gap_s=1.5)
    with serving(Plan(hosts=1), tmp_path) as port:
        with Registry.open(home) as registry:
            for number in range(2):
                add(registry, f"{address(0, port)}/made/{number}", f"f{number}")
        assert run_once(home, settings, handlers=handlers()) == 0
        with Registry.open(home) as registry:
            assert polled(registry, "f0", "f1")
            assert registry.read.documents(state="new") == []
        assert report(port)["least_gap_s"] >= 1.5


def test_who_is_sent_away_has_a_turn_of_its_own(hosts: Hosts) -> None:
    polite = replace(GAP, host_gap_s=2.0)
    with hosts.visit("a.example", polite, "one"):
        pass
    waits = []
    for name in ("two", "three", "four"):
        with pytest.raises(Busy, match=r"a\.example is asked for other feeds") as sent_away, hosts.visit("a.example", polite, name):
            pass
        waits.append(sent_away.value.retry_after_s or 0.0)
    assert waits == pytest.approx([2, 4, 6], abs=0.3)
    with pytest.raises(Busy) as early, hosts.visit("a.example", polite, "two"):  # too early: it does not lose its turn
        pass
    assert (early.value.retry_after_s or 0.0) >= 1.5


def test_a_turn_that_has_come_is_taken(hosts: Hosts) -> None:
    polite = replace(GAP, host_gap_s=1.2)
    with hosts.visit("a.example", polite, "one"):
        pass
    with pytest.raises(Busy), hosts.visit("a.example", polite, "two"):
        pass
    time.sleep(0.6)
    began = time.monotonic()
    with hosts.visit("a.example", polite, "two"):
        assert time.monotonic() - began < 1.0


def test_one_at_a_time_is_inside_and_a_slow_host_rests(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.politeness._LONG_S", 0.1)
    with (
        hosts.visit("a.example", GAP, "one"),
        pytest.raises(Busy),
        hosts.visit("a.example", GAP, "two"),
    ):
        pass
    with hosts.visit("b.example", GAP, "slow"):
        time.sleep(0.5)
    with pytest.raises(Busy) as resting, hosts.visit("b.example", GAP, "next"):
        pass
    assert (resting.value.retry_after_s or 0.0) > 1.0
    with hosts.visit("c.example", GAP, "three"), hosts.visit("d.example", replace(GAP, host_gap_s=0.0), "four"):
        pass  # another host does not wait


def test_all_that_are_due_at_once_are_polled_politely_though_some_hang_and_fail() -> None:
    found = due(60, hosts=12, hanging=2, failing=3, patience_s=120, host_gap_s=0.1, read_timeout_s=1.0, total_timeout_s=2.0)
    assert (found["never_polled"], found["wrongly_failing"], found["failing"]) == (0, 0, 5)
    assert found["documents"] == 55 * 10
    assert found["asked"]["most_at_once"] == 1
    assert found["asked"]["least_gap_s"] >= 0.1
