"""Mends vLLM's CPU build, which lets an adapter into the base model's answers.

Where a batch holds requests with adapters and requests without, the latter carry the slot number -1 ("none"). Its kernels for other devices skip
them; the ones in plain torch use the number as an index, and -1 is the last slot: whatever lies there is added to what the base model says (vLLM
0.32, `lora/ops/torch_ops/lora_ops.py`, `bgmv_shrink`). A plugin (entry point `vllm.general_plugins`) that vLLM calls in all of its processes, so
the same rule holds here as in vllm_resolver.py: none of Lorefeed's own libraries. Without it `lorefeed engine` does not start such a vLLM.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)
Shrink = Callable[..., None]


def mend() -> bool:
    """Whether this vLLM had the fault. Does nothing where its kernels for the CPU are not used or are right already."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return False
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    if not has_fault(lora_ops.bgmv_shrink):
        return False
    # sgmv_shrink of the same file calls it by its name there; the wrapper has a name of its own for it
    lora_ops.bgmv_shrink = punica_cpu.bgmv_shrink = mended(lora_ops.bgmv_shrink)
    log.info("Lorefeed mended this vLLM: on a CPU it gave the base model's answers the adapter of its last slot")
    return True


def has_fault(shrink: Shrink) -> bool:
    """Seen on one row that wants no adapter."""
    import torch

    output = torch.zeros(1, 1)
    shrink(torch.ones(1, 1), torch.ones(2, 1, 1, 1), output, torch.tensor([-1]), 1.0)
    return bool(output.any())


def mended(shrink: Shrink) -> Shrink:
    """The same, and nothing for the rows that want no adapter: what is expanded of them is then nothing as well."""

    def bgmv_shrink(inputs: Any, lora_b_weights: Any, output_tensor: Any, lora_indices_tensor: Any, scaling: float = 1.0) -> None:
        shrink(inputs, lora_b_weights, output_tensor, lora_indices_tensor, scaling)
        output_tensor[lora_indices_tensor < 0] = 0

    return bgmv_shrink
