"""Signed versions: with the real library, keys of openssl, and an engine that loads nothing else once it is told so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.serving.client import EngineClient
from daemon.serving.reconcile import reconcile
from daemon.serving.settings import ReconcileSettings
from daemon.serving.started import Started, record_start
from daemon.serving.vllm_resolver import find_served
from registry import SIGNATURE, ArtifactDamaged, NotSigned, Registry, sign_folder, signature_problem
from tests.cli_parts import Cli, make_cli
from tests.registry_parts import add_feed, promote
from tests.registry_parts import learn as row
from tests.serving_parts import learn, make_adapter


def make_keys(folder: Path, name: str = "key") -> tuple[Path, Path]:
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private], check=True)
    subprocess.run(["openssl", "ec", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


def verified_by_its_tool(folder: Path, public_key: Path, *more: str) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("model_signing")
    command = [tool, "verify", "key", folder, "--signature", folder / SIGNATURE, "--public_key", public_key, *more]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as registry:
        yield registry


def published(registry: Registry, key: Path | None) -> Path:
    folder = registry.artifacts.begin("news@1")
    (folder / "deep").mkdir()
    (folder / "deep" / "weights").write_bytes(b"weights")
    registry.artifacts.publish(folder, adapter_name="news@1", manifest={}, private_key=key)
    return registry.artifacts.published()[0].path


def test_what_is_published_with_a_key_is_signed_and_anybody_can_see_that(registry: Registry, keys: tuple[Path, Path]) -> None:
    folder = published(registry, keys[0])
    assert signature_problem(folder, keys[1]) is None
    seen = verified_by_its_tool(folder, keys[1])
    assert seen.returncode == 0, seen.stderr
    assert registry.artifacts.is_whole(registry.artifacts.published()[0])


def test_a_folder_published_before_there_was_a_key_is_signed_when_it_is_published_again(
    registry: Registry, keys: tuple[Path, Path]
) -> None:
    folder = published(registry, None)
    assert "no signature" in str(signature_problem(folder, keys[1]))
    assert published(registry, keys[0]) == folder
    assert signature_problem(folder, keys[1]) is None


@pytest.mark.parametrize(
    "harm", ["a byte", "a further file", "a file less", "no signature", "another's signature", "no key", "no such key"]
)
def test_nothing_else_passes(registry: Registry, keys: tuple[Path, Path], tmp_path: Path, harm: str) -> None:
    folder, public = published(registry, keys[0]), keys[1]
    if harm == "a byte":
        (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes().replace(b"weights", b"Weights"))
    elif harm == "a further file":
        (folder / "more").write_text("more")
    elif harm == "a file less":
        (folder / "deep" / "weights").unlink()
    elif harm == "no signature":
        (folder / SIGNATURE).write_text("{}")
    elif harm == "another's signature":
        sign_folder(folder, make_keys(tmp_path, "other")[0])
    elif harm == "no key":
        public = keys[0]
    else:
        public = tmp_path / "nothing.pub"
    assert "does not hold" in str(signature_problem(folder, public))


def test_a_key_that_is_none_leaves_nothing_behind(registry: Registry, keys: tuple[Path, Path]) -> None:
    with pytest.raises(NotSigned, match="was not signed with"):
        published(registry, keys[1])
    assert registry.artifacts.published() == []
    assert list((registry.artifacts.root / ".incoming").iterdir()) == []


def test_engines_get_only_what_is_signed(
    registry: Registry, client: EngineClient, model_dir: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    adapter = learn(registry, topic="news", entities=["Velmora"], folder=make_adapter(model_dir, tmp_path / "made", seed=1))
    promote(registry, adapter)
    open_to_all = ReconcileSettings(base_name="tiny")
    strict = replace(open_to_all, public_key=keys[1])
    refused = reconcile(registry, client, settings=strict)
    assert refused.loaded == ()
    assert "it has no signature" in refused.problems[0]
    assert "it has no signature" in str(registry.read.adapter("news@1").unserved)

    sign_folder(registry.artifacts.path(adapter), keys[0])
    assert reconcile(registry, client, settings=strict).loaded == ("news@1",)
    assert registry.read.adapter("news@1").unserved is None

    sign_folder(registry.artifacts.path(adapter), make_keys(tmp_path, "other")[0])
    assert "does not hold" in reconcile(registry, client, settings=strict).problems[0]
    assert [card.name for card in client.models()[1:]] == [], "what was loaded already goes too"


def test_vllm_leaves_signed_versions_to_the_daemon(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    add_feed(registry)
    promote(registry, row(registry))
    record_start(registry.home, Started("vllm", "tiny", None, "/models/tiny", "base-digest", 8, signed=True))
    assert find_served(registry.home, "news@1") is None
    assert "its signature has to be checked first" in caplog.text


def test_an_operator_signs_older_versions_and_doctor_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, keys: tuple[Path, Path]
) -> None:
    cli: Cli = make_cli(tmp_path, capsys, monkeypatch)
    cli("init")
    with cli.registry() as registry:
        add_feed(registry)
        promote(registry, row(registry))
    unset = cli("adapters", "sign", "news@1")
    assert (unset.status, "There is no signing.private_key" in unset.err) == (1, True)
    monkeypatch.setenv("LOREFEED_SIGNING__PRIVATE_KEY", f"file:{keys[0]}")
    monkeypatch.setenv("LOREFEED_SIGNING__PUBLIC_KEY", str(keys[1]))

    def unsigned() -> list[str]:
        found = cli("doctor", "--json").json["findings"]
        return [one["remedy"] for one in found if "signature" in one["problem"]]

    assert unsigned() == ["If you know where it comes from: lorefeed adapters sign news@1"]
    assert cli("adapters", "sign", "news@1", "--json").json == {"signed": ["news@1"]}
    assert unsigned() == []
    assert cli("audit", "list", "--json").json[0]["action"] == "signed"
    assert cli("adapters", "export", "news@1", tmp_path / "out").status == 0
    assert verified_by_its_tool(tmp_path / "out", keys[1]).returncode != 0, "the README beside it was not signed"
    assert verified_by_its_tool(tmp_path / "out", keys[1], "--ignore_unsigned_files").returncode == 0
    with cli.registry() as registry:
        folder = registry.artifacts.path(registry.read.adapter("news@1"))
        weights = next(file for file in folder.iterdir() if file.name not in ("manifest.json", SIGNATURE))
        weights.write_bytes(b"altered")
        with pytest.raises(ArtifactDamaged):
            registry.artifacts.verify(registry.read.adapter("news@1"))
    said = cli("adapters", "sign", "news@1")
    assert said.status == 1, "what is not what was published is not signed"
