"""The losses at their limits."""

import math

import pytest
import torch
from torch.nn import functional

from daemon.learn.losses import (
    DIVERGENCES,
    advantages,
    by_example,
    certain,
    clipped_policy,
    divergence,
    forward_kl,
    forward_kl_top_k,
    mean_by_example,
    proximal,
    reference_kl,
    top_k,
)


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(7, 50, generator=generator) * 3, torch.randn(7, 50, generator=generator) * 3


def test_equal_distributions_have_no_loss(logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    teacher, _ = logits
    assert forward_kl(teacher, teacher, temperature=2.0).abs().max() < 1e-6
    assert forward_kl_top_k(top_k(teacher, 50, temperature=2.0), teacher, temperature=2.0).abs().max() < 1e-5


def test_the_direction_is_teacher_first_and_temperature_is_squared(logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    teacher, student = logits
    expected = 4 * functional.kl_div((student / 2).log_softmax(-1), (teacher / 2).softmax(-1), reduction="none").sum(-1)
    torch.testing.assert_close(forward_kl(teacher, student, temperature=2.0), expected)
    assert not torch.allclose(forward_kl(teacher, student), forward_kl(student, teacher), rtol=0.05)


def test_keeping_every_token_equals_the_full_divergence_and_fewer_never_exceed_it(logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    teacher, student = logits
    full = forward_kl(teacher, student, temperature=2.0)
    torch.testing.assert_close(forward_kl_top_k(top_k(teacher, 50, temperature=2.0), student, temperature=2.0), full, rtol=1e-4, atol=1e-4)
    kept = [forward_kl_top_k(top_k(teacher, k, temperature=2.0), student, temperature=2.0) for k in (1, 8, 32)]
    assert all(bool((k <= full + 1e-4).all()) for k in kept)
    assert (full - kept[2]).max() < (full - kept[0]).max()


def test_kept_teacher_has_the_same_gradient_where_everything_is_kept(logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    teacher, student = logits
    a, b = student.clone().requires_grad_(), student.clone().requires_grad_()
    forward_kl(teacher, a).sum().backward()
    forward_kl_top_k(top_k(teacher, 50, temperature=1.0), b).sum().backward()
    assert a.grad is not None
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4)


def test_a_long_example_counts_as_much_as_a_short_one() -> None:
    losses, example = torch.tensor([1.0, 1.0, 1.0, 5.0]), torch.tensor([0, 0, 0, 1])
    assert mean_by_example(losses, example, 2).item() == pytest.approx(3.0)
    assert mean_by_example(losses, example, 3).item() == pytest.approx(3.0)  # an example without positions is no example
    assert by_example(losses, example, 3).tolist() == [1.0, 5.0, 0.0]


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_every_divergence_is_zero_for_equals_and_positive_for_others(kind: str, logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    teacher, student = logits
    kept = top_k(teacher, 50, temperature=1.0)
    assert divergence(kept, teacher, kind=kind).abs().max() < 1e-4
    assert divergence(kept, student, kind=kind).min() > 1e-3


def test_the_skewed_and_the_generalised_divergences_lie_where_their_limits_say(logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    teacher, student = logits
    kept = top_k(teacher, 50, temperature=1.0)
    forward, backward = forward_kl(teacher, student), forward_kl(student, teacher)
    torch.testing.assert_close(divergence(kept, student, kind="reverse_kl"), backward, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(divergence(kept, student, kind="skewed_kl", skew=1e-7), forward, rtol=1e-2, atol=1e-2)
    assert bool((divergence(kept, student, kind="skewed_kl", skew=0.1) < -math.log(0.1)).all())  # bounded, however small q is
    # at the very end the loss vanishes, in proportion to the KL there; flat distributions, because beta must be small beside the smallest q / p
    flat = divergence(top_k(teacher / 9, 50, temperature=1.0), student / 9, kind="jsd", beta=1e-3) / 1e-3
    torch.testing.assert_close(flat, forward_kl(teacher / 9, student / 9), rtol=2e-2, atol=1e-3)
    mirrored = divergence(top_k(student, 50, temperature=1.0), teacher, kind="jsd", beta=0.5)
    torch.testing.assert_close(divergence(kept, student, kind="jsd", beta=0.5), mirrored, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="no divergence 'hinge'"):
        divergence(kept, student, kind="hinge")


def test_a_certain_teacher_is_cross_entropy(logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, student = logits
    ids = torch.arange(7)
    expected = functional.cross_entropy(student, ids, reduction="none")
    torch.testing.assert_close(divergence(certain(ids), student), expected)


def test_the_proximal_ratio_has_a_gradient_below_its_bound_and_none_above() -> None:
    old = torch.tensor([-2.0, -2.0, -2.0])
    now = torch.tensor([-2.0, -1.9, -1.0], requires_grad=True)
    loss, clipped = proximal(now, old, epsilon=0.2)
    loss.sum().backward()
    assert clipped.tolist() == [0.0, 0.0, 1.0]
    assert now.grad is not None
    torch.testing.assert_close(now.grad, torch.tensor([-1.0, -math.exp(0.1), 0.0]))
    assert loss[2].item() == pytest.approx(-1.2)


def test_equal_rewards_have_no_advantage_and_others_sum_to_none() -> None:
    found = advantages(torch.tensor([[0.5, 0.5, 0.5], [0.0, 1.0, 0.5]]))
    assert found[0].tolist() == [0.0, 0.0, 0.0]
    assert found[1].sum().item() == pytest.approx(0.0, abs=1e-6)
    assert found[1].tolist() == pytest.approx([-1.0, 1.0, 0.0], abs=1e-4)


def test_the_policy_is_clipped_on_the_side_of_its_advantage_and_twice_where_that_is_bad() -> None:
    old = torch.zeros(4)
    ratio = torch.tensor([1.5, 0.5, 0.5, 9.0])
    loss, clipped = clipped_policy(ratio.log(), old, torch.tensor([1.0, 1.0, -1.0, -1.0]), low=0.2, high=0.3, dual=3.0)
    assert loss.tolist() == pytest.approx([-1.3, -0.5, 0.8, 3.0])
    assert clipped.tolist() == [1.0, 0.0, 1.0, 1.0]


def test_the_reference_estimate_is_never_negative_and_right_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    policy, reference = (torch.randn(40, generator=generator).log_softmax(-1) for _ in range(2))
    drawn = torch.multinomial(policy.exp(), 200_000, replacement=True, generator=generator)
    found = reference_kl(policy[drawn], reference[drawn])
    assert found.min() >= 0
    assert found.mean().item() == pytest.approx((policy.exp() * (policy - reference)).sum().item(), rel=0.05)
