"""`lorefeed backup, restore`: a home in one file while everything runs, and back again."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.commands.place import Json, place_of
from daemon.commands.status import version
from daemon.output import note, say, show_facts, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.backup import Backup

NAME = "lorefeed-%Y%m%dT%H%M%S.%fZ.tar"
PATTERN = "lorefeed-*Z.tar"


def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, or a folder in which each backup gets a name of its own.")],
    keep: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="With a folder: keep this many, and delete older ones once this one is verified.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Make none; read this one and compare every digest.")] = False,
    as_json: Json = False,
) -> None:
    """Save registry, adapters and settings into one file, while everything runs. It is read back and compared before it gets its name.

    Keys that systemd hands over are not in it; named API keys are, as digests.

    \b
    lorefeed backup /mnt/disk/lorefeed.tar
    lorefeed backup /var/backups/lorefeed --keep 14
    lorefeed backup --verify /mnt/disk/lorefeed.tar
    """
    from registry.backup import read_backup, write_backup

    if keep is not None and not file.is_dir():
        raise typer.BadParameter("--keep needs a folder")
    deleted: list[Path] = []
    if verify:
        made = read_backup(file.resolve())
    else:
        place = place_of(ctx)
        place.need_home()
        target = (file / datetime.now(UTC).strftime(NAME) if file.is_dir() else file).resolve()
        with _one_at_a_time(target.parent):
            made = write_backup(place.home, target, version=version())
            deleted = [] if keep is None else _delete_older(target.parent, keep=keep)
    if as_json:
        show_json({**_json(made), "deleted": deleted})
        return
    show_facts(_json(made))
    say(f"{'It is whole.' if verify else 'It was read back and is whole.'}{f' Deleted {len(deleted)} older.' if deleted else ''}")


def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup that `lorefeed backup` made.")],
    force: Annotated[bool, typer.Option("--force", help="Although there is a registry; it is set aside, not deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Put a backup in the home's place. Stop the service first. Exit status 1 if what was restored does not agree with itself.

    \b
    systemctl stop lorefeed.target
    lorefeed restore /var/backups/lorefeed/lorefeed-20260301T033000.000000Z.tar --force
    """
    from registry.restore import restore as put_back

    place = place_of(ctx)
    done = put_back(file.resolve(), place.home, force=force)
    with place.registry() as registry:  # brings an older schema forward
        findings = registry.doctor()
        audit = registry.audit(known_head=done.backup.audit_head or None)
    errors = [finding for finding in findings if finding.level == "error"]
    if as_json:
        listed = [{"level": f.level, "object": f.object, "problem": f.problem, "remedy": f.remedy} for f in findings]
        facts = {"home": place.home, "set_aside": done.set_aside, "settings": done.settings, "audit_whole": audit.whole, "findings": listed}
        show_json({**_json(done.backup), **facts})
    else:
        show_facts({"restored": done.backup.path, "of": done.backup.made_at, "into": place.home, "set aside": done.set_aside})
        if done.settings is not None and done.settings.name.endswith("from-backup"):
            note(f"The settings in use stay; those of the backup are in {done.settings}")
        if findings:
            show_table(("level", "what", "problem", "try"), [(f.level, f.object, f.problem, f.remedy) for f in findings])
        say(f"Audit log: {audit.events} events, {'whole' if audit.whole else 'BROKEN: lorefeed audit verify'}.")
    if errors or not audit.whole:
        raise typer.Exit(1)


def _json(made: Backup) -> dict[str, Any]:
    return {
        "file": made.path,
        "made_at": made.made_at,
        "schema": made.schema,
        "adapters": made.adapters,
        "files": len(made.files),
        "size_bytes": made.size_bytes,
        "audit_head": made.audit_head,
    }


def _delete_older(folder: Path, *, keep: int) -> list[Path]:
    """Names are times, so their order is that of the backups; only what was named here is touched."""
    older = sorted(folder.glob(PATTERN))[:-keep]
    for path in older:
        path.unlink()
    return older


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two that end at the same time would count each other's files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
