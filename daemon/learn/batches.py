"""Rows of ids to padded tensors and hidden states to logits at chosen positions only. No losses, no optimiser."""

from collections.abc import Callable, Hashable, Iterator, Sequence
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


def beginnings(rows: Sequence[Sequence[int]], of: Sequence[Hashable]) -> list[int]:
    """How many first ids each row has in common with every other row of the same key, for example of the same definition."""
    common: dict[Hashable, Sequence[int]] = {}
    for row, key in zip(rows, of, strict=True):
        known = common.get(key, row)
        length = next((i for i, (a, b) in enumerate(zip(known, row, strict=False)) if a != b), min(len(known), len(row)))
        common[key] = known[:length]
    return [len(common[key]) for key in of]


@torch.no_grad()
def read_beginnings(
    base: Base,
    rows: Sequence[Sequence[int]],
    first: Sequence[int],
    pad_rest: Callable[[Base, Sequence[Sequence[int]]], tuple[Tensor, Tensor]],
) -> tuple[Any, Tensor, Tensor]:
    """(cache, ids of the rest, mask over both) where the first `first[i]` (at least 1) ids of each row have been read, equal ones only once."""
    heads = list(dict.fromkeys(tuple(r[:n]) for r, n in zip(rows, first, strict=True)))
    place = {head: i for i, head in enumerate(heads)}
    width = max(map(len, heads))
    ids = torch.tensor([[*[base.pad_id] * (width - len(h)), *h] for h in heads], device=base.device)
    mask = torch.tensor([[0] * (width - len(h)) + [1] * len(h) for h in heads], device=base.device)
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    cache = _body(base.model)(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True).past_key_values
    owner = torch.tensor([place[tuple(r[:n])] for r, n in zip(rows, first, strict=True)], device=base.device)
    cache.batch_select_indices(owner)
    rest, rest_mask = pad_rest(base, [r[n:] for r, n in zip(rows, first, strict=True)])
    return cache, rest, torch.cat([mask[owner], rest_mask], 1)


@torch.no_grad()
def hidden_rest(base: Base, rows: Sequence[Sequence[int]], first: Sequence[int]) -> Tensor:
    """(batch, time, width) last hidden states of what follows the first `first[i]` (at least 1) ids of each row; equal beginnings are read once."""
    cache, ids, mask = read_beginnings(base, rows, first, lambda b, rest: padded(rest, pad=b.pad_id, device=b.device))
    positions = (mask.cumsum(-1) - 1)[:, -ids.shape[1] :]
    out = _body(base.model)(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
    states: Tensor = out.last_hidden_state
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
