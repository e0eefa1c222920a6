"""The unit files: systemd itself finds nothing to say about them, and every line that is not self-evident says why it is there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.sections import Engine, Gateway
from registry.db import BUSY_TIMEOUT_MS

SYSTEMD = Path(__file__).parents[1] / "systemd"
SERVICES = ("lorefeed.service", "lorefeed-gateway.service", "lorefeed-engine.service", "lorefeed-vllm.service", "lorefeed-backup.service")
OTHERS = ("lorefeed.target", "lorefeed-gateway.socket", "lorefeed-engine.socket", "lorefeed-backup.timer")
UNITS = (*SERVICES, *OTHERS)
GPU_UNITS = ("lorefeed.service", "lorefeed-engine.service", "lorefeed-vllm.service")
EXPOSURE_MAX = 2.0

KNOWN = {
    "Unit": {"Description", "Documentation", "Wants", "After", "Requires", "Conflicts", "PartOf", "StartLimitIntervalSec", "StartLimitBurst"},
    "Service": {
        "Type", "NotifyAccess", "ExecStart", "WatchdogSec", "Restart", "RestartSec", "KillMode", "TimeoutStartSec", "TimeoutStopSec", "OOMPolicy",
        "OOMScoreAdjust", "Environment", "EnvironmentFile", "LoadCredential", "User", "Group", "StateDirectory", "StateDirectoryMode", "UMask",
        "ReadWritePaths", "CPUWeight", "IOWeight", "IOSchedulingClass", "Nice", "MemoryHigh", "TasksMax", "LimitMEMLOCK",
        "NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices",
        "PrivateUsers", "PrivateNetwork", "DevicePolicy", "DeviceAllow", "RemoveIPC", "IPAddressDeny", "IPAddressAllow",
        "MemoryDenyWriteExecute", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectClock",
        "ProtectHostname", "ProtectProc", "ProcSubset", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
        "SystemCallArchitectures", "LockPersonality", "SystemCallFilter", "SystemCallErrorNumber",
    },
    "Socket": {"ListenStream", "NoDelay"},
    "Timer": {"OnCalendar", "RandomizedDelaySec", "Persistent"},
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
    found = directives(unit)
    assert not {key for _, key, _, _ in found} & {"PrivateDevices", "MemoryDenyWriteExecute"}
    allowed = {value for _, key, value, _ in found if key == "DeviceAllow"}
    assert {"char-nvidia rw", "char-nvidia-uvm rw", "char-drm rw"} <= allowed
    text = (SYSTEMD / unit).read_text()
    assert "# Not PrivateDevices: it hides /dev/nvidia*" in text
    assert "# Not MemoryDenyWriteExecute: torch compiles" in text


@pytest.mark.parametrize("unit", SERVICES)
def test_units_share_one_home_and_one_user(unit):
    assert value(unit, "StateDirectory") == "lorefeed"
    assert value(unit, "User") == value(unit, "Group") == "lorefeed"
    environment = " ".join(v for _, key, v, _ in directives(unit) if key == "Environment")
    assert "LOREFEED_HOME=/var/lib/lorefeed" in environment


@pytest.mark.parametrize(
    ("unit", "command"),
    [("lorefeed", "daemon"), ("lorefeed-gateway", "gateway"), ("lorefeed-engine", "engine"), ("lorefeed-vllm", "engine --kind vllm")],
)
def test_services_start_what_is_current_with_the_keys_that_systemd_keeps(unit, command):
    assert value(f"{unit}.service", "ExecStart") == f"/opt/lorefeed/current/bin/lorefeed {command}"
    assert value(f"{unit}.service", "LoadCredential") == "lorefeed:/etc/lorefeed/credentials"
    assert value(f"{unit}.service", "Type") == "notify"
    assert int(value(f"{unit}.service", "WatchdogSec")) > 4 * BUSY_TIMEOUT_MS / 1000


@pytest.mark.parametrize(("unit", "settings"), [("lorefeed-gateway", Gateway()), ("lorefeed-engine", Engine())])
def test_sockets_hold_the_ports_of_the_settings_and_are_there_before_their_services(unit, settings):
    assert value(f"{unit}.socket", "ListenStream") == f"{settings.host}:{settings.port}"
    assert value(f"{unit}.service", "Requires") == f"{unit}.socket"


@pytest.mark.parametrize("unit", ["lorefeed-gateway.service", "lorefeed-engine.service"])
def test_answers_under_way_may_end(unit):
    from daemon.serving.settings import ANSWERS_MAY_END_S

    assert int(value(unit, "TimeoutStopSec")) > ANSWERS_MAY_END_S


def test_vllm_has_time_to_start_and_to_end():
    from daemon.serving.vllm import VllmSettings
    from daemon.serving.vllm_process import STOP_WITHIN_S

    assert int(value("lorefeed-vllm.service", "TimeoutStopSec")) > STOP_WITHIN_S
    assert int(value("lorefeed-vllm.service", "TimeoutStartSec")) > VllmSettings.__dataclass_fields__["start_timeout_s"].default


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit not in ("lorefeed.target", "lorefeed-backup.service")])
def test_the_target_stops_everything_with_it(unit):
    assert value(unit, "PartOf") == "lorefeed.target"


def test_the_daemon_is_watched_and_has_time_to_end():
    from daemon import service

    assert int(value("lorefeed.service", "TimeoutStopSec")) > service.STOP_WITHIN_S + BUSY_TIMEOUT_MS / 1000


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


@pytest.fixture(scope="module")
def runnable(tmp_path_factory):
    """The units together, as they name each other, with a program in the place of ours, which is not installed here."""
    folder = tmp_path_factory.mktemp("units")
    for each in UNITS:
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", (SYSTEMD / each).read_text(), flags=re.MULTILINE)
        (folder / each).write_text(text.replace("file:///opt/lorefeed/current/README.md", SYSTEMD.parent.joinpath("README.md").as_uri()))
    return folder


def test_systemd_has_nothing_to_say(runnable):
    """A misspelt key is only a warning and status 0, so the output must be empty too."""
    tool = systemd("systemd-analyze", "systemd")
    ran = subprocess.run(
        [tool, "verify", "--man=no", *(str(runnable / unit) for unit in UNITS)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES)
def test_little_is_exposed(runnable, unit):
    tool, limit = systemd("systemd-analyze", "systemd"), f"--threshold={EXPOSURE_MAX * 10:.0f}"
    ran = subprocess.run([tool, "security", "--offline=true", limit, str(runnable / unit)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-300:]
    assert float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", ran.stdout)[1]) <= EXPOSURE_MAX


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
    assert ["d", "/etc/lorefeed/credentials", "0700", "root", "root", "-"] in lines
    assert {line[0] for line in lines} == {"d", "L"}
