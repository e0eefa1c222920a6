"""`python -m sources.bench [DIR] [--all]`: reads the labelled feeds and pages under DIR and prints what was met as JSON.

`--all` lists every expectation that was not met instead of the first few.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sources.bench import articles, entries_sets, feedparser_set, files

DEFAULT_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def run(data_dir: Path, *, everything: bool = False) -> dict[str, Any]:
    return {
        "files": files.measure(data_dir),
        "feeds_feedparser": feedparser_set.measure(data_dir, everything=everything),
        **entries_sets.measure(data_dir, everything=everything),
        "html_article_extraction": articles.measure(data_dir),
    }


def main(arguments: list[str]) -> int:
    places = [one for one in arguments if one != "--all"]
    report = run(Path(places[0]) if places else DEFAULT_DATA, everything="--all" in arguments)
    sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
