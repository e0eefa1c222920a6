"""How the command line behaves as a whole: exit statuses, errors in words, help, homes, and that it starts light."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer.main

from daemon.cli import app
from daemon.learn.folders import digest_of
from registry import Registry
from tests.cli_parts import Cli, fill, make_cli
from tests.registry_parts import add_feed, define


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return make_cli(tmp_path, capsys, monkeypatch)


def every_command() -> list[tuple[str, ...]]:
    root = typer.main.get_group(app)
    found: list[tuple[str, ...]] = []
    for name, command in root.commands.items():
        below = getattr(command, "commands", {})
        found += [(name,), *((name, inner) for inner in below)]
    return found


def test_the_commands_of_this_piece_are_all_there() -> None:
    names = {" ".join(path) for path in every_command()}

    alone = "init status config doctor extract learn check promote rollback releases ask engine gateway daemon run demo"
    feeds = [f"feeds {verb}" for verb in ["add", "list", "poll", "pause", "resume", "remove"]]
    definitions = [f"definitions {verb}" for verb in ["list", "show", "approve", "reject", "hold", "release"]]
    others = ["documents list", "documents show", "adapters list", "adapters show", "aliases list", "aliases set", "aliases remove"]
    assert {*alone.split(), *feeds, *definitions, *others} <= names


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example(cli: Cli, path: tuple[str, ...]) -> None:
    said = cli(*path, "--help")

    assert said.status == 0
    assert not cli.home.exists()
    is_group = "COMMAND [ARGS]" in said.out
    assert is_group or f"  lorefeed {' '.join(path)}" in said.out.split("Options:")[0].partition("\n")[2]


def test_the_version_needs_no_command_and_no_home(cli: Cli) -> None:
    said = cli("--version")

    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("lorefeed 0.")


def test_a_mistyped_command_is_a_misuse(cli: Cli) -> None:
    assert cli("feedz").status == 2
    assert cli("feeds", "add").status == 2
    assert cli("definitions", "approve", "three").status == 2
    assert cli("feeds", "add", "https://example.org/a.xml", "--every", "soon").status == 2
    assert cli("definitions", "list", "--state", "lost").status == 2


def test_a_failure_is_one_line_and_what_to_try(cli: Cli) -> None:
    cli("init")

    said = cli("adapters", "show", "news@7")

    assert said.status == 1
    error, hint = said.err.splitlines()
    assert error.startswith("Error: ")
    assert "news@7" in error
    assert hint.startswith("Try: ")


def test_a_home_that_is_not_there_is_not_made_by_looking(cli: Cli) -> None:
    said = cli("status")

    assert said.status == 1
    assert str(cli.home) in said.err
    assert f"Try: lorefeed init --home {cli.home}" in said.err
    assert not cli.home.exists()


@pytest.mark.parametrize("order", ["before", "after", "joined"])
def test_home_may_stand_before_or_after_the_command(cli: Cli, tmp_path: Path, order: str) -> None:
    other = tmp_path / "other"
    arguments = {
        "before": ["--home", other, "init", "--json"],
        "after": ["init", "--json", "--home", other],
        "joined": ["init", f"--home={other}", "--json"],
    }[order]

    assert cli(*arguments).json["home"] == str(other)
    assert (other / "registry.sqlite3").exists()
    assert not cli.home.exists()


def test_an_unknown_configuration_key_is_named_with_its_file(cli: Cli) -> None:
    cli("init")
    (cli.home / "lorefeed.toml").write_text("[learn]\nrank = 32\nrnak = 3\n")

    for command in ("status", "config", "learn news"):
        said = cli(*command.split())
        assert said.status == 1
        assert "learn.rnak" in said.err
        assert str(cli.home / "lorefeed.toml") in said.err
        assert "Try: " in said.err


def test_doctor_reports_a_bad_configuration_beside_the_rest(cli: Cli) -> None:
    cli("init")
    (cli.home / "lorefeed.toml").write_text("colour = 'red'\n")

    said = cli("doctor", "--json")

    assert said.status == 1
    assert [(f["level"], f["object"]) for f in said.json["findings"]] == [("error", "configuration")]


def test_doctor_without_errors_ends_well_and_says_what_does_not_answer(cli: Cli) -> None:
    cli("init")

    said = cli("doctor", "--json")

    assert said.status == 0
    assert {f["object"]: f["level"] for f in said.json["findings"]} == {"engine": "warning", "gateway": "warning"}


def test_doctor_names_both_digests_when_the_base_model_changed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("LOREFEED_MODEL", str(model))
    with cli.registry() as registry:
        fill(registry)

    said = cli("doctor", "--json")

    assert said.status == 1
    [finding] = [f for f in said.json["findings"] if f["level"] == "error"]
    assert finding["object"] == "adapter news@1"
    assert "base-digest" in finding["problem"]
    assert digest_of(model) in finding["problem"]


def test_a_refusal_by_the_check_has_its_own_exit_status(cli: Cli) -> None:
    with cli.registry() as registry:
        fill(registry)

    refused = cli("promote", "news@2")
    unchecked = cli("promote", "news@3", "--json")

    assert (refused.status, unchecked.status) == (3, 3)
    assert "skills fell by 9 points" in refused.err
    assert unchecked.out == ""
    assert cli("status", "--json").json["aliases"]["news"]["adapter"] == "news@1"


def test_forcing_needs_a_reason_and_is_recorded(cli: Cli) -> None:
    with cli.registry() as registry:
        fill(registry)

    assert cli("promote", "news@2", "--force").status == 2
    forced = cli("promote", "news@2", "--force", "--reason", "we know better")

    assert forced.status == 0
    assert "news@2" in forced.out
    assert "does not answer" in forced.err  # the engine is down, which stops nobody
    newest = cli("releases", "news", "--json").json[0]
    assert (newest["forced"], newest["reason"], newest["actor"]) == (True, "we know better", "operator")


def test_asking_without_a_gateway_says_how_to_start_one(cli: Cli) -> None:
    cli("init")

    said = cli("ask", "Who?", "--model", "base")

    assert (said.status, said.out) == (1, "")
    assert "gateway" in said.err
    assert "Try: lorefeed run\n" in said.err


def test_learning_is_refused_while_a_daemon_has_the_home(cli: Cli) -> None:
    with cli.registry() as registry:
        fill(registry)
        with registry.lock_daemon():
            said = cli("learn", "news")

    assert said.status == 1
    assert str(os.getpid()) in said.err
    assert "lorefeed status" in said.err


def test_texts_of_strangers_cannot_steer_the_terminal(cli: Cli) -> None:
    with cli.registry() as registry:
        fill(registry)
        registry.write.add_feed("/x", name="x", kind="folder", topic="t", trust="auto", interval_s=9)
        registry.write.record_poll_failure(2, error="\x1b[2J\x1b]0;owned\x07 gone", next_check_at=registry.read.feeds()[0].created_at)

    shown = cli("feeds", "list").out

    assert "gone" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_the_command_line_imports_no_torch_and_no_table_maker(tmp_path: Path) -> None:
    """`status --json` in a process of its own, with everything it imported."""
    Registry.open(tmp_path).close()
    program = (
        "import sys\n"
        "from daemon.cli import main\n"
        "try:\n"
        f"    main(['--home', {str(tmp_path)!r}, 'status', '--json'])\n"
        "finally:\n"
        "    heavy = {'torch', 'transformers', 'peft', 'rich', 'httpx2', 'starlette', 'uvicorn', 'trafilatura', 'feedparser'}\n"
        "    sys.stderr.write(','.join(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stderr == ""
    assert json.loads(done.stdout)["feeds"] == {"total": 0, "failing": 0}


def test_every_module_of_the_command_line_loads_without_torch() -> None:
    program = (
        "import importlib, pkgutil, sys, daemon.commands\n"
        "for module in pkgutil.iter_modules(daemon.commands.__path__):\n"
        "    importlib.import_module('daemon.commands.' + module.name)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_interrupt_has_the_shells_exit_status(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("init")
    ready, write = os.pipe()
    # A shell's background job, which these tests may be, has its interrupts ignored, and so would the child; who types Ctrl-C has not.
    program = f"""
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from daemon.cli import main
os.write({write}, b".")
main(["extract", "-"])
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[write],
    )
    with child:
        os.read(ready, 1)
        os.close(ready)
        os.close(write)
        assert child.stdin is not None
        _wait_until_reading(child.pid)
        child.send_signal(2)
        _, err = child.communicate(timeout=30)

    assert child.returncode == 130
    assert b"Traceback" not in err


