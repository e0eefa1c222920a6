"""What is taught and what is asked in a bench: from files that a user gives, or from the invented world. Knows no tensors."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daemon.embedded import world
from daemon.embedded.skills import SKILLS
from daemon.learn.errors import LearnError
from daemon.learn.split import Article

OWN_KINDS = ("direct", "paraphrase", "inference")
LOCALITY, SKILL = "locality", "skill"
_WORLD_LOCALITY, _WORLD_SKILLS = 120, 60


@dataclass(frozen=True, slots=True)
class Taught:
    """A definition to learn. Continuations, where given, are its transfer set; documents are for the method that learns from them."""

    id: str
    entity: str
    definition: str
    documents: tuple[str, ...] = ()
    continuations: tuple[str, ...] = ()

    @property
    def articles(self) -> list[Article]:
        return [Article(self.entity, self.definition, text) for text in self.documents]


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to ask. Without `definition_id` it is about what must stay as it is: locality or a skill."""

    id: str
    definition_id: str | None
    kind: str
    prompt: str
    target: str
    candidates: tuple[str, ...] = ()
    chat: bool = False


@dataclass(frozen=True, slots=True)
class BenchSet:
    """Definitions, the probes about them, and the probes about everything else."""

    name: str
    definitions: list[Taught]
    probes: list[Probe]

    @property
    def digest(self) -> str:
        """Two sets with the same digest ask the same of the same."""
        text = json.dumps([[asdict(d) for d in self.definitions], [asdict(p) for p in self.probes]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def about(self, definitions: Sequence[Taught]) -> list[Probe]:
        ids = {d.id for d in definitions}
        return [p for p in self.probes if p.definition_id in ids and p.kind in OWN_KINDS]

    def of_kind(self, kind: str) -> list[Probe]:
        return [p for p in self.probes if p.kind == kind]

    def groups(self, at_once: int) -> list[list[Taught]]:
        return [self.definitions[i : i + at_once] for i in range(0, len(self.definitions), at_once)]


def from_files(definitions: Path, probes: Path, *, limit: int | None) -> BenchSet:
    """Reads both files; the errors name the file, the line and what is missing."""
    told = [
        Taught(str(r["id"]), r["entity"], r["definition"], tuple(r.get("documents") or ()), tuple(r.get("continuations") or ()))
        for r in _rows(definitions, ("id", "entity", "definition"))
    ][:limit]
    if not told:
        raise LearnError(f"{definitions} holds no definition.", hint="One JSON object a line, with id, entity and definition.")
    ids = {d.id for d in told}
    asked = [
        Probe(
            str(r["id"]),
            None if r["definition_id"] is None else str(r["definition_id"]),
            r["kind"],
            r["prompt"],
            r["target"],
            tuple(r.get("candidates") or ()),
            bool(r.get("chat")),
        )
        for r in _rows(probes, ("id", "definition_id", "kind", "prompt", "target"))
    ]
    asked = [p for p in asked if p.definition_id is None or p.definition_id in ids]
    if not any(p.kind in OWN_KINDS and p.definition_id for p in asked):
        raise LearnError(f"{probes} asks nothing about the definitions in {definitions}.", hint="definition_id must be an id from there.")
    return BenchSet(definitions.stem.removesuffix(".definitions"), told, asked)


def _rows(file: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as err:
        raise LearnError(f"{file} cannot be read: {err.strerror or err}", hint="Give a JSON-lines file.") from err
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as err:
            raise LearnError(f"{file}, line {number} is not JSON: {err}", hint="One JSON object a line.") from err
        if missing := [key for key in needed if key not in row]:
            raise LearnError(f"{file}, line {number} lacks {', '.join(missing)}.", hint=f"Each line needs {', '.join(needed)}.")
        found.append(row)
    return found


def from_world(seed: int, *, limit: int, per_kind: int = 4) -> BenchSet:
    """New entities of the invented world with an article of restatements each; known entities and skills for what must stay.

    Only a model that was trained on that world (the embedded one) knows those entities. Of each definition `per_kind` probes a kind are asked.
    """
    rng = random.Random(f"bench-{seed}")
    told: list[Taught] = []
    probes: list[Probe] = []
    for number, (entity, definition, questions) in enumerate(world.evaluation(seed, limit)):
        id_ = f"w{seed}-{number}"
        told.append(Taught(id_, entity.name, definition, (article(entity, definition, rng),)))
        for kind in OWN_KINDS:
            every = [q for q in questions if q.kind == kind]
            for q in rng.sample(every, min(per_kind, len(every))):
                probes.append(Probe(f"{id_}-{len(probes)}", id_, kind, q.prompt, q.target, q.candidates, q.chat))
    known = [q for e in world.known_entities() for q in world.questions(e) if q.kind != "paraphrase"]
    probes += [
        Probe(f"known-{i}", None, LOCALITY, q.prompt, q.target, (), q.chat) for i, q in enumerate(rng.sample(known, _WORLD_LOCALITY))
    ]
    makers = tuple(SKILLS.values())
    turns = [makers[i % len(makers)](rng) for i in range(_WORLD_SKILLS)]
    probes += [Probe(f"skill-{i}", None, SKILL, asked, answer, (), True) for i, (asked, answer) in enumerate(turns)]
    return BenchSet(f"world-{seed}", told, probes)


def article(entity: world.Entity, definition: str, rng: random.Random) -> str:
    """The definition and each of its facts again, in the wordings that definitions may use: no paraphrase and no inference that is asked later."""
    again = [
        " ".join(world.statement(entity, index, wording)) + "."
        for index in range(len(entity.values))
        for wording in world.EVALUATION_WORDINGS
    ]
    rng.shuffle(again)
    return " ".join([definition, *again])
