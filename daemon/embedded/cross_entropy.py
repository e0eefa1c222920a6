"""A cross-entropy that never holds all logits: what makes training from nothing affordable in little memory."""

from typing import Any

import torch
from torch import Tensor

_CHUNK = 512  # positions whose logits exist at one time


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        count = targets.shape[0]
        hidden_grad, head_grad = torch.empty_like(hidden), torch.zeros_like(head)
        total = hidden.new_zeros(())
        for start in range(0, count, _CHUNK):
            h, t = hidden[start : start + _CHUNK], targets[start : start + _CHUNK, None]
            logits = h @ head.T
            top = logits.amax(1, keepdim=True)
            right = logits.gather(1, t)
            logits.sub_(top).exp_()
            mass = logits.sum(1, keepdim=True)
            total += (top + mass.log() - right).sum()
            logits.div_(mass * count).scatter_add_(1, t, torch.full_like(right, -1.0 / count))  # now d loss / d logits
            torch.mm(logits, head, out=hidden_grad[start : start + _CHUNK])
            head_grad.addmm_(logits.T, h)
        ctx.save_for_backward(hidden_grad, head_grad)
        return total / count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_grad, head_grad = ctx.saved_tensors
        return hidden_grad * grad, head_grad * grad, None


def chunked_cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor, *, ignore: int) -> Tensor:
    """Mean cross-entropy of (n, width) states against (vocabulary, width) head and (n,) targets, leaving out targets equal to `ignore`."""
    keep = targets != ignore
    loss: Tensor = _ChunkedCrossEntropy.apply(hidden[keep], head, targets[keep])  # type: ignore[no-untyped-call]
    return loss
