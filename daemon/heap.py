"""How the memory of a process is kept: commands end before their garbage matters, services live for months and must not grow."""

import ctypes
import gc

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # mallopt(3)
LARGE_BYTES = 256 * 2**10
SELDOM, OFTEN = (100_000, 20, 20), gc.get_threshold()


def collect_seldom() -> None:
    """For a command: looking for garbage again and again while it reads a long listing takes up to half of its time."""
    gc.set_threshold(*SELDOM)


def collect_often() -> None:
    """For a service: as Python does by itself."""
    gc.set_threshold(*OFTEN)


def share_one_heap() -> None:
    """For a service, before its threads are begun. Of glibc's allocator; elsewhere (musl, macOS) its threads are left as they are.

    By default each thread gets a heap of its own, up to eight a core, and each keeps what it has once needed: with dozens of threads, of
    which few do anything at a time, that grows for days. And what is freed of a large block raises the size from which blocks go back to the
    system, so that a page or two that are read once stay for ever.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, LARGE_BYTES)
