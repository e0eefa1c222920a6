"""The losses, as pure functions of tensors. No models, no data, no optimiser.

Shapes: n supervised positions, v vocabulary, k kept teacher tokens. A teacher distribution may be full or `TopK`: its k likeliest tokens plus the
mass of all others in one bucket, which keeps the divergence a true KL between two distributions over k + 1 outcomes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class TopK:
    """A teacher distribution in short: log-probabilities (n, k) of token ids (n, k); the rest of the mass is one bucket."""

    log_probs: Tensor
    ids: Tensor

    @property
    def tail(self) -> Tensor:
        """(n, 1) probability of all tokens that were not kept."""
        return (1 - self.log_probs.exp().sum(-1, keepdim=True)).clamp_min(0)


def top_k(logits: Tensor, k: int, *, temperature: float) -> TopK:
    """The k likeliest tokens of softmax(logits / temperature), in fp32: bf16 log-softmax over a large vocabulary is noise."""
    log_probs, ids = torch.log_softmax(logits.float() / temperature, -1).topk(min(k, logits.shape[-1]), -1)
    return TopK(log_probs, ids)


def forward_kl(teacher: Tensor, student: Tensor, *, temperature: float = 1.0) -> Tensor:
    """(n,) tau^2 KL(teacher || student) per position from full logits (n, v); arXiv 2306.09306 section 3, 2602.16093 eq. 3.

    tau^2 keeps the gradient's size independent of tau: without it tau = 2 is a silent fourfold change of the learning rate.
    """
    p = torch.log_softmax(teacher.float() / temperature, -1)
    q = torch.log_softmax(student.float() / temperature, -1)
    return temperature**2 * (p.exp() * (p - q)).sum(-1)


def forward_kl_top_k(teacher: TopK, student: Tensor, *, temperature: float = 1.0) -> Tensor:
    """(n,) the same from a kept teacher: k terms and one for the tail. Equals `forward_kl` where k = v, never exceeds it elsewhere."""
    q = torch.log_softmax(student.float() / temperature, -1)
    kept = q.gather(-1, teacher.ids)
    kl = (teacher.log_probs.exp() * (teacher.log_probs - kept)).sum(-1)
    tail = teacher.tail.squeeze(-1)
    student_tail = (1 - kept.exp().sum(-1)).clamp_min(_TINY)
    return temperature**2 * (kl + tail * (tail.clamp_min(_TINY).log() - student_tail.log()))


def mean_by_example(losses: Tensor, example: Tensor, count: int) -> Tensor:
    """Mean over each example's positions, then over examples: a long continuation counts as much as a short one. `example` (n,) in 0..count-1."""
    totals = losses.new_zeros(count).index_add(0, example, losses)
    positions = losses.new_zeros(count).index_add(0, example, torch.ones_like(losses))
    return (totals / positions.clamp_min(1)).sum() / (positions > 0).sum().clamp_min(1)
