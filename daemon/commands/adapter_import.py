"""`lorefeed adapters import`: a version made on another machine, checked on this one before anything serves it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.commands.adapter_files import PROBES
from daemon.commands.place import OPERATOR, Json, place_of
from daemon.commands.views import adapter_json
from daemon.errors import DaemonError
from daemon.output import say, show_json

if TYPE_CHECKING:
    from registry import Adapter, Definition, Registry

MANIFEST, TRANSFER_SET = "manifest.json", "transfer_set.jsonl"


class NotImportable(DaemonError):
    """The folder is not what `adapters export` writes, or no longer."""


def import_(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `lorefeed adapters export` wrote.")],
    topic: Annotated[str | None, typer.Option(metavar="T", help="The topic that it becomes a version of; its own when missing.")] = None,
    as_json: Json = False,
) -> None:
    """Take in a version that was made on another machine, as this topic's next. It is served only when it has passed a check here.

    Every file is compared with the manifest first. What the version was taught comes along and is held until it is released.

    \b
    lorefeed adapters import /tmp/news-7
    lorefeed check news@12 && lorefeed promote news@12
    """
    manifest = _manifest(folder)
    place = place_of(ctx)
    key = place.settings().private_key
    with place.registry(create=True) as registry:
        made = bring_in(registry, folder, manifest, topic=topic or str(manifest["adapter"]).split("@")[0], private_key=key)
    if as_json:
        show_json(adapter_json(made, None))
        return
    say(f"{manifest['adapter']} of {folder} is {made.name} here, with {len(made.definitions)} definitions that wait for it.")
    say(f"Check it, then release it: lorefeed check {made.name} && lorefeed promote {made.name}")


def bring_in(registry: Registry, folder: Path, manifest: dict[str, Any], *, topic: str, private_key: Path | None = None) -> Adapter:
    """The rows and the published folder of a verified export; the version waits for its check."""
    from registry import NewProbe, NewTransferExample, Taught

    came_from = f"{manifest['adapter']} ({_digest(folder)[:12]})"
    taught = [Taught(d["entity"], d["text"], d.get("url")) for d in manifest["taught"]]
    rows = registry.write.import_taught(topic, feed=f"import of {came_from}", location=str(folder.resolve()), taught=taught, actor=OPERATOR)
    by_old_id = {int(d["id"]): row for d, row in zip(manifest["taught"], rows, strict=True)}
    by_text = {(d["entity"], d["text"]): row for d, row in zip(manifest["taught"], rows, strict=True)}
    examples: dict[int, list[NewTransferExample]] = {row.id: [] for row in rows}
    for e in _lines(folder / TRANSFER_SET):
        examples[by_text[e["entity"], e["definition"]].id].append(
            NewTransferExample(e["form"], e["prompt"], e["text"], f"import:{came_from}")
        )
    probes: dict[int, list[NewProbe]] = {row.id: [] for row in rows}
    for p in _lines(folder / PROBES):
        asked = NewProbe(p["kind"], p["prompt"], p["target"], tuple(p["candidates"]), chat=p["chat"], origin=f"import:{came_from}")
        probes[by_old_id[int(p["definition_id"])].id].append(asked)
    for row in rows:
        registry.write.save_transfer_set(row.id, examples[row.id])
        registry.write.save_probes(row.id, probes[row.id])
    return _publish(registry, folder, manifest, topic, by_old_id, private_key=private_key)


def _publish(
    registry: Registry, folder: Path, manifest: dict[str, Any], topic: str, rows: dict[int, Definition], *, private_key: Path | None
) -> Adapter:
    config = json.loads((folder / "adapter_config.json").read_text())
    facts = {"imported": {"adapter": manifest["adapter"], "digest": _digest(folder)}}
    adapter = registry.write.begin_adapter(
        topic, parent=None, method=manifest["method"], base_model=manifest["base_model"], base_digest=manifest["base_digest"], rank=config["r"],
        definitions=[rows[i].id for i in manifest["definitions"]], rehearsed=[rows[i].id for i in manifest["rehearsed"]], settings=facts,
    )  # fmt: skip
    kept = {name: value for name, value in manifest.items() if name not in ("adapter", "files")}
    ids = {name: [rows[i].id for i in manifest[name]] for name in ("definitions", "rehearsed")}
    taught = [{**d, "id": rows[int(d["id"])].id, "document": rows[int(d["id"])].document_id} for d in manifest["taught"]]
    with registry.artifacts.making(adapter.name) as out:
        for name in manifest["files"]:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes((folder / name).read_bytes())
        ours = {**kept, **ids, "taught": taught, **facts}
        digest = registry.artifacts.publish(out, adapter_name=adapter.name, manifest=ours, private_key=private_key)
    return registry.write.finish_learning(adapter.name, digest=digest)


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose every file is what the manifest says."""
    from registry import ArtifactDamaged, verify_file

    again = "Export it anew where it was made: lorefeed adapters export A DIR"
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files, needed = manifest["files"], ("adapter", "method", "base_model", "base_digest", "definitions", "rehearsed", "taught")
    except FileNotFoundError as err:
        raise NotImportable(f"{folder} has no {MANIFEST}.", hint="Give a folder that `lorefeed adapters export` wrote") from err
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise NotImportable(f"{folder / MANIFEST} cannot be read: {err}", hint=again) from err
    missing = [name for name in needed if name not in manifest]
    if missing:
        raise NotImportable(f"{folder / MANIFEST} lacks {', '.join(missing)}: only a version that learnt can be imported.", hint=again)
    for name, facts in files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise NotImportable(f"{folder / MANIFEST} names {name}, which is not a file of the folder.", hint=again)
        try:
            verify_file(path, facts)
        except ArtifactDamaged as err:
            raise NotImportable(f"{path} is not what was exported: {err}", hint=again) from err
    return manifest


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
