"""Rows of ids to padded tensors and hidden states to logits at chosen positions only. No losses, no optimiser."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from daemon.learn.models import Base


def padded(rows: Sequence[Sequence[int]], *, pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(batch, time) ids padded on the right, and their mask. Right padding keeps positions counting from 0 without position ids."""
    width = max(len(r) for r in rows)
    ids = torch.tensor([[*r, *[pad] * (width - len(r))] for r in rows], device=device)
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows], device=device)
    return ids, mask


def hidden_states(base: Base, rows: Sequence[Sequence[int]]) -> Tensor:
    """(batch, time, width) last hidden states, with whatever adapter is active."""
    ids, mask = padded(rows, pad=base.pad_id, device=base.device)
    states: Tensor = _body(base.model)(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    return states


def logits_at(base: Base, states: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
    """(n, vocabulary) logits at n (row, position) pairs: never a (batch, time, vocabulary) block."""
    logits: Tensor = _causal(base.model).lm_head(states[rows, positions])
    return logits


def by_length(rows: Sequence[Sequence[int]], *, tokens: int) -> Iterator[list[int]]:
    """Indices in groups of similar length whose padded size is at most `tokens` (one row at least)."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    group: list[int] = []
    for index in order:
        if group and (len(group) + 1) * len(rows[index]) > tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _causal(model: Any) -> Any:
    """The causal model under PEFT's wrapping."""
    return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model


def _body(model: Any) -> Any:
    causal = _causal(model)
    return getattr(causal, causal.base_model_prefix)
