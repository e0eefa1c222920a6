"""What Prometheus reads, and that the alerts and the dashboard ask for nothing that is not there."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from daemon.serving.measures import PAIRS_KEPT, Measures
from daemon.serving.stage_measures import StageMeasures
from registry import NewCheckRun, Registry
from tests.registry_parts import Clock, add_documents, add_feed, define, learn, promote
from tests.serving_parts import wait_until

MONITORING = Path(__file__).parents[1] / "docs" / "monitoring"


@pytest.fixture
def clock() -> Clock:
    from datetime import UTC, datetime

    return Clock(datetime.now(UTC) - timedelta(hours=1))


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    """One feed that failed twice, a definition learnt and served, one under review, a job that waits and one that is done."""
    with Registry.open(tmp_path / "home", clock=clock) as opened:
        feed = add_feed(opened)
        made = define(opened, feed, "Mole", "Mole is a pier.")
        define(opened, feed, "Tide", "Tide is a bar.", state="review")
        add_documents(opened, feed, "Not read yet.")
        opened.write.set_alias("news", topics=["news"], scope="mention")
        adapter = learn(opened, definitions=[made.id])
        metrics = {"learned": {"value": 0.9, "n": 4}, "kept": {"value": None, "n": 0}}
        opened.write.record_check(adapter.name, NewCheckRun(str(adapter.digest), "base-digest", "passed", metrics=metrics))
        promote(opened, adapter)
        opened.write.enqueue("poll", key="poll:harbour", payload={})
        job = opened.write.claim("me", lease_s=60)
        assert job is not None
        clock.advance(7)
        opened.write.complete(job.id, "me")
        opened.write.enqueue("learn", key="learn:news", payload={})
        for _ in range(2):
            opened.write.record_poll_failure(feed.id, error="no answer", next_check_at=clock.now)
        yield opened


def scraped(measures: Measures) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = measures.text(in_flight={"news@1": 2}, engines={"http://e": True}).decode()
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in text_string_to_metric_families(text) for s in family.samples}


def test_every_stage_is_measured(registry: Registry) -> None:
    found = scraped(Measures(StageMeasures(registry)))

    def value(name: str, **labels: str) -> float:
        return found[f"lorefeed_{name}", tuple(sorted(labels.items()))]

    assert value("registry_readable") == 1
    assert value("documents", state="new") == 1
    assert value("definitions", topic="news", state="learned") == 1
    assert value("definitions", topic="news", state="review") == 1
    assert value("adapters", topic="news", state="live") == 1
    assert value("feed_errors", feed="harbour", topic="news") == 2
    assert value("feed_silent", feed="harbour", topic="news") == 0
    assert value("feed_overdue_seconds", feed="harbour", topic="news") == pytest.approx(3593, abs=60)
    assert value("jobs", kind="learn", state="queued") == 1
    assert value("job_waiting_seconds", kind="learn") == pytest.approx(3593, abs=60)
    assert value("job_last_seconds", kind="poll") == 7
    assert value("check", alias="news", adapter="news@1", measure="learned") == 0.9
    assert value("in_flight", adapter="news@1") == 2
    assert not any(name == "lorefeed_check" and ("measure", "kept") in labels for name, labels in found)


def test_a_feed_that_answers_and_posts_no_more_is_a_figure(registry: Registry, clock: Clock) -> None:
    feed = add_feed(registry, "quiet")
    newest = clock.now - timedelta(days=90)
    registry.write.record_poll(feed.id, cursor={"gap_s": 3600, "newest_at": newest.isoformat()}, next_check_at=clock.now, documents=[])
    found = scraped(Measures(StageMeasures(registry)))
    assert {labels: n for (name, labels), n in found.items() if name == "lorefeed_feed_silent"} == {
        (("feed", "harbour"), ("topic", "news")): 0,
        (("feed", "quiet"), ("topic", "news")): 1,
    }


def test_it_is_read_again_only_after_a_while(registry: Registry) -> None:
    measures = Measures(StageMeasures(registry, kept_s=3600))
    first = scraped(measures)
    registry.write.enqueue("poll", key="poll:other", payload={})
    assert scraped(measures) == first
    assert scraped(Measures(StageMeasures(registry))) != first


def test_who_asks_often_does_not_wait_for_the_reading(registry: Registry) -> None:
    """Between once and twice as long as it is kept, the answer is the one before, and the next one is new."""
    measures = Measures(stage := StageMeasures(registry, kept_s=3600))
    first = scraped(measures)
    registry.write.enqueue("poll", key="poll:other", payload={})
    stage._read_at -= 4000
    assert scraped(measures) == first
    wait_until(lambda: scraped(measures) != first)
    registry.write.enqueue("poll", key="poll:another", payload={})
    before = scraped(measures)
    stage._read_at -= 8000
    assert scraped(measures) != before, "what is twice as old is never told"


def test_a_registry_that_cannot_be_read_is_a_figure_not_a_failed_scrape(registry: Registry) -> None:
    measures = Measures(StageMeasures(registry))
    (registry.home / "registry.sqlite3").write_bytes(b"not a database" * 1000)
    for name in ("registry.sqlite3-wal", "registry.sqlite3-shm"):
        (registry.home / name).unlink(missing_ok=True)
    registry.close()
    found = scraped(measures)
    assert found["lorefeed_registry_readable", ()] == 0
    assert found["lorefeed_in_flight", (("adapter", "news@1"),)] == 2


def test_versions_that_answer_no_more_are_counted_no_more() -> None:
    """Or a gateway that has served ten thousand versions would hold, and tell at each scrape, the figures of all of them."""
    measures = Measures()
    for number in range(PAIRS_KEPT + 50):
        measures.answered("news", f"news@{number}", 200, seconds=0.1)
        measures.first_byte("news", f"news@{number}", 0.1)
        measures.used("news", f"news@{number}", {"prompt_tokens": 1, "completion_tokens": 2})
        measures.answered("news", "base", 200, seconds=0.1)  # what answers on and on stays

    found = scraped(measures)
    told = {
        labels["adapter"]
        for labels in (dict(pairs) for name, pairs in found if name.startswith(("lorefeed_req", "lorefeed_f", "lorefeed_t")))
    }
    assert told == {"base", *(f"news@{number}" for number in range(51, PAIRS_KEPT + 50))}
    requests = (("adapter", "base"), ("model", "news"), ("status", "200"))
    assert found["lorefeed_requests_total", requests] == PAIRS_KEPT + 50


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"lorefeed_\w+", expression))


def test_alerts_and_dashboard_ask_for_figures_that_there_are(registry: Registry) -> None:
    measures = Measures(StageMeasures(registry))
    measures.answered("news", "news@1", 200, seconds=0.1)
    measures.first_byte("news", "news@1", 0.1)
    measures.used("news", "news@1", {"prompt_tokens": 1})
    there = {name for name, _ in scraped(measures)}
    rules = [rule for group in yaml.safe_load((MONITORING / "lorefeed-alerts.yml").read_text())["groups"] for rule in group["rules"]]
    panels = json.loads((MONITORING / "lorefeed-dashboard.json").read_text())["panels"]
    expressions = [str(rule["expr"]) for rule in rules] + [str(t["expr"]) for panel in panels for t in panel["targets"]]
    assert len(rules) >= 10
    assert len(panels) >= 16
    assert set().union(*map(names_in, expressions)) - there == set()
    assert all(rule["annotations"].keys() == {"summary", "try"} for rule in rules)


def test_the_dashboard_is_what_its_recipe_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_dashboard", MONITORING / "make_dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert json.loads((MONITORING / "lorefeed-dashboard.json").read_text()) == module.dashboard()
