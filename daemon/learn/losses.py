"""The losses, as pure functions of tensors. No models, no data, no optimiser.

Shapes: n supervised positions, v vocabulary, k kept teacher tokens, g questions, m samples of each. A teacher distribution may be full or `TopK`:
its k likeliest tokens plus the mass of all others in one bucket, which keeps the divergence a true one between two distributions over k + 1
outcomes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class TopK:
    """A teacher distribution in short: log-probabilities (n, k) of token ids (n, k), integers; the rest of the mass is one bucket."""

    log_probs: Tensor
    ids: Tensor

    @property
    def tail(self) -> Tensor:
        """(n, 1) probability of all tokens that were not kept."""
        return (1 - self.log_probs.exp().sum(-1, keepdim=True)).clamp_min(0)


def _log_probs(logits: Tensor, temperature: float) -> Tensor:
    scaled = logits.float()
    return torch.log_softmax(scaled if temperature == 1 else scaled / temperature, -1)  # a division of everything by 1 takes 5% of a step


def top_k(logits: Tensor, k: int, *, temperature: float) -> TopK:
    """The k likeliest tokens of softmax(logits / temperature), in fp32: bf16 log-softmax over a large vocabulary is noise."""
    log_probs, ids = _log_probs(logits, temperature).topk(min(k, logits.shape[-1]), -1)
    return TopK(log_probs, ids.int())  # half the memory of what stays until the last step


def forward_kl(teacher: Tensor, student: Tensor, *, temperature: float = 1.0) -> Tensor:
    """(n,) tau^2 KL(teacher || student) per position from full logits (n, v); arXiv 2306.09306 section 3, 2602.16093 eq. 3.

    tau^2 keeps the gradient's size independent of tau: without it tau = 2 is a silent fourfold change of the learning rate.
    """
    p = _log_probs(teacher, temperature)
    q = _log_probs(student, temperature)
    return temperature**2 * (p.exp() * (p - q)).sum(-1)


def forward_kl_top_k(teacher: TopK, student: Tensor, *, temperature: float = 1.0) -> Tensor:
    """(n,) the same from a kept teacher: k terms and one for the tail. Equals `forward_kl` where k = v, never exceeds it elsewhere."""
    q = _log_probs(student, temperature)
    kept = q.gather(-1, teacher.ids.long())
    kl = (teacher.log_probs.exp() * (teacher.log_probs - kept)).sum(-1)
    tail = teacher.tail.squeeze(-1)
    student_tail = (1 - kept.exp().sum(-1)).clamp_min(_TINY)
    return temperature**2 * (kl + tail * (tail.clamp_min(_TINY).log() - student_tail.log()))


def divergence(
    teacher: TopK, student: Tensor, *, kind: str = "forward_kl", temperature: float = 1.0, skew: float = 0.1, beta: float = 0.5
) -> Tensor:
    """(n,) tau^2 D(teacher, student) per position, student logits (n, v), over the k + 1 outcomes of the kept teacher; p teacher, q student.

    forward_kl   KL(p || q), arXiv 2306.09306 section 3
    reverse_kl   KL(q || p): seeks one mode, and may ignore what the student finds improbable
    skewed_kl    KL(p || a p + (1 - a) q), arXiv 2402.03898 section 3.1: bounded where q is tiny
    skewed_reverse_kl   KL(q || (1 - a) p + a q), there
    jsd          b KL(p || m) + (1 - b) KL(q || m) with m = b p + (1 - b) q, arXiv 2306.13649 eq. 1; it vanishes as b goes to 0 or 1, so for
                 the two KLs take them by name, at their own scale
    """
    if kind == "forward_kl":
        return forward_kl_top_k(teacher, student, temperature=temperature)
    p, q = _outcomes(teacher, student, temperature)
    if kind == "reverse_kl":
        found = _kl(q, p)
    elif kind == "skewed_kl":
        found = _kl(p, _mixed(p, q, skew))
    elif kind == "skewed_reverse_kl":
        found = _kl(q, _mixed(q, p, skew))
    elif kind == "jsd":
        middle = _mixed(p, q, beta)
        found = beta * _kl(p, middle) + (1 - beta) * _kl(q, middle)
    else:
        raise ValueError(f"There is no divergence {kind!r}; there are {', '.join(DIVERGENCES)}.")
    return temperature**2 * found


DIVERGENCES = ("forward_kl", "reverse_kl", "skewed_kl", "skewed_reverse_kl", "jsd")


def _outcomes(teacher: TopK, student: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(n, k + 1) log-probabilities of both over the kept tokens and the tail."""
    kept = _log_probs(student, temperature).gather(-1, teacher.ids.long())
    student_tail = (1 - kept.exp().sum(-1, keepdim=True)).clamp_min(_TINY)
    return torch.cat([teacher.log_probs, teacher.tail.clamp_min(_TINY).log()], -1), torch.cat([kept, student_tail.log()], -1)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.exp() * (p - q)).sum(-1)


