"""`lorefeed feeds`: what is watched."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from daemon.commands.feed_names import DEFAULT_TOPIC, derived_name, shown_location, watched_as, workable
from daemon.commands.feeds_opml import discover, export_feeds, import_feeds
from daemon.commands.place import OPERATOR, Json, Limit, cut, most, one_more, place_of, seconds, span_of_time
from daemon.commands.views import feed_json
from daemon.output import note, say, short, show_json, show_table

if TYPE_CHECKING:
    from registry import Feed

app = typer.Typer(help="What is watched: RSS, Atom and JSON feeds, pages, sitemaps, folders and files.", no_args_is_help=True)

FeedName = Annotated[str, typer.Argument(metavar="N", help="The feed's name, as `lorefeed feeds list` shows it.")]
app.command("import")(import_feeds)
app.command("export")(export_feeds)
app.command()(discover)
Trust = Literal["auto", "review"]


@app.command()
def add(
    ctx: typer.Context,
    location: Annotated[str, typer.Argument(metavar="LOCATION", help="An http(s) address of a feed, or a folder.")],
    name: Annotated[str | None, typer.Option(help="What to call it; made from the location when missing.")] = None,
    topic: Annotated[str, typer.Option(help="The line of adapters that it teaches.")] = DEFAULT_TOPIC,
    every: Annotated[str | None, typer.Option(metavar="TIME", help="How often it is polled: 30s, 15m, 2h, 1d.")] = None,
    trust: Annotated[Trust, typer.Option(help="auto: learn what it says; review: an operator approves each definition.")] = "auto",
    kind: Annotated[
        str | None, typer.Option(metavar="K", help="feed, page, sitemap, folder, file, or one that a package adds; seen when missing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Watch a feed, a page, a sitemap, a folder or a file. The daemon polls it at its next tick.

    A page's address may be given in a feed's place: its first poll goes to the feed that the page announces, and stays there.

    \b
    lorefeed feeds add https://example.org/news.xml --topic news --every 15m
    lorefeed feeds add https://example.org/glossary.html --kind page
    lorefeed feeds add ./glossary --topic terms --trust review
    """
    place = place_of(ctx)
    interval_s = None if every is None else seconds(every)
    location, kind = workable(location, kind)
    defaults = place.settings().sources
    with place.registry(create=True) as registry:
        _refuse_twice(watched_as(registry, location, topic))
        feed = registry.write.add_feed(
            location,
            name=name if name is not None else derived_name(registry, location, kind),
            kind=kind,
            topic=topic,
            trust=trust,
            interval_s=interval_s or (defaults.folder_interval_s if kind in ("folder", "file") else defaults.interval_s),
            actor=OPERATOR,
        )
    if as_json:
        show_json(feed_json(feed))
        return
    say(f"Added the {_what(feed)} {feed.name}: teaches {feed.topic}, polled every {span_of_time(feed.interval_s)}, trust {feed.trust}.")
    note("The daemon polls it at its next tick; without one: lorefeed run --once")


@app.command("list")
def list_feeds(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Removed feeds too.")] = False,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Every feed with its state, its errors and when it is polled next.

    \b
    lorefeed feeds list
    lorefeed feeds list --json | jq '.[] | select(.error_count > 0) | .name'
    """
    from daemon.silence import silence

    shown = most(limit, as_json=as_json)
    with place_of(ctx).registry() as registry:
        found = registry.read.feeds(removed=everything, limit=one_more(shown))
    feeds = cut(found, shown)
    if as_json:
        show_json([feed_json(feed) for feed in feeds])
        return
    rows = [
        (
            f.name, f.kind, f.topic, f.state, f.trust, span_of_time(f.interval_s), f.documents, f.last_success_at,
            f"{f.error_count}: {short(f.last_error or '', 80)}" if f.error_count else silence(f), shown_location(f.location),
        )
        for f in feeds
    ]  # fmt: skip
    columns = ("name", "kind", "topic", "state", "trust", "every", "documents", "last success", "trouble", "location")
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


def _refuse_twice(feed: Feed | None) -> None:
    from registry import AlreadyThere

    if feed is not None:
        raise AlreadyThere(
            f"{shown_location(feed.location)} is watched already, as {feed.name}", hint="Give it another topic, or: lorefeed feeds list"
        )


def _what(feed: Feed) -> str:
    return feed.kind
