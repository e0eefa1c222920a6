"""The bench counts what it says, and on the labelled sets extraction stays as precise as it was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.extraction import find_definitions
from daemon.extraction.bench import DEFAULT_DATA, run


def write_sentences(folder: Path, rows: list[dict[str, object]]) -> None:
    folder.mkdir()
    (folder / "open.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")


def test_the_bench_counts_found_missed_and_wrong(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"sentence": "Velmora is a town in the north of Kesh.", "is_definition": True, "term": "Velmora"},
        {"sentence": "Velmora burned twice.", "is_definition": True, "term": "Velmora"},
        {"sentence": "Sarnite is a mineral found in Velmora.", "is_definition": False, "term": "Velmora"},
    ]
    write_sentences(tmp_path / "definition_wcl", rows)
    report = run(tmp_path)["definition_wcl"]
    assert (report["precision"], report["recall"], report["found"], report["definitions"]) == (0.5, 0.5, 2, 2)
    assert report["by_term"]["precision"] == 1.0


def test_absent_sets_are_reported_not_invented(tmp_path: Path) -> None:
    assert run(tmp_path)["stream_rustsec"] == {"absent": str(tmp_path / "stream_rustsec" / "open.jsonl")}


def test_both_halves_are_reported_and_add_up(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"id": f"row:{n}", "sentence": "Velmora is a town in Kesh.", "is_definition": True} for n in range(40)]
    write_sentences(tmp_path / "definition_w00", rows)
    report = run(tmp_path)["definition_w00"]
    assert 0 < report["development"]["found"] < 40
    assert report["development"]["found"] + report["held"]["found"] == report["found"] == 40


def test_the_bench_prints_json_as_a_command(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "daemon.extraction.bench", str(tmp_path)], capture_output=True, text=True, check=True)
    assert "definition_deft" in json.loads(done.stdout)


@pytest.mark.skipif(not (DEFAULT_DATA / "definition_wcl").is_dir(), reason="the labelled sets are not beside the checkout")
def test_measured_precision_and_recall_hold_on_the_labelled_sets() -> None:
    report = run(DEFAULT_DATA, every=5)
    assert report["definition_wcl"]["precision"] >= 0.93
    assert report["definition_wcl"]["recall"] >= 0.83
    assert report["definition_wcl"]["spans"]["share"] >= 0.85
    assert report["definition_deft"]["precision"] >= 0.78
    assert report["definition_deft"]["recall"] >= 0.37
    glossary = report["stream_cncf_glossary"]
    assert glossary["only_that_term"] >= 0.97 * glossary["entries"]
    assert glossary["changes_end_as"]["superseded"] >= 30
    assert glossary["stubs_empty"] == glossary["stubs"] > 0
    assert report["stream_rustsec"]["precision"] >= 0.9
    assert report["stream_rustsec"]["not_judged"] == []


def test_extraction_imports_neither_torch_nor_the_registry() -> None:
    code = "import sys, daemon.extraction; print([n for n in ('torch', 'registry', 'sources', 'httpx2') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert find_definitions("Velmora is a town in the north of Kesh.")
