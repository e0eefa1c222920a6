"""`learn.method = "auto"`: the sweep's choice, what is kept of it, and how the service takes it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from daemon.config import load_settings
from daemon.learn import choose, questions
from daemon.learn.choose import choice
from daemon.learn.errors import NothingToLearn
from daemon.learn.folders import EMBEDDED
from daemon.learn.models import load_base
from daemon.learn.operations import Operations
from daemon.learn.train import TrainPlan
from daemon.stages.distill import train_plan, with_method
from tests.learn_parts import tiny_base

RATE = 0.01
SMALL = TrainPlan(rank=4, alpha=4, learning_rate=RATE, batch=4, steps_min=3, steps_max=3, replay_batch=1)


def silent(_: float, __: str) -> None:
    """Nobody watches."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two things, two methods, three steps, few questions: what is tested is the choosing."""
    probes = tmp_path_factory.mktemp("probes") / "few.jsonl"
    probes.write_text("".join(f"{line}\n" for line in questions.EMBEDDED_PROBES.read_text().splitlines()[::11]))
    monkeypatch.setattr(questions, "EMBEDDED_PROBES", probes)
    for name, value in {"CANDIDATES": ("context", "finetune_transfer"), "THINGS": 2, "SAMPLES": 2, "GENERIC_ROWS": 4}.items():
        monkeypatch.setattr(choose, name, value)


@pytest.mark.usefixtures("small")
def test_what_learns_most_inside_the_budget_is_taken_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_base(EMBEDDED)
    told: list[str] = []
    found = choice(base, tmp_path, SMALL, lambda _, text: told.append(text))
    assert [(run["method"], run["learning_rate"]) for run in found.sweep] == [
        ("context", 0.3 * RATE),
        ("context", RATE),
        ("finetune_transfer", 0.3 * RATE),
        ("finetune_transfer", RATE),
    ]
    inside = [run for run in found.sweep if not run["breaks"]]
    assert found.recovered == max(run["recovered"] for run in inside)
    assert found.within_budget
    assert len(told) == len(found.sweep)
    monkeypatch.setattr(choose, "measure", lambda *_: pytest.fail("it was measured before"))
    assert choice(base, tmp_path, replace(SMALL, seed=5), silent) == found, "another seed is no other question"
    answer = Operations(base, tmp_path).choose({"plan": asdict(SMALL)}, silent)
    assert answer == {"method": found.method, "learning_rate": found.learning_rate, "recovered": found.recovered, "within_budget": True}


@pytest.mark.usefixtures("small")
def test_another_plan_is_measured_anew(tmp_path: Path) -> None:
    base = load_base(EMBEDDED)
    choice(base, tmp_path, SMALL, silent)
    choice(base, tmp_path, replace(SMALL, rank=8), silent)
    assert len(list(tmp_path.glob("method-*.json"))) == 2


@pytest.mark.usefixtures("small")
def test_a_method_that_learns_nothing_does_not_win_by_doing_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: Any, method: str, plan: TrainPlan) -> dict[str, Any]:
        if method == "context":
            return {"failed": "The loss is nan."} if plan.learning_rate > 0.005 else {"recovered": 0.2, "breaks": []}
        return {"recovered": 0.1 if plan.learning_rate < 0.005 else 0.9, "breaks": [] if plan.learning_rate < 0.005 else ["broken"]}

    monkeypatch.setattr(choose._Sweep, "run", run)
    found = choice(load_base(EMBEDDED), tmp_path, SMALL, silent)
    assert (found.method, found.learning_rate, found.within_budget) == ("context", 0.3 * RATE, True)
    monkeypatch.setattr(choose._Sweep, "run", lambda *_: {"failed": "nan"})
    with pytest.raises(NothingToLearn, match="No method could teach"):
        choice(load_base(EMBEDDED), tmp_path / "other", SMALL, silent)


def test_a_model_that_writes_nothing_about_what_it_reads_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn, match="tiny writes nothing"):
        choice(tiny_base(), tmp_path, SMALL, silent)
    assert list(tmp_path.glob("method-*")) == []


def test_learning_takes_what_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(tmp_path, learn={"method": "auto"})
    worker, rate = Operations(tiny_base(), tmp_path), settings.learn.learning_rate
    monkeypatch.setattr(choose, "measure", lambda *_: choose.Choice("etcon", rate / 2, 0.5, True, ()))

    class Asks:
        """A teacher whose worker is in this process."""

        def choose(self, plan: dict[str, Any]) -> dict[str, Any]:
            return worker.choose({"plan": plan}, silent)

    for _ in range(2):
        found = with_method(Asks(), settings)  # type: ignore[arg-type]
        assert (found.learn.method, found.learn.learning_rate) == ("etcon", rate / 2)
        assert train_plan(found, warm=False, gentler=False)["learning_rate"] == rate / 2
    assert len(list(tmp_path.glob("method-*.json"))) == 1


def test_a_configured_method_is_not_measured(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert with_method(None, settings) is settings  # type: ignore[arg-type]
