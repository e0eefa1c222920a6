"""The registry's records in the JSON shapes that scripts rely on. A key may be added here; removing one needs a line in CHANGELOG.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry import Adapter, Alias, CheckRun, Definition, Document, Event, Feed, Release, Version

Json = dict[str, Any]


def feed_json(feed: Feed) -> Json:
    return {
        "name": feed.name,
        "location": feed.location,
        "kind": feed.kind,
        "topic": feed.topic,
        "state": feed.state,
        "trust": feed.trust,
        "interval_s": feed.interval_s,
        "error_count": feed.error_count,
        "last_error": feed.last_error,
        "last_success_at": feed.last_success_at,
        "next_check_at": feed.next_check_at,
        "documents": feed.documents,
        **_rhythm_json(feed),
    }


def _rhythm_json(feed: Feed) -> Json:
    """How often the feed posts, by its own dates, and since when it has been silent far beyond that habit."""
    from daemon.silence import silence
    from sources import rhythm_of

    rhythm = rhythm_of(feed.cursor)
    return {"usual_gap_s": rhythm and rhythm.gap_s, "newest_at": rhythm and rhythm.newest_at, "silent": silence(feed)}


def document_json(document: Document) -> Json:
    return {
        "id": document.id,
        "feed": document.feed,
        "topic": document.topic,
        "external_id": document.external_id,
        "url": document.url,
        "title": document.title,
        "digest": document.digest,
        "published_at": document.published_at,
        "fetched_at": document.fetched_at,
        "revises": document.revises,
        "near": document.near,
        "state": document.state,
        "problem": document.problem,
        "characters": len(document.text),
    }


def definition_json(definition: Definition) -> Json:
    return {
        "id": definition.id,
        "entity": definition.entity,
        "text": definition.text,
        "topic": definition.topic,
        "state": definition.state,
        "novelty": definition.novelty,
        "document_id": definition.document_id,
        "feed": definition.feed,
        "url": definition.url,
        "span": definition.span,
        "score": definition.score,
        "supersedes": definition.supersedes,
    }


def adapter_row_json(adapter: Version) -> Json:
    return {
        "adapter": adapter.name,
        "topic": adapter.topic,
        "version": adapter.version,
        "state": adapter.state,
        "method": adapter.method,
        "definitions": adapter.learnt,
        "recovered": adapter.recovered,
        "created_at": adapter.created_at,
    }


def adapter_json(adapter: Adapter, check: CheckRun | None) -> Json:
    return {
        "adapter": adapter.name,
        "topic": adapter.topic,
        "version": adapter.version,
        "state": adapter.state,
        "parent": adapter.parent,
        "base_model": adapter.base_model,
        "base_digest": adapter.base_digest,
        "method": adapter.method,
        "digest": adapter.digest,
        "rank": adapter.rank,
        "definitions": adapter.definitions,
        "documents": adapter.documents,
        "check": None if check is None else {"verdict": check.verdict, "reasons": check.reasons, "metrics": check.metrics},
        "created_at": adapter.created_at,
    }


def check_json(run: CheckRun) -> Json:
    return {
        "adapter": run.adapter,
        "digest": run.digest,
        "base_digest": run.base_digest,
        "against": run.against,
        "verdict": run.verdict,
        "reasons": run.reasons,
        "metrics": run.metrics,
        "duration_s": run.duration_s,
        "created_at": run.created_at,
    }


def alias_json(alias: Alias) -> Json:
    return {"name": alias.name, "topics": alias.topics, "scope": alias.scope, "adapter": alias.adapter, "since": alias.since}


def release_json(release: Release) -> Json:
    return {
        "alias": release.alias,
        "from": release.from_adapter,
        "to": release.to_adapter,
        "at": release.at,
        "actor": release.actor,
        "reason": release.reason,
        "forced": release.forced,
    }


def event_json(event: Event) -> Json:
    return {"at": event.at, "actor": event.actor, "action": event.action, "object": event.object, "detail": event.detail}


def check_rows(metrics: Json) -> list[tuple[Any, ...]]:
    """A check's numbers as rows: name, value, limit, how many were asked. A number without a limit only informs."""
    return [_check_row(name, metric) for name, metric in metrics.items()]


def _check_row(name: str, metric: Any) -> tuple[Any, ...]:
    if not isinstance(metric, dict):
        return name, metric, None, None
    limit = metric.get("threshold")
    bound = None if limit is None else f"{'at least' if metric.get('higher_is_better', True) else 'at most'} {limit:.3g}"
    return name, metric.get("value"), bound, metric.get("n")
