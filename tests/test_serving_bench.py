"""`lorefeed bench gateway`, short: every way is asked, and every question is answered. What it costs is the bench's to say, not a test's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.serving import bench
from tests.cli_parts import make_cli


def test_every_way_is_measured_and_every_question_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "MANY_NAMES", 1000)
    said = make_cli(tmp_path, capsys, monkeypatch)(
        "bench", "gateway", "--clients", 2, "--seconds", 0.5, "--rounds", 1, "--no-engine", "--json"
    )

    found = json.loads(said.out)
    assert found["search"]["names"] == 1000
    for part in ("ceiling", "paced"):
        for way in ("direct", "gateway"):
            assert (found[part][way]["answers"] > 0, found[part][way]["failed"]) == (True, 0)
    assert found["paced"]["direct"]["p50_ms"] >= bench.PAUSE_MS
    assert {"throughput", "added_p50_ms", "added_p99_ms"} <= set(found["paced"])
