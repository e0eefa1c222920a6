"""Measures extraction on labelled sets: `python -m daemon.extraction.bench DIR` prints precision, recall and F1 as JSON.

A set that is absent is reported as such. Sentence sets count a sentence as found when it gives any definition; where the set names
the defined term, `by_term` counts it only when the found entity is that term.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from daemon.extraction.find import find_definitions
from daemon.extraction.found import FoundDefinition
from daemon.extraction.markup import readable
from daemon.extraction.titles import name_key

DEFAULT_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
_SENTENCE_SETS = ("definition_wcl", "definition_w00", "definition_deft")
_MIN_OVERLAP = 0.8


def run(data_dir: Path, *, every: int = 1) -> dict[str, Any]:
    """The measurements of every set under `data_dir`, by the set's name; `every=4` reads a quarter of the sentences."""
    report: dict[str, Any] = {}
    for name in _SENTENCE_SETS:
        report[name] = _sentence_set(data_dir / name / "open.jsonl", every=every)
    report["stream_cncf_glossary"] = _glossary(data_dir / "stream_cncf_glossary" / "open.jsonl")
    report["stream_rustsec"] = _advisories(data_dir / "stream_rustsec" / "open.jsonl")
    return report


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _absent(path: Path) -> dict[str, Any]:
    return {"absent": str(path)}


def _sentence_set(path: Path, *, every: int) -> dict[str, Any]:
    if not path.is_file():
        return _absent(path)
    plain: Counter[str] = Counter()
    by_term: Counter[str] = Counter()
    for row in islice(_rows(path), 0, None, every):
        found = find_definitions(row["sentence"])
        gold = bool(row["is_definition"])
        plain[_outcome(gold=gold, guessed=bool(found))] += 1
        if row.get("term"):
            named = any(_names(made, row["term"]) for made in found)
            by_term[_outcome(gold=gold, guessed=named)] += 1
    report = _measures(plain)
    if by_term:
        report["by_term"] = _measures(by_term)
    return report


def _outcome(*, gold: bool, guessed: bool) -> str:
    return ("true" if gold == guessed else "false") + ("_positive" if guessed else "_negative")


def _measures(counts: Counter[str]) -> dict[str, Any]:
    right, wrong, missed = counts["true_positive"], counts["false_positive"], counts["false_negative"]
    precision = right / (right + wrong) if right + wrong else 0.0
    recall = right / (right + missed) if right + missed else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(f1, 4),
        "found": right + wrong,
        "definitions": right + missed,
        "sentences": sum(counts.values()),
    }


def _names(made: FoundDefinition, term: str) -> bool:
    wanted = name_key(term.lstrip("$"))
    return any(name_key(name) == wanted for name in (made.entity, *made.aliases))


def _glossary(path: Path) -> dict[str, Any]:
    """Every entry must give exactly its term with its definition paragraph, every stub nothing."""
    if not path.is_file():
        return _absent(path)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for row in _rows(path):
        if row["op"] == "delete":
            continue
        found = find_definitions(row["text"], title=row["term"])
        if row["stub"]:
            counts["stubs"] += 1
            counts["stubs_empty"] += not found
            continue
        counts["entries"] += 1
        right = [made for made in found if _same_term(made, row["term"])]
        counts["right_term"] += bool(right)
        counts["only_that_term"] += bool(right) and len(found) == 1
        counts["right_definition"] += any(_covers(made, row["definition"]) for made in right)
        if not (right and len(found) == 1):
            wrong.append(row["id"])
    return {**counts, "right_term_share": round(counts["right_term"] / max(1, counts["entries"]), 4), "not_exact": sorted(wrong)}


def _same_term(made: FoundDefinition, term: str) -> bool:
    plain = term.split("(")[0].strip()
    return name_key(made.entity) in (name_key(term), name_key(plain))


def _covers(made: FoundDefinition, paragraph: str) -> bool:
    """Most words of what was found stand in the given definition."""
    words, given = Counter(readable(made.definition).lower().split()), Counter(paragraph.lower().split())
    return sum((words & given).values()) >= _MIN_OVERLAP * sum(words.values())


def _advisories(path: Path) -> dict[str, Any]:
    """No gold there: how many advisories give a definition, and by which rules."""
    if not path.is_file():
        return _absent(path)
    patterns: Counter[str] = Counter()
    documents = with_definition = 0
    for row in _rows(path):
        found = find_definitions(row["text"], title=row["title"])
        documents += 1
        with_definition += bool(found)
        patterns.update(made.pattern for made in found)
    total = sum(patterns.values())
    return {"documents": documents, "with_definition": with_definition, "definitions": total, "patterns": dict(patterns.most_common())}


def main(arguments: list[str]) -> int:
    data_dir = Path(arguments[0]) if arguments else DEFAULT_DATA
    sys.stdout.write(json.dumps(run(data_dir), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
