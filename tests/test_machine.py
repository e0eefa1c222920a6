"""What `init` finds on a machine and chooses from it."""

import tomllib
from pathlib import Path

import pytest

from daemon import machine as machines
from daemon.config import load_settings
from daemon.machine import Gpu, Machine, Vllm, choose, look
from tests.cli_parts import Cli, make_cli

VLLM = Vllm(Path("/opt/lorefeed/vllm/bin/python"), "0.32.0")


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return make_cli(tmp_path, capsys, monkeypatch)


def program(file: Path, text: str) -> Path:
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def test_gpus_are_those_that_the_driver_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = program(tmp_path / "bin" / "nvidia-smi", "echo 'NVIDIA H200, 143771'; echo 'NVIDIA H200, 143771'")
    monkeypatch.setenv("PATH", str(driver.parent), prepend=":")
    assert look().gpus == (Gpu("NVIDIA H200", 143771 * 2**20),) * 2
    assert "NVIDIA H200 with 140 GB, NVIDIA H200 with 140 GB" in str(look())
    program(driver, "echo 'NVIDIA-SMI has failed because it could not communicate with the driver.'; exit 9")
    assert look().gpus == ()


def test_a_containers_limit_is_the_memory_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       16384 kB\nMemFree:  1 kB\n")
    monkeypatch.setattr(machines, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machines, "CGROUP_LIMIT", tmp_path / "limit")
    assert look().memory_bytes == 16384 * 1024
    for limit, expected in (("max", 16384 * 1024), ("4096", 4096)):
        (tmp_path / "limit").write_text(f"{limit}\n")
        assert look().memory_bytes == expected


def test_vllm_is_asked_for_its_version_and_is_none_where_it_fails(tmp_path: Path) -> None:
    python = program(tmp_path / "python", "echo 0.32.0")
    assert look(vllm_python=python).vllm == Vllm(python, "0.32.0")
    assert look(vllm_python=program(tmp_path / "other", "exit 1")).vllm is None


def test_the_defaults_fit_the_embedded_model() -> None:
    assert choose(Machine(2, 2**30, (), VLLM), "embedded") == []
    wanted = choose(Machine(2, 2**30, (), VLLM), "embedded", vllm_wanted=True)
    assert [choice.key for choice in wanted] == ["engine.kind", "engine.vllm_python"]


@pytest.mark.parametrize(
    ("gpus", "vllm", "expected"),
    [
        ((), None, {}),
        ((), VLLM, {"engine.kind": "vllm", "engine.vllm_python": "/opt/lorefeed/vllm/bin/python"}),
        ((Gpu("a", 1),), VLLM, {"engine.kind": "vllm", "engine.vllm_memory_share": 0.5}),
        ((Gpu("a", 1), Gpu("a", 1)), VLLM, {"engine.kind": "vllm", "engine.vllm_memory_share": None}),
    ],
)
def test_a_model_of_ones_own_learns_gently_and_is_served_by_vllm_where_there_is_one(
    gpus: tuple[Gpu, ...], vllm: Vllm | None, expected: dict[str, object]
) -> None:
    chosen = {choice.key: choice.value for choice in choose(Machine(8, 2**36, gpus, vllm), "some/model")}
    assert chosen["learn.learning_rate"] == 2e-4
    for key in ("engine.kind", "engine.vllm_memory_share"):
        assert chosen.get(key) == expected.get(key)


def test_init_writes_what_it_chose_with_the_reasons_and_the_settings_take_it(cli: Cli, tmp_path: Path) -> None:
    python = program(tmp_path / "python", "echo 0.32.0")
    told = cli("init", "--model", "some/model", "--vllm-python", python, "--json").json
    assert told["machine"]["vllm"]["version"] == "0.32.0"
    text = (cli.home / "lorefeed.toml").read_text()
    assert "# chosen by 'lorefeed init': vLLM 0.32.0 was found, which serves many at once\nkind = \"vllm\"" in text
    settings = load_settings(cli.home)
    for choice in told["chosen"]:
        section, _, key = choice["key"].partition(".")
        assert tomllib.loads(text)[section][key] == choice["value"]
    assert (settings.learn.learning_rate, settings.engine.vllm_python) == (2e-4, python)
    again = cli("init", "--model", "some/model")
    assert "Kept" in again.out
    assert "Chosen" not in again.out
    late = cli("init", "--vllm-python", program(tmp_path / "later", "echo 0.32.0"))
    assert (late.status, "--force" in late.err) == (1, True)


def test_a_python_without_vllm_is_refused_before_anything_is_written(cli: Cli, tmp_path: Path) -> None:
    said = cli("init", "--vllm-python", program(tmp_path / "python", "exit 1"))
    assert said.status == 1
    assert "has no vLLM" in said.err
    assert "--vllm-python" in said.err
    assert not cli.home.exists()
