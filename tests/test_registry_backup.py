"""A home saved while it is written to, read back, and put in its place again; and every way in which a backup can be wrong."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from registry import Registry, RegistryError
from registry import db as database
from registry.backup import BackupDamaged, BackupNotWritten, NotWhole, read_backup, write_backup
from registry.migrations import MIGRATIONS
from registry.restore import NotRestored, restore
from tests.registry_parts import add_feed, define, folder_of, learn, promote

FILE = "registry.sqlite3"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with Registry.open(tmp_path / "home") as registry:
        feed = add_feed(registry)
        for number in range(2):
            found = define(registry, feed, f"oslith {number}", f"An oslith {number} is a blue lamp.")
            promote(registry, learn(registry, definitions=[found.id]))
    (tmp_path / "home" / "lorefeed.toml").write_text("[gateway]\nport = 8123\n")
    return tmp_path / "home"


def save(home: Path, name: str = "saved.tar") -> Path:
    target = home.parent / name
    write_backup(home, target, version="test")
    return target


def test_what_is_saved_comes_back_and_agrees(home: Path, tmp_path: Path) -> None:
    target = save(home)
    done = restore(target, tmp_path / "new")

    with Registry.open(home) as was, Registry.open(tmp_path / "new") as now:
        assert now.doctor() == []
        assert now.read.adapters() == was.read.adapters()
        assert now.read.releases() == was.read.releases()
        assert now.audit(known_head=done.backup.audit_head).whole
        for adapter in now.read.adapters():
            now.artifacts.verify(adapter)
    assert (tmp_path / "new" / "lorefeed.toml").read_text() == "[gateway]\nport = 8123\n"
    assert {p.name for p in home.iterdir()} == {FILE, "artifacts", "lorefeed.toml"} | {p.name for p in home.glob(f"{FILE}-*")}


def test_nobody_else_may_read_it_or_what_comes_back(home: Path, tmp_path: Path) -> None:
    target = save(home)
    restore(target, tmp_path / "new")

    assert target.stat().st_mode & 0o777 == 0o600
    for path in (tmp_path / "new").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_backup_taken_while_others_write_is_one_moment(home: Path, tmp_path: Path) -> None:
    over = threading.Event()

    def write() -> None:
        with Registry.open(home) as registry:
            feed = registry.read.feed("harbour")
            number = 0
            while not over.is_set():
                number += 1
                found = define(registry, feed, f"busy {number}", f"A busy {number} is a thing.")
                promote(registry, learn(registry, definitions=[found.id]))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        targets = [save(home, f"busy-{n}.tar") for n in range(3)]
    finally:
        over.set()
        writer.join()
    for number, target in enumerate(targets):
        restore(target, tmp_path / f"busy-{number}")
        with Registry.open(tmp_path / f"busy-{number}") as registry:
            registry.recover()  # an adapter may have been in the making
            assert [f for f in registry.doctor() if f.level == "error"] == []


def test_an_adapter_given_up_meanwhile_costs_another_try(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `adapters gc` does it: the row says so first, then the folder goes. The copy of the rows was taken just before."""
    from registry import backup

    with Registry.open(home) as registry:
        old = registry.read.adapter("news@1")
        folder = folder_of(registry, old)
    real = backup._copy_registry
    taken = []

    def then_the_folder_goes(source: Path, copy: Path) -> None:
        real(source, copy)
        taken.append(copy)
        if len(taken) == 1:
            with Registry.open(home) as registry:
                registry.write.mark_removed("news@1", actor="test", reason="space")
                registry.artifacts.remove(folder)

    monkeypatch.setattr(backup, "_copy_registry", then_the_folder_goes)

    assert read_backup(save(home)).adapters == 1
    assert len(taken) == 2


def test_a_damaged_adapter_is_not_saved_over_good_backups(home: Path) -> None:
    with Registry.open(home) as registry:
        weights = folder_of(registry, registry.read.adapter("news@2")) / "adapter_model.safetensors"
    weights.write_bytes(b"x" * weights.stat().st_size)

    with pytest.raises(NotWhole, match=r"adapter_model\.safetensors of news@2 is not what was published"):
        save(home)
    assert list(home.parent.iterdir()) == [home]


