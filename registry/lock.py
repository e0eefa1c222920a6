"""One daemon a home: a lock the kernel lets go of when its holder dies, however it dies."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.errors import AlreadyRunning


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock while the block runs. The file stays: deleting it would let two holders lock two files of one name."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise AlreadyRunning(f"A daemon with process id {holder} works on {path.parent} already") from err
        os.ftruncate(descriptor, 0)
        with contextlib.suppress(OSError):  # who holds it is for people to read; a full disk must not keep a daemon from its work
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
