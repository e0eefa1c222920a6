"""What a bench says when it could not measure."""

from daemon.errors import DaemonError


class BenchFailed(DaemonError):
    """A part of the bench did not do what it was started for."""

    hint = "Start that part alone to see more: lorefeed run, or lorefeed gateway"
