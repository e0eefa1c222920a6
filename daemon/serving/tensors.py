"""What a safetensors file says of its tensors, and whether their numbers are numbers. Imports no torch: it also runs inside vLLM's start."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

HEADER_LIMIT_BYTES = 100 << 20  # the format's own
_AT_A_TIME = 1 << 22  # numbers looked at together
# The bits of the exponent: where all are set the number is infinite or none (IEEE 754; bfloat16 has float32's).
_EXPONENTS = {"F64": ("<u8", 0x7FF0000000000000), "F32": ("<u4", 0x7F800000), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}


@dataclass(frozen=True, slots=True)
class Tensor:
    """`begin` and `end`: bytes from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def tensors_of(file: Path) -> dict[str, Tensor]:
    """The table at the beginning of the file: its length in eight bytes, then JSON (the format's specification). Raises OSError, ValueError."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > min(HEADER_LIMIT_BYTES, size - 8):
            raise ValueError(f"{file.name} has an impossible header")
        header = json.loads(opened.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{file.name} has no table of tensors")
    try:
        found = {name: _tensor(facts, 8 + length) for name, facts in header.items() if name != "__metadata__"}
    except (KeyError, TypeError, AttributeError) as err:
        raise ValueError(f"{file.name} has an odd table of tensors: {err!r}") from err
    if any(tensor.end > size for tensor in found.values()):
        raise ValueError(f"{file.name} is shorter than its table of tensors says")
    return found


def first_not_finite(file: Path) -> str | None:
    """The first tensor that holds an infinity or no number at all; None if there is none. Raises OSError, ValueError."""
    found = tensors_of(file)
    content = np.memmap(file, dtype=np.uint8, mode="r")
    for name, tensor in found.items():
        if tensor.dtype not in _EXPONENTS:
            return name
        kind, exponent = _EXPONENTS[tensor.dtype]
        numbers = content[tensor.begin : tensor.end]
        step = _AT_A_TIME * np.dtype(kind).itemsize
        for start in range(0, len(numbers), step):
            bits = np.frombuffer(numbers[start : start + step].tobytes(), dtype=kind)
            if bool(((bits & exponent) == exponent).any()):
                return name
    return None


def matrices_of(folder: Path) -> dict[str, tuple[int, int]]:
    """The base model's matrices by module, as (outputs, inputs); empty where its weights are in no safetensors file."""
    files = sorted(folder.glob("*.safetensors"))
    return _matrices(tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=4)
def _matrices(files: tuple[tuple[str, int, int], ...]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for name, _, _ in files:
        for tensor_name, tensor in tensors_of(Path(name)).items():
            if tensor_name.endswith(".weight") and len(tensor.shape) == 2:
                found[tensor_name.removesuffix(".weight")] = (tensor.shape[0], tensor.shape[1])
    return found


def _tensor(facts: Mapping[str, Any], start: int) -> Tensor:
    begin, end = (start + int(offset) for offset in facts["data_offsets"])
    tensor = Tensor(str(facts["dtype"]), tuple(int(n) for n in facts["shape"]), begin, end)
    if tensor.dtype in _EXPONENTS and end - begin != math.prod(tensor.shape) * np.dtype(_EXPONENTS[tensor.dtype][0]).itemsize:
        raise ValueError(f"a tensor of {list(tensor.shape)} takes {end - begin} bytes")
    return tensor
