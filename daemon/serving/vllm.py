"""Starts vLLM in an environment of its own, with flags worked out from the configuration, and says what is wrong when it does not start.

What vLLM does with adapters, and why the flags are as they are, was measured on 0.32; its flags were the same in 0.33.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from daemon.sdnotify import Notifier
from daemon.serving.client import EngineClient
from daemon.serving.errors import ServingError
from daemon.serving.settings import is_loopback
from daemon.signals import end_signals
from registry import Registry

log = logging.getLogger(__name__)
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank may be
LOOK_EVERY_S = 0.5
STOP_WITHIN_S = 30.0
LAST_LINES = 60
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
    ("less than desired GPU memory utilization", "Something else holds the GPU's memory; lower engine.vllm_memory_share, or stop it"),
    ("max seq len", "Lower engine.vllm_max_model_len: the memory left does not hold one whole context"),
    ("greater than the derived max_model_len", "Lower engine.vllm_max_model_len: the model's own context is shorter"),
    ("api_server_count", "Only one API process can load adapters at run time; take --api-server-count out of engine.vllm_arguments"),
    ("gated repo", "The model must be asked for at its publisher; then set HF_TOKEN"),
    ("does not appear to have a file named", "The model's folder is not whole; fetch it again, or name another one with `model`"),
)


class VllmFailed(ServingError):
    """vLLM did not start, or ended."""

    hint = "Its last lines stand above; see also: lorefeed doctor"


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """What starting vLLM needs. `memory_share`: of the GPU's memory; None leaves it to vLLM."""

    python: Path
    model: str  # a folder: vLLM is not to fetch another revision than learning has
    served_name: str
    host: str
    port: int
    max_resident: int
    rank: int
    served_at_once: int
    max_model_len: int | None = None
    memory_share: float | None = None
    arguments: tuple[str, ...] = ()
    start_timeout_s: float = 900.0


def needed_rank(registry: Registry, *, configured: int) -> int:
    """The highest rank among the adapters whose folders are there, and the one that learning makes."""
    there = [adapter.rank for adapter in registry.read.adapters() if adapter.digest is not None and adapter.removed_at is None]
    return max([configured, *there])


def served_at_once(registry: Registry) -> int:
    """Versions that may answer within one batch: each alias's old and new, and the canaries."""
    return max(1, 2 * len(registry.read.aliases()) + len(registry.read.canaries()))


def allowed_rank(needed: int) -> int:
    """The smallest rank that vLLM can be started with and that the adapters fit in: a larger one costs memory and speed."""
    fitting = [rank for rank in RANKS if rank >= needed]
    if not fitting:
        raise VllmFailed(f"An adapter has rank {needed}; vLLM serves at most {RANKS[-1]}", hint="Lower learn.rank and learn again")
    return fitting[0]


def vllm_command(wanted: VllmSettings) -> list[str]:
    """Through the module, not the `vllm` command, which looks for a distribution that the CPU build does not have under that name."""
    slots = wanted.served_at_once
    command = [str(wanted.python), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", wanted.model, "--served-model-name", wanted.served_name, "--host", wanted.host, "--port", str(wanted.port)]
    command += ["--enable-lora", "--max-lora-rank", str(allowed_rank(wanted.rank)), "--max-loras", str(slots)]
    # Twice what is ever registered: an unloaded adapter keeps its place until it is the coldest, and must not push a registered one out,
    # which vLLM would read from its folder again without anybody looking at it.
    command += ["--max-cpu-loras", str(max(slots, 2 * wanted.max_resident))]
    if wanted.max_model_len is not None:
        command += ["--max-model-len", str(wanted.max_model_len)]
    if wanted.memory_share is not None:
        command += ["--gpu-memory-utilization", str(wanted.memory_share)]
    return [*command, *wanted.arguments]


def vllm_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Ours, without what would lead its Python into our packages."""
    kept = {key: value for key, value in environment.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "VLLM_PLUGINS")}
    return kept | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def run_vllm(wanted: VllmSettings, *, stop: threading.Event | None = None) -> None:
    """Runs until SIGTERM, SIGINT or `stop`; raises VllmFailed, with what to do, if it does not start or ends by itself."""
    if not is_loopback(wanted.host):
        raise VllmFailed(
            f"vLLM would listen on {wanted.host}, where anybody could load adapters into it",
            hint="Set engine.host = '127.0.0.1': the gateway is the door for others",
        )
    if not os.access(wanted.python, os.X_OK):
        raise VllmFailed(f"There is no Python of vLLM's at {wanted.python}", hint=_INSTALL)
    over = stop or threading.Event()
    last: deque[str] = deque(maxlen=LAST_LINES)
    with (
        end_signals(over),
        subprocess.Popen(vllm_command(wanted), env=vllm_environment(), stderr=subprocess.PIPE, text=True, errors="replace") as process,
    ):
        assert process.stderr is not None, "it is a pipe"
        listener = threading.Thread(target=_listen, args=(process.stderr, last), name="vllm's words", daemon=True)
        listener.start()
        try:
            _attend(process, wanted, over)
        finally:
            _end(process)
            listener.join(timeout=5)
    if not over.is_set():
        raise VllmFailed(f"vLLM ended with status {process.returncode}{_cause(last)}", hint=remedy(last))


def remedy(last: Sequence[str]) -> str:
    """What to do about vLLM's last words."""
    text = "\n".join(last)
    return next((what for sign, what in _REMEDIES if sign in text), VllmFailed.hint)


def _attend(process: subprocess.Popen[str], wanted: VllmSettings, over: threading.Event) -> None:
    """Until it ends or is to end. Says once that it is ready."""
    started, notifier, ready = time.monotonic(), Notifier.of(), False
    with EngineClient(f"http://{wanted.host}:{wanted.port}") as client:
        while process.poll() is None and not over.wait(LOOK_EVERY_S):
            if ready:
                continue
            if client.healthy():
                ready = True
                notifier.tell("READY=1", "STATUS=Serving")
                log.info("vLLM serves %s at %s", wanted.model, client.url, extra={"duration_s": time.monotonic() - started})
            elif time.monotonic() - started > wanted.start_timeout_s:
                raise VllmFailed(f"vLLM did not answer at {client.url} within {wanted.start_timeout_s:g} s")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _listen(words: IO[str], last: deque[str]) -> None:
    """Its log lines go on to ours; the last of them are kept."""
    for line in words:
        sys.stderr.write(line)
        last.append(line.rstrip())


def _cause(last: Sequence[str]) -> str:
    """The last line that names an error, which in a traceback is the one that counts."""
    named = [line for line in last if "Error" in line or "error:" in line]
    return f": {named[-1].strip()[-300:]}" if named else ""
