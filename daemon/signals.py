"""The two signals that end a service: SIGTERM from its manager, SIGINT from a terminal. And the first of them from the death of its parent."""

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

_LIBC = ctypes.CDLL(None)  # opened here: between fork and exec nothing may be looked up
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, prctl(2)


def end_with_parent() -> None:
    """In a child, between fork and exec: when the thread that started it ends, however it ends, the child is asked to end too, so that it is not
    left behind on its port with nobody to stop it. Only Linux has it; elsewhere nothing happens."""
    if sys.platform == "linux":
        _LIBC.prctl(_DEATH_SIGNAL, signal.SIGTERM)


@contextmanager
def end_signals(over: threading.Event) -> Iterator[None]:
    """Sets `over` when one of them comes. Only the main thread may ask Python for signals; elsewhere whoever holds `over` ends it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler runs between any two steps of the main thread, also when that is just setting `over` or beginning to wait for it, and holds its
    # lock: setting it in the handler would then wait for itself, for ever. A SimpleQueue is made to be put into by handlers.
    came: SimpleQueue[bool] = SimpleQueue()
    waiting = threading.Thread(target=lambda: over.set() if came.get() else None, name="signals", daemon=True)
    waiting.start()
    before = {number: signal.signal(number, lambda *_: came.put(True)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        came.put(False)
        waiting.join()
