"""Feeds to documents: asks each source what is new and stores it with the source's own memory, in one transaction."""

import logging
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from daemon.config import Settings
from daemon.errors import ConfigError
from daemon.references import resolve_reference
from daemon.sections import FeedOptions
from daemon.stages.report import StageReport, add
from registry import Feed, NewDocument, Registry
from sources import Busy, Document, FetchSettings, Poll, SourceError, backoff_s, open_source

log = logging.getLogger(__name__)


def ingest(registry: Registry, settings: Settings, *, now: datetime) -> StageReport:
    """Polls every feed that is due."""
    return add("ingest", [poll_feed(registry, feed, settings, now=now) for feed in registry.read.feeds_due(now)])


def poll_feed(registry: Registry, feed: Feed, settings: Settings, *, now: datetime) -> StageReport:
    """Polls one feed. A failure is a value on the feed's row: counted, with its sentence and the time of the next try."""
    try:
        source = open_source(feed.location, kind=feed.kind, settings=fetch_settings(settings, feed.name))
        poll = source.poll(feed.cursor)
    except Busy as err:
        registry.write.postpone_poll(feed.id, next_check_at=now + timedelta(seconds=max(1.0, err.retry_after_s or 0.0)))
        return StageReport("ingest", {"feeds": 1, "postponed": 1})
    except ConfigError as err:
        return _failed(registry, feed, SourceError(feed.name, str(err), hint=err.hint), now)
    except SourceError as err:
        return _failed(registry, feed, err, now)
    wait_s = _wait_s(feed, poll, settings)
    moved_to, problems = _move(feed, poll, settings)
    stored = registry.write.record_poll(
        feed.id,
        cursor=poll.cursor,
        next_check_at=now + timedelta(seconds=wait_s),
        documents=[_taken(document, now) for document in poll.documents],
        moved_to=moved_to,
        noticed=[*(("unreadable", {"problem": problem}) for problem in problems), *_silence(feed, poll, now)],
    )
    for problem in problems:
        log.warning("Feed %s: %s", feed.name, problem, extra={"action": "unreadable", "feed": feed.name})
    if stored:
        log.info(
            "Feed %s brought %d documents", feed.name, len(stored), extra={"action": "polled", "feed": feed.name, "documents": len(stored)}
        )
    return StageReport("ingest", {"feeds": 1, "documents": len(stored), "unreadable": len(problems)}, problems)


def _taken(document: Document, now: datetime) -> NewDocument:
    return NewDocument(
        external_id=document.external_id, text=document.text, fetched_at=now, url=document.url, title=document.title,
        published_at=document.published_at, fetch=document.fetch,
    )  # fmt: skip


def _silence(feed: Feed, poll: Poll, now: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    """An event at the poll that finds a feed silent far beyond its rhythm, and at no later one: it answers, so no error would tell."""
    rhythm = poll.rhythm
    if rhythm is None or (silent := rhythm.silent_for(now)) is None:
        return
    if feed.last_success_at is not None and rhythm.silent_for(feed.last_success_at) is not None:
        return  # told then
    detail = {"days": silent.days, "usual_gap_s": round(rhythm.gap_s), "newest_at": rhythm.newest_at.isoformat()}
    log.warning("Feed %s has posted nothing for %d days", feed.name, silent.days, extra={"action": "silent", "feed": feed.name})
    yield "silent", detail


def _move(feed: Feed, poll: Poll, settings: Settings) -> tuple[str | None, tuple[str, ...]]:
    """The new address of a feed that has moved for good. One with credentials is not moved to another host: they would go there too."""
    if poll.moved_to is None or poll.moved_to == feed.location:
        return None, poll.problems
    options = settings.sources.feeds.get(feed.name, FeedOptions())
    secret = bool(options.headers) or "@" in urlsplit(feed.location).netloc
    if secret and urlsplit(poll.moved_to).hostname != urlsplit(feed.location).hostname:
        words = f"The feed has moved to {poll.moved_to}, but its credentials are for another host; remove it and add the new address."
        return None, (*poll.problems, words)
    return poll.moved_to, poll.problems


def _wait_s(feed: Feed, poll: Poll, settings: Settings) -> float:
    """Until the next poll. A server's wish makes it longer, never shorter; what is half done or still being written is looked at soon.

    A tenth of chance on top keeps feeds that were added together from being polled together for ever.
    """
    asked_s = poll.next_after_s or 0.0
    if feed.kind in ("folder", "file"):
        return asked_s or float(feed.interval_s)
    if poll.unfinished:
        return asked_s
    return max(_own_interval_s(feed, poll, settings), asked_s) * (1.0 + 0.1 * random.random())


def _own_interval_s(feed: Feed, poll: Poll, settings: Settings) -> float:
    """The feed's interval; one that was left at the default adapts to how often the feed posts: a quarter of its usual gap."""
    own, longest = float(feed.interval_s), settings.sources.interval_max_s
    if poll.rhythm is None or feed.interval_s != settings.sources.interval_s:
        return own
    return max(own, min(float(longest), poll.rhythm.gap_s / 4.0))


def _failed(registry: Registry, feed: Feed, err: SourceError, now: datetime) -> StageReport:
    wait_s = max(err.retry_after_s or 0.0, backoff_s(feed.error_count + 1, feed.interval_s, jitter=random.random()))
    sentence = f"{err} Try: {err.hint}" if err.hint else str(err)
    registry.write.record_poll_failure(feed.id, error=sentence, next_check_at=now + timedelta(seconds=wait_s), retire=err.permanent)
    log.warning("Feed %s failed: %s", feed.name, err, extra={"action": "poll_failed", "feed": feed.name, "retired": err.permanent})
    return StageReport("ingest", {"feeds": 1, "failed": 1}, (f"{feed.name}: {err}",))


def fetch_settings(settings: Settings, feed: str | None = None) -> FetchSettings:
    """How one feed is fetched; without a name, how any is. Raises ConfigError when a secret of the feed is not where it should be."""
    s = settings.sources
    common = FetchSettings(
        connect_timeout_s=s.connect_timeout_s, read_timeout_s=s.read_timeout_s, overall_timeout_s=s.total_timeout_s,
        max_bytes=s.body_limit_bytes, allow_private=s.allow_private, host_gap_s=s.host_gap_s, full_text=s.full_text, robots=s.robots,
    )  # fmt: skip
    own = s.feeds.get(feed) if feed is not None else None
    if own is None:
        return common
    proxy = own.proxy if own.proxy is None or "://" in own.proxy else resolve_reference(own.proxy, used_for=f"The proxy of feed {feed}")
    if proxy is not None and not proxy.startswith(("http://", "https://")):
        raise ConfigError(f"The proxy of feed {feed} is no http proxy.", hint="Write it like http://proxy.example:3128")
    headers = [(name, resolve_reference(value, used_for=f"The header {name} of feed {feed}")) for name, value in own.headers.items()]
    return replace(
        common,
        proxy=proxy,
        headers=tuple(headers),
        allow_private=(*s.allow_private, *own.allow_private),
        full_text=s.full_text if own.full_text is None else own.full_text,
        robots=s.robots if own.robots is None else own.robots,
    )
