"""An alias with several topics gets a version merged of theirs, by the real learning worker."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Settings, load_settings
from daemon.pipeline import learn_topic
from daemon.scheduler import enqueue_due
from daemon.stages.merge import merge, merges_due
from daemon.teacher import Teacher
from registry import Registry
from tests.registry_parts import add_feed
from tests.test_relearn import BAR, PIER, SHORT, prepared


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teacher]:
    with Teacher("embedded", revision=None, cache=tmp_path_factory.mktemp("cache"), timeout_s=120) as teacher:
        yield teacher


def settings(registry: Registry, **more: dict[str, Any]) -> Settings:
    return load_settings(registry.home, **{**SHORT, **more})


def test_topics_are_merged_checked_and_served_again_when_one_moves(registry: Registry, teacher: Teacher) -> None:
    for topic, name, text in (("film", "Velmora", PIER), ("towns", "Tarnuvik", BAR)):
        prepared(registry, add_feed(registry, topic, topic=topic), name, text)
        assert learn_topic(registry, teacher, settings(registry), topic).released
    assert merges_due(registry, settings(registry)) == {}
    registry.write.set_alias("all", topics=["film", "towns"], scope="mention")
    assert merges_due(registry, settings(registry)) == {"all": ["film@1", "towns@1"]}
    due = enqueue_due(registry, settings(registry), datetime.now(UTC) + timedelta(hours=1)).queued
    assert [(job.kind, job.payload["alias"]) for job in due if job.kind == "merge"] == [("merge", "all")]
    run = merge(registry, teacher, settings(registry), "all", actor="test")
    assert run is not None
    assert (run.verdict, run.against) == ("passed", "film@1, towns@1")
    made = registry.read.adapter("all@1")
    assert (made.state, made.rank, made.method, len(made.rehearsed)) == ("live", 32, "merge", 2)
    assert made.settings["way"] == "retrain"
    assert run.metrics["kept"]["n"] <= 2
    assert run.metrics["learned"]["n"] == 2
    assert merges_due(registry, settings(registry)) == {}
    assert merge(registry, teacher, settings(registry), "all", actor="test") is None
    registry.write.rollback("towns", to=None, actor="test", reason="wrong")
    assert merges_due(registry, settings(registry)) == {}  # one topic alone needs no merging
    registry.write.forget(entity="Velmora", actor="test", reason="withdrawn")
    report = learn_topic(registry, teacher, settings(registry), "all")
    assert report.forgotten is not None
    assert registry.read.alias("all").adapter is None
    assert registry.doctor() == []


def test_where_what_was_merged_is_refused_all_is_learnt_from_the_base_once(registry: Registry, teacher: Teacher) -> None:
    for topic, name, text in (("film", "Velmora", PIER), ("towns", "Tarnuvik", BAR)):
        prepared(registry, add_feed(registry, topic, topic=topic), name, text)
        assert learn_topic(registry, teacher, settings(registry), topic).released
    registry.write.set_alias("all", topics=["film", "towns"], scope="mention")
    by_sum = {"learn": SHORT["learn"] | {"merged_by": "sum"}}
    run = merge(registry, teacher, settings(registry, check={"pinned_kl_max": 0.0}, **by_sum), "all", actor="test")
    assert run is not None
    assert (run.adapter, run.verdict) == ("all@2", "refused")
    made = [registry.read.adapter(name) for name in ("all@1", "all@2")]
    assert [(a.state, a.settings["way"], a.rank, len(a.rehearsed)) for a in made] == [
        ("refused", "sum", 128, 2),
        ("refused", "retrain", 32, 2),
    ]
    manifest = json.loads((registry.artifacts.verify(made[1]) / "manifest.json").read_text())
    assert (manifest["way"], manifest["report"]["examples"]) == ("retrain", 4)
    assert (registry.read.alias("all").adapter, merges_due(registry, settings(registry))) == (None, {})
    assert merge(registry, teacher, settings(registry, **by_sum), "all", actor="test") is None
    ties = settings(registry, learn=SHORT["learn"] | {"merged_by": "ties"})
    assert merges_due(registry, ties) == {"all": ["film@1", "towns@1"]}  # nobody has tried that yet
    run = merge(registry, teacher, ties, "all", actor="test")
    assert run is not None
    assert (run.adapter, registry.read.adapter("all@3").settings["way"]) == ("all@3", "ties")
    assert registry.doctor() == []
