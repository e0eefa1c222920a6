"""The adapters beside the base model: validated, loaded through PEFT, switched, dropped. For one thread, except `names` and `entry`."""

from __future__ import annotations

import itertools
import json
import re
import warnings
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from daemon.embedded.calls import AdapterAlreadyLoaded, AdapterNotLoadable, AdapterUnknown

_LORA_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_REFUSED_FEATURES = ("use_dora", "lora_bias", "modules_to_save", "layer_replication", "megatron_config")


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered adapter. `key` is PEFT's name for it: fresh for each load, so that a reloaded name never meets old weights."""

    name: str
    path: Path
    key: str


class Residents:
    """Registered adapters; at most `max_resident` keep their weights in memory, the others are read again when asked for."""

    def __init__(self, base: Any, *, max_resident: int) -> None:
        self._base = base
        self._peft: Any = None
        self._shapes = _linear_shapes(base)
        self._max_resident = max_resident
        self._entries: dict[str, Entry] = {}
        self._resident: OrderedDict[str, Entry] = OrderedDict()
        self._active: str | None = None
        self._numbers = itertools.count(1)

    def names(self) -> dict[str, Path]:
        """Registered names and their folders. Safe from any thread: it copies."""
        return {name: entry.path for name, entry in self._entries.copy().items()}

    def entry(self, name: str) -> Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise AdapterUnknown(f"The lora adapter '{name}' cannot be found.")
        return entry

    def register(self, name: str, path: Path, *, in_use: Collection[str]) -> None:
        """Load an adapter; the name exists only when every tensor of it fits the base."""
        if name in self._entries:
            raise AdapterAlreadyLoaded(f"The lora adapter '{name}' has already been loaded.")
        entry = Entry(name=name, path=path, key=f"a{next(self._numbers)}")
        self._bring_in(entry, in_use=in_use)
        self._entries[name] = entry

    def forget(self, name: str) -> None:
        """The name is gone at once; `sweep` drops its weights when nothing generates with them any more."""
        self.entry(name)
        del self._entries[name]

    def sweep(self, in_use: Collection[str]) -> None:
        """Drop weights that no name and no running generation needs."""
        wanted = {entry.key for entry in self._entries.values()} | set(in_use)
        for key in [key for key in self._resident if key not in wanted]:
            self._drop(key)

    def activate(self, entry: Entry | None, *, in_use: Collection[str]) -> Any:
        """The model as this adapter (None: the untouched base) sees it."""
        if entry is None:
            if self._peft is not None and self._active is not None:
                self._peft.base_model.disable_adapter_layers()
            self._active = None
            return self._base
        if entry.key not in self._resident:
            self._bring_in(entry, in_use=in_use)
        self._resident.move_to_end(entry.key)
        if self._active != entry.key:
            self._peft.base_model.enable_adapter_layers()
            self._peft.base_model.set_adapter(entry.key, inference_mode=True)
            self._active = entry.key
        return self._base

    def _bring_in(self, entry: Entry, *, in_use: Collection[str]) -> None:
        modules = validate(entry.path, self._shapes, name=entry.name)
        self._make_room(in_use)
        try:
            self._attach(entry)
        except (ValueError, RuntimeError, KeyError, TypeError, OSError) as err:
            self._discard_half(entry.key)
            raise AdapterNotLoadable(f"The lora adapter '{entry.name}' could not be loaded from {entry.path}: {err}") from err
        self._resident[entry.key] = entry
        self._park()
        missing = self._wrapped(entry.key) - modules
        if missing:
            self._drop(entry.key)
            raise AdapterNotLoadable(f"The lora adapter '{entry.name}' lacks tensors that its configuration promises: {min(missing)}")

    def _wrapped(self, key: str) -> set[str]:
        """The modules that PEFT made ready for this adapter; those without tensors of their own would silently do nothing."""
        return {name for name, module in self._base.named_modules() if key in getattr(module, "lora_A", ())}

    def _attach(self, entry: Entry) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what PEFT warns of here is refused below, by name
            if self._peft is None:
                self._peft = PeftModel.from_pretrained(self._base, str(entry.path), adapter_name=entry.key, is_trainable=False)
            else:
                self._peft.load_adapter(str(entry.path), adapter_name=entry.key, is_trainable=False)
        self._peft.eval()

    def _park(self) -> None:
        """After any change of the set no adapter is switched on: the next `activate` decides."""
        self._peft.base_model.disable_adapter_layers()
        self._active = None

    def _make_room(self, in_use: Collection[str]) -> None:
        idle = [key for key in self._resident if key not in in_use]
        while len(self._resident) >= self._max_resident and idle:
            self._drop(idle.pop(0))

    def _discard_half(self, key: str) -> None:
        if self._peft is not None and key in self._peft.peft_config:
            self._resident[key] = Entry(name=key, path=Path(), key=key)
            self._drop(key)

    def _drop(self, key: str) -> None:
        del self._resident[key]
        if self._resident:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PEFT says which adapter it makes active instead; `_park` switches all of them off
                self._peft.delete_adapter(key)
            self._park()
        else:  # the last one: take the wrappers out, so that the base is again exactly what was loaded
            self._base = self._peft.unload()
            if hasattr(self._base, "peft_config"):
                del self._base.peft_config
            self._peft, self._active = None, None


