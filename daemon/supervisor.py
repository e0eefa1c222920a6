"""`lorefeed run`: engine, gateway and daemon as child processes of one terminal. Starts, watches, restarts and stops them."""

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from daemon.config import CONFIG_FILE, Settings
from daemon.errors import DaemonError
from daemon.serving.settings import ANSWERS_MAY_END_S
from daemon.signals import end_signals, end_with_parent
from registry import Registry

log = logging.getLogger(__name__)

QUICK_DEATHS_MAX = 5
QUICK_S = 10.0  # a life shorter than this was no life
FIRST_PAUSE_S = 0.5  # doubled at every quick death
PAUSE_MAX_S = 30.0
HEALTHY_WITHIN_S = 900.0  # a large model is read from disk in this time
STOP_WITHIN_S = ANSWERS_MAY_END_S + 5.0
LOOK_EVERY_S = 0.1
ASK_EVERY_S = 0.5  # asking costs more than looking, and takes its time from the one that starts
HUNG_AFTER_S = 60.0  # without an answer of a part that has answered before
LAST_LINES = 20

Say = Callable[[str], None]


class PortTaken(DaemonError):
    """Something else listens where a part of Lorefeed should."""


class ChildGivenUp(DaemonError):
    """A part of Lorefeed does not stay alive."""

    hint = "Its last lines say why; start it alone to see more"


@dataclass(frozen=True, slots=True)
class Part:
    """One process to run. `health` is asked until it answers 200; None: it is ready when it runs. `address` is for people."""

    name: str
    command: tuple[str, ...]
    health: str | None = None
    address: str | None = None


def run_all(home: Path, settings: Settings) -> int:
    """Runs everything until SIGINT or SIGTERM. Refuses before it starts anything if a port or the home is taken."""
    with Registry.open(home) as registry, registry.lock_daemon():
        pass  # makes or migrates the registry once, and says clearly if a daemon works here already
    check_ports(home, settings)
    over = threading.Event()
    with end_signals(over):
        return supervise(parts_of(home, settings), stop=over, say=_print)


def parts_of(home: Path, settings: Settings) -> list[Part]:
    """In the order they are started; the engine only where it is ours to start."""
    command = (sys.executable, "-m", "daemon.cli", "--home", str(home))
    front = f"http://{_reachable(settings.gateway.host)}:{settings.gateway.port}"
    parts = [
        Part("gateway", (*command, "gateway"), health=f"{front}/healthz", address=front),
        Part("daemon", (*command, "daemon")),
    ]
    if _starts_engine(settings):
        address = f"http://{_reachable(settings.engine.host)}:{settings.engine.port}"
        parts.insert(0, Part("engine", (*command, "engine"), health=f"{address}/health", address=address))
    return parts


def check_ports(home: Path, settings: Settings) -> None:
    """Raises PortTaken, naming the port and the setting, before anything is started."""
    wanted = [("gateway", settings.gateway.host, settings.gateway.port)]
    if _starts_engine(settings):
        wanted.insert(0, ("engine", settings.engine.host, settings.engine.port))
    for section, host, port in wanted:
        try:
            _try_to_listen(host, port)
        except OSError as err:
            why = "another process listens there" if err.errno == errno.EADDRINUSE else (err.strerror or str(err)).lower()
            raise PortTaken(
                f"The {section} cannot listen on {host}:{port} ({section}.port = {port}): {why}.",
                hint=f"Stop that process, or set {section}.port in {home / CONFIG_FILE} or LOREFEED_{section.upper()}__PORT.",
            ) from err


def supervise(
    parts: Sequence[Part],
    *,
    stop: threading.Event,
    say: Say,
    pause_s: float = FIRST_PAUSE_S,
    hung_after_s: float = HUNG_AFTER_S,
    starts_within_s: float = HEALTHY_WITHIN_S,
) -> int:
    """Starts the parts in order, each when the one before is healthy; keeps them alive; stops them backwards. 1 if one was given up."""
    children = [_Child(part, say=say, pause_s=pause_s, hung_after_s=hung_after_s, starts_within_s=starts_within_s) for part in parts]
    try:
        for child in children:
            child.start()
            if not _wait_healthy(child, children, stop):
                return 0
        say("Lorefeed runs. Stop it with Ctrl-C.")
        while not stop.wait(LOOK_EVERY_S):
            for child in children:
                child.keep_alive()
    except ChildGivenUp as err:
        say(f"{err} Try: {err.hint}")
        return 1
    finally:
        for child in reversed(children):
            child.stop()
    return 0


