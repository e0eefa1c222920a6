"""When learning is not wanted: while an operator has paused it, outside the hours that are set for it, and when it has
had its time of the day. Serving and feeds go on."""

from __future__ import annotations

from datetime import datetime, timedelta

from daemon.config import Settings
from registry import Registry

ABOUT = "learning"  # the object of the events that pause and resume it
LEARNING = ("learn", "merge")  # kinds of jobs
DAY = timedelta(days=1)
PAUSED, RESUMED = "paused", "resumed"


def pause(registry: Registry, *, actor: str, reason: str | None) -> bool:
    """From the next job on. Whether it was not paused already."""
    if paused(registry) is not None:
        return False
    registry.write.add_event(actor, PAUSED, ABOUT, {"reason": reason})
    return True


def resume(registry: Registry, *, actor: str) -> bool:
    """Whether it had been paused."""
    if paused(registry) is None:
        return False
    registry.write.add_event(actor, RESUMED, ABOUT, {})
    return True


def paused(registry: Registry) -> str | None:
    """By whom and why, as a sentence's end; None if it is not."""
    newest = registry.read.events(limit=1, about=ABOUT)
    if not newest or newest[0].action != PAUSED:
        return None
    event, reason = newest[0], newest[0].detail.get("reason")
    return f"paused by {event.actor} on {event.at:%Y-%m-%d %H:%M} UTC{f': {reason}' if reason else ''}"


def why_not_now(registry: Registry, settings: Settings, now: datetime) -> str | None:
    """Why nothing is to be learnt at this moment; None if it may."""
    return paused(registry) or _out_of_hours(settings.learn.hours, now.astimezone()) or _used_up(registry, settings.learn.day_max_s, now)


def _out_of_hours(hours: tuple[str, ...], local: datetime) -> str | None:
    minute = local.hour * 60 + local.minute
    if not hours or any(_within(span, minute) for span in hours):
        return None
    return f"it is {local:%H:%M}, and learn.hours are {', '.join(hours)}"


def _used_up(registry: Registry, day_max_s: float | None, now: datetime) -> str | None:
    """A job that runs is finished, so a day may take more than it was given; it counts for the next 24 hours."""
    if day_max_s is None:
        return None
    used = registry.read.seconds_of_jobs(LEARNING, since=now - DAY)
    return f"learning took {used:.0f} s of the last 24 hours, and learn.day_max_s is {day_max_s:g}" if used >= day_max_s else None


def _within(span: str, minute: int) -> bool:
    """A span over midnight ends on the next day; its end is not in it."""
    begin, end = (_minute(part) for part in span.split("-"))
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def _minute(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
