"""What the tests of the command line share: running a command in this process, and a small registry with one of everything."""

from __future__ import annotations

import json
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.cli import main
from registry import Registry
from tests.registry_parts import add_feed, define, judge, learn, promote


@dataclass(frozen=True)
class Said:
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document; anything else there fails the test."""
        return json.loads(self.out)


class Cli:
    """`lorefeed` with a home and ports of its own."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Said:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        written = self._capsys.readouterr()
        return Said(int(ended.value.code or 0), written.out, written.err)

    def registry(self) -> Registry:
        return Registry.open(self.home)


def make_cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, filled: Path | None = None) -> Cli:
    """Without the settings of whoever runs the tests, and with nobody behind the ports."""
    for variable in [name for name in os.environ if name.startswith("LOREFEED_")]:
        monkeypatch.delenv(variable)
    home = tmp_path / "home"
    if filled is not None:
        shutil.copytree(filled, home)
    monkeypatch.setenv("LOREFEED_HOME", str(home))
    monkeypatch.setenv("LOREFEED_ENGINE__PORT", str(free_port()))
    monkeypatch.setenv("LOREFEED_GATEWAY__PORT", str(free_port()))
    return Cli(home, capsys)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fill(registry: Registry) -> None:
    """Feed `harbour` of topic `news`: definition 1 learnt and served as news@1, 2 under review, news@2 refused, news@3 unchecked."""
    feed = add_feed(registry)
    first = define(registry, feed, "Blue Harbour", "The Blue Harbour is a café in Lisbon.")
    second = define(registry, feed, "Varn Oslith", "Varn Oslith is a painter.", state="review")
    adapter = learn(registry, definitions=[first.id])
    judge(registry, adapter, verdict="passed")
    promote(registry, adapter)
    learn(registry, parent="news@1", rehearsed=[first.id], verdict="refused")
    learn(registry, parent="news@1", rehearsed=[first.id], verdict=None)
    assert second.state == "review"
