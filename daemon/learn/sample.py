"""Batched sampling from the base or an adapter: ids in, ids out. Knows no prompts."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from daemon.learn.batches import padded, read_beginnings
from daemon.learn.models import Base


@torch.no_grad()
def sample(
    base: Base,
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    temperature: float,
    seed: int,
    stop: Sequence[int] | None = None,
    top_p: float = 1.0,
    shared: Sequence[int] | None = None,
) -> list[list[int]]:
    """The continuation of each prompt, without its stop token, drawn with whatever adapter is active; temperature 0 is greedy.

    `shared`: how many first tokens of each prompt are likely to begin others too (`batches.beginnings`); they are read once. Rows that have
    ended leave the batch. The result depends on the seed and on the batch, not on what was sampled before.
    """
    if not prompts:
        return []
    generator = torch.Generator(device=base.device).manual_seed(seed)
    stops = set(stop if stop is not None else base.stop_ids)
    drawn: list[list[int]] = [[] for _ in prompts]
    going = list(range(len(prompts)))  # which prompt each row of the batch belongs to
    past, step_ids, mask = _read(base, prompts, shared)
    for _ in range(new_tokens):
        positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, -step_ids.shape[1] :]
        out = base.model(
            input_ids=step_ids, attention_mask=mask, position_ids=positions, past_key_values=past, use_cache=True, logits_to_keep=1
        )
        past = out.past_key_values
        tokens = _draw(out.logits[:, -1].float(), temperature, top_p, generator)
        kept = []
        for row, token in enumerate(tokens.tolist()):
            if token not in stops:
                drawn[going[row]].append(token)
                kept.append(row)
        if not kept:
            break
        step_ids = tokens[:, None]
        if len(kept) < len(going):
            rows = torch.tensor(kept, device=base.device)
            past.batch_select_indices(rows)
            step_ids, mask, going = step_ids[rows], mask[rows], [going[row] for row in kept]
        mask = torch.cat([mask, torch.ones_like(step_ids)], 1)
    return drawn


def _read(base: Base, prompts: Sequence[Sequence[int]], shared: Sequence[int] | None) -> tuple[Any, Tensor, Tensor]:
    """(cache of the shared beginnings or None, (batch, time) ids still to be read, mask over both), padded on the left."""
    first = [min(n, len(p) - 1) for n, p in zip(shared, prompts, strict=True)] if shared is not None else [0]
    if min(first) < 1:
        return None, *_left_padded(base, prompts)
    return read_beginnings(base, prompts, first, _left_padded)


def _left_padded(base: Base, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    ids, mask = padded([r[::-1] for r in rows], pad=base.pad_id, device=base.device)
    return ids.flip(1), mask.flip(1)


def _draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    probs = torch.softmax(logits / temperature, -1)
    if top_p < 1:
        ordered, order = probs.sort(-1, descending=True)
        ordered[ordered.cumsum(-1) - ordered > top_p] = 0
        probs = torch.zeros_like(probs).scatter(-1, order, ordered)
    # by inverse cumulative distribution: torch.multinomial takes as long as the model itself on a processor
    below = probs.cumsum(-1)
    at = torch.rand(len(probs), 1, generator=generator, device=probs.device) * below[:, -1:]
    return torch.searchsorted(below, at).squeeze(-1).clamp_max(probs.shape[-1] - 1)
