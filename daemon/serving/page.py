"""The status page's facts: what is served, what is running, what needs a person, what was released. Reads only; page.html lays it out."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from registry import Adapter, AdapterState, Alias, CheckRun, DefinitionState, Feed, FeedState, JobState, Registry

ROWS = 20
FIGURES = ("learned", "kept", "local", "skills")


@dataclass(frozen=True, slots=True)
class Served:
    """An alias with its adapter and the figures of the adapter's check."""

    alias: Alias
    adapter: Adapter | None
    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """An adapter that its check refused, with why."""

    adapter: Adapter
    reasons: tuple[str, ...]


def render_page(registry: Registry, *, base_name: str, engine_url: str, engine_healthy: bool) -> str:
    """The page as HTML. Everything that came from a feed is escaped: it is a stranger's text."""
    read = registry.read
    review = read.definitions(state=DefinitionState.REVIEW)
    facts: dict[str, Any] = {
        "now": datetime.now(UTC),
        "base_name": base_name,
        "engine_url": engine_url,
        "engine_healthy": engine_healthy,
        "counts": read.counts(),
        "served": [_served(registry, alias) for alias in read.aliases()],
        "jobs": [*read.jobs(state=JobState.RUNNING), *read.jobs(state=JobState.QUEUED)][:ROWS],
        "failed_jobs": read.jobs(state=JobState.FAILED)[-ROWS:][::-1],
        "review": review[:ROWS],
        "review_total": len(review),
        "refused": _refused(registry),
        "failing": [feed for feed in read.feeds() if _is_failing(feed)],
        "releases": read.releases()[:ROWS],
    }
    return _templates().get_template("page.html").render(facts)


@functools.cache
def _templates() -> Environment:
    return templates_in("daemon.serving", ".")


def templates_in(package: str, folder: str) -> Environment:
    """Everything that came from a feed is escaped: it is a stranger's text. A name that a template misspells is an error."""
    environment = Environment(
        loader=PackageLoader(package, folder),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["when"] = when
    return environment


def when(at: datetime | None) -> str:
    return "never" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _served(registry: Registry, alias: Alias) -> Served:
    if alias.adapter is None:
        return Served(alias=alias, adapter=None, figures=())
    return Served(alias=alias, adapter=registry.read.adapter(alias.adapter), figures=figures(registry.read.newest_check(alias.adapter)))


def figures(check: CheckRun | None) -> tuple[tuple[str, str], ...]:
    """The check's main numbers, in a fixed order."""
    values = {} if check is None else check.values
    return tuple((name, f"{values[name]:.1%}" if 0 <= values[name] <= 1 else f"{values[name]:.3g}") for name in FIGURES if name in values)


def _refused(registry: Registry) -> list[Refused]:
    refused = [adapter for adapter in registry.read.adapters() if adapter.state == AdapterState.REFUSED][:ROWS]
    return [Refused(adapter=adapter, reasons=_reasons(registry, adapter)) for adapter in refused]


def _reasons(registry: Registry, adapter: Adapter) -> tuple[str, ...]:
    check = registry.read.newest_check(adapter.name)
    if check is not None and check.reasons:
        return check.reasons
    return (adapter.reason or "no reason was recorded",)


def _is_failing(feed: Feed) -> bool:
    return feed.error_count > 0 and feed.state != FeedState.RETIRED
