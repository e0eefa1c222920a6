"""Measurements that a user can repeat on the machine at hand. Results go to standard output; the long ones keep their rows in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from daemon.commands.bench_process import answer_of
from daemon.commands.place import Json, place_of
from daemon.output import note, say, show_facts, show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Measure this machine: how long things take.")


@app.command("drop")
def drop(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=15, help="How many files to drop, one after another.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """From a file dropped into a watched folder to the alias answering about it, with engine, gateway and daemon running.

    \b
    lorefeed bench drop
    lorefeed bench drop --count 3 --json
    """
    from daemon.drop import bench_drop

    note(f"Dropping {count} files, one after another.")
    result = bench_drop(count=count)
    if as_json:
        show_json(result)
        return
    show_facts({"p50": f"{result['p50_s']} s", "worst": f"{result['worst_s']} s", "right": f"{result['right']} of {count}"})
    for each in result["drops"]:
        show_facts({each["name"]: f"released after {each['released_s']} s, answered by {each['adapter']} after {each['answered_s']} s"})


Definitions = Annotated[
    Path | None, typer.Option("--definitions", metavar="D.jsonl", help="What is taught: id, entity, definition a line.")
]
Probes = Annotated[
    Path | None, typer.Option("--probes", metavar="P.jsonl", help="What is asked: id, definition_id, kind, prompt, target a line.")
]
World = Annotated[
    int | None, typer.Option("--world", metavar="SEED", help="New entities of the embedded model's invented world instead of files.")
]
Model = Annotated[str | None, typer.Option("--model", metavar="embedded|DIR|ID", help="The model; else the one in the configuration.")]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N definitions; of the world 10 unless said.")
]
Seed = Annotated[int, typer.Option("--seed", help="Decides the adapter's start and the order of examples.")]
Folder = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Rows, report and pictures; else bench/ in the home.")]
METHODS = "context,split,etcon,finetune_definition,finetune_transfer"


@app.command("knowledge")
def knowledge(
    ctx: typer.Context,
    definitions: Definitions = None,
    probes: Probes = None,
    world: World = None,
    model: Model = None,
    methods: Annotated[
        str,
        typer.Option("--methods", help="Names, or NAME:option=value+option=value; also the controls wrong_definition and random_transfer."),
    ] = METHODS,
    at_once: Annotated[int | None, typer.Option("--at-once", min=1, metavar="N", help="Definitions in one adapter; else all.")] = None,
    limit: Limit = None,
    seed: Seed = 0,
    rates: Annotated[
        str, typer.Option("--learning-rates", help="To be tried for each method; else 0.3, 1 and 3 times the configured one.")
    ] = "",
    out: Folder = None,
    as_json: Json = False,
) -> None:
    """Which method teaches a model best: learnt and forgotten side by side, each method at its best learning rate inside one budget.

    A bench that was stopped goes on where it was.

    \b
    lorefeed bench knowledge --world 7 --limit 10
    lorefeed bench knowledge --definitions D.jsonl --probes P.jsonl --methods context,finetune_transfer --json
    """
    request = _request(ctx, "knowledge", definitions, probes, world, model, limit, seed, out)
    answer = answer_of({**request, "methods": _listed(methods), "at_once": at_once, "rates": [_rate(r) for r in _listed(rates)]})
    if as_json:
        show_json(answer)
        return
    columns = ("method", "rate", "recovered", "exact", "known", "skills", "generic KL", "s/definition", "in budget")
    shown = ("learning_rate", "recovered", "exact_match", "locality_accuracy", "skill_accuracy", "generic_kl", "seconds_per_definition")
    show_table(columns, [(name, *(r.get(key) for key in shown), r.get("within_budget")) for name, r in answer["methods"].items()])
    say(f"Report and pictures: {request['folder']}")


@app.command("stream")
def stream(
    ctx: typer.Context,
    definitions: Definitions = None,
    probes: Probes = None,
    world: World = None,
    model: Model = None,
    method: Annotated[
        str, typer.Option("--method", help="One method, as in bench knowledge; else learn.method, or context if that is auto.")
    ] = "",
    strategy: Annotated[
        Literal["warm", "retrain", "merge"] | None,
        typer.Option(
            help="warm: on top of the last version, rehearsing; retrain: from the base, on all so far; merge: alone, then merged with the last."
            " Else learn.strategy."
        ),
    ] = None,
    way: Annotated[Literal["sum", "linear", "ties", "dare"], typer.Option("--way", help="How the strategy merge merges.")] = "sum",
    step: Annotated[int, typer.Option("--step", min=1, metavar="N", help="Definitions a version, in the order of the file.")] = 10,
    limit: Limit = None,
    seed: Seed = 0,
    out: Folder = None,
    as_json: Json = False,
) -> None:
    """A stream of updates, one version after another: what each step learnt, what is kept, what is forgotten (FUAR).

    \b
    lorefeed bench stream --world 7 --limit 50 --step 10
    """
    request = _request(ctx, "stream", definitions, probes, world, model, limit, seed, out)
    learn_settings = place_of(ctx).settings().learn
    method = method or learn_settings.method
    extra = {
        "methods": ["context" if method == "auto" else method],
        "strategy": strategy or learn_settings.strategy,
        "way": way,
        "warm_rate": learn_settings.warm_rate,
        "at_once": step,
        "rehearsal": learn_settings.rehearsal,
    }
    answer = answer_of({**request, **extra})
    if as_json:
        show_json(answer)
        return
    columns = ("step", "definitions", "learnt", "recovered", "kept", "FUAR", "known", "generic KL", "seconds")
    rows = [
        (s["step"], s["definitions"], s["learnt"], s["recovered"], s["kept"], s["fuar"], s["unrelated"]["locality_accuracy"],
         s["unrelated"]["generic_kl"], s["seconds"])
        for s in answer["steps"]
    ]  # fmt: skip
    show_table(columns, rows)
    say("; ".join(answer["breaks"]) or "Inside the forgetting budget.")


@app.command("merge")
def merge(
    ctx: typer.Context,
    definitions: Definitions = None,
    probes: Probes = None,
    world: World = None,
    model: Model = None,
    ways: Annotated[
        str, typer.Option("--ways", help="Of sum, linear, ties, dare; retrain: one adapter of that rank learns all of it from the base.")
    ] = "sum,linear,ties,dare,retrain",
    each: Annotated[int, typer.Option("--each", min=1, metavar="N", help="Definitions a topic, in the order of the file.")] = 10,
    rank: Annotated[int | None, typer.Option("--rank", min=1, help="Of what is merged; else learn.merged_rank.")] = None,
    limit: Limit = None,
    seed: Seed = 0,
    out: Folder = None,
    as_json: Json = False,
) -> None:
    """Topics learnt apart, then 2, 4, 8 ... of them merged into one adapter: what each keeps of what it had recovered alone.

    \b
    lorefeed bench merge --world 7 --limit 80 --each 10
    """
    request = _request(ctx, "merge", definitions, probes, world, model, limit, seed, out)
    rank = rank or place_of(ctx).settings().learn.merged_rank
    answer = answer_of({**request, "ways": _listed(ways), "each": each, "rank": rank})
    if as_json:
        show_json(answer)
        return
    columns = ("topics", "way", "kept, least", "recovered", "known", "skills", "generic KL", "in budget")
    shown = ("topics", "way", "kept_least", "recovered", "locality_accuracy", "skill_accuracy", "generic_kl")
    show_table(columns, [(*(m[key] for key in shown), not m["breaks"]) for m in answer["merged"]])
    say(f"Report: {request['folder']}")


@app.command("learn")
def learn(
    ctx: typer.Context,
    definitions: Definitions = None,
    probes: Probes = None,
    world: World = None,
    model: Model = None,
    limit: Limit = None,
    seed: Seed = 0,
    out: Folder = None,
    as_json: Json = False,
) -> None:
    """What learning costs, beside plain LoRA fine-tuning on the same rows and beside the recipe as published, in one run.

    \b
    lorefeed bench learn --world 7 --limit 10
    """
    request = _request(ctx, "learn", definitions, probes, world, model, limit, seed, out)
    answer = answer_of(request)
    if as_json:
        show_json(answer)
        return
    names = ("ours", "ours_without_replay", "plain_lora", "published")
    shown = ("seconds_per_definition", "steps", "step_seconds", "tokens_per_second", "peak_memory_bytes", "recovered")
    show_table(("recipe", *(s.replace("_", " ") for s in shown)), [(n, *(answer[n][key] for key in shown)) for n in names])
    show_facts({key: answer[key] for key in ("step_ratio", "step_ratio_with_replay", "memory_ratio", "published_ratio")})


def _request(
    ctx: typer.Context,
    kind: str,
    definitions: Path | None,
    probes: Path | None,
    world: int | None,
    model: str | None,
    limit: int | None,
    seed: int,
    out: Path | None,
) -> dict[str, Any]:
    """What every bench of learning is told: the set, the model, and the plan that the service would train with."""
    from daemon.stages.distill import train_plan

    if (world is None) == (definitions is None) or (definitions is None) != (probes is None):
        raise typer.BadParameter("give --definitions and --probes, or --world")
    place = place_of(ctx)
    settings = place.settings()
    return {
        "kind": kind,
        "definitions": definitions and str(definitions.resolve()),
        "probes": probes and str(probes.resolve()),
        "world": world,
        "model": model or settings.model,
        "revision": None if model else settings.revision,
        "limit": limit,
        "seed": seed,
        "folder": str((out or place.home / "bench").resolve()),
        "plan": train_plan(settings, warm=False, gentler=False),
        "samples": settings.elicit.samples,
    }


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1:
        raise typer.BadParameter(f"{text!r} is no learning rate: a number between 0 and 1")
    return rate
