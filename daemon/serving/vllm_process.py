"""Starts vLLM, says when it serves, ends it in order, and says what is wrong when it does not start."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from daemon.sdnotify import Notifier
from daemon.serving.client import EngineClient
from daemon.serving.settings import ANSWERS_MAY_END_S, is_loopback
from daemon.serving.vllm import VllmFailed, VllmSettings, vllm_command, vllm_environment
from daemon.signals import end_signals, end_with_parent

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.5
BEAT_S = 5.0
LOOK_TIMEOUT_S = 60.0
STOP_WITHIN_S = ANSWERS_MAY_END_S + 3.0  # less than `lorefeed run` and systemd give us
LAST_LINES = 200
_PROJECT = Path(__file__).parents[2]
_INSTALL = "python3 -m venv DIR && DIR/bin/pip install 'vllm>=0.32,<0.34', and set engine.vllm_python = \"DIR/bin/python\""
# What stands in vLLM's last words, and what to do about it.
_REMEDIES: tuple[tuple[str, str], ...] = (
    ("No module named 'vllm", f"Install it: {_INSTALL}"),
    (
        "torchvision",
        "Take torchvision, torchaudio and torchcodec out of vLLM's environment: builds for another torch stop it from starting",
    ),
    ("ddress already in use", "Another process listens on the engine's port; stop it, or set engine.port"),
    ("out of memory", "Lower engine.vllm_memory_share or engine.vllm_max_model_len, or let learning and serving take turns"),
    ("No available memory for the cache blocks", "Raise engine.vllm_memory_share, or lower engine.vllm_max_model_len"),
    ("less than desired", "Something else holds the memory; lower engine.vllm_memory_share, or stop it"),
    ("max seq len", "Lower engine.vllm_max_model_len: the memory left does not hold one whole context"),
    ("greater than the derived max_model_len", "Lower engine.vllm_max_model_len: the model's own context is shorter"),
    ("api_server_count", "Only one API process can load adapters at run time; take --api-server-count out of engine.vllm_arguments"),
    ("unrecognized arguments", "Take out of engine.vllm_arguments what this vLLM does not know; each argument is one string"),
    ("gated repo", "The model must be asked for at its publisher; then set HF_TOKEN"),
    ("does not appear to have a file named", "The model's folder is not whole; fetch it again, or name another one with `model`"),
)


def run_vllm(wanted: VllmSettings, *, stop: threading.Event | None = None) -> None:
    """Runs until SIGTERM, SIGINT or `stop`; raises VllmFailed, with what to do, if it does not start or ends by itself."""
    if not is_loopback(wanted.host):
        raise VllmFailed(
            f"vLLM would listen on {wanted.host}, where anybody could load adapters into it",
            hint="Set engine.host = '127.0.0.1': the gateway is the door for others",
        )
    if not os.access(wanted.python, os.X_OK):
        raise VllmFailed(f"There is no Python of vLLM's at {wanted.python}", hint=_INSTALL)
    _need_free(wanted.host, wanted.port)
    over = stop or threading.Event()
    last: deque[str] = deque(maxlen=LAST_LINES)
    # Its log goes to standard output, its tracebacks to standard error: here both are one, so that its last words are whole.
    process = subprocess.Popen(
        vllm_command(wanted),
        env=vllm_environment(home=wanted.home, sleeps=wanted.sleep_level is not None),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # one group, so that no worker of its own outlives it with the GPU's memory
        preexec_fn=end_with_parent,
    )
    with end_signals(over), process:
        assert process.stdout is not None, "it is a pipe"
        listener = threading.Thread(target=_listen, args=(process.stdout, last), name="vllm's words", daemon=True)
        listener.start()
        try:
            _attend(process, wanted, over)
        finally:
            _end(process)
            listener.join(timeout=5)
    if over.is_set():
        return
    if process.returncode < 0:
        hint = "The kernel kills what takes too much memory: journalctl -k; else somebody did"
        raise VllmFailed(f"vLLM was killed by signal {-process.returncode}", hint=hint)
    raise VllmFailed(f"vLLM ended with status {process.returncode}{_cause(last)}", hint=remedy(last))


def need_mended(python: Path) -> None:
    """Raises VllmFailed for a CPU build without our plugin, in which adapters leak into what the base model answers; see vllm_cpu.py."""
    if not os.access(python, os.X_OK):
        return  # run_vllm says so
    program = (
        "import importlib.metadata as m; builds = {d.name: d.version for d in m.distributions() if d.name in ('vllm', 'vllm-cpu')};"
        "mended = 'lorefeed-cpu' in m.entry_points(group='vllm.general_plugins').names;"
        "print('leaks' if not mended and any('cpu' in name + version for name, version in builds.items()) else 'fine')"
    )
    try:
        said = subprocess.run(
            [str(python), "-c", program], env=vllm_environment(), capture_output=True, text=True, timeout=LOOK_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise VllmFailed(f"{python} does not answer within {LOOK_TIMEOUT_S:g} s", hint=_INSTALL) from err
    if said.stdout.strip() == "leaks":  # a Python that says anything else, or fails, is told of when vLLM is started with it
        folder = _PROJECT if (_PROJECT / "pyproject.toml").exists() else "FOLDER, the one Lorefeed was installed from"
        raise VllmFailed(
            f"The vLLM of {python} is built for the CPU, where an adapter that answers one request leaks into the base model's"
            " answers to others at the same time; Lorefeed's plugin, which mends that, is not installed there",
            hint=f"{python} -m pip install --no-deps {folder}",
        )


def remedy(last: Sequence[str]) -> str:
    """What to do about vLLM's last words."""
    text = "\n".join(last)
    return next((what for sign, what in _REMEDIES if sign in text), VllmFailed.hint)


