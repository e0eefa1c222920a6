"""When learning waits: paused by an operator, outside its hours, or until enough has come together."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon.config import Settings, load_settings
from daemon.errors import ConfigError
from daemon.quiet import LEARNING, pause, resume, why_not_now
from daemon.scheduler import Ticker, enqueue_due
from registry import Registry
from tests.cli_parts import make_cli
from tests.registry_parts import Clock, add_feed, define

NOON = datetime(2026, 3, 1, 12, 0).astimezone()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home", clock=Clock(NOON.astimezone(UTC))) as opened:
        yield opened


def settings(registry: Registry, **learn: object) -> Settings:
    return load_settings(registry.home, learn={"settle_s": 0.0, **learn}, watermarks={"disk_free_min_bytes": 0, "memory_free_min_bytes": 0})


@pytest.mark.parametrize(
    ("hours", "clock", "may"),
    [
        ((), "12:00", True),
        (("22:00-06:00",), "23:30", True),
        (("22:00-06:00",), "05:59", True),
        (("22:00-06:00",), "06:00", False),
        (("09:00-11:00", "13:00-14:00"), "12:00", False),
        (("09:00-11:00", "12:00-14:00"), "12:00", True),
    ],
)
def test_learning_keeps_its_hours(registry: Registry, hours: tuple[str, ...], clock: str, may: bool) -> None:
    hour, minute = map(int, clock.split(":"))
    why = why_not_now(registry, settings(registry, hours=hours), NOON.replace(hour=hour, minute=minute))
    assert (why is None) == may
    if why is not None:
        assert clock in why
        assert hours[0] in why


def learnt(registry: Registry, clock: Clock, topic: str, *, seconds: float) -> None:
    registry.write.enqueue("learn", key=f"learn:{topic}", payload={})
    job = registry.write.claim("worker", lease_s=60)
    assert job is not None
    clock.advance(seconds)
    registry.write.complete(job.id, "worker", {})


def test_learning_has_so_many_seconds_in_a_day(tmp_path: Path) -> None:
    clock = Clock(NOON.astimezone(UTC))
    with Registry.open(tmp_path / "home", clock=clock) as registry:
        limited = settings(registry, day_max_s=100.0)
        learnt(registry, clock, "news", seconds=60)
        assert why_not_now(registry, limited, clock()) is None
        learnt(registry, clock, "law", seconds=45)
        assert why_not_now(registry, limited, clock()) == "learning took 105 s of the last 24 hours, and learn.day_max_s is 100"
        assert why_not_now(registry, settings(registry), clock()) is None
        registry.write.prune_jobs(clock() + timedelta(hours=1), spared=LEARNING)
        assert why_not_now(registry, limited, clock()) is not None, "rows that are counted must not be pruned before"
        assert why_not_now(registry, limited, clock() + timedelta(hours=24, seconds=-1)) is None, "the first is more than a day old"
        registry.write.prune_jobs(clock(), spared=LEARNING, failed_before=clock() + timedelta(seconds=1))
        assert registry.read.jobs() == []


def test_urgent_topics_are_learnt_first_even_if_they_come_last(registry: Registry) -> None:
    urgent = settings(registry, first=("security", "weather"))
    for topic in ("news", "weather", "security"):
        define(registry, add_feed(registry, topic, topic=topic), topic.title(), f"{topic.title()} is a thing.")
    assert enqueue_due(registry, urgent, NOON).queued
    taken = []
    while (job := registry.write.claim("worker", lease_s=60, kinds=("learn",))) is not None:
        taken.append(job.payload["topic"])
    assert taken == ["security", "weather", "news"]


def test_hours_that_are_none_are_refused(registry: Registry) -> None:
    for wrong in ("25:00-06:00", "22-6", "22:00"):
        with pytest.raises(ConfigError, match="hours"):
            settings(registry, hours=(wrong,))


def test_paused_is_paused_until_it_is_resumed_and_the_ticker_says_both_once(registry: Registry) -> None:
    ticker = Ticker(registry, settings(registry), ring=lambda: None)
    assert pause(registry, actor="ada", reason="the GPU is needed")
    assert not pause(registry, actor="eve", reason="again")
    for _ in range(3):
        ticker.tick()
    assert "paused by ada" in str(ticker.learning_waits)
    assert "the GPU is needed" in str(ticker.learning_waits)
    assert resume(registry, actor="ada")
    assert not resume(registry, actor="ada")
    ticker.tick()
    assert ticker.learning_waits is None
    assert [e.action for e in registry.read.events(about="service")] == ["learning goes on", "learning waits"]


def test_definitions_wait_for_others_but_not_for_ever(registry: Registry) -> None:
    feed = add_feed(registry)
    define(registry, feed, "Mole", "Mole is a pier.")
    few = settings(registry, wait_for=2, wait_at_most_s=3600)

    def due(wanted: Settings, after: timedelta, *, settle_s: float | None = None) -> list[str]:
        queued = enqueue_due(registry, wanted, NOON + after, settle_s=settle_s).queued
        for _ in [job for job in queued if job.kind == "learn"]:
            taken = registry.write.claim("me", lease_s=60, kinds=["learn"])
            assert taken is not None
            registry.write.complete(taken.id, "me", {"progressed": True})
        return [job.key for job in queued if job.kind == "learn"]

    assert due(few, timedelta(minutes=5)) == []
    assert due(few, timedelta(minutes=5), settle_s=0.0) == ["learn:news"]  # run --once takes everything
    assert due(few, timedelta(hours=1)) == ["learn:news"]
    define(registry, feed, "Tide", "Tide is a bar.")
    assert due(few, timedelta(minutes=5)) == ["learn:news"]


def test_the_commands_say_what_is_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cli = make_cli(tmp_path, capsys, monkeypatch)
    cli("init")
    assert "Learning is paused by operator" in cli("pause", "--reason", "the night shift").out
    assert "the night shift" in cli("status", "--json").json["learning"]["waits"]
    assert "Nothing new is learnt for now: paused by operator" in cli("status").out
    assert "already paused" in cli("pause").out
    assert cli("resume", "--json").json == {"paused": None, "changed": True}
    assert cli("status", "--json").json["learning"] == {"waits": None}
