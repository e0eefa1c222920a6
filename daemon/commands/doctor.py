"""`lorefeed doctor`: what does not agree, with what to do about it. Changes nothing, unless asked to mend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.commands.place import OPERATOR, Json, NoHome, Place, place_of
from daemon.commands.reach import engine_answers, gateway_answers, gateway_url
from daemon.errors import ConfigError
from daemon.learn.errors import ModelNotFound
from daemon.learn.folders import digest_of, folder_of
from daemon.output import note, say, show_json, show_table

if TYPE_CHECKING:
    from daemon.config import Settings
    from registry import Finding, Registry

_LOADABLE = ("live", "passed", "retired")  # what is or may come to be served


def doctor(
    ctx: typer.Context,
    mend: Annotated[
        bool, typer.Option("--mend", help="Offer to put right what can be, one thing after another. Stop the daemon first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --mend: take every offer.")] = False,
    as_json: Json = False,
) -> None:
    """Look for what is wrong: configuration, registry, adapter folders, audit log, base model, engine, gateway. Exit status 1 if there are errors.

    \b
    lorefeed doctor
    lorefeed doctor --mend
    lorefeed doctor --json | jq '.findings[] | select(.level == "error")'
    """
    if mend:
        _mend(place_of(ctx), ask=not yes)
    findings = list(_findings(place_of(ctx)))
    errors = sum(finding.level == "error" for finding in findings)
    if as_json:
        listed = [{"level": f.level, "object": f.object, "problem": f.problem, "remedy": f.remedy} for f in findings]
        show_json({"ok": errors == 0, "findings": listed})
    elif findings:
        rows = [(f.level, f.object, f.problem, f.remedy) for f in findings]
        show_table(("level", "what", "problem", "try"), rows)
        say(f"Errors: {errors}, warnings: {len(findings) - errors}.")
    else:
        say("Everything agrees.")
    if errors:
        raise typer.Exit(1)


def _mend(place: Place, *, ask: bool) -> None:
    """Offers, and what became of them, go beside the answer: what is left afterwards is the answer."""
    from registry import RegistryError

    with place.registry() as registry, registry.lock_daemon():
        offers = registry.mendings(actor=OPERATOR)
        if not offers:
            note("There is nothing that could be put right by itself.")
        for offer in offers:
            if ask and not typer.confirm(f"{offer.object}: {offer.offer}?", default=False, err=True):
                continue
            try:
                note(f"{offer.object}: {offer.do()}.")
            except RegistryError as err:
                note(f"{offer.object}: not mended: {err} Try: {err.hint}")


def _findings(place: Place) -> Iterator[Finding]:
    from registry import Finding, RegistryError

    try:
        place.need_home()
        settings = place.settings()
    except (ConfigError, NoHome) as err:
        yield Finding("error", "configuration" if isinstance(err, ConfigError) else "home", str(err), err.hint)
        settings = None
    if not place.home.is_dir():
        return
    try:
        with place.registry() as registry:
            yield from registry.doctor()
            yield from _audit_findings(registry)
            yield from _work_findings(registry)
            if settings is not None:
                yield from _base_findings(registry, settings)
                yield from _signature_findings(registry, settings)
    except RegistryError as err:
        yield Finding("error", "registry", str(err), err.hint)
    if settings is not None:
        yield from _room_findings(place, settings)
        yield from _service_findings(settings)


def _audit_findings(registry: Registry) -> Iterator[Finding]:
    from registry import Finding

    report = registry.audit()
    if report.broken is not None:
        problem = f"Event {report.broken} is not what was written, or what stood before it is gone"
        yield Finding(
            "error", "audit log", problem, "Compare with a backup: lorefeed audit list; somebody has changed the registry by hand"
        )


def _signature_findings(registry: Registry, settings: Settings) -> Iterator[Finding]:
    """Damaged folders are the registry's finding; here, what is whole and not signed by whom it must be."""
    from registry import ArtifactDamaged, Finding, signature_problem

    key = settings.signing.public_key
    if key is None:
        return
    for adapter in registry.read.adapters():
        if adapter.state not in _LOADABLE or adapter.digest is None or adapter.removed_at is not None:
            continue
        try:
            problem = signature_problem(registry.artifacts.verify(adapter), key)
        except ArtifactDamaged:
            continue
        if problem is not None:
            yield Finding(
                "error" if adapter.state == "live" else "warning",
                f"adapter {adapter.name}",
                problem,
                f"If you know where it comes from: lorefeed adapters sign {adapter.name}",
            )


def _room_findings(place: Place, settings: Settings) -> Iterator[Finding]:
    from daemon.watermarks import Watermarks
    from registry import Finding

    shortage = Watermarks(place.home, settings.watermarks).look()
    if shortage is not None:
        yield Finding("warning", "room", f"Learning waits: {shortage}", "Make room: lorefeed adapters gc, or a larger disk")


def _work_findings(registry: Registry) -> Iterator[Finding]:
    from registry import Finding

    for feed in registry.read.feeds():
        if feed.state != "retired" and feed.error_count:
            problem = f"Its last {feed.error_count} polls failed: {feed.last_error}"
            yield Finding("warning", f"feed {feed.name}", problem, f"lorefeed feeds poll {feed.name}")
    for job in registry.read.jobs("failed"):
        yield Finding("warning", f"job {job.id}", f"{job.kind} {job.key} was given up: {job.last_error}", "lorefeed status")


def _service_findings(settings: Settings) -> Iterator[Finding]:
    from registry import Finding

    if not engine_answers(settings):
        start = "lorefeed run, or lorefeed engine" if settings.engine.kind == "embedded" else "journalctl -u lorefeed-vllm"
        yield Finding("warning", "engine", f"{settings.engine.kind} at {settings.engine.address} does not answer", start)
    if not gateway_answers(settings):
        yield Finding("warning", "gateway", f"{gateway_url(settings)} does not answer", "lorefeed run, or lorefeed gateway")


def _base_findings(registry: Registry, settings: Settings) -> Iterator[Finding]:
    """Adapters belong to one base model. Reading all its bytes takes a while, so it is done where there are adapters to compare with."""
    from registry import Finding

    adapters = [adapter for adapter in registry.read.bare_adapters() if adapter.state in _LOADABLE]
    if not adapters:
        return
    try:
        digest = digest_of(folder_of(settings.model, settings.revision, download=False))
    except ModelNotFound as err:
        yield Finding("error", "base model", str(err), err.hint)
        return
    for adapter in adapters:
        if adapter.base_digest != digest:
            yield Finding(
                "error" if adapter.state == "live" else "warning",
                f"adapter {adapter.name}",
                f"It was made for {adapter.base_model} with digest {adapter.base_digest}, but {settings.model} has digest {digest}",
                "Set model and revision back, or start a new home: adapters belong to one base model",
            )
