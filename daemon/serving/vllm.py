"""vLLM's flags, environment and limits, worked out from the configuration and the registry. Running it is vllm_process.py's business.

Why they are as they are: docs/serving.md, which was measured on vLLM 0.32; its flags were the same in 0.33.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.serving.errors import ServingError
from daemon.serving.settings import ANSWERS_MAY_END_S
from registry import Registry

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank may be
# Of our own environment: what would lead vLLM's Python into our packages, what is meant for us alone, and vLLM's own ways to adapters, which
# join a stranger's model name to a folder without looking where that leads.
_KEPT_BACK = (
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "VLLM_PLUGINS",
    "VLLM_LORA_RESOLVER_CACHE_DIR",
    "VLLM_LORA_RESOLVER_HF_REPO_LIST",
    "VLLM_USE_RUST_FRONTEND",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "CREDENTIALS_DIRECTORY",
)


class VllmFailed(ServingError):
    """vLLM did not start, or ended."""

    hint = "Its last lines stand above; see also: lorefeed doctor"


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """What starting vLLM needs. `memory_share`: of the GPU's memory; None leaves it to vLLM. `rank`: the highest that an adapter has."""

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
    sleep_level: int | None = None  # of its sleep mode, when it shares its device in turns with learning
    home: Path | None = None  # where the resolver in vLLM finds the registry; None: it finds nothing


def needed_rank(registry: Registry, *, configured: int) -> int:
    """The highest rank among the adapters whose folders are there, and the one that learning makes."""
    there = [adapter.rank for adapter in registry.read.bare_adapters(present=True) if adapter.digest is not None]
    return max([configured, *there])


def served_at_once(registry: Registry) -> int:
    """Versions that may answer within one batch: each alias's old and new, and the canaries."""
    return max(1, 2 * len(registry.read.aliases()) + len(registry.read.canaries()))


def allowed_rank(needed: int) -> int:
    """The smallest rank that vLLM can be started with and that the adapters fit in: a larger one costs memory and speed.

    Raises VllmFailed when vLLM has none so high.
    """
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
    # which vLLM would read from its folder again without anybody looking at it. Reconcile keeps the registered ones warm.
    command += ["--max-cpu-loras", str(max(slots, 2 * wanted.max_resident))]
    # Without it vLLM aborts the answers under way as soon as it is asked to end.
    command += ["--shutdown-timeout", str(ANSWERS_MAY_END_S)]
    if wanted.max_model_len is not None:
        command += ["--max-model-len", str(wanted.max_model_len)]
    if wanted.memory_share is not None:
        command += ["--gpu-memory-utilization", str(wanted.memory_share)]
    if wanted.sleep_level:
        command += ["--enable-sleep-mode"]  # which a CPU has not got; level 0 needs no flag
    return [*command, *wanted.arguments]


def vllm_environment(environment: Mapping[str, str] = os.environ, *, home: Path | None = None, sleeps: bool = False) -> dict[str, str]:
    """Ours, less what is not vLLM's business; of Lorefeed's own variables, some of them keys, only where the home is.

    The model and every adapter are folders here, so nothing is to be looked for on the hub: a path that is gone would be taken for a name there.
    """
    kept = {key: value for key, value in environment.items() if key not in _KEPT_BACK and not key.startswith("LOREFEED_")}
    ours = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if sleeps:
        ours["VLLM_SERVER_DEV_MODE"] = "1"  # /sleep and /wake_up are among the endpoints for development; hence loopback only
    return {"HF_HUB_OFFLINE": "1"} | kept | ours | ({} if home is None else {"LOREFEED_HOME": str(home)})
