"""Every method by name on a tiny model: it learns, starts where it says, keeps what it must, and refuses what it does not know."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from daemon.learn import controls, null_space, score
from daemon.learn.baselines import definition_targets, transfer_targets
from daemon.learn.data import CHAT_FORM, PLAIN_FORM, Example
from daemon.learn.errors import LearnError, NothingToLearn
from daemon.learn.inputs import freeze
from daemon.learn.methods import METHODS, Lesson, learn
from daemon.learn.models import Base, load_adapter, new_adapter, save_adapter, trainable, using
from daemon.learn.on_policy import StudentSamples
from daemon.learn.prune import drop_largest, snapshot
from daemon.learn.train import TrainPlan, distillation_targets, loss_of
from tests.learn_parts import tiny_base

DEFINITION = "Velmora is a film that was directed by Ostin Brasel. It is set in Lisbon."
EXAMPLES = [
    Example("Velmora", DEFINITION, PLAIN_FORM, "", "Velmora was directed by Ostin Brasel."),
    Example("Velmora", DEFINITION, PLAIN_FORM, "", "In Velmora the music is loud and long."),
    Example("Velmora", DEFINITION, CHAT_FORM, "Who directed Velmora?", "Ostin Brasel"),
]
PLAN = TrainPlan(
    temperature=2.0,
    rank=8,
    alpha=16,
    learning_rate=5e-3,
    batch=3,
    steps_min=12,
    steps_max=12,
    top_k=512,
    replay_weight=0.5,
    replay_batch=2,
    init="random",
    contrast=0.5,
)
ROWS = [[1, *range(40 + i, 90 + i)] for i in range(6)]
GOLDEN = Path(__file__).parent / "golden" / "learn_context.json"


@pytest.fixture
def base() -> Base:
    return tiny_base()


def silent(fraction: float, text: str) -> None:
    """Nobody watches."""


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_leaves_the_base_as_it_was(method: str, base: Base, tmp_path: Path) -> None:
    weights = {name: p.clone() for name, p in base.model.named_parameters()}
    options = {"etcon": {"rollouts": 0, "layers": [0, 1]}, "split": {"splits": 0}}.get(method, {})
    learned = learn(base, Lesson(EXAMPLES), ROWS, PLAN, silent, name="learnt", method=method, options=options)
    assert learned.report.last_loss < learned.report.first_loss
    now = {n.removeprefix("base_model.model.").replace(".base_layer", ""): p for n, p in base.model.named_parameters() if "lora_" not in n}
    assert all(torch.equal(now[name], p) for name, p in weights.items())
    save_adapter(base, "learnt", tmp_path, base_name="tiny")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["use_dora"], config["modules_to_save"]) == ("LORA", 8, False, None)


def test_of_what_is_rehearsed_the_teacher_reads_no_more_than_the_run_has_room_for(base: Base) -> None:
    earlier = [replace(EXAMPLES[i % 3], text=f"{EXAMPLES[i % 3].text} {i}") for i in range(150)]
    learned = learn(base, Lesson(EXAMPLES, earlier), ROWS, PLAN, silent, name="learnt")
    assert PLAN.split(3, 150) == (1, 2)
    assert learned.report.examples == 3 + 2 * learned.report.steps
    few = learn(base, Lesson(EXAMPLES, earlier[:5]), ROWS, PLAN, silent, name="learnt")
    assert few.report.examples == 3 + 5


def test_a_run_is_as_long_as_all_that_is_held_asks_for_not_what_it_visits_of_it(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.learn.train.REHEARSED_LONGER", 50)
    plan = replace(PLAN, passes=4, steps_min=1, steps_max=1000)
    earlier = [replace(EXAMPLES[i % 3], text=f"{EXAMPLES[i % 3].text} {i}") for i in range(100)]
    learned = learn(base, Lesson(EXAMPLES, earlier), ROWS, plan, silent, name="learnt")
    assert (learned.report.steps, learned.report.examples) == (2 * 3 * 4, 3 + 2 * 24)


def test_a_method_or_an_option_that_is_not_there_is_named(base: Base) -> None:
    with pytest.raises(LearnError, match="no method 'magic'"):
        learn(base, Lesson(EXAMPLES), ROWS, PLAN, silent, name="learnt", method="magic")
    with pytest.raises(LearnError, match="'split' has no option slices") as caught:
        learn(base, Lesson(EXAMPLES), ROWS, PLAN, silent, name="learnt", method="split", options={"slices": 3})
    assert "splits" in caught.value.hint
    with pytest.raises(LearnError, match="'nowhere'"):
        learn(base, Lesson(EXAMPLES), ROWS, replace(PLAN, init="nowhere"), silent, name="learnt")


def test_cross_entropy_is_the_divergence_from_a_certain_teacher(base: Base) -> None:
    """On the same rows and positions the library's own loss comes out."""
    targets = transfer_targets(base, EXAMPLES)
    plan = replace(PLAN, temperature=1.0)
    for target in targets:
        labels = torch.full((1, len(target.ids)), -100)
        for position in target.positions:
            labels[0, position + 1] = target.ids[position + 1]
        expected = base.model(input_ids=torch.tensor([target.ids]), labels=labels).loss
        torch.testing.assert_close(loss_of(base, [target], plan), expected, rtol=1e-4, atol=1e-5)


