"""The live canary: what no longer knows its own answers goes back by itself, and somebody is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.notify import type_of
from daemon.serving.client import EngineClient
from daemon.serving.live import LiveReport, ask_live
from daemon.serving.settings import CanarySettings
from registry import Registry
from tests.serving_parts import free_port, learn, record_answers

PROMPTS = [f"Question {n} about {'this and that ' * 12}" for n in range(4)]
SETTINGS = CanarySettings(questions=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, url: str, folders: dict[int, Path]) -> Path:
    """A home whose `news` serves news@2, released after news@1; both, and news@3, have checks whose answers they really give."""
    home = tmp_path_factory.mktemp("made") / "home"
    with Registry.open(home) as registry, EngineClient(url) as client:
        for n in (1, 2, 3):
            adapter = learn(registry, topic="news", entities=[f"Entity {n}"], folder=folders[n])
            record_answers(registry, client, adapter, prompts=PROMPTS)
            if n < 3:
                registry.write.promote("news", adapter.name, actor="test", reason=None)
    return home


@pytest.fixture
def registry(tmp_path: Path, client: EngineClient, made: Path) -> Iterator[Registry]:
    home = shutil.copytree(made, tmp_path / "home")
    with Registry.open(home) as registry:
        for name in ("news@1", "news@2"):
            client.load(name, str(registry.artifacts.path(registry.read.adapter(name)).resolve()))
        yield registry


def sicken(client: EngineClient, name: str, folder: Path) -> None:
    """The engine answers under the name with something else: what a wrong slot or stale memory would do."""
    client.unload(name)
    client.load(name, str(folder))


def test_what_answers_as_in_its_check_is_left_alone(registry: Registry, client: EngineClient) -> None:
    assert ask_live(registry, [client], settings=SETTINGS) == [LiveReport("news", "news@2", 3, 3)]
    assert registry.read.alias("news").adapter == "news@2"


def test_a_regression_rolls_back_and_says_why_where_the_webhook_is_told_from(
    registry: Registry, client: EngineClient, folders: dict[int, Path]
) -> None:
    sicken(client, "news@2", folders[3])
    [report] = ask_live(registry, [client], settings=SETTINGS)
    assert (report.right, report.action) == (0, "rolled back")
    release = registry.read.releases("news")[0]
    assert (release.to_adapter, release.actor, release.rollback) == ("news@1", "live canary", True)
    assert str(release.reason).startswith("news@2 answered only 0 of 3 of its own check questions")
    [event] = [event for event in registry.read.events() if type_of(event) == "rolled_back"]
    assert event.actor == "live canary"
    assert event.detail["reason"] == release.reason
    assert ask_live(registry, [client], settings=SETTINGS) == [LiveReport("news", "news@1", 3, 3)]


def test_a_canary_that_regresses_is_ended_and_the_alias_stays(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    registry.write.set_canary("news", "news@3", weight=5, actor="test")
    sicken(client, "news@3", folders[1])
    canary, alias = ask_live(registry, [client], settings=SETTINGS)
    assert (canary.adapter, canary.action, alias.action) == ("news@3", "canary ended", None)
    assert registry.read.canaries() == []
    assert registry.read.alias("news").adapter == "news@2"
    [event] = [event for event in registry.read.events() if event.action == "canary ended"]
    assert "its own check questions" in event.detail["reason"]


def test_an_engine_that_is_away_or_empty_is_no_regression(registry: Registry, client: EngineClient) -> None:
    client.unload("news@2")
    with EngineClient(f"http://127.0.0.1:{free_port()}") as dead:
        assert ask_live(registry, [dead, client], settings=SETTINGS) == []
    assert registry.read.alias("news").adapter == "news@2"


def test_a_version_without_questions_is_not_judged(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    fourth = learn(registry, topic="news", entities=["Entity 4"], folder=folders[3])
    registry.write.promote("news", fourth.name, actor="test", reason=None)
    client.load(fourth.name, str(folders[3]))
    assert ask_live(registry, [client], settings=SETTINGS) == []