def test_a_missing_adapter_is_said(home: Path) -> None:
    with Registry.open(home) as registry:
        shutil.rmtree(folder_of(registry, registry.read.adapter("news@2")))

    with pytest.raises(NotWhole, match="news@2 is missing"):
        save(home)


def test_a_backup_never_takes_the_place_of_another(home: Path) -> None:
    target = save(home)

    with pytest.raises(BackupNotWritten, match="exists already"):
        write_backup(home, target, version="test")


@pytest.mark.parametrize("position", [0.1, 0.5, 0.97])
def test_a_changed_byte_anywhere_is_found(home: Path, position: float, tmp_path: Path) -> None:
    target = save(home)
    content = bytearray(target.read_bytes())
    with tarfile.open(target) as tar:
        member = max(tar.getmembers(), key=lambda m: m.size)
    content[member.offset_data + int(member.size * position)] ^= 1
    target.write_bytes(content)

    with pytest.raises(BackupDamaged, match="is not what was saved"):
        restore(target, tmp_path / "new")
    assert not (tmp_path / "new" / FILE).exists()


def test_a_cut_off_backup_is_none(home: Path) -> None:
    target = save(home)
    os.truncate(target, target.stat().st_size // 2)

    with pytest.raises(BackupDamaged):
        read_backup(target)


@pytest.mark.parametrize("name", ["../outside", "/etc/evil", "artifacts/../../outside", "other"])
def test_a_backup_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    target = tmp_path / "evil.tar"
    with tarfile.open(target, "w") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())

    with pytest.raises(BackupDamaged, match="which no backup does"):
        read_backup(target)


def test_a_link_in_a_backup_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "evil.tar"
    with tarfile.open(target, "w") as tar:
        link = tarfile.TarInfo(FILE)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    with pytest.raises(BackupDamaged, match="which no backup does"):
        read_backup(target)


def test_a_registry_that_is_there_is_set_aside_only_by_force(home: Path) -> None:
    target = save(home)
    with Registry.open(home) as registry:
        registry.write.rollback("news", to=1, actor="test", reason=None)

    with pytest.raises(NotRestored, match="has a registry already"):
        restore(target, home)
    done = restore(target, home, force=True)

    with Registry.open(home) as registry:
        assert registry.read.alias("news").adapter == "news@2"
    assert done.set_aside is not None
    with Registry.open(done.set_aside) as registry:
        assert registry.read.alias("news").adapter == "news@1"
        assert registry.doctor() == []


def test_nothing_is_restored_under_somebody_at_work(home: Path) -> None:
    target = save(home)
    code = (
        "import sys; from pathlib import Path; from registry import Registry\n"
        "r = Registry.open(Path(sys.argv[1])); r.read.aliases(); print(1, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        with pytest.raises(NotRestored, match=f"in use by process {process.pid}"):
            restore(target, home, force=True)
        process.communicate("\n")
    restore(target, home, force=True)


def test_settings_in_use_stay_and_those_of_the_backup_lie_beside(home: Path) -> None:
    target = save(home)
    (home / "lorefeed.toml").write_text("[gateway]\nport = 9000\n")

    done = restore(target, home, force=True)

    assert "9000" in (home / "lorefeed.toml").read_text()
    assert done.settings is not None
    assert "8123" in done.settings.read_text()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_a_registry_of_any_age_is_saved_as_it_is_and_comes_forward(tmp_path: Path, version: int) -> None:
    old = tmp_path / "old"
    old.mkdir()
    database.migrate(old, old / FILE, steps=MIGRATIONS[:version])
    if version == 1:  # before there were adapters, there was nothing that this reads
        with pytest.raises(RegistryError, match="older than"):
            write_backup(old, tmp_path / "saved.tar", version="test")
        return
    made = write_backup(old, tmp_path / "saved.tar", version="test")

    assert made.schema == version
    with closing(database._connect(old / FILE)) as connection:
        assert database._version(connection) == version
    restore(tmp_path / "saved.tar", tmp_path / "new")
    with Registry.open(tmp_path / "new") as registry:
        assert registry.doctor() == []
