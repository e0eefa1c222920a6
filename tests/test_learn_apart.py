"""The directions in which what is learnt stands apart: found in a plain case, in a wide layer, and what an adapter that starts there leaves alone."""

from typing import Any

import pytest
import torch

from daemon.learn import apart, data
from daemon.learn.apart import Inputs, directions, inputs_of
from daemon.learn.folders import EMBEDDED
from daemon.learn.inputs import read
from daemon.learn.models import Base, drop_adapter, load_base, new_adapter, trainable

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


@pytest.mark.parametrize(("width", "tokens"), [(12, 600), (apart.WIDE + 1, 40)])
def test_what_lies_behind_a_projection_is_read_off_what_was_gathered(width: int, tokens: int) -> None:
    torch.manual_seed(4)
    x, y, down = torch.randn(tokens, width), 2 * torch.randn(tokens, width), torch.randn(3, width)
    behind = ((x @ down.T).T @ (x @ down.T)).double() / tokens, ((y @ down.T).T @ (y @ down.T)).double() / tokens
    torch.testing.assert_close(_read(x).behind(down), behind[0], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close((_read(x) | _read(y)).behind(down), (behind[0] + behind[1]) / 2, rtol=1e-4, atol=1e-2)
    assert _read(x).power == pytest.approx(float(x.square().mean()) / 3, rel=1e-4)


def test_of_a_wide_layer_every_so_many_tokens_are_kept() -> None:
    x = torch.arange(10.0)[:, None].expand(10, apart.WIDE + 1)
    inputs = Inputs(stride=3)
    for part in (x[:4], x[4:5], x[5:]):
        inputs.add(part)
    assert inputs.some is not None
    assert inputs.some[:, 0].tolist() == [0, 3, 6, 9]
    assert Inputs(stride=3).some is None
