"""vLLM's kernels in plain torch take slot -1, which means no adapter, for the last slot: how that is seen and mended."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import torch

from daemon.serving.vllm import VllmFailed
from daemon.serving.vllm_cpu import has_fault, mended
from daemon.serving.vllm_process import need_mended


def leaky(inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, scaling: float = 1.0) -> None:
    """One adapter's first half for each row, by the number of its slot."""
    output[:] = scaling * torch.einsum("bi,boi->bo", inputs, weights[indices].squeeze(1))


def test_rows_without_an_adapter_get_nothing_and_the_others_what_they_got() -> None:
    torch.manual_seed(0)
    inputs, weights, indices = torch.randn(4, 8), torch.randn(3, 1, 2, 8), torch.tensor([0, -1, 2, -1])
    before, after = torch.zeros(4, 2), torch.zeros(4, 2)
    leaky(inputs, weights, before, indices, 0.5)
    mended(leaky)(inputs, weights, after, indices, 0.5)
    assert before[1].any()
    torch.testing.assert_close(before[1], 0.5 * weights[2, 0] @ inputs[1])  # the last slot's
    torch.testing.assert_close(after, torch.where((indices < 0)[:, None], 0.0, before))


def test_the_fault_is_recognised_and_what_is_right_left_alone() -> None:
    assert has_fault(leaky)
    assert not has_fault(mended(leaky))


def python(folder: Path, *lines: str) -> Path:
    file = folder / "python"
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_a_build_that_leaks_is_not_started(tmp_path: Path) -> None:
    with pytest.raises(VllmFailed, match="leaks into the base model's answers") as caught:
        need_mended(python(tmp_path, "echo leaks"))
    assert "-m pip install --no-deps" in caught.value.hint


@pytest.mark.parametrize("says", ["fine", "", "something else"])
def test_any_other_is(tmp_path: Path, says: str) -> None:
    need_mended(python(tmp_path, f"echo {says}"))
    need_mended(tmp_path / "nowhere")  # which starting it says better
