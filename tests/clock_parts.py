"""A wall clock for processes that a test starts, which it can set while they run."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("wall_clock.c")
NO_COMPILER = "there is no C compiler (cc) for the library that moves the clock"


@dataclass(frozen=True, slots=True)
class WallClock:
    """`environment` is what the processes need. Their monotonic clock, and the times of files, are the machine's."""

    file: Path
    environment: dict[str, str]

    def set(self, offset_s: int) -> None:
        """So many seconds before or after the true time, from now on."""
        with self.file.open("r+b") as file:
            file.write(struct.pack("q", offset_s))


def wall_clock(folder: Path) -> WallClock | None:
    """None where there is no C compiler."""
    if (compiler := shutil.which("cc")) is None:
        return None
    library, file = folder / "wall_clock.so", folder / "wall_clock"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
    file.write_bytes(struct.pack("q", 0))
    return WallClock(file, {"LD_PRELOAD": str(library), "WALL_CLOCK": str(file)})
