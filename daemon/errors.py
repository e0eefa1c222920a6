"""Errors of the daemon's own rooms, as sentences with a next step."""


class DaemonError(Exception):
    """Something in the service went wrong."""

    hint = "See the log, and: lorefeed doctor"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class ConfigError(DaemonError):
    """The configuration cannot be used."""


class WorkerFailed(DaemonError):
    """The learning worker died or reported an error."""

    hint = "The job will be tried again; its last error is in: lorefeed status"


class BaseChanged(DaemonError):
    """The base model is not the one that the topic's adapters were made for."""

    hint = "Set model and revision back, or start a new home: adapters belong to one base model."


class NothingWaiting(DaemonError):
    """There is nothing to learn."""

    hint = "See what there is: lorefeed definitions list"


class Stopped(DaemonError):
    """The service is shutting down; the job goes back to the queue."""
