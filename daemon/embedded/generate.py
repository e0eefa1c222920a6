"""The embedded engine's model: any Hugging Face causal language model, with LoRA adapters beside it, generating for many callers.

One worker thread owns the model. Callers hand in prompts and listen; requests that wait together for the same adapter become one
batch, and batches take turns token by token, so a long answer does not hold up a short one. HTTP is serving/engine_app.py's business.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from daemon.embedded.calls import (
    Answer,
    GenerationError,
    OnPiece,
    PromptNotUsable,
    PromptTooLong,
    Sampling,
    Ticket,
)
from daemon.embedded.decode import Group, Limits, Row
from daemon.embedded.residents import Residents
from daemon.embedded.text import TextStream

log = logging.getLogger(__name__)
SMALL_MODEL_PARAMETERS = 50_000_000


@dataclass(frozen=True, slots=True)
class _Order:
    """Something the worker does between two steps, in its own thread."""

    do: Callable[[], None]
    done: Future[None]


class Generator:
    """A base model with its resident adapters. Thread-safe; `close` it."""

    def __init__(
        self,
        model_dir: Path | str,
        *,
        revision: str | None = None,
        dtype: torch.dtype | None = None,
        max_resident: int = 8,
        max_batch: int = 16,
        device: str | None = None,
    ) -> None:
        where = {"local_files_only": Path(model_dir).is_dir(), "revision": revision}
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(model_dir), **where)
        self._model: Any = AutoModelForCausalLM.from_pretrained(str(model_dir), dtype=dtype or "auto", **where).eval()
        self.parameter_count = sum(p.numel() for p in self._model.parameters())
        if dtype is None and self.is_small:
            self._model.float()  # exact, and a small model on a CPU is no slower for it; its answers then do not depend on their batch
        self._model.to(self.device).requires_grad_(False)
        config = self._model.config.get_text_config()
        self.context_length = int(getattr(config, "max_position_embeddings", 0) or 2**31 - 1)
        self._vocabulary_size = int(config.vocab_size)
        self._limits = Limits(eos_ids=_eos_ids(self._model, self.tokenizer), context_length=self.context_length)
        self._pad_id = self.tokenizer.pad_token_id or 0
        self._max_batch = max_batch
        self._residents = Residents(self._model, max_resident=max_resident)
        self._inbox: queue.SimpleQueue[Row | _Order | None] = queue.SimpleQueue()
        self._groups: list[Group] = []
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="generator", daemon=True)
        self._worker.start()

    @property
    def is_small(self) -> bool:
        """Whether this is a model that one thread of a CPU computes best."""
        return self.device.type == "cpu" and self.parameter_count < SMALL_MODEL_PARAMETERS

    def load_adapter(self, name: str, path: Path | str) -> None:
        """Load an adapter folder under a name of its own; returns when it can be asked."""
        self._order(lambda: self._residents.register(name, Path(path), in_use=self._in_use()))

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter. Answers that have begun with it finish with it."""
        self._order(lambda: self._residents.forget(name))

    def names(self) -> tuple[str, ...]:
        """The names of the loaded adapters, in the order of loading."""
        return tuple(self._residents.names())

    def adapters(self) -> dict[str, Path]:
        """The loaded adapters and the folders they came from."""
        return self._residents.names()

    def encode(self, prompt: str) -> list[int]:
        return list(self.tokenizer(prompt)["input_ids"])

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """A conversation as the model was taught to read it, up to where its answer begins."""
        if not getattr(self.tokenizer, "chat_template", None):
            raise PromptNotUsable("This model has no chat template; send a plain prompt to /v1/completions.")
        try:
            text = self.tokenizer.apply_chat_template([dict(m) for m in messages], add_generation_prompt=True, tokenize=False)
        except Exception as err:  # a template is a program of the model's maker and raises what it likes
            raise PromptNotUsable(f"The model's chat template refused these messages: {err}") from err
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def submit(
        self, prompt: str | Sequence[int], *, adapter: str | None = None, sampling: Sampling | None = None, on_piece: OnPiece | None = None
    ) -> Ticket:
        """Queue one generation. `on_piece` is called from the worker's thread and must not block."""
        if self._closed:
            raise GenerationError("The engine is stopping.")
        ids = self.encode(prompt) if isinstance(prompt, str) else list(prompt)
        wish = sampling or Sampling()
        self.check_length(ids, max_tokens=wish.max_tokens)
        row = Row(
            prompt_ids=ids,
            sampling=wish,
            entry=None if adapter is None else self._residents.entry(adapter),
            ticket=Ticket(),
            on_piece=on_piece,
            stream=TextStream(self._decode, prompt_ids=ids, stop=wish.stop),
            random=_random(wish.seed),
        )
        self._inbox.put(row)
        return row.ticket

    def generate(
        self, prompt: str | Sequence[int], *, adapter: str | None = None, sampling: Sampling | None = None, on_piece: OnPiece | None = None
    ) -> Answer:
        """One generation, waited for."""
        return self.submit(prompt, adapter=adapter, sampling=sampling, on_piece=on_piece).result.result()

    def check_length(self, ids: Sequence[int], *, max_tokens: int) -> None:
        """Refuse what does not fit, naming the numbers; nothing is ever cut silently."""
        if not ids:
            raise PromptNotUsable("The prompt is empty: it has no tokens.")
        if any(not 0 <= i < self._vocabulary_size for i in ids):
            raise PromptNotUsable(f"The prompt has token ids outside this model's vocabulary of {self._vocabulary_size}.")
        if len(ids) >= self.context_length:
            raise PromptTooLong(
                f"This model's maximum context length is {self.context_length} tokens. However, your prompt has {len(ids)} tokens."
            )
        if len(ids) + max_tokens > self.context_length:
            raise PromptTooLong(
                f"This model's maximum context length is {self.context_length} tokens. However, you asked for {max_tokens} output tokens "
                f"and your prompt has {len(ids)} tokens."
            )

    def active_answers(self) -> int:
        """How many answers are being computed at this moment."""
        return sum(len(group.rows) for group in tuple(self._groups))

    def ping(self) -> None:
        """Returns when the worker has come by, between two steps of whatever it computes: proof that it works."""
        self._order(lambda: None)

    def close(self) -> None:
        """Stop the worker; whoever still waits gets an error."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
            self._worker.join(timeout=60)

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the worker's side; everything below runs in its thread, except _order and _decode

    def _order(self, do: Callable[[], None]) -> None:
        if self._closed:
            raise GenerationError("The engine is stopping.")
        order = _Order(do=do, done=Future())
        self._inbox.put(order)
        order.done.result()

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _token_text(self, token_id: int) -> str:
        return str(self.tokenizer.decode([token_id], clean_up_tokenization_spaces=False))

    def _work(self) -> None:
        waiting: list[Row] = []
        while self._take_in(waiting):
            while waiting and self.active_answers() < self._max_batch:
                self._admit(waiting)
            for group in list(self._groups):
                self._step(group)
            self._groups = [group for group in self._groups if group.rows]
            self._residents.sweep({entry.key for entry in self._entries_in_use(waiting)})
        self._turn_away(waiting)

    def _take_in(self, waiting: list[Row]) -> bool:
        """Read the inbox; wait for something only when there is nothing to do. False: time to stop."""
        idle = not self._groups and not waiting
        while True:
            try:
                item = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            idle = False
            if item is None:
                return False
            if isinstance(item, Row):
                waiting.append(item)
            else:
                _carry_out(item)

    def _admit(self, waiting: list[Row]) -> None:
        """Make one batch of the first waiting row and the others that want the same adapter."""
        room = self._max_batch - self.active_answers()
        rows = [row for row in waiting if row.entry == waiting[0].entry][:room]
        waiting[:] = [row for row in waiting if not any(row is taken for taken in rows)]
        self._groups.append(
            Group(rows, limits=self._limits, token_text=self._token_text, pad_id=self._pad_id, device=self.device),
        )

    def _step(self, group: Group) -> None:
        try:
            group.step(self._residents.activate(group.entry, in_use=self._in_use()))
        except Exception as err:  # whatever a model raises ends this batch, never the engine
            log.exception("A batch of %d answers failed", len(group.rows))
            for row in group.rows:
                if not row.ticket.result.done():
                    row.ticket.result.set_exception(
                        err if isinstance(err, GenerationError) else GenerationError(f"Generation failed: {err}")
                    )
            group.rows = []

    def _in_use(self) -> set[str]:
        return {group.entry.key for group in self._groups if group.entry is not None}

    def _entries_in_use(self, waiting: list[Row]) -> list[Any]:
        entries = [group.entry for group in self._groups] + [row.entry for row in waiting]
        return [entry for entry in entries if entry is not None]

    def _turn_away(self, waiting: list[Row]) -> None:
        rows = [row for group in self._groups for row in group.rows] + waiting
        stopping = GenerationError("The engine is stopping.")
        while True:
            try:
                item = self._inbox.get(block=False)
            except queue.Empty:
                break
            if isinstance(item, Row):
                rows.append(item)
            elif item is not None:
                item.done.set_exception(stopping)
        for row in rows:
            row.ticket.result.set_exception(stopping)


def _carry_out(order: _Order) -> None:
    try:
        order.do()
    except Exception as err:  # handed to whoever gave the order
        order.done.set_exception(err)
    else:
        order.done.set_result(None)


def _random(seed: int | None) -> torch.Generator:
    random = torch.Generator(device="cpu")
    if seed is None:
        random.seed()
    else:
        random.manual_seed(seed)
    return random


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends an answer: a chat model often has two, the end of the text and the end of its turn."""
    found: set[int] = set()
    for owner in (model.generation_config, model.config, tokenizer):
        ids = getattr(owner, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or [])
    return frozenset(found)


def settle_threads(generator: Generator) -> None:
    """Give a small model on a CPU one thread. Its matrices are too small to share, and threads that wait for each other by spinning make
    every token up to ten times slower whenever something else, such as a learning job, wants the cores."""
    if generator.is_small:
        torch.set_num_threads(1)
