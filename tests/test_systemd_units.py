"""The unit files: systemd itself finds nothing to say about them, and every line that is not self-evident says why it is there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.config import Engine, Gateway
from registry.db import BUSY_TIMEOUT_MS

SYSTEMD = Path(__file__).parents[1] / "systemd"
UNITS = ("lorefeed.service", "lorefeed-gateway.service", "lorefeed-engine.service")
GPU_UNITS = ("lorefeed.service", "lorefeed-engine.service")

KNOWN = {
    "Unit": {"Description", "Documentation", "Wants", "After", "StartLimitIntervalSec", "StartLimitBurst"},
    "Service": {
        "Type", "NotifyAccess", "ExecStart", "WatchdogSec", "Restart", "RestartSec", "KillMode", "TimeoutStopSec", "OOMPolicy", "OOMScoreAdjust",
        "Environment", "EnvironmentFile", "User", "Group", "StateDirectory", "StateDirectoryMode", "UMask", "CPUWeight", "IOWeight", "Nice",
        "NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices",
        "MemoryDenyWriteExecute", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectClock",
        "ProtectHostname", "ProtectProc", "ProcSubset", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
        "SystemCallArchitectures", "LockPersonality", "SystemCallFilter", "SystemCallErrorNumber",
    },
    "Install": {"WantedBy"},
}  # fmt: skip
SELF_EVIDENT = {"Description", "Documentation", "ExecStart", "After", "StartLimitBurst", "Group"}


def directives(unit: str) -> list[tuple[str, str, str, bool]]:
    """(section, key, value, whether a comment stands right above it)."""
    found, section, commented = [], "", False
    for line in (SYSTEMD / unit).read_text().splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.append((section, key, value, commented))
        commented = line.startswith("#")
    return found


def value(unit: str, key: str) -> str:
    return next(v for _, k, v, _ in directives(unit) if k == key)


@pytest.mark.parametrize("unit", UNITS)
def test_every_key_is_known_in_its_section(unit):
    assert [(section, key) for section, key, _, _ in directives(unit) if key not in KNOWN.get(section, set())] == []


@pytest.mark.parametrize("unit", UNITS)
def test_every_line_that_is_not_self_evident_says_why(unit):
    assert [key for _, key, _, commented in directives(unit) if not commented and key not in SELF_EVIDENT] == []


@pytest.mark.parametrize("unit", GPU_UNITS)
def test_units_that_may_use_a_gpu_are_not_hardened_against_it(unit):
    keys = {key for _, key, _, _ in directives(unit)}
    assert not keys & {"PrivateDevices", "MemoryDenyWriteExecute", "DevicePolicy", "DeviceAllow"}
    text = (SYSTEMD / unit).read_text()
    assert "# Not PrivateDevices: it hides /dev/nvidia*" in text
    assert "# Not MemoryDenyWriteExecute: torch compiles" in text


@pytest.mark.parametrize("unit", UNITS)
def test_units_share_one_home_one_user_and_one_environment(unit):
    assert value(unit, "StateDirectory") == "lorefeed"
    assert value(unit, "User") == value(unit, "Group") == "lorefeed"
    assert "LOREFEED_HOME=/var/lib/lorefeed" in value(unit, "Environment")
    command = {"lorefeed.service": "daemon", "lorefeed-gateway.service": "gateway", "lorefeed-engine.service": "engine"}[unit]
    assert value(unit, "ExecStart") == f"/opt/lorefeed/venv/bin/lorefeed {command}"


def test_the_daemon_is_watched_and_has_time_to_end():
    from daemon import service

    assert value("lorefeed.service", "Type") == "notify"
    watchdog_s, stop_s = int(value("lorefeed.service", "WatchdogSec")), int(value("lorefeed.service", "TimeoutStopSec"))
    assert watchdog_s > 4 * BUSY_TIMEOUT_MS / 1000
    assert stop_s > service.STOP_WITHIN_S + BUSY_TIMEOUT_MS / 1000


def test_learning_never_starves_serving():
    learning, serving = (int(value(unit, "CPUWeight")) for unit in ("lorefeed.service", "lorefeed-engine.service"))
    assert learning * 10 <= serving
    assert int(value("lorefeed.service", "Nice")) > 0
    assert int(value("lorefeed.service", "OOMScoreAdjust")) > int(value("lorefeed-engine.service", "OOMScoreAdjust"))


def test_the_front_door_needs_no_privilege():
    assert min(Gateway().port, Engine().port) > 1024


def systemd(tool: str, package: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed (Debian package: {package})")
    return found


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_has_nothing_to_say(unit, tmp_path):
    """A misspelt key is only a warning and status 0, so the output must be empty too."""
    for each in UNITS:  # together: they name each other
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", (SYSTEMD / each).read_text(), flags=re.MULTILINE)
        (tmp_path / each).write_text(text.replace("file:///opt/lorefeed/README.md", SYSTEMD.parent.joinpath("README.md").as_uri()))
    ran = subprocess.run(
        [systemd("systemd-analyze", "systemd"), "verify", "--man=no", str(tmp_path / unit)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_systemd_makes_the_user(tmp_path):
    tool = systemd("systemd-sysusers", "systemd")
    ran = subprocess.run(
        [tool, "--dry-run", f"--root={tmp_path}", str(SYSTEMD / "lorefeed.sysusers")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0
    assert "lorefeed" in ran.stdout + ran.stderr


def test_systemd_makes_the_folders(tmp_path):
    lines = [line.split() for line in (SYSTEMD / "lorefeed.tmpfiles").read_text().splitlines() if line and not line.startswith("#")]
    assert ["d", "/var/lib/lorefeed", "0700", "lorefeed", "lorefeed", "-"] in lines
    assert all(len(line) == 6 and line[0] == "d" for line in lines)
