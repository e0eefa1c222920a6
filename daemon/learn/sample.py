"""Batched sampling from the base or an adapter: ids in, ids out. Knows no prompts."""

from collections.abc import Sequence

import torch
from torch import Tensor

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
) -> list[list[int]]:
    """The continuation of each prompt, without its stop token, drawn with whatever adapter is active; temperature 0 is greedy.

    Prompts are padded on the left. The result depends on the seed and on the batch, not on what was sampled before.
    """
    if not prompts:
        return []
    width = max(len(p) for p in prompts)
    pad = base.pad_id
    ids = torch.tensor([[*[pad] * (width - len(p)), *p] for p in prompts], device=base.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=base.device)
    generator = torch.Generator(device=base.device).manual_seed(seed)
    stops = torch.tensor(sorted(set(stop if stop is not None else base.stop_ids)) or [-1], device=base.device)
    finished = torch.zeros(len(prompts), dtype=torch.bool, device=base.device)
    drawn: list[Tensor] = []
    past, step_ids = None, ids
    for _ in range(new_tokens):
        positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, -step_ids.shape[1] :]
        out = base.model(
            input_ids=step_ids, attention_mask=mask, position_ids=positions, past_key_values=past, use_cache=True, logits_to_keep=1
        )
        past = out.past_key_values
        token = _draw(out.logits[:, -1].float(), temperature, top_p, generator).masked_fill(finished, pad)
        finished |= torch.isin(token, stops)
        drawn.append(token)
        if bool(finished.all()):
            break
        step_ids = token[:, None]
        mask = torch.cat([mask, torch.ones_like(step_ids)], 1)
    stop_set = set(stops.tolist())
    return [_until(row, stop_set) for row in torch.stack(drawn, 1).tolist()]


def _draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    probs = torch.softmax(logits / temperature, -1)
    if top_p < 1:
        ordered, order = probs.sort(-1, descending=True)
        ordered[ordered.cumsum(-1) - ordered > top_p] = 0
        probs = torch.zeros_like(probs).scatter(-1, order, ordered)
    return torch.multinomial(probs, 1, generator=generator).squeeze(-1)


def _until(row: list[int], stops: set[int]) -> list[int]:
    for index, token in enumerate(row):
        if token in stops:
            return row[:index]
    return row
