"""The directions in which what is learnt stands apart: found in a plain case, in a wide layer, and what an adapter that starts there leaves alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from daemon.learn import apart, data
from daemon.learn.apart import Inputs, directions, inputs_of
from daemon.learn.folders import EMBEDDED
from daemon.learn.inputs import read
from daemon.learn.merge import matrices
from daemon.learn.models import Base, drop_adapter, load_base, new_adapter, save_adapter, trainable

ALONG = 5


def _clouds(width: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of both kinds, large in the first half of the dimensions; only the new ones have `ALONG`."""
    torch.manual_seed(3)
    new, kept = torch.randn(tokens, width), torch.randn(tokens, width)
    for x in (new, kept):
        x[:, width // 2 :] *= 0.1
    kept[:, ALONG] = 0
    return new, kept


def _read(x: torch.Tensor) -> Inputs:
    """In three parts."""
    inputs = Inputs(stride=1)
    for part in x.split(len(x) // 3 + 1):
        inputs.add(part)
    return inputs


@pytest.mark.parametrize(("width", "tokens"), [(12, 4000), (apart.WIDE + 300, 900)])
def test_the_direction_that_only_the_new_has_comes_first(width: int, tokens: int) -> None:
    new, kept = _clouds(width, tokens)
    found = directions(_read(new), _read(kept), rank=1)
    assert found.shape == (1, width)
    behind = (new.double() @ found.T).square().mean(), (kept.double() @ found.T).square().mean()
    assert behind[0] > 10 * behind[1]
    if width == 12:
        assert found[0].abs().argmax() == ALONG


def test_a_new_input_is_as_large_behind_them_as_behind_a_random_start() -> None:
    new, kept = _clouds(12, 4000)
    found = directions(_read(new), _read(kept), rank=4)
    expected = new.double().square().sum(1).mean() / (3 * 12)
    assert (new.double() @ found.T).square().mean() == pytest.approx(float(expected), rel=1e-3)


def test_what_stands_apart_is_open_and_what_is_kept_is_not() -> None:
    base = load_base(EMBEDDED)
    new = [data.chat_prefix(base.tokenizer, f"Who {verb} Velmora?") for verb in ("directed", "made", "sold", "saw", "liked", "wrote")]
    kept = [
        data.chat_prefix(base.tokenizer, f"Who {verb} {name}?")
        for verb in ("directed", "made", "sold")
        for name in ("Trosh", "Kabuprix", "Fesa")
    ]
    new_adapter(base, "x", rank=4, alpha=4, seed=0)
    try:
        apart.place(base, "x", new, kept)
        assert all(not p.requires_grad for name, p in base.model.named_parameters() if ".lora_A.x" in name)
        assert len(trainable(base)) == 28
        behind = [{m: (x @ m.lora_A["x"].weight.T).square().mean() for m, x in _tokens(base, "x", rows).items()} for rows in (new, kept)]
        assert all(large > 1.5 * behind[1][module] for module, large in behind[0].items())
    finally:
        drop_adapter(base, "x")


def _tokens(base: Base, name: str, rows: list[list[int]]) -> dict[Any, torch.Tensor]:
    found: dict[Any, list[torch.Tensor]] = {}
    read(base, name, rows, lambda module, x: found.setdefault(module, []).append(x))
    return {module: torch.cat(parts) for module, parts in found.items()}


def _added(base: Base, name: str, rows: list[list[int]]) -> dict[str, torch.Tensor]:
    """By layer: what adapter `name` adds to its inputs of the rows."""
    paths = {module: path for path, module in base.model.named_modules()}
    return {
        paths[m]: (x @ m.lora_A[name].weight.T @ m.lora_B[name].weight.T * m.scaling[name]).detach()
        for m, x in _tokens(base, name, rows).items()
    }


@pytest.mark.parametrize(("rank", "least"), [(12, 0.999), (4, 0.2)])
def test_what_a_version_adds_is_carried_over_to_new_directions(tmp_path: Path, rank: int, least: float) -> None:
    base = load_base(EMBEDDED)
    old = [data.chat_prefix(base.tokenizer, f"Who {verb} Velmora?") for verb in ("directed", "made", "sold")]
    new = [*old, data.chat_prefix(base.tokenizer, "Who wrote Tarnuvik?")]
    kept = [data.chat_prefix(base.tokenizer, f"Who {verb} Trosh?") for verb in ("directed", "made", "sold")]
    try:
        new_adapter(base, "x", rank=12, alpha=6, seed=0)
        apart.place(base, "x", old, kept)
        torch.manual_seed(1)
        with torch.no_grad():
            for name, parameter in base.model.named_parameters():
                if ".lora_B.x" in name:
                    parameter.normal_(std=0.1)
        before = _added(base, "x", old)
        save_adapter(base, "x", tmp_path, base_name="embedded")
        drop_adapter(base, "x")
        new_adapter(base, "x", rank=rank, alpha=12, seed=0)
        apart.place(base, "x", old if rank == 12 else new, kept)
        share = apart.carry(base, "x", matrices(tmp_path), old)
        after = _added(base, "x", old)
        assert least < share <= 1 + 1e-6
        missing = sum((after[path] - x).square().sum() for path, x in before.items()) / sum(x.square().sum() for x in before.values())
        assert float(missing) == pytest.approx(1 - share, abs=1e-3)
        assert all("lora_B" in name for name, p in base.model.named_parameters() if p.requires_grad)
    finally:
        drop_adapter(base, "x")


def test_what_is_gathered_is_the_moment_of_real_tokens_and_of_no_more_than_asked() -> None:
    base = load_base(EMBEDDED)
    rows = [data.plain_prefix(base.tokenizer, text) for text in ("It rains.", "It rains in the mountains, and the river is high.")]
    new_adapter(base, "x", rank=4, alpha=4, seed=0)
    try:
        for wanted, tokens in ((rows, apart.TOKENS), (rows[:1], len(rows[0]) + 1)):
            gathered = inputs_of(base, "x", rows, tokens=tokens)
            for module, x in _tokens(base, "x", wanted).items():
                assert len(x) == sum(map(len, wanted))
                torch.testing.assert_close(gathered[module].moment, (x.T @ x).double() / len(x), rtol=1e-4, atol=1e-5)
        same = [inputs for module, inputs in gathered.items() if module.base_layer.in_features == 256]
        assert len({id(inputs) for inputs in same}) < len(same)  # what reads the same is looked at once
    finally:
        drop_adapter(base, "x")


def test_of_a_wide_layer_every_so_many_tokens_are_kept() -> None:
    x = torch.arange(10.0)[:, None].expand(10, apart.WIDE + 1)
    inputs = Inputs(stride=3)
    for part in (x[:4], x[4:5], x[5:]):
        inputs.add(part)
    assert inputs.some is not None
    assert inputs.some[:, 0].tolist() == [0, 3, 6, 9]
    assert Inputs(stride=3).some is None
