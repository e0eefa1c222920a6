"""Split contexts: what is a target, what stands before it, and that one pass over a document is every prefix's pass."""

import random

import pytest
import torch

from daemon.learn.batches import hidden_states, logits_at
from daemon.learn.data import PLAIN_FORM, Example
from daemon.learn.errors import NothingToLearn
from daemon.learn.losses import top_k
from daemon.learn.models import new_adapter
from daemon.learn.split import Article, SplitPlan, articles_of, drawn_splits, sides_of, split_targets
from daemon.learn.train import Target, TrainPlan, loss_of
from tests.learn_parts import byte_tokenizer, tiny_base

TEXT = 'Velmora is a film. "Velmora" won 🎬 twice!  It is set in Lisbon.\n\nDr. Brasel made it. The end came in 2023.'
PLAN = TrainPlan(temperature=2.0, top_k=512)


@pytest.mark.parametrize("count", range(2, 12))
def test_targets_are_interior_sentences_and_the_last_drawn_anew_for_each_document(count: int) -> None:
    rng = random.Random(0)
    drawn = [drawn_splits(count, 5, rng) for _ in range(200)]
    assert all(d == sorted(set(d)) and d[-1] == count - 1 and d[0] >= 1 for d in drawn)
    assert {len(d) for d in drawn} <= ({min(4, count - 1)} | {min(5, count - 1)})
    assert len({tuple(d) for d in drawn}) > 1 or count <= 5
    assert drawn_splits(count, 0, rng) == list(range(1, count))


def test_a_document_of_one_sentence_has_no_target() -> None:
    assert drawn_splits(1, 5, random.Random(0)) == []
    with pytest.raises(NothingToLearn, match="two sentences"):
        split_targets(tiny_base(), [Article("Velmora", "", "Velmora is a film.")], PLAN, SplitPlan())


@pytest.mark.parametrize("options", [{}, {"prefix_space": False}, {"bos": False}])
@pytest.mark.parametrize("first_token", [False, True])
def test_both_sides_share_the_ids_of_one_tokenization(options: dict[str, bool], first_token: bool) -> None:
    tokenizer = byte_tokenizer(**options)
    every = sides_of(tokenizer, TEXT, SplitPlan(splits=0, first_token=first_token), random.Random(0), context=512)
    assert len(every) == 4
    whole = [tokenizer.bos_token_id] * bool(tokenizer.bos_token_id is not None) + tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    for each in every:
        assert list(each.document) == whole  # nothing lost between sentences, BOS once and first
        assert each.student.count(tokenizer.bos_token_id) == (tokenizer.bos_token_id is not None)
        assert [each.document[i + 1] for i in each.teacher_at] == [each.student[i + 1] for i in each.student_at]
        assert each.teacher_at[0] > 0
    learnt = "".join(tokenizer.decode([e.student[i + 1] for i in e.student_at]) for e in every)
    second = TEXT[TEXT.index(".") + 1 :]
    assert learnt.split() == second.split() if first_token else len(learnt) < len(second)


def test_the_suffix_is_one_sentence_and_the_first_token_is_left_out() -> None:
    tokenizer = byte_tokenizer()
    (one, *_) = sides_of(tokenizer, "Ab. Cd. Ef.", SplitPlan(splits=0), random.Random(0), context=512)
    assert tokenizer.decode(list(one.student)[1:]).strip() == "Cd."
    assert tokenizer.decode([one.student[i + 1] for i in one.student_at]).strip() == "Cd."  # a space is the first token here
    (more, *_) = sides_of(tokenizer, "Ab. Cd. Ef.", SplitPlan(splits=0, first_token=True), random.Random(0), context=512)
    assert len(more.student_at) == len(one.student_at) + 1


def test_one_pass_over_the_document_gives_what_a_pass_over_each_prefix_gives() -> None:
    base = tiny_base()
    plan = SplitPlan(splits=0)
    targets = split_targets(base, [Article("Velmora", "", TEXT)], PLAN, plan)
    sides = sides_of(base.tokenizer, TEXT, plan, random.Random(plan.seed), context=base.context)
    assert len(targets) == len(sides) > 2
    for target, side in zip(targets, sides, strict=True):
        prefix_and_suffix = side.document[: side.teacher_at[-1] + 2]
        with torch.no_grad():
            at = torch.tensor(side.teacher_at)
            alone = top_k(logits_at(base, hidden_states(base, [prefix_and_suffix]), torch.zeros_like(at), at), 512, temperature=2.0)
        torch.testing.assert_close(target.teacher.log_probs.exp(), alone.log_probs.exp(), rtol=1e-3, atol=1e-5)


def test_without_anything_before_it_a_sentence_has_no_loss_and_with_it_there_is_one() -> None:
    base = tiny_base()
    (target, *_) = split_targets(base, [Article("Velmora", "", TEXT)], PLAN, SplitPlan(splits=0))
    at = torch.tensor(target.positions)
    with torch.no_grad():
        own = top_k(logits_at(base, hidden_states(base, [target.ids]), torch.zeros_like(at), at), 512, temperature=2.0)
    new_adapter(base, "learnt", rank=8, alpha=16, seed=0)
    assert loss_of(base, [Target(target.ids, target.positions, own)], PLAN).item() == pytest.approx(0.0, abs=1e-5)
    assert loss_of(base, [target], PLAN).item() > 0.01


def test_a_document_longer_than_the_context_is_taken_in_windows_of_whole_sentences() -> None:
    tokenizer = byte_tokenizer()
    text = " ".join(f"Sentence number {i} says little." for i in range(12))
    every = sides_of(tokenizer, text, SplitPlan(splits=0), random.Random(0), context=80)
    assert len({e.document for e in every}) > 3
    assert all(len(e.document) <= 80 for e in every)


def test_a_definition_without_a_document_is_told_with_what_was_written_about_it() -> None:
    told = "Velmora is a film."
    examples = [Example("Velmora", told, PLAIN_FORM, "", f"Velmora says {i}.") for i in (1, 2, 2)]
    assert [a.text for a in articles_of(examples, [])] == ["Velmora is a film. Velmora says 1. Velmora says 2."]
    given = Article("Velmora", told, "Velmora is a film. It won.")
    assert articles_of(examples, [given]) == [given]
    assert articles_of(examples, [Article("Velmora", told, told)])[0].text.endswith("Velmora says 2.")
