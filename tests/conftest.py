"""What several files of tests need: a tiny model with adapters and an engine that serves them, a real vLLM, and the figures that a run measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.serving.client import EngineClient
    from tests.vllm_parts import World

FIGURES: list[str] = []


@pytest.fixture
def figures() -> list[str]:
    """Sentences with what was measured; they are shown after the run, whether or not it passed."""
    return FIGURES


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few thousand weights."""
    from tests.serving_parts import make_model

    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> dict[int, Path]:
    """Adapters 1 to 3 of it, by number."""
    from tests.serving_parts import make_adapter

    root = tmp_path_factory.mktemp("adapters")
    return {n: make_adapter(model_dir, root / str(n), seed=n) for n in (1, 2, 3)}


@pytest.fixture(scope="module")
def url(model_dir: Path) -> Iterator[str]:
    """Where an engine serves it."""
    import torch

    from daemon.embedded.generate import Generator
    from daemon.serving.engine_app import create_engine
    from tests.serving_parts import serving

    with Generator(model_dir, dtype=torch.float32) as generator, serving(create_engine(generator, served_name="tiny", root="tiny")) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[EngineClient]:
    """Of that engine, which has no adapters afterwards."""
    from daemon.serving.client import EngineClient

    with EngineClient(url) as client:
        yield client
        for card in client.models()[1:]:
            client.unload(card.name)


@pytest.fixture(scope="session")
def vllm_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A real vLLM with its gateway and daemon, shared by all tests that ask for it; each leaves it answering."""
    from tests.vllm_parts import need_vllm, running_world

    need_vllm()
    with running_world(tmp_path_factory.mktemp("vllm")) as world:
        yield world


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if FIGURES:
        terminalreporter.section("measured")
        for line in FIGURES:
            terminalreporter.write_line(line)
