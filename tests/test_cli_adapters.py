"""`lorefeed adapters diff`, `export` and `import`, and `lorefeed forget` where nothing has to be trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry import CheckResult, NewCheckRun, NewProbe, Registry
from tests.cli_parts import Cli, make_cli
from tests.registry_parts import add_feed, begin, define, judge, learn, promote


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """news@1 carries Mole, news@2 Mole and Tide and is served; a question about Mole is answered wrongly by the second."""
    cli = make_cli(tmp_path, capsys, monkeypatch)
    cli.home.mkdir()
    with cli.registry() as registry:
        feed = add_feed(registry)
        mole, tide = define(registry, feed, "Mole", "Mole is a pier."), define(registry, feed, "Tide", "Tide is a bar.")
        registry.write.set_alias("news", topics=["news"], scope="mention")
        checked(registry, mole.id, right=True, definitions=[mole.id])
        checked(registry, mole.id, right=False, parent="news@1", definitions=[tide.id], rehearsed=[mole.id])
    return cli


def checked(registry: Registry, asked_about: int, *, right: bool, **made: object) -> None:
    adapter = learn(registry, verdict=None, **made)  # type: ignore[arg-type]
    answer = "a pier" if right else "a bird"
    metrics = {"learned": {"value": 0.9 if right else 0.7, "n": 4}}
    result = CheckResult(asked_about, None, "paraphrase", "What is Mole?", "a pier", "a mole", answer, right, {})
    registry.write.record_check(adapter.name, NewCheckRun(str(adapter.digest), "base-digest", "passed", metrics=metrics), [result])
    promote(registry, registry.read.adapter(adapter.name))


def test_diff_shows_what_is_carried_measured_and_answered_differently(cli: Cli) -> None:
    found = cli("adapters", "diff", "news@1", "news@2", "--json").json
    assert ([d["entity"] for d in found["only_a"]], [d["entity"] for d in found["only_b"]], found["both"]) == ([], ["Tide"], 1)
    assert found["metrics"] == [{"name": "learned", "a": 0.9, "b": 0.7}]
    assert (found["asked"], found["settings"]) == (1, [])
    [changed] = found["answers"]
    assert (changed["prompt"], changed["a"], changed["b"], changed["right"]) == ("What is Mole?", "a pier", "a bird", "a")
    said = cli("adapters", "diff", "news@1", "news@2").out
    assert "Only in news@2" in said
    assert "a bird" in said


def test_diff_with_a_version_that_is_not_there_says_so(cli: Cli) -> None:
    said = cli("adapters", "diff", "news@1", "news@9")
    assert (said.status, "There is no adapter news@9" in said.err, "Try:" in said.err) == (1, True, True)


def test_export_gives_a_folder_that_says_what_it_is(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert cli("adapters", "export", "news@2", target).status == 0
    with cli.registry() as registry:
        source = registry.artifacts.path(registry.read.adapter("news@2"))
    assert (target / "adapter_model.safetensors").read_bytes() == (source / "adapter_model.safetensors").read_bytes()
    assert json.loads((target / "check.json").read_text())["verdict"] == "passed"
    card = (target / "README.md").read_text()
    assert card.startswith("---\nbase_model: tiny\n")
    assert "It passed its check" in card
    assert "| learned | 0.700 | 4 |" in card


def test_export_overwrites_nothing_and_gives_away_nothing_that_was_altered(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    said = cli("adapters", "export", "news@1", tmp_path)
    assert (said.status, "is not an empty folder" in said.err) == (1, True)
    with cli.registry() as registry:
        (registry.artifacts.path(registry.read.adapter("news@1")) / "adapter_model.safetensors").write_bytes(b"other")
    said = cli("adapters", "export", "news@1", tmp_path / "out")
    assert (said.status, (tmp_path / "out").exists()) == (1, False)
    assert "adapter_model.safetensors" in said.err


def test_forget_says_what_would_go_before_anything_goes(cli: Cli) -> None:
    plan = cli("forget", "--entity", "Tide", "--dry-run", "--json").json
    assert ([d["entity"] for d in plan["definitions"]], [a["adapter"] for a in plan["adapters"]]) == (["Tide"], ["news@2"])
    assert plan["topics"] == ["news"]
    assert cli("definitions", "list", "--state", "forgotten", "--json").json == []
    said = cli("forget", "--feed", "harbour", "--dry-run").out
    assert "2 documents would be withdrawn: 1, 2." in said
    assert "The feed harbour is still polled" in said


def test_forget_needs_one_thing_that_is_there(cli: Cli) -> None:
    for wrong, words in (([], "One thing is forgotten at a time"), (["--entity", "Nobody"], "no definition of 'Nobody'")):
        said = cli("forget", *wrong)
        assert said.status == 1
        assert words in said.err
        assert "Try:" in said.err


def test_what_no_served_version_carries_is_forgotten_at_once(cli: Cli) -> None:
    with cli.registry() as registry:
        define(registry, registry.read.feed("harbour"), "Reef", "Reef is a bank.")
    done = cli("forget", "--entity", "Reef", "--reason", "a mistake", "--json").json
    assert (done["topics"], done["adapters"], [d["entity"] for d in done["definitions"]]) == ([], [], ["Reef"])
    [row] = cli("definitions", "list", "--state", "forgotten", "--json").json
    assert row["entity"] == "Reef"
    assert cli("audit", "verify").status == 0


@pytest.fixture
def exported(cli: Cli, tmp_path: Path) -> Path:
    """A version with a transfer set and a probe, as a real one has them, exported."""
    with cli.registry() as registry:
        feed = registry.read.feed("harbour")
        reef, mole = define(registry, feed, "Reef", "Reef is a bank."), registry.read.definition(1)
        registry.write.save_probes(reef.id, [NewProbe("paraphrase", "What is Reef?", "a bank", (), True, "self")])
        began = begin(registry, parent="news@2", definitions=[reef.id], rehearsed=[mole.id])
        folder = registry.artifacts.begin(began.name)
        (folder / "adapter_config.json").write_text(json.dumps({"r": 4}))
        example = {"entity": "Reef", "definition": "Reef is a bank.", "form": "plain", "prompt": "", "text": "Reef is a bank."}
        (folder / "transfer_set.jsonl").write_text(json.dumps(example) + "\n")
        taught = [{"id": d.id, "entity": d.entity, "text": d.text, "document": d.document_id, "url": d.url} for d in (reef, mole)]
        facts = {"method": "context", "base_model": "tiny", "base_digest": "base-digest", "definitions": [reef.id], "rehearsed": [mole.id]}
        digest = registry.artifacts.publish(folder, adapter_name=began.name, manifest={**facts, "taught": taught})
        registry.write.finish_learning(began.name, digest=digest)
    cli("adapters", "export", "news@3", tmp_path / "out")
    return tmp_path / "out"


def elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Another machine's home."""
    (tmp_path / "there").mkdir()
    return make_cli(tmp_path / "there", capsys, monkeypatch)