def _wait_healthy(child: "_Child", children: "Sequence[_Child]", stop: threading.Event) -> bool:
    """True once it is healthy, False if we are to stop first. Those already started are kept alive meanwhile."""
    deadline, asked = time.monotonic() + HEALTHY_WITHIN_S, 0.0
    while True:
        if time.monotonic() - asked >= ASK_EVERY_S:
            if child.healthy():
                break
            asked = time.monotonic()
        if stop.wait(LOOK_EVERY_S):
            return False
        for each in children:
            each.keep_alive()
        if time.monotonic() > deadline:
            raise ChildGivenUp(f"The {child.part.name} did not become healthy within {HEALTHY_WITHIN_S:.0f} s.")
    child.say_ready()
    return not stop.is_set()


class _Child:
    """One part's process, over all its lives."""

    def __init__(self, part: Part, *, say: Say, pause_s: float, hung_after_s: float, starts_within_s: float) -> None:
        self.part = part
        self._say, self._pause_s, self._hung_after_s, self._starts_within_s = say, pause_s, hung_after_s, starts_within_s
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._started_at = 0.0
        self._again_at: float | None = None
        self._quick_deaths = 0

    def start(self) -> None:
        self._again_at = None
        self._started_at = time.monotonic()
        # A session of its own: Ctrl-C reaches us alone, and we stop the parts in order.
        self._process = subprocess.Popen(
            self.part.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={"OMP_WAIT_POLICY": "passive", **os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        self._reader = threading.Thread(target=self._pass_on, args=(self._process,), name=f"log-{self.part.name}", daemon=True)
        self._reader.start()
        if self.part.health is not None:
            threading.Thread(target=self._watch, args=(self._process,), name=f"watch-{self.part.name}", daemon=True).start()

    def healthy(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        return self.part.health is None or self._answers(self.part.health)

    def _answers(self, health: str) -> bool:
        try:
            return httpx2.get(health, timeout=2.0, trust_env=False).status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False

    def _watch(self, process: "subprocess.Popen[str]") -> None:
        """Over one life: what no longer answers, or never begins to, is killed, as systemd's watchdog would, and so started again."""
        assert self.part.health is not None
        answered_at, silent_max_s = time.monotonic(), self._starts_within_s
        while process.poll() is None:
            if self._answers(self.part.health):
                answered_at, silent_max_s = time.monotonic(), self._hung_after_s
            elif time.monotonic() - answered_at > silent_max_s:
                self._say(f"{self.part.name:<8} has not answered for {silent_max_s:.0f} s and is killed")
                _kill_group(process)
                return
            time.sleep(self._hung_after_s / 12)

    def say_ready(self) -> None:
        self._say(f"{self.part.name:<8} {self.part.address or 'is running'}")

    def keep_alive(self) -> None:
        """Starts it again when it has died and its pause is over. Raises ChildGivenUp after too many quick deaths in a row."""
        now = time.monotonic()
        if self._again_at is not None:
            if now >= self._again_at:
                self.start()
            return
        if self._process is None or self._process.poll() is None:
            return
        self._bury(now)

    def stop(self) -> None:
        process, self._process, self._again_at = self._process, None, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._say(f"{self.part.name:<8} did not stop within {STOP_WITHIN_S:.0f} s and is killed")
                _kill_group(process)
                process.wait()
        if self._reader is not None:
            self._reader.join(1.0)

    def _bury(self, now: float) -> None:
        assert self._process is not None
        code, self._process = self._process.wait(), None
        if self._reader is not None:
            self._reader.join(1.0)  # its last words are worth waiting for
        self._quick_deaths = self._quick_deaths + 1 if now - self._started_at < QUICK_S else 1
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        if self._quick_deaths >= QUICK_DEATHS_MAX:
            last = "\n".join(f"  {line}" for line in self._last) or "  (it said nothing)"
            raise ChildGivenUp(f"The {self.part.name} {how} for the {self._quick_deaths}. time in a row. Its last lines:\n{last}\n")
        pause_s = min(PAUSE_MAX_S, self._pause_s * 2.0 ** (self._quick_deaths - 1))
        self._say(f"{self.part.name:<8} {how}; it is started again in {pause_s:.1f} s")
        self._again_at = now + pause_s

    def _pass_on(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._last.append(line.rstrip("\n"))
                self._say(f"{self.part.name:<8} | {line.rstrip()}")


def _starts_engine(settings: Settings) -> bool:
    """An engine whose address was given is somebody else's to start, and so is a vLLM of which nobody said where its Python is."""
    return settings.engine.url is None and (settings.engine.kind == "embedded" or settings.engine.vllm_python is not None)


def _try_to_listen(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that only waits for late packets is free
        probe.bind(address)


def _reachable(host: str) -> str:
    """Where to reach something that listens on `host`: the wildcard addresses are no destinations."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{shown}]" if ":" in shown else shown


def _kill_group(process: "subprocess.Popen[str]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        log.debug("Process %d ended just before it was killed", process.pid)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
