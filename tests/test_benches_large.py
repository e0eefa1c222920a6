"""The benches of a large registry and of a busy day: what they fill is whole, what they judge is so, and their commands run."""

import os
from pathlib import Path

import pytest

from daemon.benches.day import FLAT, Sample, children, judged, look
from daemon.benches.registry import p95
from daemon.benches.registry_rows import fill
from registry import Registry
from tests.cli_parts import make_cli


def test_what_the_bench_fills_is_a_registry_that_agrees_with_itself(tmp_path: Path) -> None:
    filled = fill(tmp_path / "home", definitions=3000, adapters=220)
    with Registry.open(tmp_path / "home") as registry:
        assert registry.doctor() == []
        report = registry.audit()
        assert (report.whole, report.events) == (True, filled.events)
        assert sum(registry.read.counts().definitions.values()) == 3000
        assert len(registry.read.bare_adapters()) == 220
        assert registry.write.rollback("news", to=None, actor="test", reason=None).to_adapter != filled.newest["news"]


def test_the_command_times_everything_and_restores_what_it_backed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = make_cli(tmp_path, capsys, monkeypatch)
    for name in ("LOREFEED_HOME", "LOREFEED_ENGINE__PORT", "LOREFEED_GATEWAY__PORT"):
        monkeypatch.delenv(name)
    got = cli("bench", "registry", "--definitions", "2000", "--adapters", "200", "--rounds", "1", "--json")
    assert (got.status, got.json["filled"]["definitions"], got.json["filled"]["adapters"]) == (0, 2000, 200)
    asked = {row["asked"] for part in ("commands", "pages") for row in got.json[part]}
    assert {"status --json", "definitions list", "/ui/", "/metrics"} <= asked
    backup = got.json["backup"]
    assert (backup["errors"], backup["audit_whole"]) == (0, True)
    assert backup["written_meanwhile"] > 0


def test_the_95th_percentile_is_a_value_that_was_seen() -> None:
    assert p95([float(n) for n in range(1, 21)]) == 19.0
    assert p95([3.0]) == 3.0


def line(start: float, end: float, *, files: tuple[int, int] = (20, 20)) -> list[Sample]:
    """A day of 100 seconds, with a steep warm-up."""
    return [
        Sample(float(s), round(1e6 * (start / 2 if s < 20 else start + (end - start) * (s - 20) / 80)), files[s > 60]) for s in range(101)
    ]


def test_a_line_that_does_not_rise_is_flat_whatever_came_before_it() -> None:
    found = judged(line(100, 100), day_s=100)
    assert (found["flat"], found["growth"], found["warm_bytes"]) == (True, 0.0, 100_000_000)


@pytest.mark.parametrize(("end", "is_flat"), [(103, True), (110, False), (90, False)])
def test_what_gains_or_loses_more_than_a_twentieth_in_a_day_is_not_flat(end: float, is_flat: bool) -> None:
    found = judged(line(100, end), day_s=100)
    assert found["flat"] is is_flat
    assert (abs(found["growth"]) <= FLAT) is is_flat


def test_files_that_stay_open_are_not_flat() -> None:
    assert judged(line(100, 100, files=(20, 21)), day_s=100)["flat"] is False
    assert judged(line(100, 100, files=(21, 20)), day_s=100)["flat"] is True


def test_a_process_is_looked_at_from_outside(tmp_path: Path) -> None:
    before = look(os.getpid(), at_s=0.0)
    with (tmp_path / "open").open("w"):
        held = bytearray(os.urandom(64)) * 2**19
        after = look(os.getpid(), at_s=1.0)
        assert after.files == before.files + 1
    assert after.rss_bytes - before.rss_bytes > len(held) // 2
    assert children(os.getpid(), tmp_path) == {}


@pytest.mark.slow
def test_half_a_minute_of_a_day_brings_documents_definitions_and_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = make_cli(tmp_path, capsys, monkeypatch)
    for name in ("LOREFEED_HOME", "LOREFEED_ENGINE__PORT", "LOREFEED_GATEWAY__PORT"):
        monkeypatch.delenv(name)
    found = cli("bench", "day", "--minutes", "0.5", "--json").json
    assert found["restarted"] == []
    assert found["work"]["documents"] > 500
    assert found["work"]["definitions"] > 5
    assert found["work"]["questions"] > 20
    assert set(found["processes"]) == {"daemon", "gateway"}
