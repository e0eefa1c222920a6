"""A bench's answer as Markdown, from the answer alone. Knows no tensors."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

Json = dict[str, Any]

_SHARES = (
    ("recovered", "recovered"),
    ("exact_match", "exact"),
    ("accuracy", "choice"),
    ("locality_accuracy", "known"),
    ("locality_agreement", "same answer"),
    ("skill_accuracy", "skills"),
)


def write(answer: Json, folder: Path, *, kind: str, plots: Sequence[str], history: Sequence[Json] = ()) -> Path:
    """Writes `KIND.md` beside the plots and says where. `history`: earlier answers of the folder about the same model."""
    text = {"knowledge": knowledge, "stream": stream, "learn": learn, "merge": merge}[kind](answer)
    if kind == "knowledge" and history:
        text += across([*history, answer])
    pictures = "".join(f"\n![{name.removesuffix('.svg').replace('-', ' ')}]({name})\n" for name in plots)
    file = folder / f"{kind}.md"
    file.write_text(text + pictures, encoding="utf-8")
    return file


def knowledge(answer: Json) -> str:
    """The methods side by side at their chosen learning rates, then every run of the sweep."""
    budget, base = answer["budget"], answer["methods"]["base"]
    head = (
        f"# Which method teaches {answer['model']} best\n\n"
        f"{answer['n_definitions']} definitions of {answer['set']}, {answer['at_once']} at once, seed {answer['seed']}."
        f" Learning rates are chosen per method inside one budget, with the adapter pinned: known answers at most {100 * budget['known']:.0f} points"
        f" below the base, skills at most {100 * budget['skills']:.0f}, KL on generic text at most {budget['generic_kl']} nats a token.\n"
        " `recovered` is the share of the in-context gain in mean NLL on direct, paraphrase and inference probes.\n\n"
    )
    columns = ["method", "rate", *(title for _, title in _SHARES), "direct / paraphrase / inference", "KL", "s / definition", "budget"]
    rows = [_row(name, result, base) for name, result in answer["methods"].items()]
    sweeps = [
        _row(f"{name}", run, base) for name, result in answer["methods"].items() for run in result.get("sweep", ()) if "failed" not in run
    ]
    failed = [
        f"- {name} at {run['learning_rate']:g}: {run['failed']}\n"
        for name, result in answer["methods"].items()
        for run in result.get("sweep", ())
        if "failed" in run
    ]
    sections = [
        head,
        table(columns, rows),
        scopes(answer),
        equal_forgetting(answer),
        "\n## The whole sweep\n\n",
        table(columns, sweeps),
        "\n",
    ]
    return "".join([*sections, *failed])


def scopes(answer: Json) -> str:
    """Each method's chosen run as the two scopes of an alias serve it."""
    served = [(name, r, m) for name, r in answer["methods"].items() if (m := r.get("by_mention")) is not None]
    if not served:
        return ""
    head = (
        "\n## As an alias serves it\n\nBefore the stroke by the scope `always`, after it by `mention`, where the adapter answers only what names"
        " something it was taught. Covered: the share of questions about what was taught that reach the adapter then; left alone: the"
        " share of all others that do not.\n\n"
    )
    keys = ("recovered", "exact_match", "locality_accuracy", "skill_accuracy")
    columns = ["method", "covered", "left alone", "recovered", "exact", "known", "skills"]
    rows = [[name, share(m["coverage"]), share(m["locality"]), *(f"{share(r[k])} / {share(m[k])}" for k in keys)] for name, r, m in served]
    return head + table(columns, rows)


_LEVELS = (0.25, 0.5, 0.75, 1.0)  # of the budget's KL


def equal_forgetting(answer: Json) -> str:
    """What each method recovers where all move generic text equally far."""
    levels = [part * answer["budget"]["generic_kl"] for part in _LEVELS]
    sweeps = {name: found for name, result in answer["methods"].items() if (found := _points(result.get("sweep", ())))}
    if not sweeps:
        return ""
    head = (
        "\n## At equal forgetting\n\nThe most that each method recovers while generic text moves no farther than so many nats a token, on the"
        " straight lines from the base through the runs of its sweep.\n\n"
    )
    rows = [[name, *(share(most_within(points, level)) for level in levels)] for name, points in sweeps.items()]
    return head + table(["method", *(f"KL {number(level)}" for level in levels)], rows)


def _points(sweep: Sequence[Json]) -> list[tuple[float, float]]:
    runs = [run for run in sweep if "failed" not in run]
    return [(run["generic_kl"], run["recovered"]) for run in runs if None not in (run["generic_kl"], run["recovered"])]


def most_within(points: Sequence[tuple[float, float]], level: float) -> float:
    """The highest ordinate at an abscissa of at most `level` on the line from (0, 0) through the points, nearest first; flat after the last."""
    most, left = 0.0, (0.0, 0.0)
    for right in sorted(points):
        if right[0] > level:
            width = right[0] - left[0]
            return max(most, left[1] + (right[1] - left[1]) * (level - left[0]) / width)
        most, left = max(most, right[1]), right
    return most