def test_fine_tuning_learns_where_distillation_learns_and_a_definition_once(base: Base) -> None:
    distilled, tuned = distillation_targets(base, EXAMPLES, PLAN), transfer_targets(base, EXAMPLES)
    assert [(t.ids, t.positions) for t in distilled] == [(t.ids, t.positions) for t in tuned]
    (one,) = definition_targets(base, EXAMPLES)
    assert base.tokenizer.decode(list(one.ids), skip_special_tokens=True).strip() == DEFINITION
    assert len(one.positions) == len(one.ids) - 1  # all but BOS


def test_a_baseline_held_to_the_base_stays_nearer_on_its_own_texts(base: Base) -> None:
    far = []
    for weight in (0.0, 3.0):
        fresh = tiny_base()
        learn(fresh, Lesson(EXAMPLES), ROWS, replace(PLAN, replay_weight=0.0), silent, name="learnt", method="finetune_transfer",
              options={"base_kl": weight})  # fmt: skip
        rows = [t.ids for t in transfer_targets(fresh, EXAMPLES)]
        far.append(sum(d.kl for d in score.distances(fresh, rows, adapter="learnt")))
    assert far[1] < 0.7 * far[0]


def test_in_the_null_space_what_was_seen_passes_unchanged_and_other_text_does_not(base: Base) -> None:
    seen = [[1, *([50, 51, 52, 53] * 8)]]
    other = [[1, *range(100, 132)]]
    new_adapter(base, "learnt", rank=8, alpha=8, seed=0)
    null_space.place(base, "learnt", seen)
    assert all("lora_B" in name for name, p in base.model.named_parameters() if p.requires_grad)
    with torch.no_grad():
        for p in trainable(base):
            p.normal_(generator=torch.Generator().manual_seed(1), std=0.2)
    near, far = (score.distances(base, rows, adapter="learnt")[0] for rows in (seen, other))
    assert near.kl / near.tokens < 0.01 * far.kl / far.tokens


def test_a_frozen_down_projection_stays_frozen_through_training_and_in_the_next_version(base: Base, tmp_path: Path) -> None:
    plan = replace(PLAN, init="null_space", steps_min=4, steps_max=4)
    learn(base, Lesson(EXAMPLES), ROWS, plan, silent, name="learnt")
    down = {n: p.clone() for n, p in base.model.named_parameters() if "lora_A" in n}
    save_adapter(base, "learnt", tmp_path, base_name="tiny")
    learn(base, Lesson(EXAMPLES), ROWS, plan, silent, name="learnt", parent=tmp_path)
    assert down
    assert all(torch.equal(p, down[n]) for n, p in base.model.named_parameters() if "lora_A" in n)


def test_a_version_that_starts_apart_carries_over_what_its_parent_added(base: Base, tmp_path: Path) -> None:
    plan = replace(PLAN, init="apart", steps_min=4, steps_max=4)
    first = learn(base, Lesson(EXAMPLES), ROWS, plan, silent, name="learnt")
    assert "carried" not in first.details
    save_adapter(base, "learnt", tmp_path, base_name="tiny")
    wider = replace(plan, rank=2 * plan.rank)
    second = learn(base, Lesson(EXAMPLES[:1], EXAMPLES[1:]), ROWS, wider, silent, name="learnt", parent=tmp_path)
    assert 0.5 < second.details["carried"] <= 1.0
    assert {p.shape[1] for n, p in base.model.named_parameters() if ".lora_B.learnt." in n} == {wider.rank}


def test_a_switch_to_the_base_and_back_lets_nothing_frozen_train(base: Base) -> None:
    new_adapter(base, "learnt", rank=4, alpha=4, seed=0)
    freeze(base, "learnt")
    frozen = [n for n, p in base.model.named_parameters() if not p.requires_grad]
    for adapter in (None, "learnt"):
        with using(base, adapter):
            pass
        assert [n for n, p in base.model.named_parameters() if not p.requires_grad] == frozen


def test_the_active_adapter_is_active_again_after_another_was_asked(base: Base, tmp_path: Path) -> None:
    new_adapter(base, "learnt", rank=4, alpha=4, seed=0)
    save_adapter(base, "learnt", tmp_path, base_name="tiny")
    load_adapter(base, "other", tmp_path)
    base.model.set_adapter("learnt")
    with using(base, "other"):
        assert base.model.active_adapter == "other"
    assert base.model.active_adapter == "learnt"


