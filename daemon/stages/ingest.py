"""Feeds to documents: asks each source what is new and stores it with the source's own memory, in one transaction."""

import logging
from datetime import datetime, timedelta

from daemon.config import Settings
from daemon.stages.report import StageReport, add
from registry import Feed, NewDocument, Registry
from sources import FetchSettings, Poll, SourceError, backoff_s, open_source

log = logging.getLogger(__name__)


def ingest(registry: Registry, settings: Settings, *, now: datetime) -> StageReport:
    """Polls every feed that is due."""
    return add("ingest", [poll_feed(registry, feed, settings, now=now) for feed in registry.read.feeds_due(now)])


def poll_feed(registry: Registry, feed: Feed, settings: Settings, *, now: datetime) -> StageReport:
    """Polls one feed. A failure is a value on the feed's row: counted, with its sentence and the time of the next try."""
    try:
        source = open_source(feed.location, kind=feed.kind, settings=fetch_settings(settings))
        poll = source.poll(feed.cursor)
    except SourceError as err:
        return _failed(registry, feed, err, now)
    wait_s = _wait_s(feed, poll)
    stored = registry.write.record_poll(
        feed.id,
        cursor=poll.cursor,
        next_check_at=now + timedelta(seconds=wait_s),
        documents=[
            NewDocument(
                external_id=d.external_id, text=d.text, fetched_at=now, url=d.url, title=d.title, published_at=d.published_at, fetch=d.fetch
            )
            for d in poll.documents
        ],
    )
    for problem in poll.problems:
        registry.write.add_event("daemon", "unreadable", feed.name, {"problem": problem})
        log.warning("Feed %s: %s", feed.name, problem, extra={"action": "unreadable", "feed": feed.name})
    if stored:
        log.info(
            "Feed %s brought %d documents", feed.name, len(stored), extra={"action": "polled", "feed": feed.name, "documents": len(stored)}
        )
    return StageReport("ingest", {"feeds": 1, "documents": len(stored), "unreadable": len(poll.problems)}, poll.problems)


def _wait_s(feed: Feed, poll: Poll) -> float:
    """A server's wish makes the wait longer, never shorter; a folder with a file still being written asks to be looked at again soon."""
    if poll.next_after_s is None:
        return float(feed.interval_s)
    return poll.next_after_s if feed.kind == "folder" else max(float(feed.interval_s), poll.next_after_s)


def _failed(registry: Registry, feed: Feed, err: SourceError, now: datetime) -> StageReport:
    wait_s = err.retry_after_s or backoff_s(feed.error_count + 1, feed.interval_s)
    sentence = f"{err} Try: {err.hint}" if err.hint else str(err)
    registry.write.record_poll_failure(feed.id, error=sentence, next_check_at=now + timedelta(seconds=wait_s), retire=err.permanent)
    log.warning("Feed %s failed: %s", feed.name, err, extra={"action": "poll_failed", "feed": feed.name, "retired": err.permanent})
    return StageReport("ingest", {"feeds": 1, "failed": 1}, (f"{feed.name}: {err}",))


def fetch_settings(settings: Settings) -> FetchSettings:
    s = settings.sources
    return FetchSettings(
        connect_timeout_s=s.connect_timeout_s, read_timeout_s=s.read_timeout_s, overall_timeout_s=s.total_timeout_s,
        max_bytes=s.body_limit_bytes, allow_private=s.allow_private,
    )  # fmt: skip
