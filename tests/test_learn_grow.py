"""A version that grows on another: what that one was is there at the start, what is new has room of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from daemon.learn import apart, data
from daemon.learn.folders import EMBEDDED
from daemon.learn.grow import grow
from daemon.learn.inputs import read
from daemon.learn.merge import matrices
from daemon.learn.models import Base, drop_adapter, load_base, new_adapter, save_adapter, trainable
from daemon.learn.ranks import added_for, rank_on

Rows = list[list[int]]
PARENT = 12


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(EMBEDDED)


@pytest.fixture(scope="module")
def rows(base: Base) -> dict[str, Rows]:
    def ask(name: str) -> Rows:
        return [data.chat_prefix(base.tokenizer, f"Who {verb} {name}?") for verb in ("directed", "made", "sold", "liked")]

    return {"held": ask("Velmora"), "new": ask("Tarnuvik"), "kept": [*ask("Trosh"), *ask("Fesa")]}


@pytest.fixture(scope="module")
def parent(base: Base, rows: dict[str, Rows], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A version that has learnt something, and what it adds to the inputs of every row."""
    new_adapter(base, "x", rank=PARENT, alpha=6, seed=0)
    apart.place(base, "x", rows["held"], rows["kept"])
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in base.model.named_parameters():
            if ".lora_B.x" in name:
                parameter.normal_(std=0.1).mul_(0.5 ** torch.arange(PARENT))  # most of it in a few directions, as training leaves it
    folder = tmp_path_factory.mktemp("parent")
    save_adapter(base, "x", folder, base_name="embedded")
    added = _adds(base, [r for every in rows.values() for r in every])
    drop_adapter(base, "x")
    return folder, added


def _adds(base: Base, rows: Rows) -> dict[str, torch.Tensor]:
    """By layer: what adapter x adds to its inputs of the rows."""
    paths = {module: path for path, module in base.model.named_modules()}
    return {
        paths[m]: (x @ m.lora_A["x"].weight.T @ m.lora_B["x"].weight.T * m.scaling["x"]).detach() for m, x in _tokens(base, rows).items()
    }


def _tokens(base: Base, rows: Rows) -> dict[Any, torch.Tensor]:
    found: dict[Any, list[torch.Tensor]] = {}
    read(base, "x", rows, lambda module, x: found.setdefault(module, []).append(x))
    return {module: torch.cat(parts) for module, parts in found.items()}


@pytest.fixture
def grown(base: Base, rows: dict[str, Rows], parent: tuple[Path, Any], request: pytest.FixtureRequest) -> Iterator[float]:
    """Adapter x of the rank that is asked for, grown by four directions on the parent; the share that is carried over."""
    new_adapter(base, "x", rank=request.param, alpha=12, seed=0)
    yield grow(base, "x", matrices(parent[0]), new=rows["new"], held=rows["held"], kept=rows["kept"], added=4)
    drop_adapter(base, "x")


@pytest.mark.parametrize("grown", [PARENT + 4, PARENT + 9], indirect=True)
def test_a_version_with_room_begins_as_its_parent_was(base: Base, rows: dict[str, Rows], parent: tuple[Path, Any], grown: float) -> None:
    assert grown == 1.0
    now = _adds(base, [r for every in rows.values() for r in every])
    for path, before in parent[1].items():
        torch.testing.assert_close(now[path], before, rtol=1e-3, atol=1e-4)
    assert all("lora_B" in name for name, p in base.model.named_parameters() if p.requires_grad)
    assert len(trainable(base)) == 28


@pytest.mark.parametrize("grown", [PARENT + 4], indirect=True)
def test_the_added_directions_are_open_to_the_new_and_to_nothing_else(base: Base, rows: dict[str, Rows], grown: float) -> None:
    behind = [
        {m: (x @ m.lora_A["x"].weight[PARENT:].T).square().mean() for m, x in _tokens(base, rows[kind]).items()}
        for kind in ("new", "held", "kept")
    ]
    for module, large in behind[0].items():
        assert large > 1.5 * behind[1][module]
        assert large > 1.5 * behind[2][module]


@pytest.mark.parametrize("grown", [PARENT], indirect=True)
def test_where_the_rank_may_not_grow_the_parent_keeps_what_adds_most(
    base: Base, rows: dict[str, Rows], parent: tuple[Path, Any], grown: float
) -> None:
    assert 0.9 < grown < 1.0
    now = _adds(base, rows["held"])
    drop_adapter(base, "x")
    new_adapter(base, "x", rank=PARENT, alpha=6, seed=0)
    before = _was(base, parent[0], rows["held"], PARENT)
    missing = _apart(now, before)
    assert missing == pytest.approx(1 - grown, abs=2e-3)
    assert missing < _apart(_was(base, parent[0], rows["held"], PARENT - 4), before)  # less than where its last directions are given up


def _was(base: Base, folder: Path, rows: Rows, rank: int) -> dict[str, torch.Tensor]:
    """What the first `rank` directions of the adapter in the folder add."""
    paths = {module: path for path, module in base.model.named_modules()}
    pairs = matrices(folder)
    return {paths[m]: x @ pairs[paths[m]][0][:rank].T @ pairs[paths[m]][1][:, :rank].T for m, x in _tokens(base, rows).items()}


def _apart(now: dict[str, torch.Tensor], before: dict[str, torch.Tensor]) -> float:
    return float(sum((now[p] - x).square().sum() for p, x in before.items()) / sum(x.square().sum() for x in before.values()))


def test_what_made_the_parent_does_not_decide_how_fast_it_is_learnt_over(
    base: Base, rows: dict[str, Rows], parent: tuple[Path, Any]
) -> None:
    """A version that was drawn back has the same matrices BA in factors of other sizes."""
    found = []
    for times in (1.0, 50.0):
        pairs = {path: (down * times, up / times) for path, (down, up) in matrices(parent[0]).items()}
        new_adapter(base, "x", rank=PARENT + 4, alpha=12, seed=0)
        grow(base, "x", pairs, new=rows["new"], held=rows["held"], kept=rows["kept"], added=4)
        behind = [
            ((x @ m.lora_A["x"].weight[:PARENT].T).square().mean() / x.square().mean()).item()
            for m, x in _tokens(base, rows["held"]).items()
        ]
        assert behind == pytest.approx([1 / 3] * len(behind), rel=1e-3)
        found.append([p.clone() for n, p in base.model.named_parameters() if ".lora_A.x" in n or ".lora_B.x" in n])
        drop_adapter(base, "x")
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_the_rank_grows_with_what_is_new_up_to_the_most() -> None:
    assert (added_for(1), added_for(40), added_for(61)) == (16, 20, 31)
    assert rank_on(32, 10, most=64) == 48
    assert rank_on(56, 10, most=64) == 64
    assert rank_on(96, 10, most=64) == 96  # it was made when more were allowed
