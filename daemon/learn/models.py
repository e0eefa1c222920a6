"""Loads the base model and its adapters, and names them by digest. The one place where device and precision are decided."""

import json
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from cachetools import RRCache
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from daemon.learn.errors import LearnError, ModelNotFound
from daemon.learn.folders import digest_of, folder_of
from daemon.learn.kept import targets_kept

# Attention and feed-forward linears only: vLLM refuses, or silently ignores, adapters on anything else for most models.
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(slots=True)
class Base:
    """A base model ready to teach: `model` may come to carry adapters; with none active it computes the base, bit for bit. `kept` is what it has read
    as a teacher."""

    name: str
    model: Any
    tokenizer: Any
    digest: str
    kept: RRCache[Hashable, Any] = field(default_factory=targets_kept)

    @property
    def device(self) -> torch.device:
        return torch.device(next(self.model.parameters()).device)

    @property
    def context(self) -> int:
        """How many tokens fit."""
        return int(getattr(self.model.config, "max_position_embeddings", 2048))

    @property
    def pad_id(self) -> int:
        for candidate in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0):
            if candidate is not None:
                return int(candidate)
        return 0

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Every id that ends an answer: all of the generation configuration's, the chat end beside the document end."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return tuple(
            {*(i for i in ids if i is not None), *([self.tokenizer.eos_token_id] if self.tokenizer.eos_token_id is not None else [])}
        )


def load_base(name: str, *, revision: str | None = None) -> Base:
    """The base in the precision that learns best here: bf16 on CUDA, else fp32 (processors without bf16 units are slower in it)."""
    folder = folder_of(name, revision)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as err:
        raise ModelNotFound(f"The model in {folder} could not be loaded: {err}") from err
    model.requires_grad_(False).eval().to(device)
    return Base(name, model, tokenizer, digest_of(folder))


def new_adapter(base: Base, name: str, *, rank: int, alpha: int, seed: int) -> None:
    """Puts a fresh LoRA under `name` (up-projection zero: it changes nothing yet) and makes it the one that trains."""
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(LINEARS), lora_dropout=0.0, bias="none", task_type="CAUSAL_LM")
    if isinstance(base.model, PeftModel):
        base.model.add_adapter(name, config)
    else:
        base.model = get_peft_model(base.model, config, adapter_name=name)
    _train_only(base, name)


def load_adapter(base: Base, name: str, folder: Path, *, trainable: bool = False) -> None:
    try:
        if isinstance(base.model, PeftModel):
            base.model.load_adapter(str(folder), adapter_name=name, is_trainable=trainable)
        else:
            base.model = PeftModel.from_pretrained(base.model, str(folder), adapter_name=name, is_trainable=trainable)
    except (OSError, ValueError, RuntimeError, KeyError) as err:
        raise LearnError(f"The adapter in {folder} could not be loaded: {err}", hint="Check it: lorefeed doctor") from err
    base.model.eval()
    if trainable:
        _train_only(base, name)


def drop_adapter(base: Base, name: str) -> None:
    """Forgets an adapter. Without the last one PEFT has no active adapter to switch off, so the model is unwrapped then."""
    if not isinstance(base.model, PeftModel) or name not in base.model.peft_config:
        return
    if len(base.model.peft_config) == 1:
        base.model = base.model.unload()
        return
    base.model.delete_adapter(name)
    base.model.set_adapter(next(iter(base.model.peft_config)))


def save_adapter(base: Base, name: str, folder: Path, *, base_name: str) -> None:
    """`adapter_model.safetensors` and `adapter_config.json` directly in the folder, fit for vLLM; PEFT's model card is left out.

    `base_name` goes into the configuration: vLLM's resolver compares it with the name of the model it serves, letter by letter.
    """
    # left to itself PEFT asks the hub, by the base's name, whether a vocabulary was changed
    base.model.save_pretrained(str(folder), selected_adapters=[name], safe_serialization=True, save_embedding_layers=False)
    inner = folder / name
    if inner.is_dir():
        for file in inner.iterdir():
            file.rename(folder / file.name)
        inner.rmdir()
    (folder / "README.md").unlink(missing_ok=True)
    config = folder / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": base_name}, indent=1, sort_keys=True) + "\n")


@contextmanager
def using(base: Base, adapter: str | None) -> Iterator[None]:
    """Computes with one adapter, or with none: the base is its own teacher. What was active and what trains are the same afterwards."""
    if not isinstance(base.model, PeftModel):
        if adapter is not None:
            raise LearnError(f"No adapter {adapter!r} is loaded.")
        yield
        return
    active, trains = base.model.active_adapter, [p.requires_grad for p in base.model.parameters()]
    try:
        if adapter is None:
            with base.model.disable_adapter():
                yield
        else:
            base.model.set_adapter(adapter)
            yield
    finally:
        base.model.set_adapter(active)
        # PEFT lets every weight of the adapter it switches to train, also those that a method froze
        for parameter, wanted in zip(base.model.parameters(), trains, strict=True):
            parameter.requires_grad_(wanted)


def trainable(base: Base) -> list[Tensor]:
    return [p for p in base.model.parameters() if p.requires_grad]


def _train_only(base: Base, name: str) -> None:
    base.model.set_adapter(name)
    for parameter_name, parameter in base.model.named_parameters():
        parameter.requires_grad_(f".{name}." in parameter_name)
