"""What scripts rely on: the keys of every JSON answer, one document on standard output and nothing else there."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from daemon.output import plain, show_json, show_table
from registry import DefinitionState, Registry
from tests.cli_parts import Cli, fill, make_cli

FEED = "name,location,kind,topic,state,trust,interval_s,error_count,last_error,last_success_at,next_check_at,documents,usual_gap_s,newest_at,silent"
DEFINITION = "id,entity,text,topic,state,novelty,document_id,feed,url,span,score,supersedes"
ADAPTER = "adapter,topic,version,state,parent,base_model,base_digest,method,digest,rank,definitions,documents,check,created_at"
RELEASE = "alias,from,to,at,actor,reason,forced"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("filled")
    with Registry.open(home) as registry:
        fill(registry)
    return home


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, filled: Path) -> Cli:
    return make_cli(tmp_path, capsys, monkeypatch, filled=filled)


def keys(value: Any) -> str:
    return ",".join(value)


def test_status_has_the_keys_of_the_contract(cli: Cli) -> None:
    status = cli("status", "--json").json

    assert keys(status) == "version,home,engine,aliases,feeds,jobs,definitions,learning"
    assert keys(status["engine"]) == "kind,url,healthy"
    assert status["engine"]["healthy"] is False
    assert keys(status["aliases"]["news"]) == "adapter,since"
    assert status["aliases"]["news"]["adapter"] == "news@1"
    assert status["feeds"] == {"total": 1, "failing": 0}
    assert status["jobs"] == {"queued": 0, "running": 0, "failed": 0}
    assert status["definitions"]["review"] == 1
    assert status["home"] == str(cli.home)
    assert status["learning"] == {"waits": None}


def test_feeds_have_the_keys_of_the_contract(cli: Cli) -> None:
    [feed] = cli("feeds", "list", "--json").json

    assert keys(feed) == FEED
    assert (feed["name"], feed["interval_s"], feed["documents"]) == ("harbour", 900, 2)
    assert MOMENT.fullmatch(feed["next_check_at"])


def test_definitions_have_the_keys_of_the_contract(cli: Cli) -> None:
    learnt, reviewed = cli("definitions", "list", "--json").json

    assert keys(learnt) == DEFINITION
    assert learnt["state"] == "learned"
    assert learnt["span"] == [3, 3 + len(learnt["text"])]
    assert [d["id"] for d in cli("definitions", "list", "--topic", "news", "--state", "review", "--json").json] == [reviewed["id"]]


def test_adapters_are_listed_newest_first_with_the_keys_of_the_contract(cli: Cli) -> None:
    adapters = cli("adapters", "list", "--json").json

    assert keys(adapters[0]) == "adapter,topic,version,state,method,definitions,recovered,created_at"
    assert [(a["adapter"], a["state"]) for a in adapters] == [("news@3", "checking"), ("news@2", "refused"), ("news@1", "live")]
    assert [a["definitions"] for a in adapters] == [0, 0, 1]


def test_an_adapter_is_shown_with_the_keys_of_the_contract(cli: Cli) -> None:
    shown = cli("adapters", "show", "news@2", "--json").json

    assert keys(shown) == ADAPTER
    assert shown["parent"] == "news@1"
    assert shown["check"] == {"verdict": "refused", "reasons": ["skills fell by 9 points"], "metrics": {}}
    assert cli("adapters", "show", "news@1", "--json").json["definitions"] == [1]
    assert cli("adapters", "show", "news@3", "--json").json["check"] is None


def test_releases_have_the_keys_of_the_contract_and_the_newest_is_first(cli: Cli) -> None:
    cli("rollback", "news", "--reason", "wrong")
    newest, first = cli("releases", "news", "--json").json

    assert keys(newest) == RELEASE
    assert (newest["from"], newest["to"], newest["actor"], newest["reason"], newest["forced"]) == (
        "news@1",
        None,
        "operator",
        "wrong",
        False,
    )
    assert (first["from"], first["to"]) == (None, "news@1")
    assert MOMENT.fullmatch(newest["at"])


def test_extraction_has_the_keys_of_the_contract_and_spans_into_the_input(cli: Cli, tmp_path: Path) -> None:
    text = "Notes of today.\r\n\r\nThe Blue Harbour is a café in Lisbon that roasts its own coffee.\r\n"
    (tmp_path / "a.txt").write_bytes(text.encode())

    [found] = cli("extract", tmp_path / "a.txt", "--json").json

    assert keys(found) == "entity,definition,span,score"
    start, end = found["span"]
    assert " ".join(text[start:end].split()) == found["definition"]


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "config",
        "config --explain",
        "doctor",
        "init",
        "feeds list",
        "feeds pause harbour",
        "feeds remove harbour",
        "documents list",
        "documents show 1",
        "definitions list",
        "definitions show 1",
        "definitions transfer 1",
        "definitions approve 2",
        "definitions hold 2",
        "definitions reject 2",
        "adapters list",
        "adapters show news@1",
        "aliases list",
        "aliases set news --scope always",
        "aliases set other --topic news",
        "aliases remove news",
        "releases news",
        "rollback news",
        "learn news --dry-run",
        "promote news@3 --force --reason because",
    ],
)
def test_json_is_one_document_and_nothing_else_is_on_standard_output(cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOREFEED_MODEL", str(cli.home))  # a folder without a model: doctor says so, and loads nothing

    said = cli(*command.split(), "--json")

    assert isinstance(said.json, dict | list)
    assert said.status == (1 if command == "doctor" else 0)


def test_what_json_cannot_say_is_null_and_moments_are_utc() -> None:
    assert plain({"a": float("nan"), "b": (1, float("inf"))}) == {"a": None, "b": [1, None]}
    assert plain(True) is True


@pytest.mark.parametrize("length", [2, 101])
def test_a_row_says_the_same_in_a_short_listing_and_in_a_long_one(length: int, capsys: pytest.CaptureFixture[str]) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    row = {"gain": float("nan"), "at": moment, "span": (1, 2), "state": DefinitionState.HELD, "none": None}
    show_json([row] * length)
    show_json({"rows": [{"at": moment}] * length, "n": 1.5})
    first, end = json.JSONDecoder().raw_decode(said := capsys.readouterr().out)
    assert first == [{"gain": None, "at": "2026-01-02T01:04:05.000Z", "span": [1, 2], "state": "held", "none": None}] * length
    assert json.loads(said[end:]) == {"rows": [{"at": "2026-01-02T01:04:05.000Z"}] * length, "n": 1.5}


def test_a_table_in_a_pipe_is_aligned_and_unfolded(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("name", "of"), [("日本", "a\nb"), ("long " * 60, None)], title="All")
    title, head, rule, first, second, last = capsys.readouterr().out.splitlines()
    assert (title, head.split(), set(rule.strip())) == ("All", ["name", "of"], {"─"})
    place = head.index("of")
    assert (first[place - 2], second[place], last[place]) == ("a", "b", "-"), "two letters of two columns each come before it"


def test_a_failing_command_leaves_standard_output_empty(cli: Cli) -> None:
    said = cli("adapters", "show", "news@99", "--json")

    assert (said.status, said.out) == (1, "")
    assert "news@99" in said.err
