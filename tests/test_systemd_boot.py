"""`make test-systemd`: a real Debian is booted, and everything an administrator does is done to it, in the order of its life.

One machine for all of it: each test goes on where the one before it stopped.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.sample.server import Item, batches
from tests.systemd_parts import ROOT, Machine, files_of, tree, wait_until, what_is_missing

pytestmark = pytest.mark.systemd

SERVICES = ("lorefeed-engine.service", "lorefeed-gateway.service", "lorefeed.service")
PYTHON = "/opt/lorefeed/current/bin/python"
WATCHDOG_S = 20
PATIENCE_S = 600.0  # the machine may share its processors with others
CLIENT = r"""
import http.client, json, sys, threading, time
over, lock, seen = threading.Event(), threading.Lock(), {"answers": 0, "failures": [], "slowest_s": 0.0}
def ask():
    while not over.is_set():
        began = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 8090, timeout=300)  # a new one each time, as most clients do
            body = json.dumps({"model": "base", "messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 4, "temperature": 0})
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            problem = None if answer.status == 200 and json.loads(text)["choices"] else f"{answer.status} {text[:200]}"
            connection.close()
        except Exception as err:
            problem = f"{type(err).__name__}: {err}"
        with lock:
            seen["answers"] += problem is None
            seen["slowest_s"] = max(seen["slowest_s"], round(time.monotonic() - began, 1))
            if problem: seen["failures"].append(problem)
        time.sleep(0.05)
threads = [threading.Thread(target=ask) for _ in range(3)]
for thread in threads: thread.start()
sys.stdin.read()
over.set()
for thread in threads: thread.join()
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    missing = what_is_missing()
    if missing is not None:
        pytest.skip(missing)
    one = Machine.fresh(
        "lorefeed-test", binds={tree("old", previous=True): "/old", tree("new"): "/new", ROOT / "build" / "wheels": "/wheels"}
    )
    try:
        one.boot()
        one.before = files_of(one.root)
        yield one
    finally:
        one.stop()


def lorefeed(machine: Machine, *arguments: str) -> Any:
    return json.loads(machine.run("lorefeed", *arguments, "--json").stdout)


def first() -> Item:
    return batches()["first"][0]


def wait_ready(machine: Machine) -> None:
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8090/readyz', timeout=60).read()"
    wait_until(lambda: machine.run(PYTHON, "-c", code, check=False).returncode == 0, timeout_s=PATIENCE_S, what="readiness")


@contextlib.contextmanager
def clients(machine: Machine) -> Iterator[dict[str, Any]]:
    """Three clients ask all the time; afterwards the dictionary says what they saw."""
    process, seen = machine.start(PYTHON, "-c", CLIENT), {}
    time.sleep(3)
    try:
        yield seen
    finally:
        time.sleep(3)
        said, complaints = process.communicate(timeout=PATIENCE_S)
        seen.update(json.loads(said) if said else {"failures": [complaints], "answers": 0})


def pid(machine: Machine, unit: str) -> str:
    return machine.show(unit, "MainPID")


def test_one_command_installs_it_and_it_runs(machine: Machine) -> None:
    done = machine.run("make", "-C", "/old", "install", "WHEELS=/wheels", timeout_s=3600)

    assert "is installed" in done.stderr
    assert machine.active(*SERVICES, "lorefeed.target", "lorefeed-backup.timer")
    assert machine.run("systemctl", "--failed", "--no-legend").stdout.strip() == ""
    assert lorefeed(machine, "status")["engine"]["healthy"] is True


def test_a_second_installation_changes_nothing_and_disturbs_nobody(machine: Machine) -> None:
    before = [pid(machine, unit) for unit in SERVICES]
    settings = (machine.root / "etc/lorefeed/lorefeed.toml").read_bytes()

    machine.run("make", "-C", "/old", "install", "WHEELS=/wheels")

    assert [pid(machine, unit) for unit in SERVICES] == before
    assert (machine.root / "etc/lorefeed/lorefeed.toml").read_bytes() == settings


def test_systemd_has_nothing_to_say_about_the_installed_units(machine: Machine) -> None:
    units = sorted(path.name for path in (machine.root / "etc/systemd/system").glob("lorefeed*.*") if path.is_file())
    done = machine.run("systemd-analyze", "verify", "--man=no", *units)

    assert done.stdout + done.stderr == ""


def test_only_its_own_user_reads_its_state_and_only_root_its_keys(machine: Machine) -> None:
    assert machine.run("stat", "-c", "%U %a", "/var/lib/lorefeed").stdout.split() == ["lorefeed", "700"]
    assert machine.run("stat", "-c", "%U %a", "/etc/lorefeed/credentials").stdout.split() == ["root", "700"]
    other = machine.run("runuser", "-u", "nobody", "--", "lorefeed", "status", check=False)
    assert other.returncode == 1
    assert "sudo lorefeed status" in other.stderr


def test_a_document_dropped_in_is_learnt_and_answered(machine: Machine) -> None:
    notes = machine.root / "srv/notes"
    notes.mkdir()
    machine.run("lorefeed", "feeds", "add", "/srv/notes", "--name", "notes", "--topic", "news", "--every", "10s")
    (notes / "first.txt").write_text(first().text)

    wait_until(lambda: lorefeed(machine, "status")["aliases"]["news"]["adapter"], timeout_s=3 * PATIENCE_S, what="a release", every_s=5)

    question, right = first().ask[0]
    [answer] = lorefeed(machine, "ask", question, "--model", "news")["answers"]
    assert answer["adapter"] == "news@1"
    assert right.casefold() in answer["text"].casefold()


@pytest.mark.parametrize("unit", SERVICES)
def test_a_restart_loses_no_answer(machine: Machine, unit: str) -> None:
    with clients(machine) as seen:
        machine.run("systemctl", "restart", unit)
        wait_ready(machine)

    assert seen["failures"] == []
    assert seen["answers"] > 0


@pytest.mark.parametrize("unit", SERVICES)
def test_asked_to_stop_it_ends_with_status_0(machine: Machine, unit: str) -> None:
    socket = unit.replace(".service", ".socket")
    with_socket = (machine.root / "etc/systemd/system" / socket).exists()
    machine.run("systemctl", "stop", *([socket] if with_socket else []), unit)

    assert machine.show(unit, "Result") == "success"
    assert (machine.show(unit, "ExecMainCode"), machine.show(unit, "ExecMainStatus")) == ("1", "0")
    machine.run("systemctl", "start", *([socket] if with_socket else []), unit)
    wait_ready(machine)


@pytest.mark.parametrize("unit", SERVICES)
def test_killed_it_comes_back(machine: Machine, unit: str) -> None:
    before = pid(machine, unit)
    machine.run("systemctl", "kill", "-s", "KILL", "--kill-who=main", unit)

    wait_until(lambda: pid(machine, unit) not in (before, "0") and machine.active(unit), timeout_s=PATIENCE_S, what=f"the return of {unit}")
    wait_ready(machine)


@pytest.mark.parametrize("unit", SERVICES)
def test_hanging_it_is_killed_by_the_watchdog_and_comes_back(machine: Machine, unit: str) -> None:
    drop_in = f"/run/systemd/system/{unit}.d"
    short = f"[Service]\\nWatchdogSec={WATCHDOG_S}\\nTimeoutAbortSec=5\\n"
    machine.run("sh", "-c", f"mkdir -p {drop_in} && printf '{short}' > {drop_in}/short.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", unit)
    wait_ready(machine)
    before = pid(machine, unit)
    machine.run("systemctl", "kill", "-s", "STOP", "--kill-who=main", unit)  # a minimal Debian has no kill

    wait_until(lambda: pid(machine, unit) not in (before, "0") and machine.active(unit), timeout_s=PATIENCE_S, what=f"the return of {unit}")
    assert "Watchdog timeout" in machine.journal(unit)
    machine.run("sh", "-c", f"rm -r {drop_in}; systemctl daemon-reload; systemctl restart {unit}")
    wait_ready(machine)


def test_a_reboot_brings_the_same_back(machine: Machine) -> None:
    before = lorefeed(machine, "status")["aliases"]

    machine.reboot()
    wait_ready(machine)

    assert lorefeed(machine, "status")["aliases"] == before
    wait_until(lambda: machine.active(*SERVICES), timeout_s=PATIENCE_S, what="all services")
    question, right = first().ask[0]
    [answer] = lorefeed(machine, "ask", question, "--model", "news")["answers"]
    assert right.casefold() in answer["text"].casefold()


def test_the_nightly_backup_is_whole(machine: Machine) -> None:
    machine.run("systemctl", "start", "lorefeed-backup.service")

    [saved] = sorted((machine.root / "var/backups/lorefeed").glob("lorefeed-*.tar"))
    read = lorefeed(machine, "backup", "--verify", f"/var/backups/lorefeed/{saved.name}")
    assert read["adapters"] >= 1
    assert lorefeed(machine, "audit", "verify", "--head", read["audit_head"])["whole"]


def test_an_upgrade_keeps_everything_and_refuses_nobody(machine: Machine) -> None:
    current = machine.root / "opt/lorefeed/current"
    before, release = lorefeed(machine, "status"), current.readlink()
    with clients(machine) as seen:
        machine.run("make", "-C", "/new", "upgrade", "WHEELS=/wheels", timeout_s=3600)
        wait_ready(machine)

    after = lorefeed(machine, "status")
    assert after["aliases"] == before["aliases"]
    assert current.readlink() != release
    assert seen["failures"] == []
    assert lorefeed(machine, "audit", "verify")["whole"]
    assert len(list((machine.root / "opt/lorefeed/releases").iterdir())) == 2  # the one before stays for a way back


def test_a_key_handed_over_by_systemd_closes_the_door(machine: Machine) -> None:
    keys = machine.root / "etc/lorefeed/credentials/gateway__api_key"
    keys.write_text("a-key-for-the-test\n")
    machine.run("systemctl", "restart", "lorefeed-gateway.service")
    wait_until(lambda: machine.active("lorefeed-gateway.service"), timeout_s=PATIENCE_S, what="the gateway")
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8090/v1/models', timeout=60).read()"

    refused = machine.run(PYTHON, "-c", code, check=False)
    assert "401" in refused.stderr
    assert lorefeed(machine, "ask", "Who are you?", "--model", "base")["answers"]
    assert "a-key-for-the-test" not in machine.run("lorefeed", "config").stdout + machine.journal("lorefeed-gateway.service")


def test_taken_away_it_keeps_the_state_and_purged_it_leaves_no_file(machine: Machine) -> None:
    machine.run("make", "-C", "/new", "uninstall")
    assert (machine.root / "var/lib/lorefeed/registry.sqlite3").exists()
    assert not (machine.root / "opt/lorefeed").exists()
    assert machine.run("systemctl", "list-units", "--all", "--no-legend", "lorefeed*").stdout.strip() == ""

    machine.run("make", "-C", "/new", "uninstall", "PURGE=1")

    left = files_of(machine.root) - machine.before - {"srv/notes", "srv/notes/first.txt"}
    assert sorted(left) == []
    assert list((machine.root / "var/lib/systemd/timers").glob("*lorefeed*")) == []
    assert "lorefeed" not in (Path(machine.root) / "etc/passwd").read_text()