def _mixed(p: Tensor, q: Tensor, share: float) -> Tensor:
    """log(share p + (1 - share) q)."""
    return torch.logaddexp(p + math.log(share), q + math.log1p(-share))


def certain(ids: Tensor) -> TopK:
    """The teacher that gives all mass to token `ids` (n,): its forward KL at temperature 1 is cross-entropy."""
    return TopK(torch.zeros(len(ids), 1, device=ids.device), ids[:, None])


def proximal(log_probs: Tensor, old: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """((n,) loss, (n,) whether clipped): -min(r, clip(r, 1 - e, 1 + e)) with r = pi / pi_old of each label token (n,); arXiv 2512.04753 fig. 3.

    It is PPO's surrogate at advantage 1, so only the upper bound binds: a token's probability rises by at most 1 + e until `old` is refreshed.
    """
    ratio = (log_probs - old).exp()
    return -torch.minimum(ratio, ratio.clamp(1 - epsilon, 1 + epsilon)), (ratio > 1 + epsilon).float()


def advantages(rewards: Tensor) -> Tensor:
    """(g, m) rewards to (g, m) (R - mean) / (std + 1e-6) within each question's samples, std unbiased; GRPO, arXiv 2402.03300 section 4.1.

    Equal rewards have no advantage: a question that always or never succeeds teaches nothing.
    """
    centred = rewards - rewards.mean(-1, keepdim=True)
    return centred / (rewards.std(-1, keepdim=True) + 1e-6)


def clipped_policy(log_probs: Tensor, old: Tensor, advantage: Tensor, *, low: float, high: float, dual: float) -> tuple[Tensor, Tensor]:
    """((n,) loss, (n,) whether clipped): -min(r A, clip(r, 1 - low, 1 + high) A), for A < 0 at most -dual A; arXiv 1707.06347 eq. 7, 1912.09729."""
    ratio = (log_probs - old).exp()
    free, held = -ratio * advantage, -ratio.clamp(1 - low, 1 + high) * advantage
    loss = torch.maximum(free, held)
    bounded = torch.where(advantage < 0, torch.minimum(loss, -dual * advantage), loss)
    return bounded, ((held > free) | (bounded < loss)).float()


def reference_kl(log_probs: Tensor, reference: Tensor) -> Tensor:
    """(n,) unbiased, never negative estimate of KL(pi || pi_ref) at sampled tokens: e^d - d - 1 with d = log pi_ref - log pi; 2402.03300 eq. 4."""
    d = reference - log_probs
    return d.exp() - d - 1


def mean_by_example(losses: Tensor, example: Tensor, count: int) -> Tensor:
    """Mean over each example's positions, then over examples: a long continuation counts as much as a short one. `example` (n,) in 0..count-1."""
    mean: Tensor = by_example(losses, example, count).sum() / max(1, example.unique().numel())
    return mean


def by_example(losses: Tensor, example: Tensor, count: int) -> Tensor:
    """(count,) mean over each example's positions; 0 for one without any. `example` (n,) in 0..count-1."""
    totals = losses.new_zeros(count).index_add(0, example, losses)
    positions = losses.new_zeros(count).index_add(0, example, torch.ones_like(losses))
    return totals / positions.clamp_min(1)
