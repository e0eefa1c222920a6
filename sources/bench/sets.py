"""The labelled sets as they lie on disk, and the arithmetic that the measurements share."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FEED_SETS = ("feeds_feedparser", "feeds_gofeed", "feeds_feedrs", "feeds_misc")
_SHOWN = 12


@dataclass(slots=True)
class Tally:
    """How many expectations were met, by what they are about, and the first ones that were not."""

    met: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    missed: list[dict[str, Any]] = field(default_factory=list)

    def add(self, about: str, where: str, *, expected: Any, got: Any, met: bool) -> None:
        self.asked[about] += 1
        self.met[about] += met
        if not met:
            self.missed.append({"where": where, "about": about, "expected": str(expected)[:160], "got": str(got)[:160]})

    def report(self, *, everything: bool = False) -> dict[str, Any]:
        asked, met = sum(self.asked.values()), sum(self.met.values())
        return {
            "met": met,
            "asked": asked,
            "share": round(met / asked, 4) if asked else None,
            "by_field": {name: f"{self.met[name]} of {count}" for name, count in sorted(self.asked.items())},
            "missed": self.missed if everything else self.missed[:_SHOWN],
        }


def rows(data_dir: Path, name: str) -> Iterator[dict[str, Any]]:
    """The rows of one set, with `data` for its bytes where it holds any; nothing when the set is absent."""
    path = data_dir / name / "open.jsonl"
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "data_b64" in row:
                row["data"] = base64.b64decode(row.pop("data_b64"))
            yield row
