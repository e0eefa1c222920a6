"""What happened in the registry of the bench: checks, releases, jobs, and the audit chain over all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any

from daemon.benches.registry_lines import BASE_DIGEST, Version, moment
from registry import audit

RESULTS = 20  # questions a check
_MEASURES = (
    "learned",
    "kept",
    "local",
    "known",
    "skills",
    "finite",
    "known_pinned",
    "skills_pinned",
    "primed",
    "overconfident",
    "repeating",
)
Rows = Iterable[tuple[Any, ...]]


def checks(versions: list[Version]) -> Rows:
    """One a version, with the number of the version."""
    for v in versions:
        reasons = [] if v.passed else ["skills fell by 9 points"]
        metrics = {
            name: {"value": 0.9 + v.id % 100 / 1000, "n": RESULTS, "threshold": 0.4, "higher_is_better": True, "reason": None}
            for name in _MEASURES
        }
        verdict = "passed" if v.passed else "refused"
        yield v.id, v.id, v.digest, BASE_DIGEST, None, verdict, json.dumps(reasons), json.dumps(metrics), 12.5, moment(v.at)


def check_results(versions: list[Version]) -> Rows:
    number = 0
    for v in versions:
        for turn in range(RESULTS):
            number += 1
            about = v.learnt_ids[turn % len(v.learnt_ids)] if v.learnt_ids else None
            answer = "a lake" if turn % 9 else "a ship"
            yield number, v.id, about, None, "direct", "What is it?", "a lake", "a ship", answer, int(bool(turn % 9)), "{}"


def releases(versions: list[Version]) -> Rows:
    number, before = 0, dict[str, int]()
    for v in versions:
        if v.passed:
            number += 1
            yield number, v.topic, before.get(v.topic), v.id, moment(v.at), "daemon", None, 0, 0, v.id
            before[v.topic] = v.id


def jobs() -> Rows:
    """Six hours of a busy service's."""
    for n in range(1, 5001):
        result = json.dumps({"stage": "ingest", "counts": {"documents": n % 3}, "problems": []})
        state, error = ("failed", "the server answered 503") if n % 250 == 0 else ("done", None)
        at = moment(1)
        key = f"poll:feed-{n:04}"
        yield n, "poll", key, "{}", state, 1, 3, at, None, None, 1.0, None, error, result, at, at, at


def events(definitions: int, versions: list[Version]) -> Rows:
    """One a definition, three a released version; each vouches for the one before it."""
    before = audit.NOTHING
    told = merge(_of_definitions(definitions), _of_versions(versions), key=lambda event: event[0])
    for number, (share, actor, action, about, detail) in enumerate(told, start=1):
        at = moment(share)
        before = audit.link(before, at=at, actor=actor, action=action, object=about, detail=detail)
        yield number, at, actor, action, about, json.dumps(detail), before


Told = tuple[float, str, str, str, dict[str, Any]]


def _of_definitions(count: int) -> Iterator[Told]:
    for number in range(1, count + 1):
        actor = "operator" if number % 1000 == 0 else "lorefeed"
        yield number / count, actor, "waiting", f"definition {number}", {"novelty": number % 300 / 100, "reason": None}


def _of_versions(versions: list[Version]) -> Iterator[Told]:
    for v in versions:
        yield v.at, "lorefeed", "learnt", f"adapter {v.name}", {"digest": v.digest}
        yield v.at, "lorefeed", "passed" if v.passed else "refused", f"adapter {v.name}", {"reasons": [], "check_run": v.id}
        if v.passed:
            yield v.at, "daemon", "promoted", f"alias {v.topic}", {"from": None, "to": v.name, "reason": None, "forced": False}
