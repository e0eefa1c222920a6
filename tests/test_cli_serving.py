"""promote, ask and rollback against the real engine and the real gateway, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.embedded.generate import Generator
from daemon.serving.client import EngineClient
from daemon.serving.engine_app import create_engine
from daemon.serving.gateway import create_gateway
from daemon.serving.settings import GatewaySettings
from registry import Registry
from tests.cli_parts import Cli, free_port, make_cli
from tests.serving_parts import learn, make_adapter, make_model, serving

QUESTION = "Who is Varn Oslith?"


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """A home with news@1 and news@2, both checked, none served; engine and gateway running."""
    made = make_cli(tmp_path, capsys, monkeypatch)
    model = make_model(tmp_path / "model")
    with made.registry() as registry:
        first = learn(registry, topic="news", entities=["Varn Oslith"], folder=make_adapter(model, tmp_path / "1", seed=1))
        rehearsed = first.definitions
        learn(registry, topic="news", entities=["Omm Tarel"], folder=make_adapter(model, tmp_path / "2", seed=2), rehearsed=rehearsed)
    ports = {"engine": free_port(), "gateway": free_port()}
    for name, port in ports.items():
        monkeypatch.setenv(f"LOREFEED_{name.upper()}__PORT", str(port))
    monkeypatch.setenv("LOREFEED_MODEL", "tiny")
    front = GatewaySettings(port=ports["gateway"])
    with Generator(model) as generator, Registry.open(made.home) as registry:
        engine = create_engine(generator, served_name="tiny", root=str(model))
        gateway = create_gateway(registry, engine_url=f"http://127.0.0.1:{ports['engine']}", base_name="tiny", settings=front)
        with serving(engine, port=ports["engine"]), serving(gateway, port=ports["gateway"]):
            yield made


def answers(cli: Cli, *arguments: object) -> dict[str, tuple[str | None, str]]:
    said = cli("ask", QUESTION, "--max-tokens", 12, *arguments, "--json").json
    assert list(said) == ["question", "answers"]
    assert said["question"] == QUESTION
    assert all(list(answer) == ["model", "adapter", "text"] for answer in said["answers"])
    return {answer["model"]: (answer["adapter"], answer["text"]) for answer in said["answers"]}


def test_what_is_promoted_is_in_the_engine_and_answers_until_it_is_rolled_back(cli: Cli) -> None:
    address = cli("status", "--json").json["engine"]
    assert address["healthy"] is True

    assert cli("promote", "news@1").status == 0
    assert cli("promote", "news@2").err == ""
    with EngineClient(address["url"]) as engine:
        assert {card.name for card in engine.models()} == {"tiny", "news@1", "news@2"}
    second = answers(cli, "--compare")
    assert {model: adapter for model, (adapter, _) in second.items()} == {"base": "base", "news": "news@2"}
    assert second["news"][1] != second["base"][1]

    cli("rollback", "news", "--reason", "wrong")
    first = answers(cli)  # the only alias is the one that is asked
    assert first["news"][0] == "news@1"
    assert first["news"][1] != second["news"][1]
    assert answers(cli, "--model", "base", "--model", "news@1")["news@1"] == first["news"]
    assert QUESTION in cli("ask", QUESTION, "--compare", "--max-tokens", 3).out


def test_base_topic_and_merged_version_are_shown_beside_each_other(cli: Cli, tmp_path: Path) -> None:
    with cli.registry() as registry:
        registry.write.promote("news", "news@2", actor="test", reason=None)
        for n, (topic, entity) in enumerate({"law": "Quorl Act", "all": "Varn Oslith"}.items(), start=3):
            learnt = learn(registry, topic=topic, entities=[entity], folder=make_adapter(tmp_path / "model", tmp_path / str(n), seed=n))
            registry.write.promote(topic, learnt.name, actor="test", reason=None)
        registry.write.set_alias("all", topics=["news", "law"], scope="mention")

    found = answers(cli, "--compare")

    by = {model: adapter for model, (adapter, _) in found.items()}
    assert by == {"base": "base", "all": "news@2", "law": "base", "news": "news@2", "all@1": "all@1"}
    assert len({found[model][1] for model in ("base", "news", "all@1")}) == 3
    assert found["all"] == found["news"], "the question names only one topic's things"


def test_asking_for_what_is_not_served_names_what_is(cli: Cli) -> None:
    said = cli("ask", QUESTION, "--model", "nothing")

    assert said.status == 1
    assert "nothing" in said.err
    assert "news" in said.err


def test_doctor_is_content_with_what_answers(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = cli("doctor", "--json").json["findings"]

    assert not {"engine", "gateway"} & {finding["object"] for finding in findings}
