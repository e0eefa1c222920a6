"""Reconcile: whatever state an engine is in, afterwards it holds what the registry serves, and says what it could not do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.serving.client import EngineClient
from daemon.serving.errors import EngineDown
from daemon.serving.reconcile import ReconcileReport, reconcile, reconcile_all
from daemon.serving.settings import ReconcileSettings
from registry import NewCheckRun, NewProbe, Registry
from tests.serving_parts import free_port, learn, make_adapter, record_answers

SETTINGS = ReconcileSettings(base_name="tiny")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> dict[int, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {n: make_adapter(model_dir, root / str(n), seed=n, zero=n == 0) for n in range(4)}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as registry:
        yield registry


def promoted(registry: Registry, folders: dict[int, Path], *, count: int) -> None:
    for n in range(1, count + 1):
        adapter = learn(registry, topic="news", entities=[f"Entity {n}"], folder=folders[n])
        registry.write.promote("news", adapter.name, actor="test", reason=None)


def names(client: EngineClient) -> list[str]:
    return [card.name for card in client.models()[1:]]


def test_what_is_served_and_what_came_before_are_loaded(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    promoted(registry, folders, count=3)
    assert reconcile(registry, client, settings=SETTINGS) == ReconcileReport(loaded=("news@3", "news@2"))
    assert reconcile(registry, client, settings=SETTINGS) == ReconcileReport(kept=("news@3", "news@2"))
    roots = {card.name: card.root for card in client.models()}
    assert roots["news@3"] == str(registry.artifacts.path(registry.read.adapter("news@3")).resolve())


def test_versions_outside_the_rollback_window_are_unloaded(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    promoted(registry, folders, count=2)
    reconcile(registry, client, settings=SETTINGS)
    third = learn(registry, topic="news", entities=["Entity 3"], folder=folders[3])
    registry.write.promote("news", third.name, actor="test", reason=None)
    report = reconcile(registry, client, settings=SETTINGS)
    assert (report.loaded, report.unloaded, report.kept) == (("news@3",), ("news@1",), ("news@2",))


def test_what_may_be_asked_for_by_name_stays_a_while_unless_its_place_is_needed(
    registry: Registry, client: EngineClient, folders: dict[int, Path]
) -> None:
    promoted(registry, folders, count=3)
    roomy, narrow = replace(SETTINGS, idle_s=3600.0, max_resident=3), replace(SETTINGS, idle_s=3600.0, max_resident=2)
    client.load("news@1", str(registry.artifacts.path(registry.read.adapter("news@1")).resolve()))
    assert reconcile(registry, client, settings=roomy).unloaded == ()
    assert reconcile(registry, client, settings=replace(roomy, idle_s=1e-6)).unloaded == ("news@1",), "it was seen before"
    client.load("news@1", str(registry.artifacts.path(registry.read.adapter("news@1")).resolve()))
    assert reconcile(registry, client, settings=replace(roomy, idle_s=1e-6)).unloaded == (), "it is seen anew"
    assert reconcile(registry, client, settings=narrow).unloaded == ("news@1",)
    assert set(names(client)) == {"news@3", "news@2"}


def test_after_a_rollback_both_ways_stay_open(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    promoted(registry, folders, count=3)
    registry.write.rollback("news", to=None, actor="test", reason="bad")
    reconcile(registry, client, settings=SETTINGS)
    assert names(client) == ["news@2", "news@3", "news@1"], "served now, the one just left, and where the next rollback goes"


def test_a_restarted_engine_is_filled_again(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    promoted(registry, folders, count=2)
    reconcile(registry, client, settings=SETTINGS)
    for name in names(client):
        client.unload(name)
    assert reconcile(registry, client, settings=SETTINGS).loaded == ("news@2", "news@1")


def test_a_name_loaded_from_elsewhere_is_replaced(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    promoted(registry, folders, count=1)
    client.load("news@1", str(folders[2]))
    foreign = client.complete("y" * 200, model="news@1", max_tokens=12).text
    assert reconcile(registry, client, settings=SETTINGS).loaded == ("news@1",)
    assert client.complete("y" * 200, model="news@1", max_tokens=12).text != foreign


def test_adapters_of_others_are_left_alone(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    client.load("elsewhere@4", str(folders[2]))
    assert reconcile(registry, client, settings=SETTINGS) == ReconcileReport()
    assert names(client) == ["elsewhere@4"]


def test_a_damaged_artifact_is_not_loaded_and_is_told_once(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    promoted(registry, folders, count=2)
    weights = registry.artifacts.path(registry.read.adapter("news@2")) / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    for _ in range(2):
        report = reconcile(registry, client, settings=SETTINGS)
        assert len(report.problems) == 1
        assert "adapter_model.safetensors" in report.problems[0]
    assert names(client) == ["news@1"]
    told = [event for event in registry.read.events() if event.action == "not served"]
    assert [(event.object, event.detail["problem"]) for event in told] == [("adapter news@2", report.problems[0])]


def test_an_adapter_that_changes_nothing_is_not_served(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    adapter = learn(registry, topic="news", entities=["Nothing"], folder=folders[0])
    registry.write.promote("news", adapter.name, actor="test", reason=None)
    report = reconcile(registry, client, settings=SETTINGS)
    assert report.problems == ("news@1 was loaded but answers exactly like the base model",)
    assert names(client) == []
    assert registry.read.adapter("news@1").unserved == report.problems[0]


def test_an_adapter_must_answer_as_it_did_in_its_check(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    promoted(registry, folders, count=2)
    prompts = [f"Question {n} about {'this and that ' * 12}" for n in range(4)]
    record_answers(registry, client, registry.read.adapter("news@1"), prompts=prompts)
    right = registry.read.check_results(registry.read.check_runs("news@1")[0].id)
    assert len({result.answer for result in right}) == 4
    assert reconcile(registry, client, settings=SETTINGS).loaded == ("news@2", "news@1")

    second = registry.read.adapter("news@2")
    probes = registry.write.save_probes(second.definitions[0], [NewProbe(kind="direct", prompt=p, target="x") for p in prompts])
    wrong = [replace(result, probe_id=probe.id) for result, probe in zip(right, probes, strict=True)]  # what the other version said
    check = NewCheckRun(digest=str(second.digest), base_digest="b" * 64, verdict="passed")
    registry.write.record_check("news@2", check, wrong)
    client.unload("news@2")
    [problem] = reconcile(registry, client, settings=SETTINGS).problems
    assert problem == "news@2 was loaded but answers only 0 of 4 questions as it did in its check"
    assert names(client) == ["news@1"]
    registry.write.record_check("news@2", check, [])
    assert reconcile(registry, client, settings=SETTINGS).loaded == ("news@2",)
    assert registry.read.adapter("news@2").unserved is None, "what was proven again is served again"


def test_a_folder_that_is_damaged_while_it_is_served_never_reaches_the_engine_again(
    registry: Registry, client: EngineClient, folders: dict[int, Path]
) -> None:
    promoted(registry, folders, count=2)
    reconcile(registry, client, settings=SETTINGS)
    weights = registry.artifacts.path(registry.read.adapter("news@2")) / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.chmod(0o644)
    for damage in (whole[:-1] + b"\x01", whole[: len(whole) // 2], None):
        weights.unlink() if damage is None else weights.write_bytes(damage)
        for _ in range(2):
            report = reconcile(registry, client, settings=SETTINGS)
            assert (names(client), report.kept) == (["news@1"], ("news@1",))
            assert "adapter_model.safetensors" in str(registry.read.adapter("news@2").unserved)
        weights.write_bytes(whole)
        assert reconcile(registry, client, settings=SETTINGS).loaded == ("news@2",)
        assert registry.read.adapter("news@2").unserved is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "trains biases"),
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"peft_type": "IA3"}, "no LoRA"),
        ({"r": 64}, "its rank is 64"),
        ({"rank_pattern": {"q_proj": 32}}, "its rank is 32"),
    ],
)
def test_what_engines_do_not_serve_is_not_offered_to_them(
    registry: Registry, client: EngineClient, folders: dict[int, Path], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    folder = shutil.copytree(folders[1], tmp_path / "changed")
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    adapter = learn(registry, topic="news", entities=["Thing"], folder=folder)
    registry.write.promote("news", adapter.name, actor="test", reason=None)
    [problem] = reconcile(registry, client, settings=replace(SETTINGS, max_rank=16)).problems
    assert said in problem
    assert said in str(registry.read.adapter("news@1").unserved)
    assert names(client) == []


def test_the_canary_is_loaded_and_what_has_no_room_is_said(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    promoted(registry, folders, count=2)
    trial = learn(registry, topic="news", entities=["Entity 3"], folder=folders[3])
    registry.write.set_canary("news", trial.name, weight=5, actor="test")
    report = reconcile(registry, client, settings=replace(SETTINGS, max_resident=2))
    assert report.loaded == ("news@2", "news@3")
    assert report.problems == ("news@1 is wanted but has no room among 2 adapters; it is loaded when it is asked for",)
    assert reconcile(registry, client, settings=SETTINGS).loaded == ("news@1",)


def test_one_of_several_engines_may_be_down(registry: Registry, client: EngineClient, folders: dict[int, Path]) -> None:
    promoted(registry, folders, count=1)
    with EngineClient(f"http://127.0.0.1:{free_port()}") as dead:
        reports = reconcile_all(registry, [dead, client], settings=SETTINGS)
    assert reports[client.url] == ReconcileReport(loaded=("news@1",))
    assert "cannot be reached" in reports[dead.url].problems[0]


def test_an_adapter_of_another_base_is_refused_with_both_digests(
    registry: Registry, client: EngineClient, folders: dict[int, Path]
) -> None:
    promoted(registry, folders, count=1)
    report = reconcile(registry, client, settings=ReconcileSettings(base_name="tiny", base_digest="c" * 64))
    assert "bbbbbbbbbbbb" in report.problems[0]
    assert "cccccccccccc" in report.problems[0]
    assert names(client) == []


def test_an_engine_that_is_down_is_said_so(registry: Registry) -> None:
    with EngineClient(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(EngineDown):
        reconcile(registry, client, settings=SETTINGS)
