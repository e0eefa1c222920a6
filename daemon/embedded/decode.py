"""The decoding loop: a group of answers that share one adapter and one key-value cache, a token for each at every step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from daemon.embedded.calls import Answer, FinishReason, OnPiece, Piece, Sampling, Ticket, Token
from daemon.embedded.residents import Entry
from daemon.embedded.text import TextStream


@dataclass(slots=True)
class Row:
    """One answer in the making."""

    prompt_ids: list[int]
    sampling: Sampling
    entry: Entry | None
    ticket: Ticket
    on_piece: OnPiece | None
    stream: TextStream
    random: torch.Generator
    tokens: list[Token] = field(default_factory=list)
    text: str = ""
    told: int = 0  # tokens that the listener has heard of

    def deliver(self, fresh: str, finish_reason: FinishReason | None) -> None:
        self.text += fresh
        if self.on_piece is not None and (fresh or finish_reason):
            self.on_piece(Piece(text=fresh, tokens=tuple(self.tokens[self.told :]), finish_reason=finish_reason))
            self.told = len(self.tokens)

    def finish(self, reason: FinishReason, *, fresh: str) -> None:
        self.deliver(fresh + self.stream.finish(), reason)
        answer = Answer(text=self.text, tokens=tuple(self.tokens), finish_reason=reason, prompt_tokens=len(self.prompt_ids))
        self.ticket.result.set_result(answer)


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends an answer besides its own wishes."""

    eos_ids: frozenset[int]
    context_length: int


class Group:
    """Rows decoded together, left-padded so that every row's newest token is in the last column."""

    def __init__(self, rows: Sequence[Row], *, limits: Limits, token_text: Callable[[int], str], pad_id: int, device: torch.device) -> None:
        self.rows = list(rows)
        self.entry = rows[0].entry
        self._limits = limits
        self._token_text = token_text
        width = max(len(row.prompt_ids) for row in rows)
        pads = [width - len(row.prompt_ids) for row in rows]
        ids = [[pad_id] * pad + row.prompt_ids for pad, row in zip(pads, rows, strict=True)]
        mask = [[0] * pad + [1] * (width - pad) for pad in pads]
        self._ids = torch.tensor(ids, device=device)  # (batch, time); after the first step (batch, 1)
        self._mask = torch.tensor(mask, device=device)  # (batch, all the time so far)
        self._cache: Any = None

    def step(self, model: Any) -> None:
        """One forward pass and one new token for each row; finished rows leave the group."""
        logits = self._forward(model)  # (batch, vocab)
        if self._cache is None:
            raise RuntimeError("this model keeps no key-value cache")
        new_ids, stay = [], []
        for at, row in enumerate(self.rows):
            token = choose(logits[at], row.sampling, row.random, self._token_text)
            if not self._advance(row, token):
                new_ids.append(token.id)
                stay.append(at)
        self._shrink(stay, new_ids)

    @torch.inference_mode()
    def _forward(self, model: Any) -> torch.Tensor:
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)[:, -self._ids.shape[1] :]
        extra = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
        out = model(
            input_ids=self._ids, attention_mask=self._mask, position_ids=positions, past_key_values=self._cache, use_cache=True, **extra
        )
        self._cache = out.past_key_values
        last: torch.Tensor = out.logits[:, -1, :].float()
        return last

    def _advance(self, row: Row, token: Token) -> bool:
        """Give the row its token; true when that finished it."""
        row.tokens.append(token)
        if row.ticket.given_up:
            row.finish("abort", fresh="")
            return True
        if token.id in self._limits.eos_ids and not row.sampling.ignore_eos:
            row.finish("stop", fresh="")
            return True
        fresh = row.stream.push(token.id)
        if row.stream.stopped:
            row.finish("stop", fresh=fresh)
            return True
        used_up = len(row.tokens) >= row.sampling.max_tokens
        if used_up or len(row.prompt_ids) + len(row.tokens) >= self._limits.context_length:
            row.finish("length", fresh=fresh)
            return True
        row.deliver(fresh, None)
        return False

    @torch.inference_mode()
    def _shrink(self, stay: list[int], new_ids: list[int]) -> None:
        if not stay:
            self.rows = []
            return
        if len(stay) < len(self.rows):
            index = torch.tensor(stay, device=self._mask.device)
            self._cache.batch_select_indices(index)
            self._mask = self._mask[index]
            self.rows = [self.rows[at] for at in stay]
        self._ids = torch.tensor(new_ids, device=self._mask.device)[:, None]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(stay), 1)], dim=1)


@torch.inference_mode()
def choose(logits: torch.Tensor, sampling: Sampling, random: torch.Generator, token_text: Callable[[int], str]) -> Token:
    """Pick the next token from one row of logits (vocab)."""
    if sampling.temperature <= 0:
        chosen = int(logits.argmax())
    else:
        chosen = int(torch.multinomial(_nucleus(logits / sampling.temperature, sampling.top_p).cpu(), 1, generator=random))
    if sampling.top_logprobs is None:
        return Token(id=chosen, text=token_text(chosen))
    logprobs = logits.log_softmax(-1)
    values, ids = logprobs.topk(min(sampling.top_logprobs, logprobs.shape[-1]))
    top = tuple((token_text(int(i)), float(v)) for i, v in zip(ids, values, strict=True))
    return Token(id=chosen, text=token_text(chosen), logprob=float(logprobs[chosen]), top=top)


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Probabilities, with everything outside the smallest set of at least `top_p` put to zero; the likeliest token always stays."""
    probabilities = logits.softmax(-1)
    if top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return probabilities.scatter(0, order[outside], 0.0)
