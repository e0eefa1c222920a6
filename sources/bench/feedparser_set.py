"""feedparser's own expectations: of the parse that the reader builds on, and of what the reader hands out of it.

`parse` runs feedparser, with the cleaning that the reader leaves to html_to_text, on the bytes and headers that the reader prepares: what
is lost there is lost by our preparation. `handed` compares the entries themselves: text with text, since entries carry no markup.
"""

from __future__ import annotations

import calendar
import io
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import feedparser

from sources.bench.sets import Tally, rows
from sources.bench.words import same_text, same_url
from sources.entry import Entry, ParsedFeed
from sources.errors import NotAFeed
from sources.feed import parse_feed
from sources.xmlfeed import prepared

_BASE = "http://127.0.0.1:8097/"
_OPS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda got, wanted: bool(got == wanted),
    "!=": lambda got, wanted: bool(got != wanted),
    "is": lambda got, wanted: got is wanted,
    "truthy": lambda got, _: bool(got),
    "falsy": lambda got, _: not got,
    "contains": lambda got, wanted: wanted in got,
    "not_contains": lambda got, wanted: wanted not in got,
    "len==": lambda got, wanted: len(got) == wanted,
    "<": lambda got, wanted: bool(got < wanted),
    ">": lambda got, wanted: bool(got > wanted),
}
_TEXTS = ("description", "summary", "content", "subtitle", "summary_detail")
_DATES = {"published_parsed": "published_at", "created_parsed": "published_at", "updated_parsed": "changed_at"}


def measure(data_dir: Path, *, everything: bool = False) -> dict[str, Any]:
    parse, handed = Tally(), Tally()
    for row in rows(data_dir, "feeds_feedparser"):
        parsed = _parsed(row)
        feed = _feed(row)
        for claim in row["asserts"]:
            _check_parse(parse, row, parsed, claim)
            _check_handed(handed, row, feed, claim)
    return {"parse": parse.report(everything=everything), "handed": handed.report(everything=everything)}


def _content_type(row: dict[str, Any]) -> str:
    return next((str(value) for key, value in row["http_headers"].items() if key.lower() == "content-type"), "application/xml")


def _base(row: dict[str, Any]) -> str | None:
    """Where the feed was fetched from; only the files that are about it say so."""
    given = next((str(value) for key, value in row["http_headers"].items() if key.lower() == "content-location"), None)
    path = str(row["id"]).split(":", 1)[1]
    return given or (_BASE + path if path.rsplit("/", 1)[-1].startswith("http_") else None)


def _parsed(row: dict[str, Any]) -> Any:
    decoding: dict[str, Any] = {}
    data, headers = prepared(row["data"], _content_type(row), decoding)
    others = {key.lower(): value for key, value in row["http_headers"].items()}
    base = {"content-location": _base(row)} if _base(row) else {}
    parsed = feedparser.parse(io.BytesIO(data), response_headers={**others, **base, **headers})
    parsed["encoding"] = decoding.get("encoding", "")  # that of the feed; feedparser saw UTF-8
    parsed["bozo"] = parsed.get("bozo") or bool(decoding.get("bozo_exception"))
    return parsed


def _feed(row: dict[str, Any]) -> ParsedFeed | None:
    try:
        return parse_feed(row["data"], row["id"], base_url=_base(row) or "", content_type=_content_type(row))
    except NotAFeed:
        return None


def _check_parse(tally: Tally, row: dict[str, Any], parsed: Any, claim: dict[str, Any]) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the claims use feedparser's older names for dates
            got = _walk(parsed, claim["path"])
        got = list(got) if isinstance(got, time.struct_time | tuple) else got
        met = _OPS[claim["op"]](got, claim.get("value")) or (
            claim["path"] == ["encoding"] and _same_encoding(row["data"], str(got), str(claim.get("value")))
        )
    except (KeyError, IndexError, TypeError, AttributeError) as err:
        got, met = f"{type(err).__name__}: {err}", False
    tally.add(str(row["category"]).split("/")[-1], row["id"], expected=claim, got=got, met=met)


def _same_encoding(body: bytes, got: str, wanted: str) -> bool:
    """Names differ where detectors and RFCs do (ASCII is UTF-8 too); what counts is that the bytes become the same text."""
    try:
        return body.decode(got) == body.decode(wanted)
    except (UnicodeError, LookupError):
        return False


def _walk(value: Any, path: list[Any]) -> Any:
    for step in path:
        value = value[step]
    return value


def _check_handed(tally: Tally, row: dict[str, Any], feed: ParsedFeed | None, claim: dict[str, Any]) -> None:
    path, wanted = claim["path"], claim.get("value")
    if claim["op"] != "==" or not path:
        return
    if path in (["feed", "title"], ["feed", "title_detail", "value"]):
        got = feed.title if feed else None
        tally.add("feed title", row["id"], expected=wanted, got=got, met=same_text(wanted, got))
    elif path[0] == "entries" and len(path) > 2:
        _check_entry(tally, row, feed.entries[path[1]] if feed and len(feed.entries) > path[1] else None, path[2:], wanted)


def _check_entry(tally: Tally, row: dict[str, Any], entry: Entry | None, path: list[Any], wanted: Any) -> None:
    name = path[0]
    if path in (["title"], ["title_detail", "value"]):
        title = entry.title if entry else None
        tally.add("title", row["id"], expected=wanted, got=title, met=bool(entry) and same_text(wanted, title))
    elif name in _TEXTS and (len(path) == 1 or path[-1] == "value"):
        text = entry.text if entry else None
        tally.add("text", row["id"], expected=wanted, got=text, met=bool(entry) and same_text(wanted, text))
    elif path == ["link"]:
        url = entry.url if entry else None
        tally.add("link", row["id"], expected=wanted, got=url, met=bool(entry) and same_url(wanted, url, _base(row) or ""))
    elif path in (["id"], ["guid"]):
        got = entry.external_id if entry else None
        tally.add("id", row["id"], expected=wanted, got=got, met=got == wanted)
    elif name in _DATES and len(path) == 1:
        got = getattr(entry, _DATES[name]) if entry else None
        tally.add("date", row["id"], expected=wanted, got=got, met=got == datetime.fromtimestamp(calendar.timegm(tuple(wanted)), UTC))
