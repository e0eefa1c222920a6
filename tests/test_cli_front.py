"""keys, canary and adapters gc on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.serving.keys import digest_of
from tests.cli_parts import Cli, fill, make_cli
from tests.registry_parts import learn


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    made = make_cli(tmp_path, capsys, monkeypatch)
    with made.registry() as registry:
        fill(registry)
    return made


def test_a_key_is_shown_once_and_kept_as_a_digest(cli: Cli) -> None:
    made = cli("keys", "add", "laptop", "--admin", "--json").json
    assert list(made) == ["name", "admin", "created_at", "digest", "key"]
    [listed] = cli("keys", "list", "--json").json
    assert listed == {"name": "laptop", "admin": True, "created_at": made["created_at"], "digest": digest_of(made["key"])[:12]}
    assert made["key"] not in cli("keys", "list").out
    again = cli("keys", "add", "laptop")
    assert (again.status, "laptop" in again.err) == (1, True)
    assert cli("keys", "remove", "laptop").status == 0
    assert cli("keys", "list", "--json").json == []
    assert cli("keys", "remove", "laptop").status == 1


def test_a_canary_begins_is_listed_and_ends(cli: Cli) -> None:
    with cli.registry() as registry:
        trial = learn(registry, parent="news@1")
    begun = cli("canary", trial.name, "--weight", 5, "--json").json
    assert (begun["alias"], begun["adapter"], begun["weight"]) == ("news", trial.name, 5)
    assert cli("canary", "--json").json == [begun]
    assert trial.name in cli("canary").out
    assert cli("canary", "news", "--end", "--reason", "enough").status == 0
    assert cli("canary", "--json").json == []
    assert cli("canary", "news", "--end").status == 1
    refused = cli("canary", "news@2", "--weight", 5)
    assert (refused.status, "skills fell" in refused.err) == (3, True)
    assert cli("canary", trial.name).status == 2
    assert cli("canary", trial.name, "--weight", 5, "--end").status == 2
    assert cli("canary", trial.name, "--weight", 101).status == 1


def test_gc_says_what_it_would_do_and_then_does_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOREFEED_GC__GRACE_S", "0")
    dry = cli("adapters", "gc", "--dry-run", "--json").json
    assert (dry["given_up"], dry["deleted"], dry["dry_run"]) == (["news@2"], [], True)
    assert {row["adapter"]: row["why"] for row in dry["kept"]} == {"news@1": "served as news", "news@3": "it is checking"}
    assert cli("adapters", "gc", "--json").json["given_up"] == ["news@2"]
    waits = cli("adapters", "gc", "--json").json
    assert waits["deleted"] == [], "no engine could say that it does not hold it"
    assert "cannot be known" in waits["waiting"][0]["why"]
    assert "news@1" in cli("adapters", "gc").out
