"""Would an engine take this adapter, and all of it? Asked of the folder before the engine is: some answers would be a 500, some no answer at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.serving.tensors import Tensor, first_not_finite, matrices_of, tensors_of

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_REFUSED = ("use_dora", "lora_bias", "use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens", "trainable_token_indices")
_PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal", "mica", "lora_ga")  # others change the base's own weights
_TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_CHOSEN_LAYERS = ("layers_to_transform", "layers_pattern", "exclude_modules")  # with these not every module of a kind is meant


def preload_problem(folder: Path, *, max_rank: int | None, base_folder: Path | None = None) -> str | None:
    """Why vLLM or the embedded engine would not serve the adapter as it was checked; None if nothing stands against it.

    `max_rank`: what the engine was started for; `base_folder`: the weights that it serves. What is not known is not compared.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = tensors_of(folder / WEIGHTS)
        if not isinstance(config, dict) or str(config.get("peft_type", "")).upper() != "LORA":
            return "it is no LoRA adapter"
        problem = _config_problem(config) or _tensor_problem(tensors) or _rank_problem(config, tensors, max_rank=max_rank)
        if problem is None and base_folder is not None:
            problem = _fit_problem(tensors, config, matrices_of(base_folder))
        if problem is None and (name := first_not_finite(folder / WEIGHTS)) is not None:
            problem = f"its tensor {name} holds what is no finite number"
    except (OSError, ValueError) as err:
        return f"its folder {folder} cannot be read: {err}"
    return problem


def _config_problem(config: dict[str, Any]) -> str | None:
    if used := next((feature for feature in _REFUSED if config.get(feature)), None):
        return f"it uses {used}, which engines do not serve"
    if config.get("bias", "none") != "none":
        return "it trains biases, which engines do not serve"
    if config.get("modules_to_save"):
        return f"it replaces whole modules ({', '.join(map(str, config['modules_to_save']))}), which engines do not serve"
    if config.get("init_lora_weights", True) not in _PLAIN_STARTS:
        return f"it was begun with {config['init_lora_weights']}, which changes the base's own weights"
    return None


def _rank_problem(config: dict[str, Any], tensors: Mapping[str, Tensor], *, max_rank: int | None) -> str | None:
    """By what the configuration says and by what the tensors are: an engine believes the one and computes with the other."""
    said = [int(config.get("r", 0)), *(int(r) for r in (config.get("rank_pattern") or {}).values())]
    rank = max([*said, *(tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".lora_A.weight") and tensor.shape)])
    if max_rank is None or rank <= max_rank:
        return None
    return (
        f"its rank is {rank}, the engine was started for at most {max_rank}; started again (lorefeed engine, or systemctl restart"
        " lorefeed-vllm) it makes room for the highest rank there is"
    )


def _tensor_problem(tensors: Mapping[str, Tensor]) -> str | None:
    if not tensors:
        return "it has no tensors"
    odd = next((name for name in tensors if not _TENSOR.fullmatch(name)), None)
    if odd is not None:
        return f"it has a tensor that is no half of a LoRA pair: {odd}"
    sides = {side: {m["module"] for name in tensors if (m := _TENSOR.fullmatch(name)) and m["side"] == side} for side in "AB"}
    lone = min(sides["A"] ^ sides["B"], default=None)
    return None if lone is None else f"it has only half of a LoRA pair for {lone}"


def _fit_problem(tensors: Mapping[str, Tensor], config: dict[str, Any], base: Mapping[str, tuple[int, int]]) -> str | None:
    """Engines say nothing of modules that they do not know by that name, and pass over those that have no tensors."""
    modules = {m["module"] for name in tensors if (m := _TENSOR.fullmatch(name))}
    if not modules & base.keys():
        return None  # the weights are filed under other names than the modules have: the proof after the load has to do
    if unknown := min(modules - base.keys(), default=None):
        return f"it changes {unknown}, which the base model has not got"
    for module in sorted(modules):
        outputs, inputs = base[module]
        a, b = (tensors[f"base_model.model.{module}.lora_{side}.weight"].shape for side in "AB")
        if len(a) != 2 or len(b) != 2 or (a[1], b[0], a[0]) != (inputs, outputs, b[1]):
            return f"its tensors for {module} are {list(a)} and {list(b)}, which do not fit the base's {outputs} x {inputs}"
    promised = config.get("target_modules")
    if isinstance(promised, list) and not any(config.get(key) for key in _CHOSEN_LAYERS):
        expected = {name for name in base if any(name == kind or name.endswith(f".{kind}") for kind in promised)}
        if missing := min(expected - modules, default=None):
            return f"it lacks tensors that its configuration promises: {missing}"
    return None