def _need_free(host: str, port: int) -> None:
    """Asked first: whoever listens there already would be taken for the vLLM that is being started."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that only waits for late packets is free
        try:
            probe.bind(address)
        except OSError as err:
            raise VllmFailed(
                f"vLLM cannot listen on {host}:{port}: {err.strerror}", hint="Stop what listens there, or set engine.port"
            ) from err


def _attend(process: subprocess.Popen[str], wanted: VllmSettings, over: threading.Event) -> None:
    """Until it ends or is to end. Says once that it is ready, and then again and again that it lives."""
    started, notifier, ready, beaten = time.monotonic(), Notifier.of(), False, 0.0
    with EngineClient(f"http://{wanted.host}:{wanted.port}") as client:
        while process.poll() is None and not over.wait(LOOK_EVERY_S):
            now = time.monotonic()
            if ready and now - beaten < BEAT_S:
                continue
            if client.healthy():
                beaten = now
                notifier.tell("WATCHDOG=1")
                if not ready:
                    ready = True
                    notifier.tell("READY=1", "STATUS=Serving")
                    log.info("vLLM serves %s at %s", wanted.model, client.url, extra={"duration_s": now - started})
            elif not ready and now - started > wanted.start_timeout_s:
                raise VllmFailed(f"vLLM did not answer at {client.url} within {wanted.start_timeout_s:g} s")
    notifier.tell("STOPPING=1")


def _end(process: subprocess.Popen[str]) -> None:
    """It and what it started: it is asked, given time, and then killed with its whole group."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            log.warning("vLLM did not end within %.0f s and is killed", STOP_WITHIN_S, extra={"action": "killed"})
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nobody is left
    process.wait()


def _listen(words: IO[str], last: deque[str]) -> None:
    """Its log lines go on to ours; the last of them are kept."""
    for line in words:
        sys.stderr.write(line)
        last.append(line.rstrip())


def _cause(last: Sequence[str]) -> str:
    """The last line that names an error, which in a traceback is the one that counts."""
    named = [line for line in last if ("Error" in line or "error:" in line) and " WARNING " not in line]
    return f": {named[-1].strip()[-300:]}" if named else ""
