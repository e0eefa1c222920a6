"""Folding the adapter into the weights while it trains changes how fast a step is and nothing else."""

import copy

import pytest
import torch

from daemon.learn import folded as folding
from daemon.learn.batches import hidden_states
from daemon.learn.errors import LearnError
from daemon.learn.folded import folded
from daemon.learn.inputs import freeze, layers
from daemon.learn.models import Base, new_adapter, trainable, using
from tests.learn_parts import tiny_base

FULL, HALF = "float32", "auto"
ROWS = [[1, *range(40 + i, 70 + 2 * i)] for i in range(4)]


@pytest.fixture
def base() -> Base:
    """With an adapter that has learnt something and trains on, its down-projections frozen."""
    base = tiny_base()
    new_adapter(base, "learnt", rank=4, alpha=12, seed=1)
    freeze(base, "learnt")
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in trainable(base):
            parameter.normal_(std=0.1)
    return base


def states_and_gradients(base: Base) -> list[torch.Tensor]:
    states = hidden_states(base, ROWS)
    (states * torch.linspace(-1, 1, states.shape[-1])).square().sum().backward()
    found = [states.detach(), *(p.grad.clone() for p in trainable(base) if p.grad is not None)]
    base.model.zero_grad(set_to_none=True)
    return found


def test_states_and_gradients_are_the_same(base: Base) -> None:
    plain = states_and_gradients(base)
    assert len(plain) == 1 + len(trainable(base))
    with folded(base, FULL) as weights:
        weights.refresh()
        torch.testing.assert_close(states_and_gradients(base), plain, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(states_and_gradients(base), plain, rtol=0, atol=0)


def test_what_it_has_become_counts_from_the_next_refresh_on(base: Base) -> None:
    with folded(base, FULL) as weights:
        weights.refresh()
        with torch.no_grad():
            trainable(base)[0].mul_(3)
        stale = states_and_gradients(base)[0]
        weights.refresh()
        fresh = states_and_gradients(base)[0]
    assert not torch.allclose(stale, fresh)
    torch.testing.assert_close(fresh, states_and_gradients(base)[0], rtol=1e-3, atol=1e-3)


def test_without_gradients_and_with_the_adapter_off_all_is_computed_as_ever(base: Base) -> None:
    with torch.no_grad(), using(base, None):
        alone = hidden_states(base, ROWS)
    with folded(base, FULL) as weights:
        weights.refresh()
        with torch.no_grad():
            trainable(base)[0].mul_(3)  # looked at between two refreshes: as it is now
            now = hidden_states(base, ROWS)
        with using(base, None):
            assert torch.equal(hidden_states(base, ROWS), alone)
    with torch.no_grad():
        assert torch.equal(hidden_states(base, ROWS), now)


def test_an_untrained_adapter_changes_nothing_at_all() -> None:
    base = tiny_base()
    with torch.no_grad():
        alone = hidden_states(base, ROWS)
    new_adapter(base, "fresh", rank=4, alpha=4, seed=1)
    freeze(base, "fresh")
    with folded(base, FULL) as weights:
        weights.refresh()
        assert torch.equal(hidden_states(base, ROWS).detach(), alone)


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with units for bf16, which any can do without, slowly."""
    monkeypatch.setattr(folding, "has_bf16", lambda device: True)


def test_in_bf16_states_and_gradients_are_nearly_the_same(base: Base, units: None) -> None:
    plain = states_and_gradients(base)
    with folded(base, HALF) as weights:
        weights.refresh()
        near = states_and_gradients(base)
    assert [x.dtype for x in near] == [torch.float32] * len(plain)
    assert float((near[0] - plain[0]).norm() / plain[0].norm()) < 0.03
    for rounded, exact in zip(near, plain, strict=True):
        assert not torch.equal(rounded, exact)
        assert float((rounded - exact).norm() / exact.norm()) < 0.15
    torch.testing.assert_close(states_and_gradients(base), plain, rtol=0, atol=0)


def test_in_bf16_logits_are_rounded_only_where_gradients_pass(base: Base, units: None) -> None:
    def logits() -> torch.Tensor:
        states = torch.linspace(-1, 1, base.model.config.hidden_size).repeat(3, 1).requires_grad_(torch.is_grad_enabled())
        found = base.model.get_output_embeddings()(states)
        if states.requires_grad:
            found.sum().backward()
            assert states.grad is not None
            weight = base.model.get_output_embeddings().weight
            torch.testing.assert_close(states.grad, weight.sum(0).expand(3, -1), rtol=0.02, atol=0.05)
        return torch.as_tensor(found.detach())

    plain = logits()
    with folded(base, HALF):
        assert not torch.equal(logits(), plain)
        torch.testing.assert_close(logits(), plain, rtol=0.02, atol=0.05)
        with torch.no_grad():
            assert torch.equal(logits(), plain)
    assert torch.equal(logits(), plain)


def test_in_float32_and_without_units_nothing_is_rounded(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "has_bf16", lambda device: False)
    with folded(base, HALF) as weights:
        weights.refresh()
        without = states_and_gradients(base)
    monkeypatch.setattr(folding, "has_bf16", lambda device: True)
    with folded(base, FULL) as weights:
        weights.refresh()
        assert all(torch.equal(a, b) for a, b in zip(states_and_gradients(base), without, strict=True))


def test_a_small_update_counts_in_bf16_too(base: Base, units: None) -> None:
    """It is added to the adapter in float32: what one step changed may be rounded away in what is multiplied, what forty changed is not."""
    with folded(base, HALF) as weights:
        found = []
        for _ in range(40):
            weights.refresh()
            found.append(states_and_gradients(base)[0])
            with torch.no_grad():
                trainable(base)[0].mul_(1.01)
    moved = [float((state - found[0]).norm()) for state in found]
    assert moved[-1] > 5 * moved[1]


def test_a_precision_that_does_not_exist_is_refused_by_name(base: Base) -> None:
    with pytest.raises(LearnError, match="no precision 'half'"), folded(base, "half"):
        raise AssertionError("it was taken")


@pytest.mark.parametrize("case", ["down-projections that train", "bf16", "too large"])
def test_what_cannot_be_folded_is_left_alone(base: Base, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if case == "bf16":
        base.model.to(torch.bfloat16)
    elif case == "too large":
        monkeypatch.setattr(folding, "BYTES", 1000)
    else:
        for module in layers(base, "learnt"):
            module.lora_A["learnt"].weight.requires_grad_(True)
    plain = copy.deepcopy(states_and_gradients(base))
    with folded(base, FULL) as weights:
        weights.refresh()
        assert not any("forward" in vars(module) for module in layers(base, "learnt"))
        assert all(torch.equal(a, b) for a, b in zip(states_and_gradients(base), plain, strict=True))
    assert len(plain) == 1 + len(trainable(base))
