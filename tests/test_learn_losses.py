"""The losses at their limits."""

import pytest
import torch
from torch.nn import functional

from daemon.learn.losses import forward_kl, forward_kl_top_k, mean_by_example, top_k


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
