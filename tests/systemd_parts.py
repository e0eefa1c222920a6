"""A Debian of its own for the tests of the system service: made once with debootstrap, copied, booted with systemd-nspawn, thrown away.

It has a network of its own with nothing on it. Commands go in by nsenter, as nspawn is not registered anywhere.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLACE = Path(os.environ.get("LOREFEED_MACHINES", "/var/tmp/lorefeed-machines"))
SUITE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,make"
REBOOTED = 133  # systemd-nspawn(1), --keep-unit
TOOLS = ("debootstrap", "systemd-nspawn", "nsenter")


def what_is_missing() -> str | None:
    """Why no machine can be booted here; None if one can."""
    if os.geteuid() != 0:
        return "booting a machine needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)} (apt install debootstrap systemd-container)" if missing else None


def mirror() -> str:
    """The mirror that this machine itself installs from."""
    lists = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(path.read_text(errors="replace") for path in lists if path.is_file())
    found = re.search(r"https?://\S+/debian/?(?=\s)", text)
    return found[0].rstrip("/") if found else "http://deb.debian.org/debian"


def base() -> Path:
    """A minimal Debian, made at the first call and kept."""
    made = PLACE / SUITE
    if not (made / ".made").exists():
        shutil.rmtree(made, ignore_errors=True)
        made.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(made), mirror()], check=True, stdout=subprocess.DEVNULL
        )
        (made / ".made").touch()
    return made


class Machine:
    """One machine. `boot` it, `run` commands in it, `stop` it."""

    def __init__(self, root: Path, *, binds: dict[Path, str]) -> None:
        self.root, self._binds = root, binds
        self.before: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def fresh(cls, name: str, *, binds: dict[Path, str]) -> Machine:
        root = PLACE / name
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", str(base()), str(root)], check=True)
        (root / ".made").unlink()
        (root / "etc/machine-id").write_text("")
        (root / "etc/hostname").write_text(f"{name}\n")
        return cls(root, binds=binds)

    def boot(self) -> None:
        binds = [f"--bind-ro={here}:{there}" for here, there in self._binds.items()]
        command = [
            "systemd-nspawn",
            "-q",
            "-D",
            str(self.root),
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--console=pipe",
            *binds,
            "-b",
        ]
        with (self.root.parent / f"{self.root.name}.console").open("wb") as console:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
        self.wait_booted()

    def wait_booted(self) -> None:
        def is_up() -> bool:
            state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
            return state in ("running", "degraded")

        wait_until(is_up, timeout_s=180, what="the machine's boot")

    def run(self, *command: str, check: bool = True, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        """A command inside, as root, with a clean environment."""
        leader = self._leader()
        if leader is None:
            return subprocess.CompletedProcess(command, 255, "", "the machine does not run")
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
        done = subprocess.run(
            ["nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", *command],
            capture_output=True, text=True, env=environment, timeout=timeout_s, check=False, cwd="/",
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A command inside that goes on while others run."""
        leader = self._leader()
        assert leader is not None
        return subprocess.Popen(
            ["nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PATH": "/usr/bin:/bin"}, cwd="/",
        )  # fmt: skip

    def show(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def active(self, *units: str) -> bool:
        return self.run("systemctl", "is-active", "--quiet", *units, check=False).returncode == 0

    def journal(self, unit: str, *more: str) -> str:
        return self.run("journalctl", "-u", unit, "-b", "--no-pager", "-o", "cat", *more).stdout

    def reboot(self) -> None:
        """nspawn ends with a status of its own where it keeps its caller's unit, and that caller has to start it again."""
        assert self._process is not None
        self.run("systemctl", "reboot", check=False)
        assert self._process.wait(120) == REBOOTED
        self.boot()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)  # nspawn passes on an orderly poweroff
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _leader(self) -> int | None:
        """The machine's first process: the only child of nspawn that is called systemd."""
        if self._process is None or self._process.poll() is not None:
            return None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in children:
            try:
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
            except OSError:
                continue
        return None


PARTS = ("daemon", "registry", "sources", "systemd", "pyproject.toml", "constraints.txt", "Makefile", "README.md", "LICENSE")


def tree(name: str, *, previous: bool = False) -> Path:
    """A copy of this tree to install from, or of what was installed before the last commit that changed it; without one, an older version's."""
    place = PLACE / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    git = ["git", "-C", str(ROOT)]
    last = subprocess.run([*git, "log", "-1", "--format=%H", "--", *PARTS], capture_output=True, text=True, check=False).stdout.strip()
    there = subprocess.run([*git, "cat-file", "-e", f"{last}~1:systemd/install"], capture_output=True, check=False).returncode == 0
    if previous and there:
        archive = subprocess.run([*git, "archive", f"{last}~1"], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(place)], input=archive, check=True)
        return place
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, place / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, place / part)
    if previous:
        project = place / "pyproject.toml"
        project.write_text(re.sub(r'(?m)^version = ".*"', 'version = "0.0.9"', project.read_text()))
    return place


def files_of(root: Path) -> set[str]:
    """Every file that stays on the machine, without what any Debian writes for itself."""
    own = re.compile(r"^(proc|sys|dev|run|tmp|root|var/(log|cache|tmp|lib/(systemd|dbus))|etc/.*-$)|__pycache__")
    found = set()
    for folder, folders, files in os.walk(root):
        at = os.path.relpath(folder, root)
        folders[:] = [name for name in folders if not own.search(os.path.normpath(f"{at}/{name}"))]
        found |= {os.path.normpath(f"{at}/{name}") for name in (*files, *folders)}
    return {path for path in found if not own.search(path)}


def wait_until(condition: Callable[[], Any], *, timeout_s: float, what: str, every_s: float = 0.3) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(every_s)
    return value