def _wait_until_reading(pid: int) -> None:
    """Asleep in a read of its standard input: there an interrupt arrives as it does under somebody's hands. Not every kernel tells."""
    deadline = time.monotonic() + 5
    while "pipe" not in Path(f"/proc/{pid}/wchan").read_text() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_long_listing_is_cut_for_people_and_says_how_to_see_the_rest(cli: Cli) -> None:
    with cli.registry() as registry:
        feed = add_feed(registry, "long", topic="long")
        for number in range(60):
            define(registry, feed, f"Tarn {number}", f"Tarn {number} is a lake.")

    people, scripts = cli("definitions", "list", "--topic", "long"), cli("definitions", "list", "--topic", "long", "--json")
    assert people.out.count("is a lake") == 50
    assert "Only 50 are shown. The next: --after" in people.err
    assert (len(scripts.json), scripts.err) == (60, "")

    first = cli("definitions", "list", "--topic", "long", "--limit", "20", "--json")
    after = int(first.err.split("--after ")[1].split(";")[0])
    rest = cli("definitions", "list", "--topic", "long", "--after", after, "--limit", "0", "--json")
    assert [d["entity"] for d in (*first.json, *rest.json)] == [f"Tarn {number}" for number in range(60)]
    assert rest.err == ""
    assert [d["id"] for d in cli("documents", "list", "--feed", "long", "--limit", "2", "--json").json] == sorted(
        (d["document_id"] for d in rest.json), reverse=True
    )[:2]
