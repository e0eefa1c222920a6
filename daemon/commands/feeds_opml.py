"""`lorefeed feeds import`, `export` and `discover`: moving in from a feed reader, moving out, and finding a site's feeds."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from daemon.commands.feed_names import derived_name, shown_location, topic_name, watched_as, workable
from daemon.commands.place import OPERATOR, Json, place_of, seconds
from daemon.commands.views import feed_json
from daemon.output import note, say, show_json

if TYPE_CHECKING:
    from registry import Feed, Registry
    from sources.opml import Subscription

_FILE_MAX_BYTES = 50 * 2**20


@dataclass(slots=True)
class _Import:
    """What became of each subscription of the file."""

    added: list[Feed] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def import_feeds(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="F.opml", help="What a feed reader exported; - reads standard input.")],
    topic: Annotated[str | None, typer.Option(help="One topic for all; else each category becomes a topic.")] = None,
    every: Annotated[str | None, typer.Option(metavar="TIME", help="How often they are polled: 30s, 15m, 2h, 1d.")] = None,
    trust: Annotated[Literal["auto", "review"], typer.Option(help="auto, or review: an operator approves each definition.")] = "auto",
    as_json: Json = False,
) -> None:
    """Watch every feed of an OPML file. Run again, it adds only what is new. Exit status 1 if nothing in it could be added.

    \b
    lorefeed feeds import subscriptions.opml
    lorefeed feeds import subscriptions.opml --topic news --trust review
    """
    from sources.opml import read_opml

    place = place_of(ctx)
    interval_s = None if every is None else seconds(every)
    subscriptions, problems = read_opml(_bytes_of(file), str(file))
    done = _Import(problems=list(problems))
    with place.registry(create=True) as registry:
        for one in subscriptions:
            _add(registry, one, done, topic=topic, interval_s=interval_s or place.settings().sources.interval_s, trust=trust)
    if as_json:
        show_json({"added": [feed_json(feed) for feed in done.added], "known": done.known, "problems": done.problems})
    else:
        topics = sorted({feed.topic for feed in done.added})
        say(
            f"Added {len(done.added)} feeds"
            + (f" for {', '.join(topics)}" if topics else "")
            + f"; {len(done.known)} were watched already."
        )
        for problem in done.problems:
            note(f"Left out: {problem}")
    if not done.added and not done.known:
        raise typer.Exit(1)


def export_feeds(
    ctx: typer.Context,
    to: Annotated[Path | None, typer.Option("--to", metavar="F.opml", help="The file to write; else standard output.")] = None,
    as_json: Json = False,
) -> None:
    """Every feed that is watched, as OPML with a folder for each topic. Folders and files of this machine are not part of it.

    \b
    lorefeed feeds export > subscriptions.opml
    """
    from sources.opml import Subscription, write_opml

    with place_of(ctx).registry() as registry:
        feeds = [feed for feed in registry.read.feeds() if feed.state != "retired"]
    remote = [feed for feed in feeds if feed.location.startswith(("http://", "https://"))]
    if as_json:
        show_json([feed_json(feed) for feed in remote])
        return
    data = write_opml((Subscription(feed.location, feed.name, feed.topic) for feed in remote), title="Lorefeed")
    if to is None:
        sys.stdout.write(data.decode("utf-8"))
    else:
        to.write_bytes(data)
        say(f"Wrote {len(remote)} feeds to {to}.")
    if len(remote) < len(feeds):
        note(f"{len(feeds) - len(remote)} folders and files of this machine are not part of it.")
    if any(shown_location(feed.location) != feed.location for feed in remote):
        note("Passwords in addresses were left out.")


def discover(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="A page of the site.")],
    as_json: Json = False,
) -> None:
    """Find the feeds that a web page announces. Exit status 1 if there is none.

    \b
    lorefeed feeds discover https://example.org
    """
    from daemon.stages.ingest import fetch_settings
    from sources.finding import find_feeds

    workable(address, "feed")
    found = find_feeds(address, fetch_settings(place_of(ctx).settings()))
    if as_json:
        show_json([{"location": one.location, "title": one.title, "format": one.format} for one in found])
    else:
        for one in found:
            say(f"{one.location}  {one.title or ''}".rstrip())
    if not found:
        note(f"{shown_location(address)} announces no feed; look on it for a link called RSS or Atom.")
        raise typer.Exit(1)


def _bytes_of(file: Path) -> bytes:
    from sources import NotReachable, TooLarge

    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(_FILE_MAX_BYTES + 1)
        else:
            with file.open("rb") as stream:
                data = stream.read(_FILE_MAX_BYTES + 1)
    except OSError as err:
        raise NotReachable(str(file), f"it cannot be read ({(err.strerror or 'error').lower()})", hint="Check the file's name.") from err
    if len(data) > _FILE_MAX_BYTES:
        raise TooLarge(str(file), "it is larger than any list of subscriptions", hint="Give the OPML file that a feed reader exported.")
    return data


def _add(registry: Registry, one: Subscription, done: _Import, *, topic: str | None, interval_s: int, trust: Any) -> None:
    """One subscription; what is wrong with it does not stop the others."""
    from registry import RegistryError
    from sources import SourceError

    teaches = topic or topic_name(one.category)
    try:
        location, kind = workable(one.location)
        if (feed := watched_as(registry, location, teaches)) is not None:
            done.known.append(feed.name)
            return
        name = derived_name(registry, location, kind, title=one.title)
        done.added.append(
            registry.write.add_feed(location, name=name, kind=kind, topic=teaches, trust=trust, interval_s=interval_s, actor=OPERATOR)
        )
    except (SourceError, RegistryError) as err:
        done.problems.append(f"{shown_location(one.location)}: {err}")
