"""How vLLM finds what is served by itself: what the registry serves, whole and fitting, and nothing else. It runs without Lorefeed's libraries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.learn.folders import digest_of
from daemon.serving.started import Started, last_start, read_start, record_start
from daemon.serving.vllm_resolver import REGISTRY, find_served
from registry import Registry
from registry.db import FILE_NAME
from tests.serving_parts import learn, make_adapter, make_model

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def registry(tmp_path: Path, model_dir: Path) -> Iterator[Registry]:
    """`news` serves news@2, released after news@1; the engine of this home was started for rank 8."""
    with Registry.open(tmp_path / "home") as registry:
        for n in (1, 2):
            made = make_adapter(model_dir, tmp_path / str(n), seed=n)
            adapter = learn(registry, topic="news", entities=[f"Entity {n}"], folder=made, base_digest=digest_of(model_dir))
            registry.write.promote("news", adapter.name, actor="test", reason=None)
        record_start(registry.home, Started("vllm", "tiny", None, str(model_dir), digest_of(model_dir), 8))
        yield registry


def test_what_an_alias_serves_is_found_in_its_own_folder(registry: Registry) -> None:
    assert find_served(registry.home, "news@2") == registry.artifacts.path(registry.read.adapter("news@2")).resolve()


@pytest.mark.parametrize(
    "name", ["news@1", "news@9", "law@1", "news", "../news/2", "news@2/../news@2", "/etc/passwd", "news@02", "", "news@2\n"]
)
def test_what_no_alias_serves_is_not_found(registry: Registry, name: str) -> None:
    assert find_served(registry.home, name) is None


def test_what_is_damaged_marked_or_does_not_fit_is_not_found(registry: Registry, model_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = registry.artifacts.path(registry.read.adapter("news@2")) / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.chmod(0o644)
    for damage in (whole[:-1] + b"\x01", whole[:-1], None):
        weights.unlink() if damage is None else weights.write_bytes(damage)
        assert find_served(registry.home, "news@2") is None
        assert "adapter_model.safetensors" in caplog.text
        caplog.clear()
    weights.write_bytes(whole)
    assert find_served(registry.home, "news@2") is not None

    record_start(registry.home, Started("vllm", "tiny", None, str(model_dir), digest_of(model_dir), 1))
    assert find_served(registry.home, "news@2") is None
    assert "its rank is 4, the engine was started for at most 1" in caplog.text
    record_start(registry.home, Started("vllm", "other", None, str(model_dir), "c" * 64, 8))
    assert find_served(registry.home, "news@2") is None
    assert "this engine serves base cccccccccccc" in caplog.text

    record_start(registry.home, Started("vllm", "tiny", None, str(model_dir), digest_of(model_dir), 8))
    registry.write.set_unserved("news@2", "it answers like the base", actor="test")
    assert find_served(registry.home, "news@2") is None


def test_without_a_registry_nothing_is_found_and_nothing_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert find_served(tmp_path, "news@1") is None
    assert "cannot be read" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert REGISTRY == FILE_NAME


def test_a_start_is_known_until_another_model_is_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert last_start(tmp_path, model="a", revision=None) is None
    started = Started("vllm", "a", None, "/models/a", "d" * 64, 16)
    record_start(tmp_path, started)
    assert read_start(tmp_path) == last_start(tmp_path, model="a", revision=None) == started
    assert last_start(tmp_path, model="a", revision="main") is None
    assert last_start(tmp_path, model="b", revision=None) is None
    (tmp_path / "engine.json").write_text("{")
    assert read_start(tmp_path) is None
    assert "engine.json cannot be read" in caplog.text


def test_it_needs_none_of_lorefeeds_libraries() -> None:
    """In vLLM's environment there are vLLM's own: another SQLModel or pydantic there must not matter."""
    program = """
import sys
import daemon.serving.vllm_resolver
ours = {"sqlmodel", "sqlalchemy", "pydantic", "starlette", "httpx2", "torch", "transformers", "registry", "aiohttp"}
assert not ours & set(sys.modules), ours & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, cwd=ROOT)