def validate(path: Path, shapes: dict[str, tuple[int, int]], *, name: str) -> set[str]:
    """The modules an adapter changes; refused, with the reason, if this base cannot apply all of it. Silent no-ops are the worst kind."""
    config = _read_config(path, name=name)
    tensors = _read_tensors(path, name=name)
    if str(config.get("peft_type", "")).upper() != "LORA":
        raise AdapterNotLoadable(f"The lora adapter '{name}' is of type {config.get('peft_type')!r}, not LORA.")
    for feature in _REFUSED_FEATURES:
        if config.get(feature):
            raise AdapterNotLoadable(f"The lora adapter '{name}' uses {feature}, which this engine does not serve.")
    if config.get("bias", "none") != "none":
        raise AdapterNotLoadable(f"The lora adapter '{name}' trains biases, which this engine does not serve.")
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _LORA_KEY.fullmatch(key)
        if match is None or match["module"] not in shapes:
            raise AdapterNotLoadable(f"The lora adapter '{name}' has a tensor that fits nothing in this base model: {key}")
        if not bool(torch.isfinite(tensor).all()):
            raise AdapterNotLoadable(f"The lora adapter '{name}' has values that are not finite in {key}.")
        pairs.setdefault(match["module"], {})[match["side"]] = tensor
    if not pairs:
        raise AdapterNotLoadable(f"The lora adapter '{name}' is empty.")
    for module, sides in pairs.items():
        _check_pair(module, sides, shapes[module], name=name)
    return set(pairs)


def _check_pair(module: str, sides: dict[str, torch.Tensor], shape: tuple[int, int], *, name: str) -> None:
    if set(sides) != {"A", "B"}:
        raise AdapterNotLoadable(f"The lora adapter '{name}' has only half of the pair for {module}.")
    a, b = tuple(sides["A"].shape), tuple(sides["B"].shape)  # (rank, in), (out, rank)
    if len(a) != 2 or len(b) != 2 or a[0] != b[1] or (b[0], a[1]) != shape:
        raise AdapterNotLoadable(f"The lora adapter '{name}' has shapes {a} and {b} for {module}, where the base has {shape}.")


def _read_config(path: Path, *, name: str) -> dict[str, Any]:
    try:
        config = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise AdapterNotLoadable(f"The lora adapter '{name}' has no readable adapter_config.json in {path}: {err}") from err
    if not isinstance(config, dict):
        raise AdapterNotLoadable(f"The lora adapter '{name}' has an adapter_config.json that is not an object.")
    return config


def _read_tensors(path: Path, *, name: str) -> dict[str, torch.Tensor]:
    try:
        return dict(load_file(path / "adapter_model.safetensors"))
    except (OSError, SafetensorError) as err:
        raise AdapterNotLoadable(f"The lora adapter '{name}' has no readable adapter_model.safetensors in {path}: {err}") from err


def _linear_shapes(base: Any) -> dict[str, tuple[int, int]]:
    """(out, in) of every linear map of the base. GPT-2's Conv1D keeps its matrix the other way round."""
    shapes: dict[str, tuple[int, int]] = {}
    for name, module in base.named_modules():
        if isinstance(module, nn.Linear):
            shapes[name] = (module.out_features, module.in_features)
        elif type(module).__name__ == "Conv1D":
            shapes[name] = (module.weight.shape[1], module.weight.shape[0])
    return shapes
