"""Steps of an adapter's weights: their size, what shape they have, and what they do to things seen seldom."""

import pytest
import torch

from daemon.learn.errors import LearnError
from daemon.learn.optimisers import OPTIMISERS, Muon, optimiser_of, orthogonalised


def stepped(name: str, gradient: torch.Tensor, *, lr: float = 0.01) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.zeros_like(gradient))
    optimiser = optimiser_of(name, [weight], lr=lr)
    weight.grad = gradient
    optimiser.step()
    return weight.detach()


@pytest.mark.parametrize("shape", [(3, 24, 8), (2, 8, 24), (1, 16, 16)])
def test_what_is_orthogonalised_has_the_same_directions_and_nearly_equal_singular_values(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    u, s, vh = torch.linalg.svd(orthogonalised(matrices), full_matrices=False)
    assert bool(((s > 0.6) & (s < 1.3)).all())
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    nearest = left @ right
    assert float((u @ vh - nearest).norm() / nearest.norm()) < 0.1


@pytest.mark.parametrize("shape", [(96, 32), (32, 96), (64, 64)])
def test_a_step_of_muon_is_as_large_as_one_of_adamw_usually_is(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    step = stepped("muon", torch.randn(shape), lr=0.01)
    assert float(step.square().mean().sqrt()) == pytest.approx(0.2 * 0.01, rel=0.25)


def test_muon_steps_as_far_for_what_is_seldom_as_for_what_is_frequent() -> None:
    frequent, seldom = torch.zeros(32, 16), torch.zeros(32, 16)
    frequent[0, 0], seldom[1, 1] = 1.0, 0.05
    step = stepped("muon", frequent + seldom).abs()
    assert float(step[1, 1] / step[0, 0]) > 0.6


def test_the_size_of_a_gradient_does_not_matter_to_muon() -> None:
    torch.manual_seed(2)
    gradient = torch.randn(24, 8)
    torch.testing.assert_close(stepped("muon", gradient), stepped("muon", 1000 * gradient), rtol=1e-3, atol=1e-6)


def test_matrices_of_one_shape_step_as_they_would_alone() -> None:
    torch.manual_seed(3)
    gradients = [torch.randn(24, 8), torch.randn(24, 8), torch.randn(16, 8)]
    weights = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    Muon(weights, lr=0.01, like_adamw=True).step()
    for weight, gradient in zip(weights, gradients, strict=True):
        torch.testing.assert_close(weight.detach(), stepped("muon", gradient), rtol=1e-4, atol=1e-7)


def test_an_unknown_optimiser_is_refused_by_name() -> None:
    with pytest.raises(LearnError, match="no optimiser 'sgd'") as refused:
        optimiser_of("sgd", [], lr=0.1)
    assert all(name in (refused.value.hint or "") for name in OPTIMISERS)
