"""Would an engine take this adapter, and all of it? Asked of the folder before the engine is: some answers would be a 500, some no answer at all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_REFUSED = ("use_dora", "lora_bias", "use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens", "trainable_token_indices")
_PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal", "mica", "lora_ga")  # others change the base's own weights
_TENSOR = re.compile(r".+\.lora_[AB]\.weight")
_HEADER_LIMIT_BYTES = 100 << 20  # safetensors' own


def preload_problem(folder: Path, *, max_rank: int | None) -> str | None:
    """Why vLLM or the embedded engine would not serve the adapter as it was checked; None if nothing stands against it."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        header = _header(folder / "adapter_model.safetensors")
    except (OSError, ValueError) as err:
        return f"its folder {folder} cannot be read: {err}"
    if not isinstance(config, dict) or str(config.get("peft_type", "")).upper() != "LORA":
        return "it is no LoRA adapter"
    return _config_problem(config, max_rank=max_rank) or _tensor_problem(header)


def _config_problem(config: dict[str, Any], *, max_rank: int | None) -> str | None:
    if used := next((feature for feature in _REFUSED if config.get(feature)), None):
        return f"it uses {used}, which engines do not serve"
    if config.get("bias", "none") != "none":
        return "it trains biases, which engines do not serve"
    if config.get("modules_to_save"):
        return f"it replaces whole modules ({', '.join(map(str, config['modules_to_save']))}), which engines do not serve"
    if config.get("init_lora_weights", True) not in _PLAIN_STARTS:
        return f"it was begun with {config['init_lora_weights']}, which changes the base's own weights"
    rank = max([int(config.get("r", 0)), *(int(r) for r in (config.get("rank_pattern") or {}).values())])
    if max_rank is not None and rank > max_rank:
        return f"its rank is {rank}, the engine was started for at most {max_rank}"
    return None


def _tensor_problem(header: dict[str, Any]) -> str | None:
    names = [name for name in header if name != "__metadata__"]
    if not names:
        return "it has no tensors"
    odd = next((name for name in names if not _TENSOR.fullmatch(name)), None)
    return None if odd is None else f"it has a tensor that is no half of a LoRA pair: {odd}"


def _header(file: Path) -> dict[str, Any]:
    """The table at the beginning of a safetensors file: its length in eight bytes, then JSON (the format's specification)."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > _HEADER_LIMIT_BYTES:
            raise ValueError(f"{file.name} has an impossible header")
        header = json.loads(opened.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{file.name} has no table of tensors")
    return header
