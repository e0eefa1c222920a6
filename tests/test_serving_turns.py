"""Learning and serving in turns, as far as no vLLM is needed: who holds the turn, and what the settings allow. See test_vllm_turns.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.config import load_settings
from daemon.errors import ConfigError
from daemon.serving.started import Started, record_start
from daemon.serving.turns import MARKER, Turn, is_asleep, wake_forgotten
from daemon.serving.vllm import VllmSettings, vllm_command, vllm_environment
from tests.serving_parts import free_port

VLLM = {"kind": "vllm", "vllm_python": "/opt/vllm/bin/python"}


def started(home: Path, *, sleep_level: int | None) -> None:
    record_start(home, Started("vllm", "tiny", None, "/models/tiny", "d" * 64, 16, sleep_level=sleep_level))


def test_an_engine_that_was_not_started_for_it_is_left_alone(tmp_path: Path) -> None:
    started(tmp_path, sleep_level=None)
    turn = Turn(tmp_path, f"http://127.0.0.1:{free_port()}")
    turn.begin()
    assert not is_asleep(tmp_path)
    turn.end()


def test_one_that_does_not_run_keeps_nobody_from_learning_and_is_not_left_marked(tmp_path: Path) -> None:
    started(tmp_path, sleep_level=1)
    url = f"http://127.0.0.1:{free_port()}"
    turn = Turn(tmp_path, url)
    turn.begin()
    assert is_asleep(tmp_path), "it may start meanwhile; questions wait for learning's end"
    assert not wake_forgotten(tmp_path, url), "the turn is held"
    turn.end()
    assert not is_asleep(tmp_path)
    assert wake_forgotten(tmp_path, url)


def test_a_marker_whose_holder_is_gone_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    assert wake_forgotten(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert not is_asleep(tmp_path)


@pytest.mark.parametrize("engine", [{"kind": "embedded"}, {**VLLM, "url": "http://gpu:8000"}, {**VLLM, "replicas": ["http://gpu:8000"]}])
def test_only_a_vllm_of_this_home_takes_turns(tmp_path: Path, engine: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="for one vLLM that 'lorefeed engine' starts"):
        load_settings(tmp_path, engine={**engine, "sharing": "turns"})
    assert load_settings(tmp_path, engine={**VLLM, "sharing": "turns"}).engine.sharing == "turns"


@pytest.mark.parametrize(("level", "flag", "endpoints"), [(None, False, False), (0, False, True), (1, True, True)])
def test_vllm_is_started_so_that_it_can_sleep(level: int | None, flag: bool, endpoints: bool) -> None:
    wanted = VllmSettings(
        Path("/opt/vllm/bin/python"), "/models/tiny", "tiny", "127.0.0.1", 1, max_resident=4, rank=8, served_at_once=2, sleep_level=level
    )
    assert ("--enable-sleep-mode" in vllm_command(wanted)) == flag
    assert ("VLLM_SERVER_DEV_MODE" in vllm_environment({}, sleeps=wanted.sleep_level is not None)) == endpoints