def test_a_version_comes_with_what_it_was_taught_and_is_served_once_it_passed(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = elsewhere(tmp_path, capsys, monkeypatch)
    cli("init")
    made = cli("adapters", "import", exported, "--topic", "harbour", "--json").json
    assert (made["adapter"], made["state"], made["parent"]) == ("harbour@1", "checking", None)
    with cli.registry() as registry:
        rows = registry.read.definitions(topic="harbour")
        assert [(d.entity, d.state.value, d.url) for d in rows] == [
            ("Reef", "held", "https://example.org/a"),
            ("Mole", "held", "https://example.org/a"),
        ]
        assert [p.prompt for p in registry.read.probes([rows[0].id])] == ["What is Reef?"]
        assert [e.text for e in registry.read.transfer_set([rows[0].id])] == ["Reef is a bank."]
        adapter = registry.read.adapter("harbour@1")
        assert (adapter.definitions, adapter.rehearsed) == ((rows[0].id,), (rows[1].id,))
        registry.artifacts.verify(adapter)
        judge(registry, adapter, verdict="passed")
        promote(registry, adapter, alias="harbour")
        assert registry.read.definition(rows[0].id).state == "learned"
        assert registry.doctor() == []
    assert cli("adapters", "import", exported, "--topic", "harbour", "--json").json["definitions"] == [1]


def test_an_altered_or_foreign_folder_is_not_taken_in(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = elsewhere(tmp_path, capsys, monkeypatch)
    (exported / "adapter_config.json").write_text("{}")
    said = cli("adapters", "import", exported)
    assert (said.status, "adapter_config.json is not what was exported" in said.err, "Try:" in said.err) == (1, True, True)
    (tmp_path / "empty").mkdir()
    assert "has no manifest.json" in cli("adapters", "import", tmp_path / "empty").err
    (tmp_path / "empty" / "manifest.json").write_text(json.dumps({"files": {}, "adapter": "news@1"}))
    assert "lacks method" in cli("adapters", "import", tmp_path / "empty").err
