"""How vLLM is started: the flags, its environment, readiness, an orderly end, and what its last words mean."""

from __future__ import annotations

import itertools
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.serving.client import EngineClient
from daemon.serving.vllm import (
    VllmFailed,
    VllmSettings,
    allowed_rank,
    needed_rank,
    served_at_once,
    vllm_command,
    vllm_environment,
)
from daemon.serving.vllm_process import remedy, run_vllm
from registry import Registry
from tests.registry_parts import learn
from tests.serving_parts import free_port, wait_until

SERVES = """#!/usr/bin/env python3
import http.server, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as registry:
        yield registry


def settings(tmp_path: Path, script: str) -> VllmSettings:
    """A program in the place of vLLM's Python: what is tested is how any such process is started, watched and ended."""
    python = tmp_path / "python"
    python.write_text(script)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return VllmSettings(python, "/models/tiny", "tiny", "127.0.0.1", free_port(), max_resident=8, rank=32, served_at_once=4)


def test_the_flags_follow_from_what_is_served(registry: Registry, tmp_path: Path) -> None:
    wanted = settings(tmp_path, "")
    flags = vllm_command(wanted)
    pairs = dict(itertools.pairwise(flags))
    assert flags[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert (pairs["--max-lora-rank"], pairs["--max-loras"], pairs["--max-cpu-loras"]) == ("32", "4", "16")
    assert (pairs["--host"], pairs["--served-model-name"], pairs["--model"]) == ("127.0.0.1", "tiny", "/models/tiny")
    assert "--max-model-len" not in flags
    more = vllm_command(replace(wanted, rank=33, max_model_len=512, memory_share=0.5, arguments=("--dtype", "bfloat16")))
    assert more[-2:] == ["--dtype", "bfloat16"]
    pairs = dict(itertools.pairwise(more))
    assert (pairs["--max-lora-rank"], pairs["--max-model-len"], pairs["--gpu-memory-utilization"]) == (
        "64",
        "512",
        "0.5",
    )
    assert (needed_rank(registry, configured=32), served_at_once(registry)) == (32, 1)
    for topic in ("news", "law"):
        registry.write.set_alias(topic, topics=[topic], scope="mention")
    trial = learn(registry)
    registry.write.set_canary("news", trial.name, weight=5, actor="test")
    assert (needed_rank(registry, configured=2), served_at_once(registry)) == (4, 5)


@pytest.mark.parametrize(("needed", "allowed"), [(1, 1), (2, 8), (8, 8), (9, 16), (96, 128), (320, 320), (400, 512)])
def test_the_smallest_rank_that_vllm_takes_is_chosen(needed: int, allowed: int) -> None:
    assert allowed_rank(needed) == allowed


def test_a_rank_beyond_vllm_is_said_before_it_is_started() -> None:
    with pytest.raises(VllmFailed, match="rank 513"):
        allowed_rank(513)


def test_its_environment_lets_adapters_be_loaded_and_nothing_of_ours_in() -> None:
    ours = {"PYTHONPATH": "/ours", "VIRTUAL_ENV": "/ours", "LOREFEED_GATEWAY__API_KEY": "secret", "NOTIFY_SOCKET": "/run/x"}
    theirs = {"VLLM_LORA_RESOLVER_CACHE_DIR": "/anywhere"}  # vLLM's own resolver leaves that folder for a name such as ../x
    made = vllm_environment({"PATH": "/bin", "HF_TOKEN": "x", **ours, **theirs}, home=Path("/home"))
    assert made == {
        "PATH": "/bin",
        "HF_TOKEN": "x",
        "HF_HUB_OFFLINE": "1",
        "LOREFEED_HOME": "/home",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }


def test_it_is_waited_for_and_ended_in_order(tmp_path: Path) -> None:
    wanted, over = settings(tmp_path, SERVES), threading.Event()
    thread = threading.Thread(target=run_vllm, args=(wanted,), kwargs={"stop": over})
    thread.start()
    with EngineClient(f"http://127.0.0.1:{wanted.port}") as client:
        wait_until(client.healthy, timeout_s=30)
        over.set()
        thread.join(timeout=30)
        assert not thread.is_alive()
        assert not client.healthy()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "vllm_memory_share"),
        ("ModuleNotFoundError: No module named 'vllm'", "pip install"),
        ("OSError: [Errno 98] Address already in use", "engine.port"),
        ("ValueError: something that nobody foresaw", "last lines"),
    ],
)
def test_its_last_words_become_a_remedy(tmp_path: Path, words: str, hint: str) -> None:
    script = f'#!/bin/sh\necho "INFO starting" >&2\necho "{words}" >&2\nexit 3\n'
    with pytest.raises(VllmFailed, match="status 3") as caught:
        run_vllm(settings(tmp_path, script))
    assert words in str(caught.value)
    assert hint in caught.value.hint
    assert remedy([]) == VllmFailed.hint


def test_it_is_never_opened_to_others(tmp_path: Path) -> None:
    wanted = settings(tmp_path, "")
    with pytest.raises(VllmFailed, match=r"0\.0\.0\.0"):
        run_vllm(replace(wanted, host="0.0.0.0"))
    with pytest.raises(VllmFailed, match="no Python"):
        run_vllm(replace(wanted, python=tmp_path / "nowhere"))


def test_a_taken_port_is_said_before_vllm_is_started(tmp_path: Path) -> None:
    wanted = settings(tmp_path, "#!/bin/sh\ntouch started\n")
    with socket.create_server(("127.0.0.1", wanted.port)), pytest.raises(VllmFailed, match="cannot listen on") as caught:
        run_vllm(wanted)
    assert "engine.port" in caught.value.hint


def test_what_starts_it_can_be_killed_and_takes_it_along(tmp_path: Path) -> None:
    wanted = settings(tmp_path, SERVES)
    call = f"run_vllm(VllmSettings(Path({str(wanted.python)!r}), 'm', 'm', '127.0.0.1', {wanted.port}, max_resident=1, rank=8, served_at_once=1))"
    program = (
        f"from pathlib import Path; from daemon.serving.vllm import VllmSettings; from daemon.serving.vllm_process import run_vllm; {call}"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    with EngineClient(f"http://127.0.0.1:{wanted.port}") as client:
        wait_until(client.healthy, timeout_s=60)
        process.kill()
        process.wait()
        wait_until(lambda: not client.healthy(), timeout_s=10)


def test_one_that_never_answers_is_given_up(tmp_path: Path) -> None:
    wanted = replace(settings(tmp_path, "#!/bin/sh\nexec sleep 60\n"), start_timeout_s=0.5)
    with pytest.raises(VllmFailed, match="did not answer"):
        run_vllm(wanted)
