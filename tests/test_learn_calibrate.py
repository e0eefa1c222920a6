"""The threshold between known and new: measured on the model, and on the side of what is new."""

import json
from pathlib import Path

import pytest

from daemon.learn.calibrate import calibration, keep, threshold, told_apart
from daemon.learn.folders import EMBEDDED
from daemon.learn.models import load_base
from daemon.learn.questions import EMBEDDED_THINGS, GENERAL_THINGS


def test_where_both_lie_apart_the_threshold_is_halfway_between() -> None:
    assert threshold([0.1] * 20, [0.9] * 20) == pytest.approx(0.5)


def test_what_is_new_is_kept_even_where_much_that_is_known_passes_for_new() -> None:
    known, new = [0.1, 0.8, 0.9, 1.0] * 10, [0.5 + 0.01 * i for i in range(50)]
    found = threshold(known, new)
    assert sum(n < found for n in new) == 1
    assert sum(k < found for k in known) == 10


def test_one_outlier_among_the_new_does_not_decide() -> None:
    assert threshold([0.1] * 50, [0.0, *[0.9] * 99]) == pytest.approx(0.5)


def test_it_says_how_well_new_is_told_from_known() -> None:
    assert told_apart([1, 2], [3, 4]) == 1
    assert told_apart([3, 4], [1, 2]) == 0
    assert told_apart([1, 1], [1, 1]) == 0.5


@pytest.mark.parametrize("things", [EMBEDDED_THINGS, GENERAL_THINGS])
def test_every_thing_it_is_calibrated_on_is_named_by_its_definition(things: Path) -> None:
    rows = [json.loads(line) for line in things.read_text().splitlines()]
    assert all(row["entity"].lower() in row["definition"].lower() for row in rows)
    assert sum(row["known"] for row in rows) >= 30
    assert sum(not row["known"] for row in rows) >= 30


def test_the_embedded_model_brings_its_own_calibration_and_tells_new_from_known(tmp_path: Path) -> None:
    found = calibration(load_base(EMBEDDED), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert found.told_apart > 0.9
    assert sum(n < found.threshold for n in found.new) <= 0.02 * len(found.new)
    assert sum(k < found.threshold for k in found.known) > 0.5 * len(found.known)


def test_what_was_measured_on_a_model_is_kept_for_it(tmp_path: Path) -> None:
    base = load_base(EMBEDDED)
    few = tmp_path / "few.jsonl"
    few.write_text("".join(EMBEDDED_THINGS.read_text().splitlines(keepends=True)[i] for i in (0, 1, 70, 71)))
    found = keep(base, tmp_path / "novelty.json", few)
    kept = json.loads((tmp_path / "novelty.json").read_text())
    assert kept["base_digest"] == base.digest
    assert kept["threshold"] == found.threshold
    assert min(found.new) > 0
