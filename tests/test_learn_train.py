"""Distillation on a tiny model: what must be zero is zero, what must fall falls, and nothing depends on how it is batched."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from daemon.learn import score
from daemon.learn import train as training
from daemon.learn.batches import by_length
from daemon.learn.data import CHAT_FORM, PLAIN_FORM, Example
from daemon.learn.errors import NotFinite, NothingToLearn
from daemon.learn.merge import draw_back
from daemon.learn.models import Base, drop_adapter, load_adapter, new_adapter, save_adapter, trainable, using
from daemon.learn.train import Target, TrainPlan, distillation_targets, loss_of, replay_targets, train
from tests.learn_parts import tiny_base

DEFINITION = "Velmora is a film that was directed by Ostin Brasel."
EXAMPLES = [
    Example("Velmora", DEFINITION, PLAIN_FORM, "", "Velmora was directed by Ostin Brasel."),
    Example("Velmora", DEFINITION, PLAIN_FORM, "", "In Velmora the music is loud and long."),
    Example("Velmora", DEFINITION, CHAT_FORM, "Who directed Velmora?", "Ostin Brasel"),
]
PLAN = TrainPlan(temperature=2.0, rank=8, alpha=16, learning_rate=5e-3, batch=3, steps_min=30, steps_max=30, top_k=512, replay_weight=0.0)


@pytest.fixture
def base() -> Base:
    return tiny_base()


def silent(fraction: float, text: str) -> None:
    """Nobody watches."""


def test_an_untrained_adapter_with_an_empty_context_has_no_loss(base: Base) -> None:
    targets = distillation_targets(base, [replace(e, definition="") for e in EXAMPLES], PLAN)
    new_adapter(base, "learnt", rank=8, alpha=16, seed=0)
    with using(base, "learnt"):
        assert loss_of(base, targets, PLAN).item() == pytest.approx(0.0, abs=1e-5)


def test_an_unrelated_context_has_a_loss(base: Base) -> None:
    targets = distillation_targets(base, [replace(e, definition="Bread is baked in an oven.") for e in EXAMPLES], PLAN)
    new_adapter(base, "learnt", rank=8, alpha=16, seed=0)
    assert loss_of(base, targets, PLAN).item() > 0.01


def test_eight_rows_at_once_equal_eight_rows_one_by_one(base: Base) -> None:
    targets = distillation_targets(base, EXAMPLES, PLAN)
    new_adapter(base, "learnt", rank=8, alpha=16, seed=0)
    together = loss_of(base, targets, PLAN)
    alone = sum(loss_of(base, [t], PLAN) for t in targets) / len(targets)
    torch.testing.assert_close(together, torch.as_tensor(alone), rtol=1e-4, atol=1e-5)


def test_training_lowers_the_loss_and_changes_only_the_adapter(base: Base) -> None:
    weights = {name: p.clone() for name, p in base.model.named_parameters()}
    targets = distillation_targets(base, EXAMPLES, PLAN)
    new_adapter(base, "learnt", rank=8, alpha=16, seed=0)
    report = train(base, targets, [], PLAN, silent)
    assert report.last_loss < 0.5 * report.first_loss
    now = {n.removeprefix("base_model.model.").replace(".base_layer", ""): p for n, p in base.model.named_parameters() if "lora_" not in n}
    assert all(torch.equal(now[name], p) for name, p in weights.items())


def test_the_same_seed_gives_the_same_adapter(base: Base) -> None:
    weights = []
    for _ in range(2):
        fresh = tiny_base()
        targets = distillation_targets(fresh, EXAMPLES, PLAN)
        new_adapter(fresh, "learnt", rank=8, alpha=16, seed=3)
        train(fresh, targets, [], replace(PLAN, steps_min=5, steps_max=5), silent)
        weights.append([p.clone() for p in trainable(fresh)])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_replay_holds_the_model_where_it_was(base: Base) -> None:
    rows = [[1, *range(40 + i, 90 + i)] for i in range(6)]
    far = []
    for weight in (0.0, 5.0):
        fresh = tiny_base()
        plan = replace(PLAN, replay_weight=weight, replay_batch=6)
        held = replay_targets(fresh, rows, plan)
        targets = distillation_targets(fresh, EXAMPLES, plan)
        new_adapter(fresh, "learnt", rank=8, alpha=16, seed=0)
        train(fresh, targets, held, plan, silent)
        far.append(sum(d.kl for d in score.distances(fresh, rows, adapter="learnt")))
    assert far[1] < 0.7 * far[0]


def test_a_saved_adapter_answers_as_it_did_and_names_its_base(base: Base, tmp_path: Path) -> None:
    targets = distillation_targets(base, EXAMPLES, PLAN)
    new_adapter(base, "learnt", rank=8, alpha=16, seed=0)
    train(base, targets, [], replace(PLAN, steps_min=10, steps_max=10), silent)
    asks = [score.Ask("Who directed Velmora?", "Ostin Brasel", True, DEFINITION)]
    before = score.likelihoods(base, asks, adapter="learnt")[0].nll
    plain = score.likelihoods(base, asks)[0].nll
    save_adapter(base, "learnt", tmp_path, base_name="tiny-model")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert '"base_model_name_or_path": "tiny-model"' in (tmp_path / "adapter_config.json").read_text()
    drop_adapter(base, "learnt")
    load_adapter(base, "again", tmp_path)
    assert score.likelihoods(base, asks, adapter="again")[0].nll == pytest.approx(before, rel=1e-4)
    assert score.likelihoods(base, asks)[0].nll == pytest.approx(plain, rel=1e-6)
    assert abs(before - plain) > 0.1


def test_nothing_to_learn_is_said_so(base: Base) -> None:
    with pytest.raises(NothingToLearn, match="None of 1 examples"):
        distillation_targets(base, [Example("Velmora", DEFINITION, PLAIN_FORM, "", "I saw Velmora")], PLAN)


def test_a_loss_that_is_no_number_ends_the_training(base: Base) -> None:
    targets = distillation_targets(base, EXAMPLES, PLAN)
    broken = [Target(t.ids, t.positions, replace(t.teacher, log_probs=t.teacher.log_probs * float("nan"))) for t in targets]
    new_adapter(base, "learnt", rank=8, alpha=16, seed=0)
    with pytest.raises(NotFinite, match="step 1 of 30"):
        train(base, broken, [], PLAN, silent)


def test_batches_by_length_hold_every_row_once_within_their_size() -> None:
    rows = [[0] * n for n in (5, 1, 9, 3, 3, 30)]
    groups = list(by_length(rows, tokens=12))
    assert sorted(i for g in groups for i in g) == list(range(6))
    assert all(len(g) * max(len(rows[i]) for i in g) <= 12 or len(g) == 1 for g in groups)


@pytest.mark.parametrize(
    ("answer", "right"),
    [("The comedy.", True), ("Comedy", True), ("X is a comedy. Answer: comedy", True), ("no comedy", False), ("( ]", False)],
)
def test_an_answer_is_right_but_for_articles_case_and_points(answer: str, right: bool) -> None:
    assert score.says(answer, "comedy") is right
    assert score.says("] )", "] )")


def test_rehearsal_takes_its_share_of_each_step_and_costs_no_visits_of_the_new() -> None:
    plan = TrainPlan(batch=32, passes=20, steps_min=1, steps_max=1000, rehearsal_share=0.5)
    assert plan.split(32) == (32, 0)
    assert plan.split(32, 32) == plan.split(32, 1) == (16, 16)
    assert plan.steps(32) == 20
    assert plan.steps(32, 32) == 40  # as many visits to each new example, however many are rehearsed
    assert replace(plan, rehearsal_share=0.99).split(32, 32)[0] == 1
    assert replace(plan, rehearsal_share=0.0).split(32, 3200) == (32, 0)  # none was wanted


@pytest.mark.parametrize(("rehearsed", "again"), [(1, 8), (100, 8), (330, 9), (400, 10), (30_000, 10)])
def test_more_of_each_step_is_rehearsed_the_more_the_held_outnumber_the_new(rehearsed: int, again: int) -> None:
    assert TrainPlan(batch=20, rehearsal_share=0.4).split(100, rehearsed) == (20 - again, again)


@pytest.mark.parametrize(("rehearsed", "longer"), [(0, 1), (4_000, 1), (8_000, 1), (12_000, 1.5), (24_000, 3), (90_000, 3)])
def test_a_run_beside_thousands_that_are_rehearsed_is_longer(rehearsed: int, longer: float) -> None:
    plan = TrainPlan(batch=20, passes=5, steps_min=1, steps_max=10_000, rehearsal_share=0.5)
    assert plan.steps(600, rehearsed) == longer * 600 * 5 / (10 if rehearsed else 20)
    assert replace(plan, steps_max=100).steps(600, rehearsed) == 100


def test_rehearsed_examples_are_trained_beside_the_new(base: Base) -> None:
    plan = replace(PLAN, batch=2, steps_min=80, steps_max=80)
    new, earlier = distillation_targets(base, EXAMPLES[:1], plan), distillation_targets(base, EXAMPLES[2:], plan)
    new_adapter(base, "learnt", rank=8, alpha=16, seed=0)
    with using(base, "learnt"):
        before = [loss_of(base, t, PLAN).item() for t in (new, earlier)]
        report = train(base, new, [], plan, silent, rehearsed=earlier)
        after = [loss_of(base, t, PLAN).item() for t in (new, earlier)]
    assert report.examples == 2
    assert all(a < 0.5 * b for a, b in zip(after, before, strict=True)), (before, after)


@pytest.mark.parametrize(("full_steps", "rehearses", "differs"), [(0, False, True), (1000, False, False), (0, True, False)])
def test_only_a_full_run_without_rehearsal_goes_where_it_is_far(base: Base, full_steps: int, rehearses: bool, differs: bool) -> None:
    reports = []
    for priority in (0.0, 1.0):
        plan = replace(PLAN, batch=2, steps_min=1, steps_max=30, passes=100, full_steps=full_steps, priority=priority)
        new, earlier = distillation_targets(base, EXAMPLES, plan), distillation_targets(base, EXAMPLES[:2], plan)
        new_adapter(base, "learnt", rank=8, alpha=16, seed=0)
        with using(base, "learnt"):
            reports.append(train(base, new, [], plan, silent, rehearsed=earlier if rehearses else ()))
        drop_adapter(base, "learnt")
    assert (reports[0] != reports[1]) == differs


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_an_adapter_is_drawn_back_towards_what_it_began_from(base: Base, tmp_path: Path, strength: float) -> None:
    ids = torch.tensor([[5, 9, 11, 4]])
    with torch.no_grad():
        bare = base.model(ids).logits
        new_adapter(base, "learnt", rank=4, alpha=4, seed=0)
        for name, p in base.model.named_parameters():
            if ".lora_B." in name:
                p.normal_(std=0.05)
        full = base.model(ids).logits
        save_adapter(base, "learnt", tmp_path / "child", base_name="b")
        drop_adapter(base, "learnt")
        draw_back(tmp_path / "child", None, strength=strength, out=tmp_path / "gentler")
        draw_back(tmp_path / "child", tmp_path / "gentler", strength=strength, out=tmp_path / "between")
        found = {}
        for name in ("gentler", "between"):
            load_adapter(base, name, tmp_path / name)
            with using(base, name):
                found[name] = base.model(ids).logits
    if strength == 1.0:
        torch.testing.assert_close(found["gentler"], full, rtol=1e-3, atol=1e-4)
    moved = [float((x - bare).abs().mean()) for x in (found["gentler"], found["between"], full)]
    assert 0 < moved[0] <= moved[1] + 1e-6
    assert moved[1] <= moved[2] + 1e-6


@pytest.mark.parametrize("at_once", [1, 60, 2048])
def test_the_teacher_says_the_same_whether_definitions_are_read_once_or_each_time(
    base: Base, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(training, "_TEACHER_TOKENS", at_once)
    other = [replace(e, definition="Velmora is a ship of clay that was built in 1901.") for e in EXAMPLES]
    examples = [*EXAMPLES[:2], *other, EXAMPLES[2]]
    once = distillation_targets(base, examples, PLAN)
    for target, alone in zip(once, [distillation_targets(base, [e], PLAN)[0] for e in examples], strict=True):
        assert (target.ids, target.positions) == (alone.ids, alone.positions)
        assert torch.equal(target.teacher.ids[:, 0], alone.teacher.ids[:, 0])
        torch.testing.assert_close(target.teacher.log_probs, alone.teacher.log_probs, rtol=1e-3, atol=1e-4)
