"""The versioned questions that come with Lorefeed: the standing ones of every check, and things known and new by which novelty is measured.

The embedded model has its own, about its invented world. Imports no torch, so that any process may ask.
"""

import json
from pathlib import Path
from typing import Any

from daemon.learn.folders import EMBEDDED

Json = dict[str, Any]

_FOLDER = Path(__file__).parents[1] / "probes"
EMBEDDED_PROBES, GENERAL_PROBES = _FOLDER / "embedded-v1.jsonl", _FOLDER / "general-v1.jsonl"
EMBEDDED_THINGS, GENERAL_THINGS = _FOLDER / "embedded-novelty-v1.jsonl", _FOLDER / "general-novelty-v1.jsonl"


def standing_probes(model: str) -> list[Json]:
    """What a base knows and can do, which every adapter is asked: `kind, prompt, target, chat`."""
    return rows_of(EMBEDDED_PROBES if model == EMBEDDED else GENERAL_PROBES)


def new_things(model: str) -> list[Json]:
    """Things that nobody has told the model: `entity, definition`."""
    return [row for row in rows_of(EMBEDDED_THINGS if model == EMBEDDED else GENERAL_THINGS) if not row["known"]]


def rows_of(file: Path) -> list[Json]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
