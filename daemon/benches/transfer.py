"""Transfer sets of a bench: the continuations that were given, else what the model writes, drawn once and kept in a file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daemon.benches.sets import BenchSet
from daemon.learn.data import PLAIN_FORM, Example
from daemon.learn.elicit import ElicitPlan, Told, elicit
from daemon.learn.models import Base
from daemon.learn.train import Progress

Json = dict[str, Any]

AT_ONCE = 12


def transfer_sets(base: Base, bench: BenchSet, folder: Path, plan: ElicitPlan, progress: Progress) -> dict[str, list[Example]]:
    """Examples by definition id. What was drawn for exactly this model, set and plan is read back; a killed drawing goes on where it was."""
    found = {
        d.id: [Example(d.entity, d.definition, PLAIN_FORM, "", text) for text in d.continuations]
        for d in bench.definitions
        if d.continuations
    }
    lacking = [(i, d) for i, d in enumerate(bench.definitions) if d.id not in found]
    if not lacking:
        return found
    file = folder / f"transfer-{base.digest[:12]}-{bench.digest}-{plan.samples}-{plan.turns}-{plan.seed}.jsonl"
    found |= _kept(file)
    lacking = [(i, d) for i, d in lacking if d.id not in found]
    with file.open("a", encoding="utf-8") as lines:
        for start in range(0, len(lacking), AT_ONCE):
            part = lacking[start : start + AT_ONCE]
            progress(start / len(lacking), f"writing about {part[0][1].entity} and others")
            drawn = elicit(base, [Told(i, d.entity, d.definition) for i, d in part], plan)
            for i, d in part:
                found[d.id] = drawn[i]
                lines.write(json.dumps({"id": d.id, "examples": [asdict(e) for e in drawn[i]]}) + "\n")
            lines.flush()
    return found


def _kept(file: Path) -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            row: Json = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut short by a kill: drawn again
        found[row["id"]] = [Example(**e) for e in row["examples"]]
    return found
