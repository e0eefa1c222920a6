"""`lorefeed status`: what is served, what is running, what needs somebody. Answers at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer

from daemon.commands.place import Json, place_of
from daemon.commands.reach import engine_answers, gateway_url
from daemon.output import say, show_facts, show_json, show_table

JOBS_SHOWN = 10


def version() -> str:
    import importlib.metadata

    return importlib.metadata.version("lorefeed")


def status(ctx: typer.Context, as_json: Json = False) -> None:
    """What is served, what is running, and what needs somebody.

    \b
    lorefeed status
    lorefeed status --json | jq .aliases
    """
    from daemon.quiet import why_not_now

    place = place_of(ctx)
    settings = place.settings()
    with place.registry() as registry:
        aliases, counts = registry.read.aliases(), registry.read.counts()
        waits = why_not_now(registry, settings, datetime.now(UTC))
        jobs = [*registry.read.jobs("running"), *registry.read.jobs("queued"), *registry.read.jobs("failed")[::-1]]
    facts: dict[str, Any] = {
        "version": version(),
        "home": place.home,
        "engine": {"kind": settings.engine.kind, "url": settings.engine.address, "healthy": engine_answers(settings)},
        "aliases": {alias.name: {"adapter": alias.adapter, "since": alias.since} for alias in aliases},
        "feeds": {"total": counts.feeds["total"], "failing": counts.feeds["failing"]},
        "jobs": {state: counts.jobs[state] for state in ("queued", "running", "failed")},
        "definitions": counts.definitions,
        "learning": {"waits": waits},
    }
    if as_json:
        show_json(facts)
        return
    engine = facts["engine"]
    show_facts(
        {
            "lorefeed": facts["version"],
            "home": place.home,
            "engine": f"{engine['kind']} at {engine['url']}: {'healthy' if engine['healthy'] else 'does not answer'}",
            "gateway": gateway_url(settings),
            "feeds": f"{facts['feeds']['total']}, {facts['feeds']['failing']} failing",
            "jobs": ", ".join(f"{count} {state}" for state, count in facts["jobs"].items()),
            "definitions": ", ".join(f"{count} {state}" for state, count in counts.definitions.items() if count) or "none yet",
        }
    )
    if waits:
        say(f"Nothing new is learnt for now: {waits}")
    rows = [(a.name, a.adapter or "the base model", a.since, a.scope) for a in aliases]
    show_table(("alias", "serves", "since", "scope"), rows, title="Served", empty="no alias yet; add a feed: lorefeed feeds add LOCATION")
    shown = [(j.id, j.kind, j.key, j.state, f"{j.progress:.0%}", j.last_error or j.progress_text) for j in jobs[:JOBS_SHOWN]]
    if shown:
        show_table(("job", "kind", "of", "state", "done", "note"), shown, title="Jobs")
    if counts.definitions.get("review"):
        say(f"Definitions that wait for you: {counts.definitions['review']}. See: lorefeed definitions list --state review")
