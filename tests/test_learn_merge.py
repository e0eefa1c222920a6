"""Several adapters as one: exact where the ranks fit, the nearest of its rank where they do not."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from daemon.learn.errors import LearnError
from daemon.learn.merge import CONFIG, DENSITY, WEIGHTS, draw_back, merge
from daemon.learn.models import load_adapter, using
from tests.learn_parts import tiny_base

MODULE = "base_model.model.model.layers.0.self_attn.q_proj"


def adapter(folder: Path, rank: int, *, alpha: int, seed: int, width: int = 32, out: int = 32, **more: object) -> Path:
    folder.mkdir()
    torch.manual_seed(seed)
    weights = {f"{MODULE}.lora_A.weight": torch.randn(rank, width), f"{MODULE}.lora_B.weight": torch.randn(out, rank)}
    save_file(weights, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": ["q_proj"], **more}))
    return folder


def delta(folder: Path) -> Tensor:
    config, weights = json.loads((folder / CONFIG).read_text()), load_file(folder / WEIGHTS)
    scaling = config["lora_alpha"] / (config["r"] ** (0.5 if config.get("use_rslora") else 1))
    return scaling * weights[f"{MODULE}.lora_B.weight"] @ weights[f"{MODULE}.lora_A.weight"]


def test_side_by_side_the_sum_is_exact(tmp_path: Path) -> None:
    parts = [
        adapter(tmp_path / "a", 4, alpha=8, seed=1),
        adapter(tmp_path / "b", 8, alpha=8, seed=2),
        adapter(tmp_path / "c", 2, alpha=4, seed=3, use_rslora=True),
    ]
    merged = merge(parts, tmp_path / "out", rank_max=16)
    assert (merged.rank, merged.kept) == (16, 1.0)
    torch.testing.assert_close(delta(tmp_path / "out"), sum(delta(p) for p in parts), atol=1e-4, rtol=1e-4)
    assert load_file(tmp_path / "out" / WEIGHTS)[f"{MODULE}.lora_A.weight"].shape == (16, 32)


def test_cut_to_a_rank_it_is_the_nearest_matrix_of_that_rank(tmp_path: Path) -> None:
    parts = [adapter(tmp_path / "a", 8, alpha=8, seed=1, width=24, out=40), adapter(tmp_path / "b", 8, alpha=8, seed=2, width=24, out=40)]
    merged = merge(parts, tmp_path / "out", rank_max=8)
    whole = sum((delta(p) for p in parts), torch.zeros(40, 24))
    u, s, v = torch.linalg.svd(whole, full_matrices=False)
    torch.testing.assert_close(delta(tmp_path / "out"), u[:, :8] * s[:8] @ v[:8], atol=1e-3, rtol=1e-3)
    assert merged.kept == pytest.approx(float((s[:8] ** 2).sum() / (s**2).sum()), abs=1e-4)


def test_ties_leaves_out_what_is_small_or_outvoted_and_means_the_rest(tmp_path: Path) -> None:
    parts = [adapter(tmp_path / name, 4, alpha=4, seed=seed) for seed, name in enumerate("abc")]
    merge(parts, tmp_path / "out", rank_max=32, way="ties")
    whole = torch.stack([delta(part) for part in parts])
    keep = (
        whole.abs() >= whole.abs().flatten(1).kthvalue(whole[0].numel() - int(DENSITY * whole[0].numel()) + 1, dim=1).values[:, None, None]
    )
    trimmed = whole * keep
    agrees = (trimmed.sign() == trimmed.sum(0).sign()) & keep
    wanted = (trimmed * agrees).sum(0) / agrees.sum(0).clamp(min=1)
    torch.testing.assert_close(delta(tmp_path / "out"), wanted, atol=1e-3, rtol=1e-3)


def test_dare_keeps_what_all_add_in_the_mean(tmp_path: Path) -> None:
    parts = [adapter(tmp_path / name, 4, alpha=4, seed=seed) for seed, name in enumerate("ab")]
    merge(parts, tmp_path / "out", rank_max=32, way="dare")
    a, b = (delta(part) for part in parts)
    found = delta(tmp_path / "out")
    either = [torch.zeros_like(a), a / DENSITY, b / DENSITY, (a + b) / DENSITY]
    assert bool((torch.stack([(found - one).abs() for one in either]).min(0).values < 1e-3).all())
    assert float((found - a - b).mean()) == pytest.approx(0.0, abs=0.5)


def test_the_factors_of_adapters_that_share_a_add_up_to_the_sum(tmp_path: Path) -> None:
    first, second = adapter(tmp_path / "a", 4, alpha=4, seed=1), adapter(tmp_path / "b", 4, alpha=4, seed=2)
    weights = load_file(second / WEIGHTS) | {f"{MODULE}.lora_A.weight": load_file(first / WEIGHTS)[f"{MODULE}.lora_A.weight"]}
    save_file(weights, second / WEIGHTS)
    merge([first, second], tmp_path / "out", rank_max=4, way="linear")
    torch.testing.assert_close(delta(tmp_path / "out"), delta(first) + delta(second), atol=1e-4, rtol=1e-4)


def test_drawn_back_it_lies_on_the_line_between_what_both_add(tmp_path: Path) -> None:
    parent, child = adapter(tmp_path / "a", 4, alpha=4, seed=1), adapter(tmp_path / "b", 4, alpha=8, seed=2)
    draw_back(child, None, strength=0.7, out=tmp_path / "alone")
    torch.testing.assert_close(delta(tmp_path / "alone"), 0.7 * delta(child), atol=1e-4, rtol=1e-4)
    drawn = draw_back(child, parent, strength=0.7, out=tmp_path / "between")
    line = 0.3 * delta(parent) + 0.7 * delta(child)
    u, s, v = torch.linalg.svd(line)
    torch.testing.assert_close(delta(tmp_path / "between"), u[:, :4] * s[:4] @ v[:4], atol=1e-3, rtol=1e-3)
    assert drawn.rank == 4


def test_what_does_not_fit_together_is_said(tmp_path: Path) -> None:
    good = adapter(tmp_path / "a", 4, alpha=4, seed=1)
    with pytest.raises(LearnError, match="do not fit the same model"):
        merge([good, adapter(tmp_path / "b", 4, alpha=4, seed=1, out=16)], tmp_path / "out", rank_max=8)
    with pytest.raises(LearnError, match="no plain LoRA"):
        merge([good, adapter(tmp_path / "c", 4, alpha=4, seed=1, use_dora=True)], tmp_path / "out", rank_max=8)
    with pytest.raises(LearnError, match="no adapters"):
        merge([], tmp_path / "out", rank_max=8)
    with pytest.raises(LearnError, match="by 'magic'"):
        merge([good], tmp_path / "out", rank_max=8, way="magic")
    with pytest.raises(LearnError, match="different ranks"):
        merge([good, adapter(tmp_path / "d", 8, alpha=4, seed=1)], tmp_path / "out", rank_max=8, way="linear")


def test_a_model_with_the_merged_adapter_computes_the_sum(tmp_path: Path) -> None:
    base = tiny_base()
    width = base.model.config.hidden_size
    size = {"width": width, "out": width, "layers_to_transform": [0]}
    parts = [adapter(tmp_path / name, 4, alpha=4, seed=seed, **size) for seed, name in enumerate(("a", "b"))]
    merge(parts, tmp_path / "both", rank_max=16)
    ids = torch.arange(1, 9)[None]
    weight = base.model.get_submodule(MODULE.removeprefix("base_model.model.")).weight
    with torch.no_grad():
        weight += delta(parts[0]) + delta(parts[1])
        by_hand = base.model(ids).logits
        weight -= delta(parts[0]) + delta(parts[1])
        load_adapter(base, "both", tmp_path / "both")
        with using(base, "both"):
            torch.testing.assert_close(base.model(ids).logits, by_hand, atol=1e-3, rtol=1e-3)
