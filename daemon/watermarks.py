"""How little disk and memory there may be before learning waits, so that serving never does. Reads the kernel's figures; decides nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from daemon.sections import Watermarks as WatermarkSettings

AGAIN = 1.25  # learning goes on when there is this much more than the mark, so that it does not begin and stop at every tick
MEMINFO = Path("/proc/meminfo")


def free_disk_bytes(home: Path) -> int:
    """What a process without privileges may still write where the home is."""
    return shutil.disk_usage(home).free


def free_memory_bytes(meminfo: Path = MEMINFO) -> int:
    """The kernel's own estimate of what new work can get without swapping (proc(5): MemAvailable)."""
    for line in meminfo.read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    raise OSError(f"{meminfo} has no MemAvailable")


class Watermarks:
    """Remembers whether it was below a mark, so that the way up is longer than the way down."""

    def __init__(
        self,
        home: Path,
        settings: WatermarkSettings,
        *,
        disk: Callable[[Path], int] = free_disk_bytes,
        memory: Callable[[], int] = free_memory_bytes,
    ) -> None:
        self._home, self._settings = home, settings
        self._disk, self._memory = disk, memory
        self.shortage: str | None = None
        "Why learning waits, as of the last look; None: it need not."

    def look(self) -> str | None:
        """Asks anew. An error of asking is a shortage too: a disk that does not answer is nothing to learn on."""
        factor = 1.0 if self.shortage is None else AGAIN
        try:
            self.shortage = self._short("disk", self._disk(self._home), self._settings.disk_free_min_bytes, factor) or self._short(
                "memory", self._memory(), self._settings.memory_free_min_bytes, factor
            )
        except OSError as err:
            self.shortage = f"how much room there is cannot be told: {err}"
        return self.shortage

    def _short(self, what: str, free: int, mark: int, factor: float) -> str | None:
        if free >= mark * factor:
            return None
        return f"{_size(free)} of {what} are free, and learning needs {_size(int(mark * factor))} (watermarks.{what}_free_min_bytes)"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
