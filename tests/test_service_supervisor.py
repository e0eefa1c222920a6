"""`lorefeed run`: real child processes, started when the one before is healthy, kept alive, and stopped in order."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from daemon.config import load_settings
from daemon.supervisor import Part, PortTaken, check_ports, parts_of, run_all, supervise
from registry import AlreadyRunning, Registry
from tests.service_parts import ROOT, free_port, wait_until

SERVER = """
import http.server, os, signal, sys
name, port, log = sys.argv[1], int(sys.argv[2]), sys.argv[3]
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *args): pass
def stop(*_):
    with open(log, "a") as file: file.write(f"{name} stopped\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
server = http.server.HTTPServer(("127.0.0.1", port), Answer)
with open(log, "a") as file: file.write(f"{name} {os.getpid()}\\n")
print(f"{name} speaks", flush=True)
server.serve_forever()
"""


def server(name, log) -> Part:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    return Part(name, (sys.executable, "-c", SERVER, name, str(port), str(log)), health=f"{address}/health", address=address)


@contextmanager
def supervised(parts, **more):
    """The supervisor in a thread; yields what it says and what it returned."""
    stop, said, returned = threading.Event(), [], []
    thread = threading.Thread(target=lambda: returned.append(supervise(parts, stop=stop, say=said.append, **more)))
    thread.start()
    try:
        yield said, returned
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def lines(log) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_parts_start_in_order_and_stop_backwards(tmp_path):
    log = tmp_path / "log"
    with supervised([server("engine", log), server("gateway", log)]) as (said, returned):
        wait_until(lambda: any("Lorefeed runs" in line for line in said))
    assert [line.split()[0] for line in lines(log)] == ["engine", "gateway", "gateway", "engine"]
    assert lines(log)[2:] == ["gateway stopped", "engine stopped"]
    assert returned == [0]


def test_addresses_and_prefixed_lines_are_said(tmp_path):
    part = server("engine", tmp_path / "log")
    with supervised([part]) as (said, _):
        wait_until(lambda: any("Lorefeed runs" in line for line in said))
        wait_until(lambda: "engine   | engine speaks" in said)
    assert f"engine   {part.address}" in said


def test_a_part_that_dies_is_started_again(tmp_path):
    log = tmp_path / "log"
    with supervised([server("engine", log)]) as (said, _):
        wait_until(lambda: any("Lorefeed runs" in line for line in said))
        os.kill(int(lines(log)[0].split()[1]), signal.SIGKILL)
        wait_until(lambda: len(lines(log)) == 2, what="the second life")
    assert any("engine   was killed by signal 9; it is started again in" in line for line in said)


def test_a_part_that_hangs_is_killed_and_started_again(tmp_path):
    log = tmp_path / "log"
    with supervised([server("engine", log)], hung_after_s=1.0) as (said, _):
        wait_until(lambda: any("Lorefeed runs" in line for line in said))
        time.sleep(1.5)
        assert len(lines(log)) == 1  # as long as it answers it stays
        os.kill(int(lines(log)[0].split()[1]), signal.SIGSTOP)
        wait_until(lambda: len(lines(log)) == 2, what="the second life")
    assert "engine   has not answered for 1 s and is killed" in said


def test_a_part_that_hangs_while_it_starts_again_is_killed_too(tmp_path):
    """Its second life never answers; the third is whole."""
    log = tmp_path / "log"
    hangs = SERVER.replace(
        "serve_forever()", "serve_forever() if len(open(log).readlines()) != 2 else os.kill(os.getpid(), signal.SIGSTOP)"
    )
    part = server("engine", log)
    part = replace(part, command=(*part.command[:2], hangs, *part.command[3:]))
    with supervised([part], hung_after_s=1.0, starts_within_s=3.0) as (said, _):
        wait_until(lambda: any("Lorefeed runs" in line for line in said))
        os.kill(int(lines(log)[0].split()[1]), signal.SIGKILL)
        wait_until(lambda: len(lines(log)) == 3, what="the third life")
    assert "engine   has not answered for 3 s and is killed" in said


def test_parts_end_with_a_supervisor_that_is_killed(tmp_path):
    """Left behind, they would keep their ports, and nobody could start Lorefeed again without finding and ending them first."""
    log = tmp_path / "log"
    program = (
        "import sys, threading; from daemon.supervisor import Part, supervise; "
        "supervise([Part('engine', tuple(sys.argv[1:]))], stop=threading.Event(), say=print)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, *server("engine", log).command], cwd=ROOT, stdout=subprocess.DEVNULL)
    wait_until(lambda: lines(log), what="the start")
    process.kill()
    process.wait()
    wait_until(lambda: lines(log)[1:] == ["engine stopped"], what="the end of the part")


def test_a_part_that_cannot_live_is_given_up_with_its_last_lines(tmp_path):
    part = Part(
        "engine", (sys.executable, "-S", "-c", "import sys; print('no model here', flush=True); sys.exit(3)"), health="http://127.0.0.1:1/"
    )
    with supervised([part], pause_s=0.01) as (said, returned):
        wait_until(lambda: returned)
    assert returned == [1]
    assert "The engine ended with status 3 for the 5. time in a row." in said[-1]
    assert "  no model here" in said[-1]


@pytest.fixture
def taken():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_taken_port_is_named_with_its_setting(tmp_path, taken):
    settings = load_settings(tmp_path, gateway={"port": taken}, engine={"port": free_port()})
    with pytest.raises(PortTaken, match=rf"gateway cannot listen on 127.0.0.1:{taken} \(gateway.port = {taken}\)") as caught:
        check_ports(tmp_path, settings)
    assert "LOREFEED_GATEWAY__PORT" in caught.value.hint


def test_an_engine_of_somebody_else_is_not_started(tmp_path, taken):
    settings = load_settings(tmp_path, gateway={"port": free_port()}, engine={"url": "http://127.0.0.1:9", "port": taken})
    check_ports(tmp_path, settings)
    assert [part.name for part in parts_of(tmp_path, settings)] == ["gateway", "daemon"]


def test_a_vllm_whose_python_is_known_is_started(tmp_path):
    unknown = load_settings(tmp_path, engine={"kind": "vllm"})
    known = load_settings(tmp_path, engine={"kind": "vllm", "vllm_python": "/opt/lorefeed/vllm/bin/python"})
    assert [[part.name for part in parts_of(tmp_path, settings)] for settings in (unknown, known)] == [
        ["gateway", "daemon"],
        ["engine", "gateway", "daemon"],
    ]


def test_the_parts_are_lorefeeds_own_commands(tmp_path):
    parts = parts_of(tmp_path, load_settings(tmp_path, gateway={"port": 4001}, engine={"port": 4002}))
    assert [part.name for part in parts] == ["engine", "gateway", "daemon"]
    assert [part.health for part in parts] == ["http://127.0.0.1:4002/health", "http://127.0.0.1:4001/healthz", None]
    assert all(part.command[1:] == ("-m", "daemon.cli", "--home", str(tmp_path), part.name) for part in parts)


def test_run_refuses_a_home_that_is_in_use(tmp_path):
    with Registry.open(tmp_path) as registry, registry.lock_daemon(), pytest.raises(AlreadyRunning):
        run_all(tmp_path, load_settings(tmp_path))


def test_the_supervisor_imports_no_torch():
    program = "import sys, daemon.supervisor, daemon.service, daemon.scheduler; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
