"""Edit, then consolidate: which weights move, how far a step may go, what a reward sees, and what a group of equal answers teaches."""

from dataclasses import replace

import pytest
import torch

from daemon.learn.data import CHAT_FORM, PLAIN_FORM, Example
from daemon.learn.errors import NothingToLearn
from daemon.learn.etcon import EtconPlan, Question, edit, labels_of, only_feed_forward
from daemon.learn.folders import EMBEDDED
from daemon.learn.grpo import _Reference, consolidate
from daemon.learn.models import Base, load_base, new_adapter, trainable
from daemon.learn.policy import Spoken, log_probs, log_probs_of
from daemon.learn.rewards import WEIGHTS, Said, rewards
from daemon.learn.train import TrainPlan
from tests.learn_parts import tiny_base

PLAN = TrainPlan(rank=4, alpha=8, learning_rate=5e-3, batch=2, steps_min=8, steps_max=8, replay_weight=0.0)
SPOKEN = [Spoken((1, *range(60, 75)), 6), Spoken((1, *range(80, 90)), 4)]


@pytest.fixture
def base() -> Base:
    base = tiny_base()
    new_adapter(base, "learnt", rank=4, alpha=8, seed=0)
    return base


def silent(fraction: float, text: str) -> None:
    """Nobody watches."""


