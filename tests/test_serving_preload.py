"""What an adapter's folder must be before an engine sees it: tensors in pairs, of the base's shapes, all of those promised, and numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from daemon.serving.preload import preload_problem
from daemon.serving.tensors import first_not_finite, matrices_of, tensors_of
from tests.serving_parts import make_adapter

LAYER = "base_model.model.model.layers.1.self_attn.q_proj"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Path:
    return make_adapter(model_dir, tmp_path_factory.mktemp("whole") / "adapter", seed=1)


@pytest.fixture
def folder(tmp_path: Path, whole: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "adapter")


def change(folder: Path, how: Callable[[Tensors], object]) -> None:
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    how(tensors)
    save_file(tensors, file)


def test_a_whole_adapter_of_this_base_has_no_problem(whole: Path, model_dir: Path) -> None:
    assert preload_problem(whole, max_rank=8, base_folder=model_dir) is None
    assert preload_problem(whole, max_rank=None) is None


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda t: t.pop(f"{LAYER}.lora_B.weight"), "only half of a LoRA pair for model.layers.1.self_attn.q_proj"),
        (lambda t: (t.pop(f"{LAYER}.lora_A.weight"), t.pop(f"{LAYER}.lora_B.weight")), "lacks tensors that its configuration promises"),
        (lambda t: t.update({f"{LAYER}.lora_A.weight": torch.zeros(4, 64)}), "do not fit the base's 128 x 128"),
        (lambda t: t.update({f"{LAYER}.lora_B.weight": torch.zeros(128, 3)}), "do not fit"),
        (lambda t: t[f"{LAYER}.lora_B.weight"].view(-1)[5:6].fill_(float("nan")), "holds what is no finite number"),
        (lambda t: t[f"{LAYER}.lora_A.weight"].view(-1)[-1:].fill_(float("-inf")), "holds what is no finite number"),
        (lambda t: t.update({"base_model.model.lm_head.weight": torch.zeros(2, 2)}), "no half of a LoRA pair"),
        (
            lambda t: t.update({f"base_model.model.model.layers.9.q_proj.lora_{s}.weight": torch.zeros(4, 4) for s in "AB"}),
            "changes model.layers.9.q_proj, which the base model has not got",
        ),
        (
            lambda t: t.update({f"{LAYER}.lora_A.weight": torch.zeros(64, 128), f"{LAYER}.lora_B.weight": torch.zeros(128, 64)}),
            "its rank is 64",
        ),
    ],
)
def test_what_an_engine_would_pass_over_or_choke_on_is_said(
    folder: Path, model_dir: Path, how: Callable[[Tensors], object], said: str
) -> None:
    change(folder, how)
    assert said in str(preload_problem(folder, max_rank=8, base_folder=model_dir))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_kind_of_number_is_looked_at(tmp_path: Path, dtype: torch.dtype) -> None:
    file = tmp_path / "x.safetensors"
    fine = torch.tensor([0.0, -1.5, torch.finfo(dtype).max, torch.finfo(dtype).tiny], dtype=dtype)
    save_file({"a": fine, "b": fine.clone()}, file)
    assert first_not_finite(file) is None
    for bad in ("nan", "inf", "-inf"):
        save_file({"a": fine, "b": torch.tensor([1.0, float(bad)], dtype=dtype)}, file)
        assert first_not_finite(file) == "b"


def test_modules_filed_under_other_names_are_left_to_the_proof_after_the_load(folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    save_file({"language.model.layers.0.q.weight": torch.zeros(4, 4)}, base / "model.safetensors")
    assert matrices_of(base) == {"language.model.layers.0.q": (4, 4)}
    assert preload_problem(folder, max_rank=8, base_folder=base) is None


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, b"\x02\x00\x00\x00\x00\x00\x00\x00{", b"\x02\x00\x00\x00\x00\x00\x00\x00[]", b"\x10"]
)
def test_a_file_that_is_none_is_a_sentence(folder: Path, content: bytes) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(content)
    assert "cannot be read" in str(preload_problem(folder, max_rank=8))
    with pytest.raises(ValueError, match="adapter_model"):
        tensors_of(file)


def test_a_truncated_file_is_a_sentence(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert "shorter than its table of tensors says" in str(preload_problem(folder, max_rank=8))
    (folder / "adapter_config.json").write_text(json.dumps([]))
    assert preload_problem(folder, max_rank=8)