def across(answers: Sequence[Json]) -> str:
    """Every method's chosen run over all answers of a folder: by how many were taught at once, mean and spread over seeds and sets."""
    found: dict[tuple[int, str], list[tuple[Json, Json]]] = {}
    for answer in answers:
        for name, result in answer["methods"].items():
            if name != "base" and result.get("recovered") is not None:
                found.setdefault((answer["at_once"], name), []).append((result, answer["methods"]["base"]))
    rows = [
        [
            str(at_once), name, str(len(runs)), *(spread([r[key] for r, _ in runs]) for key in ("recovered", "exact_match")),
            spread(_lost(runs, "locality_accuracy")), spread(_lost(runs, "skill_accuracy")),
            f"{fmean(r['generic_kl'] for r, _ in runs):.3g}", f"{sum(r.get('within_budget', True) for r, _ in runs)} of {len(runs)}",
        ]
        for (at_once, name), runs in sorted(found.items())
    ]  # fmt: skip
    columns = ["at once", "method", "runs", "recovered", "exact", "known lost", "skills lost", "generic KL", "inside the budget"]
    return "\n## All runs of this folder\n\n" + table(columns, rows)


def _lost(runs: Sequence[tuple[Json, Json]], key: str) -> list[float]:
    return [base[key] - r[key] for r, base in runs if r[key] is not None]


def spread(values: Sequence[float]) -> str:
    """Mean, and sample standard deviation of two and more."""
    if not values:
        return "-"
    return share(fmean(values)) + (f" ± {100 * stdev(values):.1f}" if len(values) > 1 else "")


def _row(name: str, result: Json, base: Json) -> list[str]:
    if "failed" in result:
        return [name, number(result["learning_rate"]), *["-"] * (len(_SHARES) + 3), result["failed"]]
    kinds = " / ".join(share(result["by_kind"].get(k, {}).get("recovered")) for k in ("direct", "paraphrase", "inference"))
    breaks = result.get("breaks")
    return [
        name,
        number(result["learning_rate"]),
        *(share(result[key]) for key, _ in _SHARES),
        kinds,
        number(result["generic_kl"]),
        number(result["seconds_per_definition"]),
        "-" if breaks is None else "inside" if not breaks else "; ".join(breaks),
    ]


def stream(answer: Json) -> str:
    last = answer["steps"][-1]
    verdict = "inside the budget" if not answer["breaks"] else "outside the budget: " + "; ".join(answer["breaks"])
    strategy = f"merge by {answer['way']}" if answer["way"] else answer["strategy"]
    head = (
        f"# A stream of {len(answer['steps'])} updates of {answer['step_definitions']} definitions\n\n"
        f"{answer['method']}, {strategy}, on {answer['set']}, seed {answer['seed']}. After the last step {share(last['kept'])} of the"
        f" answers that each step had right are still right, FUAR is {number(answer['fuar'])}, and the adapter is {verdict}.\n\n"
    )
    columns = ["step", "definitions", "learnt", "recovered, all", "exact, all", "kept", "FUAR", "known", "skills", "generic KL", "seconds"]
    rows = [
        [
            str(s["step"]), str(s["definitions"]), share(s["learnt"]), share(s["recovered"]), share(s["exact_match"]), share(s["kept"]),
            number(s["fuar"]), share(s["unrelated"]["locality_accuracy"]), share(s["unrelated"]["skill_accuracy"]),
            number(s["unrelated"]["generic_kl"]), number(s["seconds"]),
        ]
        for s in answer["steps"]
    ]  # fmt: skip
    return head + table(columns, rows)


def merge(answer: Json) -> str:
    alone = [found for topic in answer["topics"] if (found := topic["recovered"]) is not None]
    head = (
        f"# {len(answer['topics'])} topics of {answer['each']} definitions, merged\n\n"
        f"{answer['set']}, seed {answer['seed']}; merged into rank {answer['rank']}. Alone, the topics recovered {spread(alone)}. Kept is the share"
        " of its own recovered gain that a topic still has in the merged adapter.\n\n"
    )
    columns = [
        "topics",
        "merged by",
        "kept, mean",
        "kept, least",
        "recovered",
        "known",
        "skills",
        "generic KL",
        "norm kept",
        "seconds",
        "budget",
    ]
    rows = [
        [
            str(m["topics"]), m["way"], share(m["kept_mean"]), share(m["kept_least"]), share(m["recovered"]), share(m["locality_accuracy"]),
            share(m["skill_accuracy"]), number(m["generic_kl"]), share(m["norm_kept"]), number(m["seconds"]), "; ".join(m["breaks"]) or "inside",
        ]
        for m in answer["merged"]
    ]  # fmt: skip
    return head + table(columns, rows)


def learn(answer: Json) -> str:
    head = (
        f"# What learning costs\n\n{answer['n_definitions']} definitions of {answer['set']} into {answer['model']} on {answer['device']}, in one"
        f" process. A step of distillation takes {number(answer['step_ratio'])} times one of plain LoRA fine-tuning on the same rows"
        f" ({number(answer['step_ratio_with_replay'])} with replay), and {number(answer['memory_ratio'])} times its memory."
        f" The published recipe takes {number(answer['published_ratio'])} times the seconds.\n\n"
    )
    columns = ["recipe", "seconds / definition", "steps", "step, s", "tokens / s", "peak MiB", "recovered"]
    rows = [
        [
            name.replace("_", " "), number(r["seconds_per_definition"]), str(r["steps"]), number(r["step_seconds"]),
            number(r["tokens_per_second"]), number(None if r["peak_memory_bytes"] is None else r["peak_memory_bytes"] / 2**20), share(r["recovered"]),
        ]
        for name, r in ((n, answer[n]) for n in ("ours", "ours_without_replay", "plain_lora", "published"))
    ]  # fmt: skip
    return head + table(columns, rows)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
