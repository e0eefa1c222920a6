"""The facts of each page, read from the registry; the templates lay them out. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from daemon.quiet import paused
from daemon.silence import may_be_silent, silence
from registry import DefinitionState, Document, Feed, JobState, Registry, measured

ROWS, PAGE, HISTORY = 10, 50, 200
CURVES = ("learned", "kept", "local", "skills")
AROUND = 600  # characters of the document shown on each side of a sentence

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence in its document: what stands before, the sentence, what stands after."""

    document: Document
    before: str
    sentence: str
    after: str


def home(registry: Registry) -> Facts:
    aliases, counts = registry.read.aliases(), registry.read.counts()
    metrics = registry.pages.metrics([alias.adapter for alias in aliases if alias.adapter is not None])
    served = [(alias, figures(metrics[alias.adapter]) if alias.adapter in metrics else None) for alias in aliases]
    return {
        "served": served,
        "counts": counts,
        "topics": registry.pages.topics(),
        "review": registry.pages.definitions(state=DefinitionState.REVIEW, limit=5),
        "refused": registry.pages.refused(limit=5),
        "failing": registry.read.failing_feeds(),
        "silent": _silent(registry),
        "failed": registry.pages.jobs([JobState.FAILED], limit=5, newest=True),
        "releases": registry.pages.releases(limit=ROWS),
        "pause": _pause(registry),
        "paused": paused(registry),
        "canaries": {canary.alias: canary for canary in registry.read.canaries()},
        **running(registry),
    }


def _silent(registry: Registry) -> list[tuple[Feed, str]]:
    """Feeds that answer and have stopped posting, each with a sentence: nothing fails, so nothing else on the page would tell."""
    now = datetime.now(UTC)
    quiet = registry.read.feeds(retired=False, newest_before=may_be_silent(now))
    return [(feed, said) for feed in quiet if (said := silence(feed, now)) is not None]


def running(registry: Registry) -> Facts:
    return {"jobs": registry.pages.jobs([JobState.RUNNING, JobState.QUEUED], limit=ROWS), "now": datetime.now(UTC)}


def topic(registry: Registry, name: str, *, offset: int) -> Facts:
    """`curves`: oldest first, one entry a version, None where a check has no such number."""
    versions = registry.pages.versions(name, limit=HISTORY, offset=offset, with_metrics=True)
    aliases = [alias for alias in registry.read.aliases() if name in alias.topics]
    counts = next((one for one in registry.pages.topics() if one.topic == name), None)
    curves = [(v, {c: measured(v.metrics.get(c)) for c in CURVES}) for v in reversed(versions) if v.metrics]
    return {
        "topic": name,
        "versions": versions,
        "curves": curves,
        "curve_names": CURVES,
        "aliases": aliases,
        "counts": counts,
        "releases": registry.pages.releases(limit=ROWS, alias=name),
        "offset": offset,
        "more": len(versions) == HISTORY,
        "step": HISTORY,
    }


def adapter(registry: Registry, name: str, *, offset: int) -> Facts:
    found = registry.pages.adapter(name)
    learnt_total, learnt = registry.pages.adapter_definitions(name, role="learnt", limit=PAGE, offset=offset)
    rehearsed_total, _ = registry.pages.adapter_definitions(name, role="rehearsed", limit=0)
    check = registry.read.newest_check(name)
    return {
        "adapter": found,
        "check": check,
        "metrics": [] if check is None else metric_rows(check.metrics),
        "aliases": [alias.name for alias in registry.read.aliases() if alias.adapter == name],
        "learnt": learnt,
        "learnt_total": learnt_total,
        "rehearsed_total": rehearsed_total,
        "offset": offset,
        "step": PAGE,
        "more": offset + PAGE < learnt_total,
    }


