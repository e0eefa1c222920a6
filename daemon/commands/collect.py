"""`lorefeed adapters gc`: gives up versions that nothing needs, and deletes their files when nobody can be using them any more."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.commands.place import OPERATOR, Json, place_of
from daemon.output import say, show_json, show_table


def gc(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Delete the files of versions that nothing needs. Their rows stay for ever.

    A version is given up first; when it gives no answers, no engine holds it and the grace period is over, its files go: at a later run, or
    by the daemon. What is served, tried, gone back to, or among the newest of its topic stays.

    \b
    lorefeed adapters gc --dry-run
    """
    from daemon.serving_jobs import collect_garbage

    place = place_of(ctx)
    settings = place.settings()
    with place.registry() as registry:
        report = collect_garbage(registry, settings, actor=OPERATOR, dry_run=dry_run)
    if as_json:
        shown = {"given_up": report.given_up, "deleted": report.deleted, "freed_bytes": report.freed_bytes, "dry_run": dry_run}
        lists = {"waiting": report.waiting, "kept": report.kept}
        show_json({**shown, **{key: [{"adapter": name, "why": why} for name, why in rows] for key, rows in lists.items()}})
        return
    rows = [(name, "deleted", "") for name in report.deleted]
    rows += [(name, "given up" if name in report.given_up else "waits", why) for name, why in report.waiting]
    rows += [(name, "stays", why) for name, why in report.kept]
    show_table(("adapter", "would be" if dry_run else "now", "why"), rows, empty="There are no adapters.")
    say(f"{report.freed_bytes / 2**20:.1f} MiB {'would be' if dry_run else 'were'} freed.")