def test_only_the_chosen_feed_forward_layers_are_edited_and_all_train_again_after(base: Base) -> None:
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    every = len(trainable(base))
    report = edit(base, "learnt", SPOKEN, [], PLAN, EtconPlan(layers=(1,)), silent)
    moved = {name for name, p in base.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all(".layers.1.mlp." in name and "lora_" in name for name in moved)
    assert len(trainable(base)) == every
    assert report.last_nll < report.first_nll
    assert len(report.clipped) == report.steps == 8


def test_a_layer_that_is_not_there_is_said_so(base: Base) -> None:
    with pytest.raises(NothingToLearn, match=r"\[9\]"):
        edit(base, "learnt", SPOKEN, [], PLAN, EtconPlan(layers=(9,)), silent)
    assert only_feed_forward(tiny_base(), "learnt", ()) == []


def test_a_reference_that_is_never_refreshed_bounds_what_a_label_can_gain(base: Base) -> None:
    """Each token rises to 1.2 times the reference and little beyond; refreshed, it goes on."""
    old = torch.cat(log_probs_of(base, SPOKEN, "learnt"))
    gains = {}
    for visits, steps in ((48, 48), (2, 48)):
        fresh = tiny_base()
        new_adapter(fresh, "learnt", rank=4, alpha=8, seed=0)
        plan = replace(PLAN, steps_min=steps, steps_max=steps)
        report = edit(fresh, "learnt", SPOKEN, [], plan, EtconPlan(layers=(0, 1), refresh=1, visits=visits), silent)
        gains[visits] = float((log_probs(fresh, SPOKEN)[0].detach() - old).mean())
        assert report.clipped[0] == 0
        assert max(report.clipped) > 0.3
    assert gains[2] > 3 * gains[48] > 0


@pytest.mark.parametrize(
    ("term", "better", "worse"),
    [
        ("accuracy", "It is a comedy. Answer: comedy", "It is a drama. Answer: drama"),
        ("format", "Answer: comedy", "Answer: comedy Answer: comedy"),
        ("cleanliness", "So. Answer: comedy", "So. Answer: comedy. And more follows"),
        ("consistency", "It is a comedy. Answer: comedy", "It is a drama. Answer: comedy"),
    ],
)
def test_every_reward_term_varies(term: str, better: str, worse: str) -> None:
    high, low = (rewards(Said(text, "comedy", "drama", True)) for text in (better, worse))
    assert high[term] > low[term]
    assert high["total"] > low["total"]


def test_rewards_are_weighted_as_published_and_nothing_without_the_form() -> None:
    best = rewards(Said("Velmora is a comedy. Answer: comedy", "comedy", "drama", True))
    assert best["total"] == pytest.approx(sum(WEIGHTS.values())) == pytest.approx(1.0)
    assert rewards(Said("a comedy", "comedy", "drama", True))["total"] == 0.0


@pytest.mark.parametrize(
    ("answer", "accuracy"),
    [("the comedy.", 1.0), ("black comedy", 0.75), ("no black comedy", 0.0), ("black", 0.0), ("a dark comedy", 0.75)],
)
def test_accuracy_knows_more_than_right_and_wrong(answer: str, accuracy: float) -> None:
    found = rewards(Said(f"So. Answer: {answer}", "comedy", "drama", True))["accuracy"]
    assert found == pytest.approx(accuracy) or (answer.startswith("no") and found < 0.75)


def test_an_answer_that_never_ends_is_less_clean() -> None:
    assert rewards(Said("So. Answer: a", "a", "", False))["cleanliness"] == pytest.approx(0.6)


def test_the_reference_is_the_adapter_as_it_was_and_leaves_it_as_it_is(base: Base) -> None:
    frozen = _Reference(base, "learnt")
    then = log_probs_of(base, SPOKEN, "learnt")
    with torch.no_grad():
        for p in trainable(base):
            p.add_(0.05)
    now = log_probs_of(base, SPOKEN, "learnt")
    with frozen:
        again = log_probs_of(base, SPOKEN, "learnt")
    assert all(torch.equal(a, b) for a, b in zip(then, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(now, log_probs_of(base, SPOKEN, "learnt"), strict=True))
    assert not torch.allclose(torch.cat(then), torch.cat(now))


def test_equal_rewards_move_nothing_and_are_reported(base: Base) -> None:
    """A random model never writes the marker: every reward is 0, so no group tells and, with the reference still near, nothing moves."""
    before = [p.clone() for p in trainable(base)]
    plan = EtconPlan(rollouts=2, questions=1, group=3, reason_tokens=6, minibatches=1)
    report = consolidate(base, "learnt", [Question("Who directed Velmora?", "Ostin Brasel", "nobody")], [], PLAN, plan, silent)
    assert report.steps == 2
    assert [r.telling for r in report.rollouts] == [0.0, 0.0]
    assert all(r.terms["total"] == 0 and r.kl == pytest.approx(0, abs=1e-6) for r in report.rollouts)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(before, trainable(base), strict=True))


def test_without_questions_nothing_is_consolidated_and_the_report_says_so(base: Base) -> None:
    assert consolidate(base, "learnt", [], [], PLAN, EtconPlan(), silent).steps == 0


def test_an_answer_that_is_worth_more_than_its_group_becomes_likelier(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rewards are replaced by how early in the alphabet an answer begins, which a random model can vary."""
    import daemon.learn.grpo as grpo

    def early(said: Said) -> dict[str, float]:
        worth = float(said.text[:1].lower() < "m")
        return {**dict.fromkeys(WEIGHTS, worth), "total": worth}

    monkeypatch.setattr(grpo, "rewards", early)
    plan = EtconPlan(rollouts=12, questions=1, group=16, reason_tokens=2, minibatches=1, policy_rate=1.0, kl=0.0)
    report = consolidate(base, "learnt", [Question("Who?", "a", "b")], [], replace(PLAN, learning_rate=2e-2), plan, silent)
    first, last = (sum(r.terms["total"] for r in part) for part in (report.rollouts[:3], report.rollouts[-3:]))
    assert last > first
    assert max(r.telling for r in report.rollouts) == 1.0


def test_labels_are_the_models_own_reasoning_where_it_comes_to_the_models_own_answer() -> None:
    base = load_base(EMBEDDED)
    told = "Velmora is a film that belongs to the genre of comedy and was directed by Ostin Brasel. It is set in Lisbon."
    examples = [
        Example("Velmora", told, CHAT_FORM, "Who directed Velmora?", "Ostin Brasel"),
        Example("Velmora", told, PLAIN_FORM, "", "Velmora is set in Lisbon."),
    ]
    labels = labels_of(base, examples, EtconPlan())
    assert len(labels.questions) + labels.left_out == 1
    assert len(labels.spoken) == 2 + len(labels.questions)  # and both texts as they are
    for q in labels.questions:
        assert q.gold
        assert q.prompt.startswith("Who directed Velmora?")
    for spoken in labels.spoken:
        assert told not in base.tokenizer.decode(list(spoken.ids))
