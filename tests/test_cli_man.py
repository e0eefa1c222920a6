"""The manual page: every command and option is in it, and troff understands it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.cli import app
from tests.cli_parts import Cli, make_cli


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return make_cli(tmp_path, capsys, monkeypatch)


def test_every_command_is_in_the_manual_with_its_options_and_examples(cli: Cli) -> None:
    page = cli("man").out
    headings = re.findall(r"^\.SS (\S+ \S+)", page, re.MULTILINE)
    for command in app.registered_commands:
        assert f"lorefeed {command.name}" in headings
    for group in app.registered_groups:
        assert group.name
        assert any(heading == f"lorefeed {group.name}" for heading in headings)
    assert "\\fB\\-\\-model\\fR \\fIM\\fR" in page
    assert "\nlorefeed init \\-\\-model Qwen/Qwen3\\-4B\\-Instruct\\-2507\n" in page
    assert "\\fB\\-\\-once\\fR" in page


def test_no_line_of_text_is_taken_for_a_request(cli: Cli) -> None:
    known = {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".nf", ".fi"}
    page = cli("man").out
    assert {line.split()[0] for line in page.splitlines() if line[:1] in (".", "'")} <= known
    assert not re.search(r"\\[^-e&f]", page)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_troff_has_nothing_to_complain_about(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "lorefeed.1"
    file.write_text(cli("man").out)
    read = subprocess.run(["groff", "-man", "-ww", "-Tutf8", str(file)], capture_output=True, text=True, check=True, timeout=60)
    assert read.stderr == ""
    assert "LOREFEED(1)" in read.stdout
