"""Keeps the memory of processes that live for months from growing without anybody holding more: glibc's allocator, told how it is used here.

Elsewhere (musl, macOS) nothing is done.
"""

import ctypes

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # mallopt(3)
LARGE_BYTES = 256 * 2**10


def share_one_heap() -> None:
    """To be called before threads are begun.

    By default each thread gets a heap of its own, up to eight a core, and each keeps what it has once needed: with dozens of threads, of
    which few do anything at a time, that grows for days. And what is freed of a large block raises the size from which blocks go back to the
    system, so that a page or two that are read once stay for ever.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, LARGE_BYTES)
