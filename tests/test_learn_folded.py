"""Folding the adapter into the weights while it trains changes how fast a step is and nothing else."""

import copy

import pytest
import torch

from daemon.learn import folded as folding
from daemon.learn.batches import hidden_states
from daemon.learn.folded import folded
from daemon.learn.inputs import freeze, layers
from daemon.learn.models import Base, new_adapter, trainable, using
from tests.learn_parts import tiny_base

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
    with folded(base) as weights:
        weights.refresh()
        torch.testing.assert_close(states_and_gradients(base), plain, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(states_and_gradients(base), plain, rtol=0, atol=0)


def test_what_it_has_become_counts_from_the_next_refresh_on(base: Base) -> None:
    with folded(base) as weights:
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
    with folded(base) as weights:
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
    with folded(base) as weights:
        weights.refresh()
        assert torch.equal(hidden_states(base, ROWS).detach(), alone)


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
    with folded(base) as weights:
        weights.refresh()
        assert not any("forward" in vars(module) for module in layers(base, "learnt"))
        assert all(torch.equal(a, b) for a, b in zip(states_and_gradients(base), plain, strict=True))
    assert len(plain) == 1 + len(trainable(base))
