"""The benches of what comes in: they run, and what they say of a small case is so."""

from pathlib import Path

import pytest

from daemon.benches import near
from daemon.benches.feed_server import made_feed
from daemon.benches.ingest import bodies_of, throughput
from tests.cli_parts import make_cli


def test_copies_are_told_at_every_level_of_editing_and_strangers_and_quotes_are_not() -> None:
    found = near.accuracy(60)
    assert found["told_wrongly"] == 0
    assert all(level["recall"] >= 0.96 and level["precision"] >= 0.98 for level in found["edited"].values())


def test_one_more_document_costs_about_the_same_in_a_larger_index() -> None:
    found = near.cost([200, 2000], sample=20)
    assert list(found["sizes"]) == ["200", "2000"]
    assert found["file_bytes"] > 0


def test_polling_is_measured_beside_the_bare_parser_on_the_same_feeds(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(made_feed(1, items=4))
    (tmp_path / "b.json").write_text(
        '{"version":"https://jsonfeed.org/version/1.1","items":[{"id":"1","content_text":"A tarn is a lake."}]}'
    )
    (tmp_path / "notes.txt").write_text("no feed")
    found = throughput(bodies_of(tmp_path), rounds=1, repeated=2)
    assert (found["feeds"], found["documents"]) == (4, 2 * 4 + 2 * 1)
    assert found["share"] > 0


def test_the_command_prints_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.xml").write_bytes(made_feed(1, items=20, paragraphs=6))
    cli = make_cli(tmp_path, capsys, monkeypatch)
    got = cli("bench", "ingest", "--data", tmp_path, "--rounds", "1", "--feeds", "0", "--json")
    assert got.status == 0
    assert got.json["throughput"]["documents"] == 120
    empty = tmp_path / "empty"
    empty.mkdir()
    assert cli("bench", "ingest", "--data", empty).status == 2
