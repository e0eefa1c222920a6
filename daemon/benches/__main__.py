"""A bench as a process of its own: one JSON request on standard input; JSON lines `progress`, then `result` or `error`, on standard output.

The commands start it; they import no torch themselves.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from daemon.benches import cost, knowledge, merged, plots, report, stream
from daemon.benches.methods import parse
from daemon.benches.sets import BenchSet, from_files, from_world
from daemon.learn.elicit import ElicitPlan
from daemon.learn.errors import LearnError
from daemon.learn.models import load_base
from daemon.learn.train import Progress, TrainPlan

Json = dict[str, Any]


def run(request: Json, progress: Progress) -> Json:
    """Loads what is named, measures, and writes answer, report and pictures into the request's folder."""
    folder = Path(request["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    specs = [parse(written) for written in request.get("methods", ())]
    bench_set = _set(request)
    base = load_base(request["model"], revision=request.get("revision"))
    plan = TrainPlan(**request["plan"])
    elicit = replace(ElicitPlan(), samples=int(request["samples"]))
    kind = request["kind"]
    answer: Json
    if kind == "knowledge":
        rates = tuple(request["rates"]) or tuple(plan.learning_rate * share for share in knowledge.RATES)
        at_once = request["at_once"] or len(bench_set.definitions)
        asked = knowledge.Asked(tuple(spec.written for spec in specs), at_once, request["seed"], rates, plan, elicit)
        answer = knowledge.bench(base, bench_set, asked, folder, progress)
    elif kind == "stream":
        wanted = stream.Stream(
            specs[0].written, request["strategy"], request["at_once"] or 10, request["seed"], request["rehearsal"], plan, elicit,
            way=request["way"], warm_rate=request["warm_rate"],
        )  # fmt: skip
        answer = stream.bench(base, bench_set, wanted, folder, progress)
    elif kind == "merge":
        wished = merged.MergeAsked(tuple(request["ways"]), request["each"], request["rank"], request["seed"], plan, elicit)
        answer = merged.bench(base, bench_set, wished, folder, progress)
    else:
        answer = cost.bench(base, bench_set, cost.CostAsked(replace(plan, seed=request["seed"]), elicit), folder, progress)
    return _kept(answer, folder, kind)


def _set(request: Json) -> BenchSet:
    if request.get("world") is not None:
        return from_world(int(request["world"]), limit=request["limit"] or 10)
    return from_files(Path(request["definitions"]), Path(request["probes"]), limit=request["limit"])


def _kept(answer: Json, folder: Path, kind: str) -> Json:
    history = [
        a for file in sorted(folder.glob(f"{kind}-*.json")) if _same_model(a := json.loads(file.read_text(encoding="utf-8")), answer)
    ]
    drawn = plots.draw(answer, folder, kind=kind, history=history)
    kinds = [kind, answer["set"], answer.get("at_once", answer["n_definitions"]), answer.get("seed", 0), answer.get("strategy")]
    name = "-".join(str(each) for each in kinds if each is not None) + ".json"
    (folder / name).write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    report.write(answer, folder, kind=kind, plots=drawn, history=history)
    return answer


def _same_model(earlier: Json, answer: Json) -> bool:
    """An answer about this model that the new one does not replace."""
    same = [earlier.get(k) == answer.get(k) for k in ("base_digest", "set", "at_once", "seed")]
    return same[0] and not all(same)


def main() -> None:
    # libraries print where they like; only answers may go to the pipe
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(message: Json) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    tell: Callable[[float, str], None] = lambda fraction, text: send({"progress": round(fraction, 4), "text": text})  # noqa: E731
    try:
        send({"result": run(json.loads(sys.stdin.readline()), tell)})
    except LearnError as err:
        send({"error": {"message": str(err), "hint": err.hint}})
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
