"""The directions in which what is learnt stands apart: found in a plain case, in a wide layer, and what an adapter that starts there leaves alone."""

from pathlib import Path

import pytest
import torch

from daemon.learn import apart, data
from daemon.learn.apart import directions, inputs_of
from daemon.learn.batches import hidden_states
from daemon.learn.folders import EMBEDDED
from daemon.learn.merge import matrices
from daemon.learn.models import Base, drop_adapter, load_base, new_adapter, save_adapter, trainable, using

ALONG = 5


def _clouds(width: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of both kinds, large in the first half of the dimensions; only the new ones have `ALONG`."""
    torch.manual_seed(3)
    new, kept = torch.randn(tokens, width), torch.randn(tokens, width)
    for x in (new, kept):
        x[:, width // 2 :] *= 0.1
    kept[:, ALONG] = 0
    return new, kept


@pytest.mark.parametrize(("width", "tokens"), [(12, 4000), (apart.WIDE + 300, 900)])
def test_the_direction_that_only_the_new_has_comes_first(width: int, tokens: int) -> None:
    new, kept = _clouds(width, tokens)
    found = directions(new, kept, rank=1)
    assert found.shape == (1, width)
    behind = (new.double() @ found.T).square().mean(), (kept.double() @ found.T).square().mean()
    assert behind[0] > 10 * behind[1]
    if width == 12:
        assert found[0].abs().argmax() == ALONG


def test_a_new_input_is_as_large_behind_them_as_behind_a_random_start() -> None:
    new, kept = _clouds(12, 4000)
    found = directions(new, kept, rank=4)
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
        for module, x in inputs_of(base, "x", new).items():
            down = module.lora_A["x"].weight
            assert (x @ down.T).square().mean() > 1.5 * (inputs_of(base, "x", kept)[module] @ down.T).square().mean()
    finally:
        drop_adapter(base, "x")


def _added(base: Base, name: str, rows: list[list[int]]) -> dict[str, torch.Tensor]:
    """By layer: what adapter `name` adds to its inputs of the rows."""
    paths = {module: path for path, module in base.model.named_modules()}
    return {
        paths[m]: (x @ m.lora_A[name].weight.T @ m.lora_B[name].weight.T * m.scaling[name]).detach()
        for m, x in inputs_of(base, name, rows).items()
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


def test_inputs_are_of_real_tokens_and_no_more_than_asked() -> None:
    base = load_base(EMBEDDED)
    rows = [data.plain_prefix(base.tokenizer, text) for text in ("It rains.", "It rains in the mountains, and the river is high.")]
    new_adapter(base, "x", rank=4, alpha=4, seed=0)
    try:
        whole = inputs_of(base, "x", rows)
        assert {len(x) for x in whole.values()} == {sum(map(len, rows))}
        assert {len(x) for x in inputs_of(base, "x", rows, tokens=len(rows[0]) + 1).values()} == {len(rows[0])}
        first = next(m for m in whole if m.base_layer.in_features == 256)
        with using(base, None):
            embedded = hidden_states(base, rows[:1])
        assert embedded.shape[-1] == whole[first].shape[-1]
    finally:
        drop_adapter(base, "x")
