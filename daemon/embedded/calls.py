"""What one generation asks for and gives back: plain values without torch, so that the HTTP side can speak them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length", "abort"]


class GenerationError(Exception):
    """The embedded engine could not do what it was asked."""

    hint = "See the message; the engine keeps answering other requests."


class AdapterNotLoadable(GenerationError):
    """The adapter does not fit this engine's base model, or its files are not a usable LoRA."""

    hint = "Check that the adapter was made for this base model: lorefeed doctor"


class AdapterAlreadyLoaded(GenerationError):
    """An adapter of that name is loaded; a name stands for one version for ever."""

    hint = "Load a new version under a new name, or unload this one first."


class AdapterUnknown(GenerationError):
    """No adapter of that name is loaded."""

    hint = "List what is loaded: GET /v1/models"


class PromptTooLong(GenerationError):
    """The prompt and the answer asked for do not fit the model's context."""

    hint = "Shorten the conversation or ask for fewer tokens."


class PromptNotUsable(GenerationError):
    """The prompt cannot be turned into tokens of this model."""

    hint = "Send a text, token ids of this model's vocabulary, or chat messages with a role and a content."


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. Temperature 0 is greedy; `top_logprobs` None leaves log-probabilities out."""

    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    ignore_eos: bool = False
    top_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One chosen token; log-probabilities are of the plain distribution, before temperature and top-p."""

    id: int
    text: str
    logprob: float | None = None
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What became certain since the last piece: text that no stop string can take back any more."""

    text: str
    tokens: tuple[Token, ...]
    finish_reason: FinishReason | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished generation."""

    text: str
    tokens: tuple[Token, ...]
    finish_reason: FinishReason
    prompt_tokens: int

    @property
    def completion_tokens(self) -> int:
        return len(self.tokens)


@dataclass(slots=True)
class Ticket:
    """The caller's end of a running generation: its result, and a way to give it up."""

    result: Future[Answer] = field(default_factory=Future)
    given_up: bool = False

    def __post_init__(self) -> None:
        # A future that is not running can be cancelled by whoever waits for it, as asyncio does when a client hangs up; it then takes no result,
        # and the whole batch, with the answers of others in it, failed on that.
        self.result.set_running_or_notify_cancel()

    def cancel(self) -> None:
        """Ask the engine to stop at the next token; the result then has the finish reason `abort`."""
        self.given_up = True


OnPiece = Callable[[Piece], None]
Message = Mapping[str, str]
