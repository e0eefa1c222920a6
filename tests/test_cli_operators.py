"""What an operator does all day: watch, decide, set up, look."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from registry import NewProbe, NewTransferExample
from tests.cli_parts import Cli, fill, make_cli
from tests.registry_parts import add_feed, define


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return make_cli(tmp_path, capsys, monkeypatch)


def test_init_makes_a_private_home_with_settings_that_load(cli: Cli) -> None:
    said = cli("init")

    assert said.status == 0
    assert "Next:" in said.out
    assert stat.S_IMODE(cli.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((cli.home / "lorefeed.toml").stat().st_mode) == 0o600
    assert cli("config", "--json").json["model"] == "embedded"


def test_init_again_changes_nothing(cli: Cli) -> None:
    cli("init")
    file = cli.home / "lorefeed.toml"
    file.write_text("[learn]\nrank = 64\n")

    assert cli("init", "--json").json["written"] is False
    assert file.read_text() == "[learn]\nrank = 64\n"
    refused = cli("init", "--model", "some/model")
    assert refused.status == 1
    assert "--force" in refused.err


def test_init_by_force_keeps_the_old_file(cli: Cli, tmp_path: Path) -> None:
    cli("init")
    (cli.home / "lorefeed.toml").write_text("[learn]\nrank = 64\n")
    (tmp_path / 'a "model"').mkdir()

    assert cli("init", "--model", tmp_path / 'a "model"', "--force").status == 0

    assert (cli.home / "lorefeed.toml.old").read_text() == "[learn]\nrank = 64\n"
    config = cli("config", "--json").json
    assert (config["model"], config["learn"]["rank"]) == (str(tmp_path / 'a "model"'), 32)


def test_every_default_of_the_first_file_may_be_uncommented(cli: Cli) -> None:
    cli("init")
    file = cli.home / "lorefeed.toml"
    lines = file.read_text().splitlines()
    settings = [
        line for line in lines if " = " in line and line.startswith("# ") and line.split()[1].isidentifier() and line.split()[2] == "="
    ]
    kept = [line.removeprefix("# ") if line in settings and not line.endswith('""') else line for line in lines]
    file.write_text("\n".join(kept))

    before = cli("config", "--json").json

    assert len(settings) > 30
    file.unlink()
    assert cli("config", "--json").json == before


def test_secrets_are_masked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOREFEED_GATEWAY__API_KEY", "hunter2")
    cli("init")

    for more in ([], ["--json"], ["--explain"], ["--explain", "--json"]):
        said = cli("config", *more)
        assert said.status == 0
        assert "***" in said.out
        assert "hunter2" not in said.out + said.err


def test_the_environment_can_set_what_is_a_number_among_few(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOREFEED_LEARN__RANK", "32")
    assert cli("config", "--json").json["learn"]["rank"] == 32
    monkeypatch.setenv("LOREFEED_LEARN__RANK", "33")
    assert "learn.rank" in cli("config").err


def test_explaining_the_settings_gives_every_one_a_meaning(cli: Cli) -> None:
    listed = cli("config", "--explain", "--json").json

    assert {"learn.rank", "gateway.port", "home", "novelty.threshold"} <= {setting["key"] for setting in listed}
    assert all(setting["meaning"] for setting in listed)
    assert next(s for s in listed if s["key"] == "learn.rank")["variable"] == "LOREFEED_LEARN__RANK"


def test_a_folder_is_watched_under_its_own_name_and_whole_path(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "glossary").mkdir()
    monkeypatch.chdir(tmp_path)

    feed = cli("feeds", "add", "./glossary", "--topic", "terms", "--trust", "review", "--every", "2h", "--json").json

    assert (feed["name"], feed["kind"], feed["location"]) == ("glossary", "folder", str(tmp_path / "glossary"))
    assert (feed["topic"], feed["trust"], feed["interval_s"]) == ("terms", "review", 7200)
    assert [a["name"] for a in cli("aliases", "list", "--json").json] == ["terms"]


def test_feeds_without_a_name_get_one_of_their_own(cli: Cli) -> None:
    names = [cli("feeds", "add", f"https://www.example.org/{n}.xml", "--json").json["name"] for n in range(3)]

    assert names == ["example.org", "example.org-2", "example.org-3"]


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("/no/such/folder", "there is no such folder"),
        ("ftp://example.org/a.xml", "ftp"),
        ("example.org/feed.xml", "https://example.org/feed.xml"),
        ("https:///feed.xml", "whole address"),
        ("https://example.org:port/feed.xml", "whole address"),
    ],
)
def test_a_location_that_cannot_work_is_not_stored(cli: Cli, location: str, said: str) -> None:
    cli("init")

    refused = cli("feeds", "add", location)

    assert refused.status == 1
    assert said in refused.err
    assert cli("feeds", "list", "--json").json == []


def test_the_same_feed_is_not_watched_twice_for_one_topic(cli: Cli) -> None:
    cli("feeds", "add", "https://example.org/a.xml", "--name", "a")

    assert "as a" in cli("feeds", "add", "https://example.org/a.xml").err
    assert cli("feeds", "add", "https://example.org/a.xml", "--topic", "other").status == 0
    cli("feeds", "remove", "a")
    assert cli("feeds", "add", "https://example.org/a.xml", "--name", "a").status == 0


def test_a_feed_is_paused_resumed_and_removed(cli: Cli) -> None:
    cli("feeds", "add", "https://example.org/a.xml", "--name", "a")

    assert cli("feeds", "pause", "a", "--json").json["state"] == "paused"
    assert cli("feeds", "resume", "a", "--json").json["state"] == "active"
    assert cli("feeds", "remove", "a").status == 0
    assert cli("feeds", "list", "--json").json == []
    assert [feed["state"] for feed in cli("feeds", "list", "--all", "--json").json] == ["retired"]
    assert cli("feeds", "pause", "a").status == 1


def test_polling_brings_documents_and_a_failing_poll_ends_with_1(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.txt").write_text("The Blue Harbour is a café in Lisbon.")
    cli("feeds", "add", folder)

    polled = cli("feeds", "poll", "notes", "--json")
    [document] = cli("documents", "list", "--json").json
    (folder / "a.txt").unlink()
    folder.rmdir()
    failed = cli("feeds", "poll", "notes")

    assert polled.json["counts"]["documents"] == 1
    assert "Blue Harbour" in cli("documents", "show", document["id"], "--json").json["text"]
    assert failed.status == 1
    assert "notes" in failed.err
    assert cli("feeds", "list", "--json").json[0]["error_count"] == 1


def test_decisions_about_definitions_are_the_operators_and_are_recorded(cli: Cli) -> None:
    with cli.registry() as registry:
        fill(registry)

    assert [d["state"] for d in cli("definitions", "approve", "2", "--json").json] == ["waiting"]
    assert [d["state"] for d in cli("definitions", "hold", "2", "--reason", "later", "--json").json] == ["held"]
    assert cli("definitions", "approve", "2").status == 1
    assert [d["state"] for d in cli("definitions", "release", "2", "--json").json] == ["waiting"]
    assert [d["state"] for d in cli("definitions", "reject", "2", "--json").json] == ["rejected"]

    events = [(e["actor"], e["action"]) for e in cli("definitions", "show", "2", "--json").json["events"]]
    assert events[-4:] == [("operator", state) for state in ("waiting", "held", "waiting", "rejected")]


def test_of_several_definitions_all_move_or_none(cli: Cli) -> None:
    with cli.registry() as registry:
        fill(registry)
        define(registry, registry.read.feed("harbour"), "Omm", "Omm is a river.", state="review")

    said = cli("definitions", "approve", "3", "1")

    assert said.status == 1
    assert "Blue Harbour" in said.err
    assert [d["state"] for d in cli("definitions", "list", "--json").json] == ["learned", "review", "review"]


def test_a_definition_is_shown_with_where_it_stands_and_what_carries_it(cli: Cli) -> None:
    with cli.registry() as registry:
        fill(registry)

    shown = cli("definitions", "show", "1", "--json").json

    assert shown["document"]["url"] == "https://example.org/a"
    assert [adapter["adapter"] for adapter in shown["adapters"]] == ["news@1", "news@2", "news@3"]
    for people in (cli("definitions", "show", "1"), cli("adapters", "show", "news@2"), cli("documents", "show", "1"), cli("status")):
        assert people.status == 0
        assert "None" not in people.out


def test_what_would_be_learnt_is_said_without_learning(cli: Cli) -> None:
    with cli.registry() as registry:
        fill(registry)
        define(registry, add_feed(registry, "other"), "Omm", "Omm is a river.")

    plan = cli("learn", "news", "--dry-run", "--json").json

    assert [d["entity"] for d in plan["waiting"]] == ["Omm"]
    assert [d["entity"] for d in plan["review"]] == ["Varn Oslith"]
    assert plan["rehearsed"] == 1
    assert len(cli("adapters", "list", "--json").json) == 3
    assert "news" in cli("learn", "nwes", "--dry-run").err


def test_learning_nothing_is_no_failure(cli: Cli) -> None:
    with cli.registry() as registry:
        add_feed(registry)

    said = cli("learn", "news", "--json")

    assert said.status == 0
    assert said.json["adapter"] is None


def test_checking_a_damaged_adapter_names_the_file(cli: Cli) -> None:
    with cli.registry() as registry:
        fill(registry)
        folder = registry.artifacts.path(registry.read.adapter("news@1"))
    (folder / "adapter_model.safetensors").write_bytes(b"other")

    said = cli("check", "news@1")

    assert said.status == 1
    assert "adapter_model.safetensors" in said.err


def test_an_alias_keeps_what_is_not_said_anew(cli: Cli) -> None:
    cli("init")
    cli("aliases", "set", "all", "--topics", "news,terms", "--scope", "always")

    changed = cli("aliases", "set", "all", "--scope", "mention", "--json").json

    assert (changed["topics"], changed["scope"]) == (["news", "terms"], "mention")
    assert cli("aliases", "set", "new").status == 2
    assert cli("aliases", "set", "all", "--topic", "a", "--topics", "b").status == 2
    assert cli("aliases", "remove", "all").status == 0
    assert cli("aliases", "remove", "all").status == 1


def test_extract_reads_standard_input_and_refuses_what_is_no_text(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, binary = tmp_path / "a.md", tmp_path / "b.txt"
    text.write_text("The Blue Harbour is a café in Lisbon that roasts its own coffee.")
    binary.write_bytes(bytes(range(256)) * 9)

    with text.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert [found["entity"] for found in cli("extract", "-", "--json").json] == ["Blue Harbour"]
    assert "not a text" in cli("extract", binary).err
    assert "No such file" in cli("extract", tmp_path / "c.txt").err
    assert not cli.home.exists()


def test_what_a_definition_is_learnt_from_and_asked_can_be_read(cli: Cli) -> None:
    with cli.registry() as registry:
        fill(registry)
        examples = [NewTransferExample("chat", "What is a mole?", "A wall in the sea.", "self:0123")]
        registry.write.save_transfer_set(1, examples)
        registry.write.save_probes(1, [NewProbe("paraphrase", "Say what a mole is.", "a wall", chat=True)])
    told = cli("definitions", "transfer", "1", "--json").json
    assert told["examples"] == [{"form": "chat", "prompt": "What is a mole?", "text": "A wall in the sea.", "generator": "self:0123"}]
    assert told["probes"][-1] == {"kind": "paraphrase", "form": "chat", "prompt": "Say what a mole is.", "target": "a wall"}
    shown = cli("definitions", "transfer", "1").out
    assert "What is a mole?" in shown
    assert "Say what a mole is." in shown
    nobody = cli("definitions", "transfer", "999")
    assert (nobody.status, "999" in nobody.err) == (1, True)
