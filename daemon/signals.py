"""The two signals that end a service: SIGTERM from its manager, SIGINT from a terminal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def end_signals(over: threading.Event) -> Iterator[None]:
    """Sets `over` when one of them comes. Only the main thread may ask Python for signals; elsewhere whoever holds `over` ends it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: over.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
