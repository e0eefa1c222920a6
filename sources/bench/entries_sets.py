"""gofeed's and feed-rs's expected entries against what the reader hands out: id, title, link, date, content.

Both give what their own universal model holds. Where a model has no value (a format-specific parse names other fields), nothing is asked.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from sources.bench.sets import Tally, rows
from sources.bench.words import same_text, same_time, same_url
from sources.entry import Entry, ParsedFeed
from sources.errors import NotAFeed
from sources.feed import parse_feed

_BASE = "http://feeds.example/path/feed.xml"
Wanted = dict[str, Any]


def measure(data_dir: Path, *, everything: bool = False) -> dict[str, Any]:
    report = {}
    for name, wanted_entries in (("feeds_gofeed", _gofeed), ("feeds_feedrs", _feedrs)):
        fields, entries = Tally(), Tally()
        for row in rows(data_dir, name):
            if row["expected"]:
                _compare(fields, entries, row, _own_ids(wanted_entries(row["expected"]), row["data"]))
        report[name] = {"entries": entries.report(everything=everything), "fields": fields.report(everything=everything)}
    return report


def _gofeed(expected: dict[str, Any]) -> list[Wanted]:
    return [
        {
            "id": _of(one.get("guid"), "value") or one.get("id"),
            "title": one.get("title"),
            "link": one.get("link") or one.get("url") or _alternate(one.get("links")),
            "published": one.get("publishedParsed") or one.get("pubDateParsed") or one.get("date_published"),
            "changed": one.get("updatedParsed") or one.get("date_modified"),
            "content": _contents(one),
        }
        for one in expected.get("items") or expected.get("entries") or []
    ]


def _contents(one: Wanted) -> list[str]:
    """Every text that the expectation gives the entry; the reader hands out the fullest."""
    given = (_of(one.get("content"), "value"), one.get("content_html"), one.get("content_text"), one.get("description"), one.get("summary"))
    return [text for text in given if text]


def _feedrs(expected: dict[str, Any]) -> list[Wanted]:
    return [
        {
            "id": one.get("id"),
            "title": _of(one.get("title"), "content"),
            "link": _alternate(one.get("links")),
            "published": one.get("published"),
            "changed": one.get("updated") if one.get("updated") != one.get("published") else None,
            "content": [text for text in (_of(one.get("content"), "body"), _of(one.get("summary"), "content")) if text],
        }
        for one in expected.get("entries") or []
    ]


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else value


def _alternate(links: Any) -> str | None:
    """The link to the entry's page; the lists hold addresses, or objects of which the one without another role is meant."""
    for link in links or ():
        if isinstance(link, str):
            return link
        if link.get("rel", "alternate") in (None, "alternate"):
            return str(link["href"]) if link.get("href") else None
    return None


def _own_ids(wanted: list[Wanted], body: bytes) -> list[Wanted]:
    """feed-rs makes an id where the feed gives none; only those that stand in the feed are asked for."""
    text = html.unescape(body.decode("utf-8", "replace"))
    return [one | {"id": one["id"] if str(one["id"]).strip() in text else None} for one in wanted]


def _compare(fields: Tally, entries: Tally, row: dict[str, Any], wanted: list[Wanted]) -> None:
    try:
        feed: ParsedFeed | None = parse_feed(row["data"], row["id"], base_url=_BASE)
    except NotAFeed:
        feed = None
    for number, one in enumerate(wanted):
        entry = feed.entries[number] if feed and len(feed.entries) > number else None
        where = f"{row['id']}#{number}"
        before = sum(fields.met.values()), sum(fields.asked.values())
        _compare_entry(fields, where, one, entry)
        met, asked = sum(fields.met.values()) - before[0], sum(fields.asked.values()) - before[1]
        entries.add("entry", where, expected=asked, got=met if entry else None, met=met == asked and entry is not None)


def _compare_entry(fields: Tally, where: str, one: Wanted, entry: Entry | None) -> None:
    got_id, got_url = (entry.external_id, entry.url) if entry else (None, None)
    if one["id"]:
        fields.add("id", where, expected=one["id"], got=got_id, met=_same_id(one["id"], entry))
    if one["title"]:
        got = entry.title if entry else None
        fields.add("title", where, expected=one["title"], got=got, met=same_text(one["title"], got))
    if one["link"]:
        fields.add("link", where, expected=one["link"], got=got_url, met=same_url(one["link"], got_url, _BASE))
    for name, at in (("published", entry and entry.published_at), ("changed", entry and (entry.changed_at or entry.published_at))):
        if one[name]:
            fields.add(name, where, expected=one[name], got=at, met=same_time(one[name], at or None))
    if one["content"]:
        got = entry.text if entry else None
        fields.add("content", where, expected=one["content"], got=got, met=any(same_text(text, got) for text in one["content"]))


def _same_id(wanted: str, entry: Entry | None) -> bool:
    return entry is not None and wanted.strip() == entry.external_id
