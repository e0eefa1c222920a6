"""Adapter folders: whole or not there, and told when they are not what was published."""

import hashlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry import ArtifactDamaged, ArtifactNotWritten, NotThere, Registry
from tests.registry_parts import begin, folder_of, learn, publish

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def files_under(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_published_folder_stands_under_its_topic_version_and_digest(registry: Registry) -> None:
    adapter = learn(registry)

    path = registry.artifacts.verify(adapter)

    assert adapter.digest is not None
    assert path == registry.artifacts.root / "news" / f"1-{adapter.digest[:12]}"
    assert files_under(path) == ["adapter_model.safetensors", "manifest.json", "notes/adapter_config.json"]
    assert hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest() == adapter.digest
    assert files_under(registry.artifacts.root / ".incoming") == []


def test_publishing_the_same_bytes_again_changes_nothing(registry: Registry) -> None:
    adapter = begin(registry)

    assert publish(registry, adapter) == publish(registry, adapter)

    assert len(registry.artifacts.published()) == 1


def test_publishing_again_heals_a_damaged_folder_of_the_same_digest(registry: Registry) -> None:
    adapter = learn(registry)
    (folder_of(registry, adapter) / WEIGHTS).write_bytes(b"")

    assert publish(registry, adapter) == adapter.digest

    registry.artifacts.verify(adapter)


def test_a_copy_of_a_workers_folder_is_published_and_the_original_stays(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / WEIGHTS).write_bytes(b"weights")
    adapter = begin(registry)

    digest = registry.artifacts.copy_in(tmp_path / "job", adapter_name=adapter.name, manifest={})

    registry.artifacts.verify(registry.write.finish_learning(adapter.name, digest=digest))
    assert files_under(tmp_path / "job") == [WEIGHTS]


def test_an_altered_file_is_found_and_both_hashes_are_named(registry: Registry) -> None:
    adapter = learn(registry)
    file = folder_of(registry, adapter) / WEIGHTS
    before = file.read_bytes()
    file.write_bytes(before[::-1])

    with pytest.raises(ArtifactDamaged) as error:
        registry.artifacts.verify(adapter)

    assert str(file) in str(error.value)
    assert hashlib.sha256(before).hexdigest() in str(error.value)
    assert hashlib.sha256(before[::-1]).hexdigest() in str(error.value)


def test_a_truncated_file_is_found_and_both_sizes_are_named(registry: Registry) -> None:
    adapter = learn(registry)
    file = folder_of(registry, adapter) / WEIGHTS
    os.truncate(file, 5)

    with pytest.raises(ArtifactDamaged, match=rf"{WEIGHTS} has 5 bytes, published were 13"):
        registry.artifacts.verify(adapter, contents=False)


@pytest.mark.parametrize("name", [WEIGHTS, "manifest.json", "notes/adapter_config.json"])
def test_a_missing_file_is_found(registry: Registry, name: str) -> None:
    adapter = learn(registry)
    (folder_of(registry, adapter) / name).unlink()

    with pytest.raises(ArtifactDamaged, match=rf"{name} is missing"):
        registry.artifacts.verify(adapter)


def test_an_altered_manifest_an_added_file_and_a_link_are_found(registry: Registry) -> None:
    adapter = learn(registry)
    folder = folder_of(registry, adapter)
    (folder / "extra.bin").write_text("x")
    with pytest.raises(ArtifactDamaged, match=r"extra\.bin was not published"):
        registry.artifacts.verify(adapter)

    (folder / "extra.bin").rename(folder.parent / "elsewhere")
    (folder / WEIGHTS).rename(folder.parent / "weights")
    (folder / WEIGHTS).symlink_to(folder.parent / "weights")
    with pytest.raises(ArtifactDamaged, match="symbolic link"):
        registry.artifacts.verify(adapter)

    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ArtifactDamaged, match=r"manifest\.json was altered"):
        registry.artifacts.verify(adapter)


def test_a_link_is_not_published(registry: Registry) -> None:
    folder = registry.artifacts.begin("news@1")
    (folder / WEIGHTS).symlink_to("/etc/hostname")

    with pytest.raises(ArtifactNotWritten, match="not a plain file"):
        registry.artifacts.publish(folder, adapter_name="news@1", manifest={})
    assert list(registry.artifacts.root.rglob("*")) == [registry.artifacts.root / ".incoming"]


