"""What the embedded model can do, as a table: reading invented definitions, inference, what it knows, skills, and reading real English.

    python -m daemon.embedded.evaluate [--model DIR] [--data DIR] [--corpus DIR] [--limit N]

Invented entities come from a seed that training never used. The real sets are third-party and read in place; what is absent is left out and said.
"""

import argparse
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daemon.embedded import world
from daemon.embedded.corpus import Corpus
from daemon.embedded.skills import SKILLS
from daemon.learn import data, score
from daemon.learn.folders import EMBEDDED
from daemon.learn.models import Base, load_base
from daemon.learn.score import Ask

Json = dict[str, Any]


def evaluate(base: Base, *, entities: int, seed: int, sets: Path | None, corpus: Path | None) -> Json:
    table: Json = {
        "seed": seed,
        "entities": entities,
        **invented(base, entities=entities, seed=seed),
        **known(base),
        **abilities(base, seed=seed),
    }
    if sets is not None and sets.is_dir():
        table |= {"definitions": continuations(base, sets / "corpus_definitions" / "open.jsonl")}
        table |= {"ecbd": targets(base, sets / "probes", "ecbd"), "entity_inferences": targets(base, sets / "probes", "entity_inferences")}
    if corpus is not None and corpus.is_dir():
        table["bits_per_byte"] = bits_per_byte(base, Corpus(corpus).kept_back())
    return table


def invented(base: Base, *, entities: int, seed: int) -> Json:
    """Exact match of greedy answers about new entities, with the definition in context and without."""
    asks: dict[str, list[Ask]] = {}
    for _, definition, questions in world.evaluation(seed, entities):
        for q in questions:
            asks.setdefault(q.kind, []).append(Ask(q.prompt, q.target, q.chat, definition, q.candidates))
            if q.chat and q.kind == "inference":
                asks.setdefault("reasoned", []).append(Ask(q.prompt + world.EXPLAIN, q.target, True, definition))
    rng = random.Random(seed)
    results: Json = {}
    for kind, every in asks.items():
        some = rng.sample(every, min(len(every), 600))
        for where, in_context in (("in_context", True), ("without", False)):
            results[f"{kind}_{where}"] = exact(base, some, in_context=in_context)
    return results


def known(base: Base) -> Json:
    """What it learnt by heart: stated facts and what follows from them."""
    asks: dict[str, list[Ask]] = {}
    for entity in world.known_entities():
        for q in world.questions(entity):
            asks.setdefault("known_inference" if q.kind == "inference" else "known", []).append(Ask(q.prompt, q.target, q.chat))
    rng = random.Random(3)
    return {name: exact(base, rng.sample(every, 600)) for name, every in asks.items()}


def abilities(base: Base, *, seed: int, each: int = 40) -> Json:
    rng = random.Random(f"skills-{seed}")
    by_name = {name: exact(base, [Ask(*make(rng), True) for _ in range(each)]) for name, make in SKILLS.items()}
    return {"skills": sum(by_name.values()) / len(by_name), "skills_by_kind": by_name}


def exact(base: Base, asks: Sequence[Ask], *, in_context: bool = False) -> float:
    answers = score.answers(base, asks, in_context=in_context)
    return round(sum(score.says(a, ask.target) for a, ask in zip(answers, asks, strict=True)) / len(asks), 4)


def continuations(base: Base, file: Path) -> Json:
    """Perplexity of real sentences about an entity: alone, after its definition, after another entity's."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    pairs = [(r["definition"], rows[(i + 1) % len(rows)]["definition"], s) for i, r in enumerate(rows) for s in r["continuations"][:3]]
    alone, right, wrong = (
        _perplexity(base, [(context, s) for context, s in texts])
        for texts in ([("", s) for _, _, s in pairs], [(d, s) for d, _, s in pairs], [(w, s) for _, w, s in pairs])
    )
    return {
        "perplexity": alone,
        "right_definition": round(right / alone - 1, 4),
        "wrong_definition": round(wrong / alone - 1, 4),
        "n": len(pairs),
    }


def _perplexity(base: Base, texts: Sequence[tuple[str, str]]) -> float:
    pairs = [(data.plain_prefix(base.tokenizer, context), data.ids_of(base.tokenizer, text)[:200]) for context, text in texts]
    scored = score.likelihoods_of(base, pairs)
    return math.exp(sum(s.nll for s in scored) / sum(s.tokens for s in scored))


def targets(base: Base, folder: Path, name: str) -> Json:
    """Perplexity of the targets of real probes, and accuracy among candidates, without and with the definition."""
    definitions = {r["id"]: r["definition"] for r in map(json.loads, (folder / f"{name}.definitions.jsonl").read_text().splitlines())}
    rows = [r for r in map(json.loads, (folder / f"{name}.probes.jsonl").read_text().splitlines()) if r["definition_id"] is not None]
    asks = [
        Ask(r["prompt"], r["target"], bool(r.get("chat")), definitions[r["definition_id"]], tuple(r.get("candidates", ()))) for r in rows
    ]
    nll = [
        sum(s.nll for s in found) / sum(s.tokens for s in found)
        for found in (score.likelihoods(base, asks), score.likelihoods(base, asks, in_context=True))
    ]
    result: Json = {"target_perplexity": math.exp(nll[0]), "right_definition": round(math.exp(nll[1] - nll[0]) - 1, 4), "n": len(asks)}
    choosing = [a for a in asks if a.candidates]
    if choosing:
        for where, in_context in (("accuracy_without", False), ("accuracy_in_context", True)):
            picked = score.choices(base, choosing, in_context=in_context)
            result[where] = round(sum(p == a.target for p, a in zip(picked, choosing, strict=True)) / len(choosing), 4)
    return result


def bits_per_byte(base: Base, texts: Sequence[str]) -> float:
    """On text kept out of training, each cut to what fits the context."""
    rows = [(data.plain_prefix(base.tokenizer, ""), data.ids_of(base.tokenizer, t)[: base.context - 8]) for t in texts]
    scored = score.likelihoods_of(base, rows)
    size = sum(len(base.tokenizer.decode(ids).encode()) for _, ids in rows)
    return round(sum(s.nll for s in scored) / math.log(2) / size, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--corpus", type=Path, default=Path(__file__).parents[3] / "shared" / "corpus")
    parser.add_argument("--entities", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    base = load_base(args.model)
    print(json.dumps(evaluate(base, entities=args.entities, seed=args.seed, sets=args.data, corpus=args.corpus), indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
