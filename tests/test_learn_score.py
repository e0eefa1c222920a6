"""What is measured of answers: the same figures whether a question is read once for all its candidates or anew for each."""

import pytest
import torch

from daemon.learn import data
from daemon.learn.batches import hidden_states, logits_at
from daemon.learn.models import Base
from daemon.learn.score import Ask, choices, likelihoods, likelihoods_of
from tests.learn_parts import tiny_base

PLACES = ("Lisbon", "a small pier in Porto", "Oslo", "the north of Norway")
ASKS = [
    Ask("Where was Velmora shown?", "Oslo", True, "Velmora is a comedy that was shown in Oslo.", PLACES),
    Ask("Velmora was shown in", "Lisbon", False, "Velmora is a comedy that was shown in Lisbon.", PLACES),
    Ask("Velmora", "is long", False, "Velmora is a very long comedy.", ()),
    Ask("Who wrote it?", "Oslo", True, "", ("Oslo", "Lisbon")),
]


@pytest.fixture(scope="module")
def base() -> Base:
    return tiny_base()


@torch.no_grad()
def one_by_one(base: Base, left: list[int], right: list[int]) -> float:
    """Straight from the definition: every token of the target after all before it, one row at a time."""
    row = [*left, *right][-base.context :]
    states = hidden_states(base, [row])
    at = torch.arange(len(row) - len(right) - 1, len(row) - 1)
    log_probs = torch.log_softmax(logits_at(base, states, torch.zeros_like(at), at).float(), -1)
    return -float(log_probs.gather(-1, torch.tensor(right)[:, None]).sum())


def pairs_of(base: Base, ask: Ask, *, in_context: bool) -> list[tuple[list[int], list[int]]]:
    left = data.prefix(base.tokenizer, ask.form, ask.prompt, ask.context if in_context else "")
    return [(left, data.target_ids(base.tokenizer, ask.form, c)) for c in ask.candidates or (ask.target,)]


@pytest.mark.parametrize("in_context", [False, True])
def test_what_shares_its_beginning_scores_as_if_it_were_read_alone(base: Base, in_context: bool) -> None:
    pairs = [(i, *pair) for i, ask in enumerate(ASKS) for pair in pairs_of(base, ask, in_context=in_context)]
    found = likelihoods_of(base, [(left, right) for _, left, right in pairs], about=[i for i, _, _ in pairs])
    assert [one.nll for one in found] == pytest.approx([one_by_one(base, left, right) for _, left, right in pairs], rel=1e-4)
    assert [one.tokens for one in found] == [len(right) for _, _, right in pairs]


@pytest.mark.parametrize("in_context", [False, True])
def test_the_likeliest_candidate_is_chosen(base: Base, in_context: bool) -> None:
    best = []
    for ask in ASKS:
        scored = [(one_by_one(base, *pair), c) for pair, c in zip(pairs_of(base, ask, in_context=in_context), ask.candidates, strict=False)]
        best.append(min(scored)[1] if scored else None)
    assert choices(base, ASKS, in_context=in_context) == best


def test_a_left_side_that_is_too_long_loses_its_beginning_and_never_the_target(base: Base) -> None:
    long, right = [1, *([40, 41, 42] * base.context)], [50, 51, 52]
    shared = likelihoods_of(base, [(long, right), (long, right[:2])], about=[0, 0])
    assert shared[0].nll == pytest.approx(one_by_one(base, long, right), rel=1e-4)
    assert shared[1].nll == pytest.approx(one_by_one(base, long, right[:2]), rel=1e-4)


def test_the_context_makes_a_difference_only_where_it_is_asked_for(base: Base) -> None:
    plain, read = ([one.nll for one in likelihoods(base, ASKS, in_context=given)] for given in (False, True))
    assert plain[3] == pytest.approx(read[3], rel=1e-5)  # there is none
    assert all(abs(a - b) > 1e-3 for a, b in zip(plain[:3], read[:3], strict=True))