def test_an_empty_folder_and_a_second_manifest_are_not_published(registry: Registry) -> None:
    with pytest.raises(ArtifactNotWritten, match="no files"):
        registry.artifacts.publish(registry.artifacts.begin("news@1"), adapter_name="news@1", manifest={})

    folder = registry.artifacts.begin("news@1")
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ArtifactNotWritten, match="its own"):
        registry.artifacts.publish(folder, adapter_name="news@1", manifest={})


def test_an_adapter_without_a_folder_says_what_to_do(registry: Registry) -> None:
    with pytest.raises(NotThere, match="news@1") as error:
        registry.artifacts.path(begin(registry))
    assert "lorefeed learn news" in error.value.hint


def test_only_an_adapters_folder_is_removed(registry: Registry) -> None:
    folder = folder_of(registry, learn(registry))
    for wrong in (registry.artifacts.root, folder.parent, registry.home, registry.artifacts.root / ".incoming" / "x"):
        with pytest.raises(NotThere):
            registry.artifacts.remove(wrong)

    registry.artifacts.remove(folder)

    assert not folder.exists()
    assert registry.artifacts.leftovers() == []


def test_sweeping_spares_what_a_living_process_writes(registry: Registry) -> None:
    incoming = registry.artifacts.root / ".incoming"
    other = subprocess.Popen(["sleep", "60"])
    (incoming / f"{other.pid}-abc").mkdir()
    (incoming / f"{other.pid}-abc" / "half").write_text("x")
    registry.artifacts.begin("news@1")
    try:
        registry.artifacts.sweep()
        assert [p.name for p in incoming.iterdir()] == [f"{other.pid}-abc"]
        assert registry.artifacts.leftovers() == []
    finally:
        other.kill()
        other.wait()

    assert [p.name for p in registry.artifacts.leftovers()] == [f"{other.pid}-abc"]
    assert [finding.problem for finding in registry.doctor()] == ["A dead process left it unfinished"]
    assert registry.recover() == [f"Deleted an unfinished folder: {other.pid}-abc"]
    assert registry.doctor() == []


def die_at_work(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"half of the")
    raise RuntimeError("the learning worker died")


def test_what_fails_while_it_is_made_leaves_nothing(registry: Registry) -> None:
    with pytest.raises(RuntimeError), registry.artifacts.making("news@1") as folder:
        die_at_work(folder)
    assert list((registry.artifacts.root / ".incoming").iterdir()) == []


def test_what_is_published_while_it_is_made_stays(registry: Registry) -> None:
    adapter = begin(registry)
    with registry.artifacts.making(adapter.name) as folder:
        (folder / WEIGHTS).write_bytes(b"weights")
        digest = registry.artifacts.publish(folder, adapter_name=adapter.name, manifest={})
    assert [found.digest for found in registry.artifacts.published()] == [digest]


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of one megabyte where we may mount one."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting needs root; the test with a limited file size covers the same path")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    with (folder / WEIGHTS).open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return  # full, which is what was wanted


def test_a_full_disk_publishes_nothing_and_gives_its_space_back(registry: Registry) -> None:
    adapter = begin(registry)
    with small_disk(registry.artifacts.root):
        (registry.artifacts.root / ".incoming").mkdir()
        folder = registry.artifacts.begin(adapter.name)
        fill(folder)

        with pytest.raises(ArtifactNotWritten, match=r"news@1 was not written: No space left on device") as error:
            registry.artifacts.publish(folder, adapter_name=adapter.name, manifest={})

        assert "Free some space" in error.value.hint
        assert list(registry.artifacts.root.rglob("*")) == [registry.artifacts.root / ".incoming"]
        assert registry.doctor() == []
        publish(registry, adapter)  # the space is free again


def test_a_disk_that_fills_while_copying_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / WEIGHTS).write_bytes(b"\0" * 2_000_000)
    with small_disk(registry.artifacts.root):
        (registry.artifacts.root / ".incoming").mkdir()

        with pytest.raises(ArtifactNotWritten, match="news@1"):
            registry.artifacts.copy_in(tmp_path / "job", adapter_name="news@1", manifest={})

        assert list(registry.artifacts.root.rglob("*")) == [registry.artifacts.root / ".incoming"]


@contextmanager
def files_at_most(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_manifest_that_cannot_be_written_publishes_nothing(registry: Registry) -> None:
    folder = registry.artifacts.begin("news@1")
    (folder / WEIGHTS).write_bytes(b"weights")

    with files_at_most(20), pytest.raises(ArtifactNotWritten, match="File too large"):
        registry.artifacts.publish(folder, adapter_name="news@1", manifest={})

    assert list(registry.artifacts.root.rglob("*")) == [registry.artifacts.root / ".incoming"]
