"""The most memory that a piece of work held at one time: of the device where there is one, else of the process."""

import contextlib
import ctypes
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(slots=True)
class Cost:
    """Filled in when the work is done. `peak_bytes` counts what was held before it began, the model among it."""

    seconds: float = 0.0
    peak_bytes: int | None = None


@contextmanager
def measured() -> Iterator[Cost]:
    cost = Cost()
    gc.collect()
    on_cuda = torch.cuda.is_available()
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        _forget_peak()
    started = time.monotonic()
    yield cost
    if on_cuda:
        torch.cuda.synchronize()
    cost.seconds = time.monotonic() - started
    cost.peak_bytes = torch.cuda.max_memory_allocated() if on_cuda else _peak()


def _forget_peak() -> None:
    """Linux keeps the highest resident size of a process until it is told to forget it; glibc is asked to give back what it kept."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    # not every container may: then the peak is the process's highest so far, which is never too low
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int | None:
    """In bytes; None where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
