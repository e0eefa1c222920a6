"""What is too dear to be made more than once a run, and the figures that a run measured, at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.vllm_parts import World

FIGURES: list[str] = []


@pytest.fixture
def figures() -> list[str]:
    """Sentences with what was measured; they are shown after the run, whether or not it passed."""
    return FIGURES


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
