"""`lorefeed adapters diff, export`: two versions side by side, and a version as a folder for somebody else."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.commands.place import OPERATOR, AdapterName, Json, place_of
from daemon.commands.views import adapter_json, check_json, definition_json
from daemon.errors import DaemonError
from daemon.output import say, short, show_json, show_table

if TYPE_CHECKING:
    from registry import Adapter, CheckRun, Registry


PROBES = "probes.jsonl"


class NotEmpty(DaemonError):
    """An export would overwrite what is there."""


def diff(
    ctx: typer.Context,
    left: AdapterName,
    right: Annotated[str, typer.Argument(metavar="B", help="Another adapter.")],
    as_json: Json = False,
) -> None:
    """Two versions side by side: what they carry, how they were made, what their checks measured, and which answers changed.

    \b
    lorefeed adapters diff news@6 news@7
    """
    with place_of(ctx).registry() as registry:
        found = difference(registry, left, right)
    if as_json:
        show_json(found)
        return
    for name, only in ((left, found["only_a"]), (right, found["only_b"])):
        rows = [(d["id"], d["entity"], short(d["text"], 90)) for d in only]
        show_table(("id", "entity", "definition"), rows, title=f"Only in {name}", empty="nothing")
    show_table(
        ("setting", left, right), [(s["name"], s["a"], s["b"]) for s in found["settings"]], title="Made differently", empty="nothing"
    )
    show_table(
        ("metric", left, right), [(m["name"], m["a"], m["b"]) for m in found["metrics"]], title="Checks", empty="neither was checked"
    )
    changed = [(c["prompt"], c["target"], c["a"], c["b"]) for c in found["answers"]]
    show_table(("question", "right answer", left, right), changed, title="Answers that became right or wrong", empty="none")
    say(f"{found['both']} definitions are in both, {found['asked']} questions were asked of both.")


def difference(registry: Registry, left: str, right: str) -> dict[str, Any]:
    """The comparison as JSON: `only_a, only_b, both, settings, metrics, answers, asked`. Raises NotThere for a version that does not exist."""
    pair = [registry.read.adapter(name) for name in (left, right)]
    _, only_a = registry.pages.carried_by_one(left, right, limit=None)
    count_b, only_b = registry.pages.carried_by_one(right, left, limit=None)
    checks = [registry.read.newest_check(name) for name in (left, right)]
    settings = sorted({key for one in pair for key in one.settings})
    values = [{} if check is None else check.values for check in checks]
    answers, asked = _changed_answers(registry, checks)
    return {
        "a": left,
        "b": right,
        "only_a": [definition_json(d) for d in reversed(only_a)],
        "only_b": [definition_json(d) for d in reversed(only_b)],
        "both": registry.pages.carried(right) - count_b,
        "settings": [
            {"name": key, "a": pair[0].settings.get(key), "b": pair[1].settings.get(key)}
            for key in settings
            if pair[0].settings.get(key) != pair[1].settings.get(key)
        ],
        "metrics": [{"name": name, "a": values[0].get(name), "b": values[1].get(name)} for name in dict.fromkeys([*values[0], *values[1]])],
        "answers": answers,
        "asked": asked,
    }


def _changed_answers(registry: Registry, checks: list[CheckRun | None]) -> tuple[list[dict[str, Any]], int]:
    """Questions that both newest checks asked and of which one was answered rightly and one wrongly; and how many both asked."""
    if checks[0] is None or checks[1] is None:
        return [], 0
    first, second = ({(r.prompt, r.target): r for r in registry.read.check_results(check.id)} for check in checks if check is not None)
    both = [key for key in first if key in second]
    changed = [key for key in both if first[key].passed != second[key].passed]
    rows = [
        {
            "definition_id": first[key].definition_id, "prompt": key[0], "target": key[1],
            "a": first[key].answer, "b": second[key].answer, "right": "a" if first[key].passed else "b",
        }
        for key in changed
    ]  # fmt: skip
    return rows, len(both)


def export(
    ctx: typer.Context,
    adapter: AdapterName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there yet.")],
    as_json: Json = False,
) -> None:
    """Copy a version for somebody else: its files as PEFT and vLLM read them, its manifest, its newest check, and a README that says what it is.

    The files are verified before they are copied. What it was taught goes along, in words: look at it before you give it away.

    \b
    lorefeed adapters export news@7 /tmp/news-7
    """
    place = place_of(ctx)
    with place.registry() as registry:
        found = registry.read.adapter(adapter)
        source = registry.artifacts.verify(found)
        check = registry.read.newest_check(adapter)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise NotEmpty(f"{folder} is not an empty folder.", hint=f"lorefeed adapters export {adapter} {folder}/{adapter}")
        shutil.copytree(source, folder, dirs_exist_ok=True)
        (folder / "check.json").write_text(json.dumps(None if check is None else check_json(check), indent=1, default=str) + "\n")
        with (folder / PROBES).open("w", encoding="utf-8") as lines:
            for probe in registry.read.probes([*found.definitions, *found.rehearsed]):
                lines.write(json.dumps(asdict(probe), ensure_ascii=False) + "\n")
        (folder / "README.md").write_text(_card(found, check, json.loads((source / "manifest.json").read_text())))
        registry.write.add_event(OPERATOR, "exported", f"adapter {adapter}", {"folder": str(folder.resolve())})
    if as_json:
        show_json({**adapter_json(found, check), "folder": str(folder.resolve())})
        return
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    say(
        f"{adapter} is in {folder} ({size / 2**20:.1f} MiB). It fits {found.base_model} with digest {found.base_digest[:16]} and no other model."
    )


def _card(adapter: Adapter, check: CheckRun | None, manifest: dict[str, Any]) -> str:
    """What whoever gets the folder has to know, with the fields that model hubs read at the top."""
    taught = "\n".join(f"- **{d['entity']}**: {d['text']}" + (f" ({d['url']})" if d["url"] else "") for d in manifest.get("taught", ()))
    verdict = "It was not checked."
    if check is not None:
        asked = {name: metric.get("n", "") if isinstance(metric, dict) else "" for name, metric in check.metrics.items()}
        figures = "\n".join(f"| {name.replace('_', ' ')} | {value:.3f} | {asked[name]} |" for name, value in check.values.items())
        verdict = f"It {check.verdict} its check on {check.created_at:%Y-%m-%d}.\n\n| measured | value | asked |\n|---|---|---|\n{figures}"
    return (
        f"---\nbase_model: {adapter.base_model}\nlibrary_name: peft\ntags: [lora]\n---\n"
        f"# {adapter.name}\n\nA LoRA of rank {adapter.rank}, made by Lorefeed on {adapter.created_at:%Y-%m-%d} by the method `{adapter.method}`"
        f" from {len(adapter.definitions)} new definitions and {len(adapter.rehearsed)} rehearsed ones. It fits the base model with digest"
        f" `{adapter.base_digest}` only. `manifest.json` has everything that made it and the sha-256 of every file;"
        f" its own is `{adapter.digest}`.\n\n## Check\n\n{verdict}\n\n## What it was taught\n\n{taught}\n"
    )