def definition(registry: Registry, number_: int) -> Facts:
    history = registry.pages.account(number_)
    spans = registry.pages.spans(number_)
    one = history.definition
    standings = registry.pages.standings(number_)
    return {
        "definition": one,
        "passage": passage(history.document, one.span),
        "witnesses": [passage(document, spans[document.id]) for document in history.witnesses],
        "earlier": history.earlier,
        "later": history.later,
        "events": history.events,
        "standings": standings,
        "results": registry.pages.results(number_, standings[0].adapter) if standings else [],
        "feed": registry.read.document(one.document_id).feed,
    }


def definitions(registry: Registry, *, topic: str, state: str, entity: str, before: int | None) -> Facts:
    found = registry.pages.definitions(topic=topic, state=state, entity=entity, before=before, limit=PAGE)
    return {
        "definitions": found,
        "chosen": {"topic": topic, "state": state, "entity": entity},
        "states": list(DefinitionState),
        "counts": registry.read.counts().definitions,
        "topics": [one.topic for one in registry.pages.topics()],
        "next": found[-1].id if len(found) == PAGE else None,
    }


def feeds(registry: Registry, *, after: int) -> Facts:
    found = registry.read.feeds(retired=False, after=after, limit=PAGE + 1)
    shown = found[:PAGE]
    silent = {feed.id: silence(feed) for feed in shown}
    return {"feeds": shown, "silent": silent, "after": after, "next": found[PAGE - 1].id if len(found) > PAGE else None}


def difference(registry: Registry, left: str, right: str) -> Facts:
    """Two versions side by side: their checks, and what one has learnt that the other has not."""
    pair = [registry.pages.adapter(name) for name in (left, right)]
    checks = [registry.read.newest_check(name) for name in (left, right)]
    only_left_total, only_left = registry.pages.carried_by_one(left, right, limit=PAGE)
    only_right_total, only_right = registry.pages.carried_by_one(right, left, limit=PAGE)
    named = [{} if check is None else {row.name: row.value for row in metric_rows(check.metrics)} for check in checks]
    settings = sorted(
        key for key in pair[0].settings.keys() | pair[1].settings.keys() if pair[0].settings.get(key) != pair[1].settings.get(key)
    )
    return {
        "left": pair[0],
        "right": pair[1],
        "metrics": [(name, named[0].get(name), named[1].get(name)) for name in dict.fromkeys([*named[0], *named[1]])],
        "only_left": only_left,
        "only_right": only_right,
        "only_left_total": only_left_total,
        "only_right_total": only_right_total,
        "both": registry.pages.carried(left) - only_left_total,
        "settings": [(key, pair[0].settings.get(key), pair[1].settings.get(key)) for key in settings],
    }


def passage(document: Document, span: tuple[int, int]) -> Passage:
    start, end = max(0, span[0]), min(len(document.text), span[1])
    before, after = document.text[max(0, start - AROUND) : start], document.text[end : end + AROUND]
    cut = "…" if start > AROUND else ""
    return Passage(document, cut + before, document.text[start:end], after + ("…" if end + AROUND < len(document.text) else ""))


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One number of a check. `holds` is None for one without a limit, which only informs."""

    name: str
    value: float | None
    asked: int | None
    limit: float | None = None
    higher_is_better: bool = True

    @property
    def holds(self) -> bool | None:
        if self.limit is None or self.value is None:
            return None
        return self.value >= self.limit if self.higher_is_better else self.value <= self.limit


def metric_rows(metrics: Mapping[str, Any]) -> list[MetricRow]:
    rows = []
    for name, metric in metrics.items():
        if isinstance(metric, dict):
            rows.append(MetricRow(name, measured(metric), metric.get("n"), metric.get("threshold"), metric.get("higher_is_better", True)))
        else:
            rows.append(MetricRow(name, measured(metric), None))
    return rows


def figures(metrics: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(name, value) for name in CURVES if (value := measured(metrics.get(name))) is not None]


def _pause(registry: Registry) -> str | None:
    """Why learning waits, as the daemon last wrote it down."""
    newest = registry.read.events(1, about="service")
    return str(newest[0].detail.get("reason")) if newest and newest[0].action == "learning waits" else None
