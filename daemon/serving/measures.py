"""What Prometheus reads of the gateway: requests, seconds, tokens and answers under way, by version."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector

_USAGE = b'"usage":'
_DECODER = json.JSONDecoder()
_NO_CHOICES = (b'"choices":[]', b'"choices": []')
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
PAIRS_KEPT = 256


@dataclass(slots=True)
class _Pair:
    """What was counted of one model and adapter. Looking a metric's child up is the dear part, so each is looked up once."""

    seconds: Histogram
    first: Histogram
    statuses: dict[int, Counter] = field(default_factory=dict)
    tokens: dict[str, Counter] = field(default_factory=dict)


class Measures:
    """Labels are only ever names that were resolved, so strangers cannot make new ones. Versions come and go for years, though: of the pairs of
    model and adapter, those stay that answered last, and the series of the others end. For one event loop."""

    def __init__(self, *others: Collector) -> None:
        self.registry = CollectorRegistry()
        for other in others:
            self.registry.register(other)
        labels = ["model", "adapter"]
        self._requests = Counter("lorefeed_requests", "Answered requests.", [*labels, "status"], registry=self.registry)
        self._seconds = Histogram(
            "lorefeed_request_seconds", "From request to last byte.", labels, registry=self.registry, buckets=_SECONDS
        )
        self._first = Histogram(
            "lorefeed_first_byte_seconds", "From request to first byte.", labels, registry=self.registry, buckets=_SECONDS
        )
        self._tokens = Counter("lorefeed_tokens", "Tokens read and written.", [*labels, "kind"], registry=self.registry)
        self._in_flight = Gauge("lorefeed_in_flight", "Answers under way.", ["adapter"], registry=self.registry)
        self._healthy = Gauge("lorefeed_engine_healthy", "1 if the engine answers.", ["engine"], registry=self.registry)
        self._pairs: OrderedDict[tuple[str, str], _Pair] = OrderedDict()

    def answered(self, model: str, adapter: str, status: int, *, seconds: float) -> None:
        pair = self._pair(model, adapter)
        if status not in pair.statuses:
            pair.statuses[status] = self._requests.labels(model, adapter, str(status))
        pair.statuses[status].inc()
        pair.seconds.observe(seconds)

    def first_byte(self, model: str, adapter: str, seconds: float) -> None:
        self._pair(model, adapter).first.observe(seconds)

    def used(self, model: str, adapter: str, usage: Mapping[str, int]) -> None:
        pair = self._pair(model, adapter)
        for kind in ("prompt", "completion"):
            if count := usage.get(f"{kind}_tokens"):
                if kind not in pair.tokens:
                    pair.tokens[kind] = self._tokens.labels(model, adapter, kind)
                pair.tokens[kind].inc(count)

    def _pair(self, model: str, adapter: str) -> _Pair:
        names = (model, adapter)
        if names in self._pairs:
            self._pairs.move_to_end(names)
            return self._pairs[names]
        pair = self._pairs[names] = _Pair(self._seconds.labels(*names), self._first.labels(*names))
        if len(self._pairs) > PAIRS_KEPT:
            self._forget(*self._pairs.popitem(last=False))
        return pair

    def _forget(self, names: tuple[str, str], pair: _Pair) -> None:
        self._seconds.remove(*names)
        self._first.remove(*names)
        for status in pair.statuses:
            self._requests.remove(*names, str(status))
        for kind in pair.tokens:
            self._tokens.remove(*names, kind)

    def text(self, *, in_flight: Mapping[str, int], engines: Mapping[str, bool]) -> bytes:
        self._in_flight.clear()
        for name, count in in_flight.items():
            self._in_flight.labels(name).set(count)
        for url, healthy in engines.items():
            self._healthy.labels(url).set(healthy)
        return generate_latest(self.registry)


def usage_in(body: bytes) -> dict[str, int]:
    """The usage that an answer, or an event of a stream, reports; empty if none. A text that speaks of usage has its quotes escaped."""
    at = body.rfind(_USAGE)
    if at < 0:
        return {}
    try:
        usage, _ = _DECODER.raw_decode(body[at + len(_USAGE) :].decode("utf-8", "replace").lstrip())
    except ValueError:
        return {}
    return {key: n for key, n in usage.items() if isinstance(n, int) and n >= 0} if isinstance(usage, dict) else {}


class UsageTap:
    """Reads the usage that ends a stream, and leaves that event out where the client did not ask for it."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._held = b""
        self.usage: dict[str, int] = {}

    def feed(self, chunk: bytes) -> bytes:
        """What of the stream may go on to the client now: whole events."""
        data = self._held + chunk
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            self._held = data
            return b""
        self._held = data[end:]
        return self._without_usage(data[:end])

    def rest(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def _without_usage(self, events: bytes) -> bytes:
        if not any(mark in events for mark in _NO_CHOICES):
            return events
        return b"".join(self._kept(events))

    def _kept(self, events: bytes) -> Iterator[bytes]:
        for event in events.split(b"\n\n")[:-1]:
            if any(mark in event for mark in _NO_CHOICES) and (usage := usage_in(event)):
                self.usage = usage
                if not self._keep:
                    continue
            yield event + b"\n\n"
