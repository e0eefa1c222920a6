"""Several adapters as one: the sum of what each adds to the base, as a LoRA of one rank.

Side by side, A stacked on A and B beside B, the sum is exact at the sum of the ranks (PEFT calls it `cat`). Where that is more than may be
served, each matrix is cut to its largest singular values, which is the nearest matrix of that rank (Eckart and Young 1936).

Beside the sum, for what each adds, as whole matrices: `ties` (arXiv 2306.01708) gives up the small entries and those whose sign was outvoted, and
takes the mean of the rest; `dare` (2311.03099) drops entries at random and scales up the rest. `linear` adds the factors A and B themselves,
which is the sum of the matrices only where the adapters share their A.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft.utils.merge_utils import dare_linear, ties
from safetensors.torch import load_file, save_file
from torch import Tensor

from daemon.learn.errors import LearnError

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
WAYS = ("sum", "linear", "ties", "dare")
DENSITY = 0.5  # share of the entries that ties and dare keep


@dataclass(frozen=True, slots=True)
class Merged:
    """`kept` is the share of the sum's squared norm that is left at this rank; 1 where nothing was cut."""

    rank: int
    kept: float


def merge(folders: Sequence[Path], out: Path, *, rank_max: int, weights: Sequence[float] | None = None, way: str = "sum") -> Merged:
    """Writes the adapters, each times its weight (1 if none are given), as one to `out`: a PEFT folder of rank `rank_max`, padded with zeros
    where less is needed.

    Raises LearnError for adapters that do not fit together: another kind than LoRA, or other shapes; and for a way that is not one of `WAYS`.
    """
    if not folders:
        raise LearnError("There are no adapters to merge.")
    if way not in WAYS:
        raise LearnError(f"Adapters cannot be merged by {way!r}.", hint=f"They are merged by one of: {', '.join(WAYS)}.")
    parts = [matrices(folder, weight) for folder, weight in zip(folders, weights or [1.0] * len(folders), strict=True)]
    modules = sorted({module for part in parts for module in part})
    made: dict[str, Tensor] = {}
    whole = left = 0.0
    for module in modules:
        pairs = [part[module] for part in parts if module in part]
        shapes = {(a.shape[1], b.shape[0]) for a, b in pairs}
        if len(shapes) > 1:
            raise LearnError(f"The adapters do not fit the same model: {module} is of {sorted(shapes)}.")
        a, b, squared, kept = _cut(*_joined(module, pairs, way), rank_max)
        made[f"{module}.lora_A.weight"], made[f"{module}.lora_B.weight"] = _padded(a, b, rank_max)
        whole, left = whole + squared, left + kept
    out.mkdir(parents=True, exist_ok=True)
    save_file(made, out / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((folders[0] / CONFIG).read_text())
    config["target_modules"] = sorted({module.rpartition(".")[2] for module in modules})
    config |= {"r": rank_max, "lora_alpha": rank_max, "rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False}
    (out / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    return Merged(rank_max, left / whole if whole else 1.0)


def draw_back(folder: Path, parent: Path | None, *, strength: float, out: Path) -> Merged:
    """A gentler adapter without training: `strength` of the way from what the parent adds to the base, or from nothing, to what this one adds.

    On the straight line between two trained models most of the new is kept while what went astray returns (WiSE-FT, arXiv 2109.01903). The
    line is that of the matrices BA: between the factors themselves lie products of one's A with the other's B, which mean nothing.
    """
    rank = int(json.loads((folder / CONFIG).read_text())["r"])
    folders, weights = ([parent, folder], [1 - strength, strength]) if parent else ([folder], [strength])
    return merge(folders, out, rank_max=rank, weights=weights)


def matrices(folder: Path, weight: float = 1.0) -> dict[str, tuple[Tensor, Tensor]]:
    """By module: A (rank, in) and B (out, rank), its scaling and its weight in B, in float32."""
    config = json.loads((folder / CONFIG).read_text())
    if config.get("peft_type") != "LORA" or any(config.get(other) for other in ("use_dora", "rank_pattern", "alpha_pattern")):
        raise LearnError(f"{folder} is no plain LoRA of one rank and cannot be merged.")
    scaling = config["lora_alpha"] / (math.sqrt(config["r"]) if config.get("use_rslora") else config["r"])
    scaling *= weight
    tensors = load_file(folder / WEIGHTS)
    down = {name.removesuffix(".lora_A.weight"): t.float() for name, t in tensors.items() if name.endswith(".lora_A.weight")}
    return {module: (a, tensors[f"{module}.lora_B.weight"].float() * scaling) for module, a in down.items()}


def _joined(module: str, pairs: Sequence[tuple[Tensor, Tensor]], way: str) -> tuple[Tensor, Tensor]:
    """A (ranks, in) and B (out, ranks) of all of a module's adapters together."""
    if way == "sum":
        return torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs], dim=1)
    if way == "linear":
        if len({a.shape[0] for a, _ in pairs}) > 1:
            raise LearnError(
                f"The factors of adapters of different ranks cannot be added: {module}.", hint="Merge them by: sum, ties, dare."
            )
        each = math.sqrt(1 / len(pairs))  # so that adapters that share A are summed
        return torch.stack([a for a, _ in pairs]).sum(0) * each, torch.stack([b for _, b in pairs]).sum(0) * each
    whole = [b @ a for a, b in pairs]
    if way == "ties":  # a mean over those that agree: an entry that one alone has keeps its size, one that all have is not summed
        matrix = ties(whole, torch.ones(len(whole)), density=DENSITY)
    else:
        torch.manual_seed(0)
        matrix = dare_linear(whole, torch.ones(len(whole)), density=DENSITY)
    return torch.eye(matrix.shape[1]), matrix


def _cut(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor, float, float]:
    """(A, B, squared norm of BA, squared norm of what is left) at no more than `rank`, without ever making the whole matrix BA."""
    q_b, r_b = torch.linalg.qr(b)  # (out, k), (k, ranks)
    q_a, r_a = torch.linalg.qr(a.T)  # (in, l), (l, ranks)
    u, s, v = torch.linalg.svd(r_b @ r_a.T)
    squared = float((s**2).sum())
    if a.shape[0] <= rank:
        return a, b, squared, squared
    root = s[:rank].sqrt()
    return (root[:, None] * v[:rank]) @ q_a.T, (q_b @ u[:, :rank]) * root, squared, float((s[:rank] ** 2).sum())


def _padded(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    missing = rank - a.shape[0]
    return torch.nn.functional.pad(a, (0, 0, 0, missing)).contiguous(), torch.nn.functional.pad(b, (0, missing)).contiguous()