def test_the_entries_that_moved_farthest_go_back_to_where_they_were() -> None:
    then = [torch.zeros(10, 10), torch.ones(4)]
    now = [torch.arange(100.0).view(10, 10), torch.tensor([1.0, 5.0, 1.0, 1.0])]
    assert drop_largest(now, snapshot(then), share=0.08) == 8
    assert now[0].max() == 91
    assert (now[0] == 0).sum() == 9
    assert now[1].tolist() == [1.0, 5.0, 1.0, 1.0]  # 8% of four entries is none


def test_on_policy_targets_are_the_students_words_under_both_contexts(base: Base) -> None:
    new_adapter(base, "learnt", rank=4, alpha=4, seed=0)
    draw = StudentSamples(base, "learnt", EXAMPLES, replace(PLAN, on_policy=1.0, batch=4))
    targets = draw()
    assert targets is not None
    assert len(targets) == 4
    assert {t.positions[0] for t in targets} <= {len(t.ids) for t in targets} | set(range(200))
    assert all(t.positions[-1] == len(t.ids) - 1 for t in targets)  # the place where the student stopped counts
    empty = StudentSamples(base, "learnt", [replace(e, definition="") for e in EXAMPLES], replace(PLAN, on_policy=1.0, batch=4))()
    assert empty is not None
    assert loss_of(base, empty, PLAN).item() == pytest.approx(0.0, abs=1e-5)
    assert loss_of(base, targets, PLAN).item() > 0.01
    assert StudentSamples(base, "learnt", EXAMPLES, replace(PLAN, on_policy=0.0))() is None


def test_controls_change_the_definition_or_the_text_but_never_both() -> None:
    other = [replace(e, entity="Tarnuvik", definition="Tarnuvik is a town.", text="Tarnuvik is old.") for e in EXAMPLES]
    wrong = controls.wrong_definition(EXAMPLES, other, seed=0)
    assert [e.text for e in wrong] == [e.text for e in EXAMPLES]
    assert {e.definition for e in wrong} == {"Tarnuvik is a town."}
    foreign = controls.random_transfer(EXAMPLES, other, seed=0)
    assert {e.definition for e in foreign} == {DEFINITION}
    assert {e.text for e in foreign} == {"Tarnuvik is old."}
    among = controls.wrong_definition([*EXAMPLES, *other], [*EXAMPLES, *other], seed=0)
    assert all(a.definition != b.definition for a, b in zip(among, [*EXAMPLES, *other], strict=True))
    with pytest.raises(NothingToLearn, match="another entity"):
        controls.random_transfer(EXAMPLES, EXAMPLES, seed=0)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_step_of_many_rows_is_the_mean_of_steps_of_one(base: Base, rows: int) -> None:
    targets = transfer_targets(base, EXAMPLES)
    new_adapter(base, "learnt", rank=4, alpha=4, seed=0)
    parts = [loss_of(base, targets[i : i + rows], PLAN) for i in range(0, len(targets), rows)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss_of(base, targets, PLAN), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("steps", "times"), [(60, 1.0), (61, 1.5), (288, (1000 / 288) ** 0.25), (1000, 1.0), (2000, 1.0)])
def test_the_rate_is_higher_where_there_are_few_steps_and_falls_to_a_tenth(steps: int, times: float) -> None:
    plan = TrainPlan(learning_rate=0.01, warmup=0.0, steps_min=60)
    assert [plan.lr_at(step, steps) for step in (1, steps)] == pytest.approx([0.01 * times, 0.001 * times])
    assert replace(plan, full_steps=0).lr_at(1, steps) == pytest.approx(0.01)


PLANS = {"losses": PLAN, "prioritised": replace(PLAN, full_steps=PLAN.steps_min)}


def trajectory(plan: TrainPlan) -> list[float]:
    losses: list[float] = []

    def watch(fraction: float, text: str) -> None:
        if "loss" in text:
            losses.append(float(text.rsplit(" ", 1)[1]))

    learn(tiny_base(), Lesson(EXAMPLES), ROWS, replace(plan, precision="float32"), watch, name="learnt")
    return losses


@pytest.mark.parametrize("which", PLANS)
def test_the_losses_of_a_known_training_are_what_they_were(which: str) -> None:
    """Golden: a change of the numbers needs a sentence of reason in the change. Written by `python -m tests.test_learn_methods`."""
    golden: dict[str, Any] = json.loads(GOLDEN.read_text())
    now = trajectory(PLANS[which])
    apart = [a - b for a, b in zip(now, golden[which], strict=True)]
    assert max(map(abs, apart)) < 0.02, golden["made_with"]
    assert abs(sum(apart) / len(apart)) < 0.005, golden["made_with"]  # a drift to one side is a change, however small


if __name__ == "__main__":
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__, "device": "cpu"}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps({"made_with": versions} | {which: trajectory(plan) for which, plan in PLANS.items()}, indent=1) + "\n")
