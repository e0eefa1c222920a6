"""The house itself: whose names these are, what starts without torch, and whether the README tells the truth."""

import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_three_package_names_are_ours() -> None:
    owners = packages_distributions()
    assert {owner for name in ("daemon", "registry", "sources") for owner in owners[name]} == {"lorefeed"}


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, daemon.cli, daemon.service, daemon.demo; sys.exit(1 if {'torch', 'transformers'} & set(sys.modules) else 0)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_direct_dependency_is_pinned() -> None:
    wanted = re.findall(r'^    "([A-Za-z0-9._-]+)', (ROOT / "pyproject.toml").read_text().split("[project.scripts]")[0], re.MULTILINE)
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert [name for name in wanted if name.lower() not in pinned and name != "vllm"] == []


def test_the_readme_shows_the_help_that_there_is() -> None:
    shown = README.split("<!-- help -->")[1].split("<!-- /help -->")[0].strip().removeprefix("```").removesuffix("```").strip()
    environment = {**os.environ, "COLUMNS": "120"}
    printed = subprocess.run(
        [sys.executable, "-m", "daemon.cli", "--help"], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert shown == printed.strip()


def test_the_readme_tree_names_files_that_exist() -> None:
    tree = README.split("## The tree")[1].split("```")[1]
    for name in re.findall(r"\b([a-z_]+\.py)\b", tree):
        assert (ROOT / "daemon" / name).exists(), name
    for folder in re.findall(r"^  ([a-z]+)/", tree, re.MULTILINE):
        assert (ROOT / "daemon" / folder).is_dir(), folder


def test_the_embedded_model_is_small_enough_to_ship() -> None:
    files = list((ROOT / "daemon" / "embedded" / "model").iterdir())
    assert {"model.safetensors", "tokenizer.json", "config.json", "recipe.json"} <= {f.name for f in files}
    assert sum(f.stat().st_size for f in files) <= 20 * 2**20


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")))
    there = {
        name for file in (ROOT / "tests").glob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
    }
    assert len(named) > 30
    assert named - there == set()


def test_nothing_unpickles() -> None:
    """Weights are safetensors; the one checkpoint that torch loads is pretraining's own, and as weights only."""
    for folder in ("daemon", "registry", "sources"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(import|from) (pickle|marshal|shelve|dill|joblib)\b", text, re.MULTILINE), file
            assert not re.search(r"trust_remote_code\s*=\s*True", text), file
            for call in re.findall(r"torch\.load\([^\n]*", text):
                assert "weights_only=True" in call, file
