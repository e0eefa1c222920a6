"""How a version is made on top of another, by the real learning worker."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.learn import ranks
from daemon.pipeline import learn_topic
from daemon.teacher import Teacher
from registry import Registry
from tests.registry_parts import add_feed
from tests.test_relearn import BAR, PIER, SHORT, prepared, settings


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teacher]:
    with Teacher("embedded", revision=None, cache=tmp_path_factory.mktemp("cache"), timeout_s=120) as teacher:
        yield teacher


def test_a_version_keeps_to_the_rank_and_the_start_of_the_one_it_builds_on(tmp_path: Path, teacher: Teacher) -> None:
    with Registry.open(tmp_path / "home") as registry:
        feed = add_feed(registry)
        for name, text, learn in (("Velmora", PIER, {"rank": 8, "init": "random"}), ("Tarnuvik", BAR, {})):
            prepared(registry, feed, name, text)
            assert learn_topic(registry, teacher, settings(registry, learn=SHORT["learn"] | learn), "news").released
        second = registry.read.adapter("news@2")
        config = json.loads((registry.artifacts.verify(second) / "adapter_config.json").read_text())
        assert (second.parent, second.rank, config["r"], config["lora_alpha"]) == ("news@1", 8, 8, 8)
        assert second.settings["init"] == "random"
        prepared(registry, feed, "Ostravel", "Ostravel is a medicine that is taken against fever. It tastes of lemon.")
        registry.write.rollback("news", to=None, actor="test", reason="wrong")
        registry.write.rollback("news", to=None, actor="test", reason="wrong")
        report = learn_topic(registry, teacher, settings(registry), "news")
        assert report.released
        newest = registry.read.adapter(report.attempts[-1])
        assert (newest.parent, newest.rank, newest.settings["init"]) == (None, 32, "apart")


def test_the_rank_grows_with_what_the_topic_holds(tmp_path: Path, teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "HELD_APART", 0.1)
    with Registry.open(tmp_path / "home") as registry:
        feed = add_feed(registry)
        for name, text in (("Velmora", PIER), ("Tarnuvik", BAR)):
            prepared(registry, feed, name, text)
            assert learn_topic(
                registry, teacher, settings(registry, learn=SHORT["learn"] | {"rank": 8, "merged_rank": 32}), "news"
            ).released
        first, second = (registry.read.adapter(f"news@{n}") for n in (1, 2))
        assert (first.rank, second.rank, second.parent) == (16, 32, first.name)
        for adapter in (first, second):
            config = json.loads((registry.artifacts.verify(adapter) / "adapter_config.json").read_text())
            assert (config["r"], config["lora_alpha"]) == (adapter.rank, 8)


@pytest.mark.parametrize(
    ("how", "parents", "strategies"),
    [
        ({"strategy": "retrain"}, [None, None], ["warm", "retrain"]),
        ({"strategy": "warm", "retrain_after": 1}, [None, None], ["warm", "retrain"]),
        ({"strategy": "merge"}, [None, "news@1"], ["warm", "merge"]),
    ],
)
def test_a_version_follows_the_one_before_by_the_strategy(
    tmp_path: Path, teacher: Teacher, how: dict[str, Any], parents: list[str | None], strategies: list[str]
) -> None:
    with Registry.open(tmp_path / "home") as registry:
        feed = add_feed(registry)
        told = []
        for name, text in (("Velmora", PIER), ("Tarnuvik", BAR)):
            told.append(prepared(registry, feed, name, text).id)
            assert learn_topic(registry, teacher, settings(registry, learn=SHORT["learn"] | how), "news").released
        made = [registry.read.adapter(name) for name in ("news@1", "news@2")]
        assert [a.parent for a in made] == parents
        assert [a.settings["strategy"] for a in made] == strategies
        assert [(list(a.definitions), list(a.rehearsed)) for a in made] == [(told[:1], []), (told[1:], told[:1])]
        assert registry.read.carried("news@2") == set(told)
        manifest = json.loads((registry.artifacts.verify(made[1]) / "manifest.json").read_text())
        learnt = 2 * len(told) if strategies[1] == "retrain" else 2  # two examples of each definition
        assert manifest["report"]["examples"] == learnt
        assert manifest["report"]["details"].get("merged", {}).get("way") == ("sum" if strategies[1] == "merge" else None)
        assert registry.doctor() == []
