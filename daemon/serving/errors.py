"""What can go wrong between a question and an answer. Each class says what happened, each `hint` what to do next."""

from __future__ import annotations


class ServingError(Exception):
    """Serving could not do what was asked."""

    hint = "See: lorefeed doctor"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class EngineDown(ServingError):
    """The engine does not answer."""

    hint = "Start it: lorefeed engine (or look at its log: journalctl -u lorefeed-vllm)"


class EngineFailed(ServingError):
    """The engine answered with an error."""

    hint = "The engine's log has the cause"

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ModelUnknown(EngineFailed):
    """The engine or gateway serves nothing of that name."""

    hint = "List what there is: lorefeed aliases list"


class PromptRefused(EngineFailed):
    """The request does not fit the model, for example because it is longer than its context."""

    hint = "Shorten the conversation or ask for fewer tokens"


class AdapterRefused(ServingError):
    """The engine would not load the adapter."""

    hint = "Look at the adapter: lorefeed adapters show ADAPTER"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The engine refused adapter {name}: {reason}")
        self.reason = reason


class UnsafeBind(ServingError):
    """The gateway would be open to the network without a key."""

    hint = "Set an API key (LOREFEED_API_KEY), or bind to 127.0.0.1 behind a proxy that asks for one"


class ModelNotServed(ServingError):
    """A request names a model that the gateway does not serve."""

    hint = "List what there is: GET /v1/models"


class AdapterNotResident(ServingError):
    """The adapter is known but the engine has not got it and could not be given it."""

    hint = "Try again shortly; if it stays, run: lorefeed doctor"
