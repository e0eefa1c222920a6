"""Measures extraction on labelled sets: `python -m daemon.extraction.bench DIR` prints precision, recall and F1 as JSON.

A set that is absent is reported as such. Sentence sets count a sentence as found when it gives any definition; where the set names
the defined term, `by_term` counts it only when the found entity is that term. The rules were written with the `development` half of each
set in view (by the hash of the id); `held` is the half that nobody looked at. `judged_rustsec.jsonl` holds what a reader judged of the
advisories: our own words and ids only; what it lists beyond what is found was read among the sentences that name a thing and say "is a",
"provides", "called" and the like.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from daemon.extraction.find import find_definitions
from daemon.extraction.found import FoundDefinition
from daemon.extraction.markup import readable
from daemon.extraction.meaning import compare
from daemon.extraction.titles import name_key

DEFAULT_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
_SENTENCE_SETS = ("definition_wcl", "definition_w00", "definition_deft")
_MIN_OVERLAP = 0.8
_JUDGED = Path(__file__).with_name("judged_rustsec.jsonl")


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
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("all", "development", "held", "by_term", "spans")}
    seconds = 0.0
    for row in islice(_rows(path), 0, None, every):
        began = time.process_time()
        found = find_definitions(row["sentence"])
        seconds += time.process_time() - began
        gold = bool(row["is_definition"])
        outcome = _outcome(gold=gold, guessed=bool(found))
        counts["all"][outcome] += 1
        counts["development" if in_development(row.get("id", row["sentence"])) else "held"][outcome] += 1
        if row.get("term"):
            named = [made for made in found if _names(made, row["term"])]
            counts["by_term"][_outcome(gold=gold, guessed=bool(named))] += 1
            if gold and found:
                counts["spans"]["hits"] += 1
                counts["spans"]["term_and_definition_right"] += any(_holds(made, row.get("definition")) for made in named)
    report = _measures(counts["all"]) | {half: _measures(counts[half]) for half in ("development", "held")}
    if counts["by_term"]:
        report["by_term"] = _measures(counts["by_term"])
        report["spans"] = {
            **counts["spans"],
            "share": round(counts["spans"]["term_and_definition_right"] / max(1, counts["spans"]["hits"]), 4),
        }
    return report | {"documents_a_second": round(sum(counts["all"].values()) / max(seconds, 1e-9))}


def in_development(identifier: object) -> bool:
    """Half of every set, by the hash of the id: the half whose errors were read while the rules were written."""
    return hashlib.sha256(str(identifier).encode()).digest()[0] % 2 == 0


def _holds(made: FoundDefinition, definition: str | None) -> bool:
    """The given defining words, where the set gives them, stand in what was found."""
    if not definition:
        return True
    given = Counter(readable(definition).lower().split())
    return sum((given & Counter(readable(made.definition).lower().split())).values()) >= _MIN_OVERLAP * sum(given.values())


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
    reasons: Counter[str] = Counter()
    last: dict[str, str] = {}
    began = time.process_time()
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
        change = _change(row, right, last)
        if change is not None:
            counts["definition_changes"] += 1
            reasons[change] += 1
    seconds = time.process_time() - began
    return {
        **counts,
        "right_term_share": round(counts["right_term"] / max(1, counts["entries"]), 4),
        "changes_end_as": dict(reasons),
        "not_exact": sorted(wrong),
        "documents_a_second": round((counts["entries"] + counts["stubs"]) / max(seconds, 1e-9)),
    }


def _change(row: dict[str, Any], right: list[FoundDefinition], last: dict[str, str]) -> str | None:
    """What becomes of an event that changes a definition; None where it does not, or where it is the first of its entry."""
    older = last.get(row["doc_id"])
    if right:
        last[row["doc_id"]] = right[0].definition
    if not row["definition_changed"] or (older is None and right):
        return None
    if not right or older is None:
        return "lost: no definition was found"
    compared = compare(older, right[0].definition, name=row["term"])
    return f"same meaning: {compared.reason}" if compared.same else "superseded"


def _same_term(made: FoundDefinition, term: str) -> bool:
    plain = term.split("(")[0].strip()
    return name_key(made.entity) in (name_key(term), name_key(plain))


def _covers(made: FoundDefinition, paragraph: str) -> bool:
    """Most words of what was found stand in the given definition."""
    words, given = Counter(readable(made.definition).lower().split()), Counter(paragraph.lower().split())
    return sum((words & given).values()) >= _MIN_OVERLAP * sum(words.values())


def _advisories(path: Path) -> dict[str, Any]:
    """What was found against what a reader judged: the share found of what is defined there, the share right of what was found."""
    if not path.is_file():
        return _absent(path)
    rows = list(_rows(_JUDGED))
    judged = {(row["id"], row["entity"]): bool(row["right"]) for row in rows}
    patterns: Counter[str] = Counter()
    documents = 0
    made_at: set[tuple[str, str]] = set()
    began = time.process_time()
    for row in _rows(path):
        found = find_definitions(row["text"], title=row["title"])
        documents += 1
        patterns.update(made.pattern for made in found)
        made_at |= {(row["id"].removeprefix("rustsec:"), made.entity) for made in found}
    seconds = time.process_time() - began
    wanted = {(row["id"], _bare(row["entity"])) for row in rows if row["right"]}
    subjects = {(row["id"], _bare(row["entity"])) for row in rows if row["right"] and row["kind"] in ("package", "vulnerability")}
    got = {(one, _bare(name)) for one, name in made_at}
    checked = [judged[made] for made in made_at if made in judged]
    return {
        "documents": documents,
        "definitions": len(made_at),
        "defined_there": len(wanted),
        "found_share": round(len(wanted & got) / max(1, len(wanted)), 4),
        "packages_and_vulnerabilities": {
            "defined_there": len(subjects),
            "found_share": round(len(subjects & got) / max(1, len(subjects)), 4),
        },
        "missed": sorted(" ".join(missed) for missed in wanted - got),
        "judged": len(checked),
        "precision": round(sum(checked) / max(1, len(checked)), 4),
        "not_judged": sorted(" ".join(made) for made in made_at if made not in judged),
        "patterns": dict(patterns.most_common()),
        "documents_a_second": round(documents / max(seconds, 1e-9)),
    }


def _bare(name: str) -> str:
    """ "appendix crate" and "appendix" name one package."""
    return re.sub(r"\s+(?:crate|package)\Z", "", name)


def main(arguments: list[str]) -> int:
    data_dir = Path(arguments[0]) if arguments else DEFAULT_DATA
    sys.stdout.write(json.dumps(run(data_dir), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
