"""Tells systemd how the service is doing (sd_notify(3)): ready, what it does, alive, stopping. Silent where nobody listens."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notifier:
    """`address`: where to tell it. `watchdog_s`: within what time it must be told that we live; None: nobody watches."""

    address: str | None = None
    watchdog_s: float | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Notifier":
        meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
        allowed_us = environment.get("WATCHDOG_USEC", "")
        watched = allowed_us.isdigit() and int(allowed_us) > 0 and meant_for == str(os.getpid())
        return cls(environment.get("NOTIFY_SOCKET") or None, int(allowed_us) / 1e6 if watched else None)

    def tell(self, *lines: str) -> None:
        """Sends assignments as `READY=1`. A manager that does not listen is no reason to fail."""
        if self.address is None:
            return
        # A leading @ stands for the zero byte of Linux's abstract names.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            try:
                channel.sendto("\n".join(lines).encode(), address)
            except OSError:
                return  # the manager is being restarted or its queue is full; the next message is soon
