"""An alias with several topics gets a version merged of theirs, by the real learning worker."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

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


def settings(registry: Registry, **more: dict[str, float]) -> Settings:
    return load_settings(registry.home, **{**SHORT, **more})


def test_topics_are_merged_checked_and_served_again_when_one_moves(registry: Registry, tmp_path: Path) -> None:
    with Teacher("embedded", revision=None, cache=tmp_path / "cache", timeout_s=120) as teacher:
        for topic, name, text in (("film", "Velmora", PIER), ("towns", "Tarnuvik", BAR)):
            prepared(registry, add_feed(registry, topic, topic=topic), name, text)
            assert learn_topic(registry, teacher, settings(registry), topic).released
        assert merges_due(registry) == {}
        registry.write.set_alias("all", topics=["film", "towns"], scope="mention")
        assert merges_due(registry) == {"all": ["film@1", "towns@1"]}
        due = enqueue_due(registry, settings(registry), datetime.now(UTC) + timedelta(hours=1)).queued
        assert [(job.kind, job.payload["alias"]) for job in due if job.kind == "merge"] == [("merge", "all")]
        run = merge(registry, teacher, settings(registry), "all", actor="test")
        assert run is not None
        assert (run.verdict, run.against) == ("passed", "film@1, towns@1")
        made = registry.read.adapter("all@1")
        assert (made.state, made.rank, made.method, len(made.rehearsed)) == ("live", 64, "merge", 2)
        assert run.metrics["kept"]["n"] <= 2
        assert run.metrics["learned"]["n"] == 2
        assert merges_due(registry) == {}
        assert merge(registry, teacher, settings(registry), "all", actor="test") is None
        registry.write.rollback("towns", to=None, actor="test", reason="wrong")
        assert merges_due(registry) == {}  # one topic alone needs no merging
        registry.write.forget(entity="Velmora", actor="test", reason="withdrawn")
        report = learn_topic(registry, teacher, settings(registry), "all")
        assert report.forgotten is not None
        assert registry.read.alias("all").adapter is None
    assert registry.doctor() == []


@pytest.mark.slow
def test_a_merged_version_that_is_refused_is_not_made_again(registry: Registry, tmp_path: Path) -> None:
    with Teacher("embedded", revision=None, cache=tmp_path / "cache", timeout_s=120) as teacher:
        for topic, name, text in (("film", "Velmora", PIER), ("towns", "Tarnuvik", BAR)):
            prepared(registry, add_feed(registry, topic, topic=topic), name, text)
            assert learn_topic(registry, teacher, settings(registry), topic).released
        registry.write.set_alias("all", topics=["film", "towns"], scope="mention")
        run = merge(registry, teacher, settings(registry, check={"pinned_kl_max": 0.0}), "all", actor="test")
        assert run is not None
        assert run.verdict == "refused"
        assert (registry.read.alias("all").adapter, merges_due(registry)) == (None, {})
