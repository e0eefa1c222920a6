"""What Prometheus reads of the registry: feeds, documents, definitions, jobs, versions and the checks of what is served.

Read when asked for, and kept for a while: counting a million definitions for every scrape of every collector would be felt. What a collector
is told is at most twice as old.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from daemon.silence import silence
from registry import Registry, RegistryError, measured

log = logging.getLogger(__name__)
KEPT_S = 15.0


class StageMeasures(Collector):
    """A Prometheus collector over one registry. `lorefeed_registry_readable` is 0, and nothing else is said, while it cannot be read."""

    def __init__(self, registry: Registry, *, kept_s: float = KEPT_S) -> None:
        self._registry, self._kept_s = registry, kept_s
        self._read_at = -2 * kept_s
        self._renewing = threading.Lock()
        self._metrics: list[Metric] = []

    def describe(self) -> list[Metric]:
        return []  # or registering it would already read everything

    def collect(self) -> Iterator[Metric]:
        age_s = time.monotonic() - self._read_at
        if age_s >= 2 * self._kept_s:
            self._renew()
        elif age_s >= self._kept_s and not self._renewing.locked():  # who asks often does not wait for it
            threading.Thread(target=self._renew, name="stage-measures", daemon=True).start()
        yield from self._metrics

    def _renew(self) -> None:
        with self._renewing:
            self._metrics = self._read()
            self._read_at = time.monotonic()

    def _read(self) -> list[Metric]:
        readable, metrics = 1.0, list[Metric]()
        try:
            metrics = [*_measured(self._registry, datetime.now(UTC))]
        except RegistryError as err:
            log.warning("The registry could not be read for metrics: %s", err, extra={"action": "not_measured"})
            readable = 0.0
        return [_gauge("lorefeed_registry_readable", "1 if the registry could be read.", (), [((), readable)]), *metrics]


def _measured(registry: Registry, now: datetime) -> Iterator[Metric]:
    pages = registry.pages
    yield _gauge("lorefeed_documents", "Documents by state.", ("state",), [((state,), n) for state, n in pages.count_documents().items()])
    yield _gauge("lorefeed_definitions", "Definitions by topic and state.", ("topic", "state"), pages.count_definitions().items())
    yield _gauge("lorefeed_adapters", "Versions by topic and state.", ("topic", "state"), pages.count_adapters().items())
    feeds = [feed for feed in registry.read.feeds() if feed.state != "retired"]
    names = ("feed", "topic")
    yield _gauge("lorefeed_feed_errors", "Polls that failed in a row.", names, [((f.name, f.topic), f.error_count) for f in feeds])
    polled = [((f.name, f.topic), f.last_success_at.timestamp()) for f in feeds if f.last_success_at is not None]
    yield _gauge("lorefeed_feed_last_success_timestamp_seconds", "When the feed was last read.", names, polled)
    late = [((f.name, f.topic), max(0.0, (now - f.next_check_at).total_seconds())) for f in feeds if f.state == "active"]
    yield _gauge("lorefeed_feed_overdue_seconds", "How long the feed has been due.", names, late)
    silent = [((f.name, f.topic), float(silence(f, now) is not None)) for f in feeds]
    yield _gauge("lorefeed_feed_silent", "1 if the feed answers, but has posted nothing for far longer than it used to.", names, silent)
    yield from _jobs(registry, now)
    yield from _served(registry)


def _jobs(registry: Registry, now: datetime) -> Iterator[Metric]:
    kinds = registry.pages.count_jobs(now)
    counts = [((kind, state), n) for kind, jobs in kinds.items() for state, n in jobs.states.items()]
    yield _gauge("lorefeed_jobs", "Jobs by kind and state; done ones are kept for six hours.", ("kind", "state"), counts)
    waiting = [((kind,), max(0.0, (now - jobs.due_since).total_seconds())) for kind, jobs in kinds.items() if jobs.due_since is not None]
    yield _gauge("lorefeed_job_waiting_seconds", "How long the job of a kind that has been due longest has waited.", ("kind",), waiting)
    lasted = [((kind,), jobs.last_s) for kind, jobs in kinds.items() if jobs.last_s is not None]
    yield _gauge("lorefeed_job_last_seconds", "How long the last finished job of a kind took.", ("kind",), lasted)


def _served(registry: Registry) -> Iterator[Metric]:
    serving = [alias for alias in registry.read.aliases() if alias.adapter is not None]
    since = [((a.name, str(a.adapter)), a.since.timestamp()) for a in serving if a.since is not None]
    yield _gauge("lorefeed_alias_since_timestamp_seconds", "Since when the alias serves this version.", ("alias", "adapter"), since)
    metrics = registry.pages.metrics([str(alias.adapter) for alias in serving])
    checked = [
        ((alias.name, str(alias.adapter), name), value)
        for alias in serving
        for name, metric in metrics[str(alias.adapter)].items()
        if (value := measured(metric)) is not None
    ]
    yield _gauge("lorefeed_check", "What the newest check of the served version measured.", ("alias", "adapter", "measure"), checked)


def _gauge(name: str, what: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, what, labels=labels)
    for key, value in values:
        family.add_metric([str(label) for label in key], value)
    return family
