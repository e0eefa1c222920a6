"""`lorefeed backup, restore, audit, doctor --mend`: what an administrator types when something smells."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from registry import Registry
from tests.cli_parts import Cli, fill, make_cli
from tests.registry_parts import folder_of


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    one = make_cli(tmp_path, capsys, monkeypatch)
    with Registry.open(one.home) as registry:
        fill(registry)
    return one


def test_a_backup_into_a_folder_has_a_name_of_its_own_and_older_ones_go(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "lorefeed-notes.tar").touch()
    made = [cli("backup", tmp_path, "--keep", 2, "--json").json for _ in range(3)]

    left = sorted(path.name for path in tmp_path.glob("*.tar"))
    assert left == sorted([*(Path(one["file"]).name for one in made[1:]), "lorefeed-notes.tar"])
    assert made[2]["deleted"] == [made[0]["file"]]
    assert made[2]["adapters"] == 3


def test_a_backup_is_restored_over_a_home_only_by_force_and_agrees(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "saved.tar"
    cli("backup", target)
    cli("rollback", "news", "--to", "1")

    refused = cli("restore", target)
    assert refused.status == 1
    assert "--force" in refused.err
    done = cli("restore", target, "--force", "--json")

    assert done.status == 0
    assert done.json["audit_whole"] is True
    assert done.json["findings"] == []
    assert Path(done.json["set_aside"]).is_dir()


def test_a_damaged_backup_is_told_by_its_file(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "saved.tar"
    cli("backup", target)
    assert cli("backup", "--verify", target).status == 0
    target.write_bytes(target.read_bytes()[:20_000])

    said = cli("backup", "--verify", target)
    assert said.status == 1
    assert str(target) in said.err


def test_keep_needs_a_folder(cli: Cli, tmp_path: Path) -> None:
    assert cli("backup", tmp_path / "one.tar", "--keep", 3).status == 2


def test_the_audit_log_says_who_did_what_and_that_it_is_whole(cli: Cli) -> None:
    cli("definitions", "reject", 2, "--reason", "an advertisement")

    newest = cli("audit", "list", "--limit", 1, "--json").json[0]
    assert (newest["actor"], newest["action"], newest["object"]) == ("operator", "rejected", "definition 2")
    assert {e["object"] for e in cli("audit", "list", "--about", "alias news", "--json").json} == {"alias news"}
    verified = cli("audit", "verify", "--head", newest["digest"], "--json")
    assert (verified.status, verified.json["whole"], verified.json["head"]) == (0, True, newest["digest"])
    assert cli("audit", "verify", "--head", "0" * 64).status == 1


def test_an_altered_audit_log_is_told_by_verify_and_by_doctor(cli: Cli) -> None:
    with closing(sqlite3.connect(cli.home / "registry.sqlite3")) as connection:
        connection.execute("UPDATE event SET actor = 'nobody' WHERE id = 2")
        connection.commit()

    said = cli("audit", "verify")
    assert said.status == 1
    assert "event 2" in said.out
    errors = [f["object"] for f in cli("doctor", "--json").json["findings"] if f["level"] == "error"]
    assert "audit log" in errors


def test_doctor_mends_what_it_is_told_to(cli: Cli) -> None:
    with Registry.open(cli.home) as registry:
        (folder_of(registry, registry.read.adapter("news@1")) / "adapter_model.safetensors").write_bytes(b"noise")

    said = cli("doctor", "--mend", "--yes", "--json")

    assert "alias news: news serves the base model." in said.err
    assert "news@1" not in {f["object"].removeprefix("adapter ") for f in said.json["findings"] if f["level"] == "error"}


def test_doctor_mends_nothing_while_a_daemon_is_at_work(cli: Cli) -> None:
    with Registry.open(cli.home) as registry, registry.lock_daemon():
        said = cli("doctor", "--mend", "--yes")

    assert said.status == 1
    assert "works on" in said.err
