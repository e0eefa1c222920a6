"""`lorefeed feeds`: what is watched."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import typer

from daemon.commands.place import OPERATOR, Json, place_of, seconds, span_of_time, unique_name
from daemon.commands.views import feed_json
from daemon.output import note, say, short, show_json, show_table

if TYPE_CHECKING:
    from registry import Feed, Registry

app = typer.Typer(help="What is watched: RSS, Atom and JSON feeds, and folders.", no_args_is_help=True)

FeedName = Annotated[str, typer.Argument(metavar="N", help="The feed's name, as `lorefeed feeds list` shows it.")]
DEFAULT_TOPIC = "news"
Trust = Literal["auto", "review"]


@app.command()
def add(
    ctx: typer.Context,
    location: Annotated[str, typer.Argument(metavar="LOCATION", help="An http(s) address of a feed, or a folder.")],
    name: Annotated[str | None, typer.Option(help="What to call it; made from the location when missing.")] = None,
    topic: Annotated[str, typer.Option(help="The line of adapters that it teaches.")] = DEFAULT_TOPIC,
    every: Annotated[str | None, typer.Option(metavar="TIME", help="How often it is polled: 30s, 15m, 2h, 1d.")] = None,
    trust: Annotated[Trust, typer.Option(help="auto: learn what it says; review: an operator approves each definition.")] = "auto",
    as_json: Json = False,
) -> None:
    """Watch a feed or a folder. The daemon polls it at its next tick.

    \b
    lorefeed feeds add https://example.org/news.xml --topic news --every 15m
    lorefeed feeds add ./glossary --topic terms --trust review
    """
    place = place_of(ctx)
    interval_s = None if every is None else seconds(every)
    location, kind = _workable(location)
    defaults = place.settings().sources
    with place.registry(create=True) as registry:
        _refuse_twice(registry, location, topic)
        feed = registry.write.add_feed(
            location,
            name=name if name is not None else _derived_name(registry, location, kind),
            kind=kind,
            topic=topic,
            trust=trust,
            interval_s=interval_s or (defaults.folder_interval_s if kind == "folder" else defaults.interval_s),
            actor=OPERATOR,
        )
    if as_json:
        show_json(feed_json(feed))
        return
    say(f"Added the {_what(feed)} {feed.name}: teaches {feed.topic}, polled every {span_of_time(feed.interval_s)}, trust {feed.trust}.")
    note("The daemon polls it at its next tick; without one: lorefeed run --once")


@app.command("list")
def list_feeds(
    ctx: typer.Context, everything: Annotated[bool, typer.Option("--all", help="Removed feeds too.")] = False, as_json: Json = False
) -> None:
    """Every feed with its state, its errors and when it is polled next.

    \b
    lorefeed feeds list
    lorefeed feeds list --json | jq '.[] | select(.error_count > 0) | .name'
    """
    with place_of(ctx).registry() as registry:
        feeds = [feed for feed in registry.read.feeds() if everything or not _was_removed(feed)]
    if as_json:
        show_json([feed_json(feed) for feed in feeds])
        return
    rows = [
        (
            f.name, f.kind, f.topic, f.state, f.trust, span_of_time(f.interval_s), f.documents, f.last_success_at,
            f"{f.error_count}: {short(f.last_error or '', 80)}" if f.error_count else None, _shown_location(f.location),
        )
        for f in feeds
    ]  # fmt: skip
    columns = ("name", "kind", "topic", "state", "trust", "every", "documents", "last success", "errors", "location")
    show_table(columns, rows, empty="There are no feeds. Add one: lorefeed feeds add LOCATION")


@app.command()
def poll(ctx: typer.Context, name: FeedName, as_json: Json = False) -> None:
    """Poll a feed now, whatever its time. Exit status 1 if it fails.

    \b
    lorefeed feeds poll example.org
    """
    from daemon.stages.ingest import poll_feed

    place = place_of(ctx)
    settings = place.settings()
    with place.registry() as registry:
        report = poll_feed(registry, registry.read.feed(name), settings, now=datetime.now(UTC))
        feed = registry.read.feed(name)
    failed = feed.error_count > 0
    if as_json:
        error = feed.last_error if failed else None
        show_json({"feed": feed.name, "counts": report.counts, "problems": report.problems, "error": error})
    elif failed:
        problem, _, hint = (feed.last_error or "").partition(" Try: ")
        note(f"Error: {feed.name} could not be polled: {problem}")
        note(f"Try: {hint or 'lorefeed feeds list'}")
    else:
        say(f"{feed.name}: {report.counts.get('documents', 0)} new documents.")
        for problem in report.problems:
            say(f"  {problem}")
    if failed:
        raise typer.Exit(1)


@app.command()
def pause(ctx: typer.Context, name: FeedName, as_json: Json = False) -> None:
    """Stop polling a feed. What came from it stays.

    \b
    lorefeed feeds pause example.org
    """
    _set_state(ctx, name, "paused", as_json=as_json)


@app.command()
def resume(ctx: typer.Context, name: FeedName, as_json: Json = False) -> None:
    """Poll a paused feed again, at once.

    \b
    lorefeed feeds resume example.org
    """
    _set_state(ctx, name, "active", as_json=as_json)


@app.command()
def remove(ctx: typer.Context, name: FeedName, as_json: Json = False) -> None:
    """Stop watching a feed and free its name. Its documents, and what was learnt from them, stay.

    \b
    lorefeed feeds remove example.org
    """
    with place_of(ctx).registry() as registry:
        feed = registry.write.remove_feed(name, actor=OPERATOR)
    if as_json:
        show_json(feed_json(feed))
    else:
        say(f"Removed the feed {name}. Its {feed.documents} documents stay, under the name '{feed.name}'.")


def _set_state(ctx: typer.Context, name: str, state: str, *, as_json: bool) -> None:
    with place_of(ctx).registry() as registry:
        feed = registry.write.set_feed_state(name, state, actor=OPERATOR)
    if as_json:
        show_json(feed_json(feed))
    else:
        say(f"The feed {feed.name} is {feed.state} now.")


def _workable(location: str) -> tuple[str, str]:
    """The location as it is stored, and its kind; raises a SourceError for one that can never work."""
    from sources import AddressRefused, detect_kind
    from sources.files import existing_folder, folder_path

    kind = detect_kind(location)
    if kind == "folder":
        path = folder_path(location)
        existing_folder(path, location)
        return str(path), kind
    try:
        parts = urlsplit(location)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not any(c.isspace() for c in location)
    except ValueError:
        sound = False
    if not sound:
        raise AddressRefused(location, "this is not a whole address", hint="Write it like https://example.org/feed.xml")
    return location, kind


def _refuse_twice(registry: Registry, location: str, topic: str) -> None:
    from registry import AlreadyThere

    for feed in registry.read.feeds():
        if feed.location == location and feed.topic == topic and feed.state != "retired":
            raise AlreadyThere(
                f"{_shown_location(location)} is watched already, as {feed.name}", hint="Give it another topic, or: lorefeed feeds list"
            )


def _derived_name(registry: Registry, location: str, kind: str) -> str:
    host_or_folder = Path(location).name if kind == "folder" else (urlsplit(location).hostname or "").removeprefix("www.")
    taken = {feed.name for feed in registry.read.feeds()}
    readable = "".join(c for c in host_or_folder if c.isprintable()).strip()
    return unique_name(readable or kind, taken.__contains__)


def _shown_location(location: str) -> str:
    from sources.http import shown_address

    return shown_address(location)


def _was_removed(feed: Feed) -> bool:
    """An operator removed it; one that its server retired is still shown."""
    return feed.state == "retired" and feed.name.endswith(f"(removed {feed.id})")


def _what(feed: Feed) -> str:
    return "folder" if feed.kind == "folder" else "feed"
