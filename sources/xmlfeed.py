"""RSS, Atom and RDF through feedparser, which reads everything; what is dangerous or misleading in its ways is kept away from it here."""

from __future__ import annotations

import calendar
import re
import time
import xml.sax
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import feedparser
from feedparser.encodings import convert_to_utf8

from .discovery import discovered_feeds, looks_like_html
from .encoding import clean_line, decode, is_binary
from .entry import Entry, ParsedFeed, entry_text, joined, web_url
from .errors import NotAFeed
from .sitemap import looks_like_sitemap
from .strict import Read, read_xml

_PROLOG = ((b"<?", b"?>"), (b"<!--", b"-->"))
_IN_HEADER = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_IN_PROLOG = re.compile(rb"\s*<\?xml[^>]{0,150}?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]{1,40})[\"']")
#: Channel Definition Format, which feedparser reads without giving it a version.
_CDF = re.compile(rb"<channel[\s>]", re.IGNORECASE)
_ENTRY = re.compile(rb"<(/?)(?:\w{1,20}:)?(?:item|entry)[\s>]")
#: Elements that no plain text speaks of by accident: with one of them, content of an undeclared type is markup.
_MARKUP = re.compile(
    r"</|<(?:br|hr|p|div|table|ul|ol|li|h[1-6]|blockquote)\b[^<>]*>|<(?:img|a|iframe|video|span|font)\s[^<>]*=", re.IGNORECASE
)
_SUBSET_END = re.compile(rb"\]\s{0,100}>")
_PLAIN_ENTITY = re.compile(rb"<!ENTITY\s{1,8}[A-Za-z][\w.-]{0,40}\s{1,8}([\"'])(?:[^\"'&%<>]{0,32}|&#x?[0-9A-Fa-f]{1,6};)\1\s{0,8}>")


def parse_xml_feed(body: bytes, location: str, *, base_url: str, content_type: str) -> ParsedFeed:
    """Whatever can be read of an RSS, Atom or RDF feed's bytes; NotAFeed when they are something else."""
    decoding: dict[str, Any] = {}
    try:
        data, headers = prepared(body, content_type, decoding)
        # No base address: feedparser would join it to ids as well, and a feed that moves to another server would bring every entry again.
        read = read_xml(data, strictly=bool(_IN_HEADER.search(headers["content-type"])))
    except Exception as err:  # a stranger's bytes in somebody else's parser: whatever it trips over, this feed is unreadable and no more
        raise NotAFeed(location, f"the feed is damaged beyond reading ({type(err).__name__})") from err
    if not read.version and not read.entries and (looks_like_html(body) or not _CDF.search(body[:4096])):
        raise _not_a_feed(body, location, base_url)
    problems, entries = (*_encoding_problems(decoding), *_xml_problems(read)), read.entries
    if read.problem is not None and _is_cut_off(data):  # half of an entry would be taken for all of it; it is read when it comes whole
        entries, problems = entries[:-1], (*problems, "The feed breaks off within its last entry, which was left out.")
    return ParsedFeed(_title(read.feed), read.version or "unknown", tuple(_entry(raw, base_url) for raw in entries), problems)


def _is_cut_off(data: bytes) -> bool:
    """Whether the last entry that is begun is not ended."""
    tags = [found.group(1) for found in _ENTRY.finditer(data)]
    return bool(tags) and not tags[-1]


def prepared(body: bytes, content_type: str, decoding: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The feed's bytes as feedparser may see them, and the headers to hand it. `decoding` is filled with what became of the encoding."""
    name, declared = _charset(body, content_type), _declared(body, content_type)
    if name is None and not body.isascii() and not is_binary(body) and (found := decode(body)) is not None:
        # Nothing that is declared fits the bytes. feedparser would take them for windows-1252; the detector knows better.
        body, name = found.text.encode("utf-8", "replace"), "utf-8"
        decoding["problem"] = f"The feed {'declares a wrong' if declared else 'declares no'} encoding; it was read as {found.encoding}."
        decoding["guessed"] = found.encoding
    data = convert_to_utf8({"content-type": f"application/xml; charset={name}" if name else "application/xml"}, body, decoding)
    header = "application/xml; charset=utf-8" if decoding.get("encoding") else "application/xml"
    decoding["encoding"] = decoding.pop("guessed", decoding.get("encoding"))
    return without_nested_entities(data), {"content-type": header}


def without_nested_entities(data: bytes) -> bytes:
    """The feed with only short, plain entities left in its document type: nested ones multiply ten bytes into gigabytes.

    Walks the prolog with plain searches, so that a hostile one costs no more than its length.
    """
    at = 0
    while True:
        at += len(data[at : at + 1024]) - len(data[at : at + 1024].lstrip())
        end = next((data.find(close, at) + len(close) for open_, close in _PROLOG if data.startswith(open_, at)), 0)
        if end > at:
            at = end
        elif not data[at : at + 1].isspace():
            break
    bracket, close = data.find(b"[", at), data.find(b">", at)
    if not data.startswith(b"<!DOCTYPE", at) or not at < bracket < close:
        return data
    closed = _SUBSET_END.search(data, bracket)
    subset = data[bracket : closed.start() if closed else len(data)]
    kept = b"".join(b"\n" + found.group(0) for found in _PLAIN_ENTITY.finditer(subset))  # feedparser looks for them at a line's start
    return data[: bracket + 1] + kept + b"]>" + (data[closed.end() :] if closed else b"")


def _not_a_feed(body: bytes, location: str, base_url: str) -> NotAFeed:
    if looks_like_html(body):
        found = discovered_feeds(body, base_url)
        hint = f"This page offers: {', '.join(found)}" if found else "This page names no feed; look on it for a link called RSS or Atom."
        return NotAFeed(location, "this is a web page, not a feed", hint=hint)
    if is_binary(body):
        return NotAFeed(location, "this is binary data, not a feed")
    if looks_like_sitemap(body):
        return NotAFeed(location, "this is a sitemap, not a feed", hint="Add it as what it is: --kind sitemap")
    return NotAFeed(location, "this is neither RSS, nor Atom, nor a JSON Feed")


def _charset(body: bytes, content_type: str) -> str | None:
    """The encoding that feedparser should take for declared by the server; None leaves it undecided.

    text/xml without charset would mean ASCII to feedparser (RFC 3023); RFC 7303 section 3 ended that. And many servers announce one
    charset for all their files: bytes that are valid UTF-8 beyond ASCII are UTF-8, whatever the header says.
    """
    if not body.isascii() and _decodes(body, "utf-8"):
        return "utf-8"
    declared = _declared(body, content_type)
    if body.isascii() or is_binary(body):  # binary: UTF-16 and its kin, which feedparser tells by their first bytes
        return next(iter(declared), None) if _IN_HEADER.search(content_type) else None
    return next((name for name in declared if _decodes(body, name)), None)


def _declared(body: bytes, content_type: str) -> list[str]:
    in_header, in_prolog = _IN_HEADER.search(content_type), _IN_PROLOG.match(body[:256])
    return [found for found in (in_header and in_header.group(1), in_prolog and in_prolog.group(1).decode("ascii")) if found]


def _decodes(body: bytes, encoding: str) -> bool:
    try:
        body.decode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _encoding_problems(decoding: dict[str, Any]) -> Iterator[str]:
    err = decoding.get("bozo_exception")
    if "problem" in decoding:
        yield decoding["problem"]
    elif isinstance(err, feedparser.CharacterEncodingOverride):
        yield f"The feed declares a wrong encoding; it was read as {decoding.get('encoding') or 'a guess'}."
    elif isinstance(err, feedparser.CharacterEncodingUnknown):
        yield "The feed's encoding is unknown; characters may be wrong."


def _xml_problems(read: Read) -> Iterator[str]:
    err = read.problem
    if isinstance(err, xml.sax.SAXParseException):
        where = f" at line {err.getLineNumber()}" if err.getLineNumber() else ""
        yield f"The feed is not well-formed XML{where} ({clean_line(err.getMessage(), limit=80)}); what could be read was taken."
    elif err is not None and not isinstance(err, feedparser.exceptions.ThingsNobodyCaresAboutButMe):
        yield f"The feed is damaged ({clean_line(str(err), limit=80)}); what could be read was taken."


def _entry(raw: Any, base_url: str) -> Entry:
    published_at = _date(raw, "published_parsed") or _date(raw, "created_parsed")
    changed_at = _date(raw, "updated_parsed")
    return Entry(
        external_id=clean_line(str(raw.get("id") or ""), limit=2000),
        url=_link(raw, base_url),
        title=_title(raw),
        text=next((text for text in _texts(raw) if text), ""),
        published_at=published_at or changed_at,
        changed_at=changed_at,
    )


def _link(raw: Any, base_url: str) -> str | None:
    link, entry_id = str(raw.get("link") or ""), str(raw.get("id") or "")
    if raw.get("guidislink") and link == entry_id and "://" not in link:
        return None  # feedparser takes an RSS guid for the missing link; one that is no address must not become one by joining
    return web_url(joined(base_url, link))


def _title(raw: Any) -> str | None:
    """The title on one line; "The <b> element" as plain text keeps its angle brackets, as HTML it loses the tag."""
    value, detail = str(raw.get("title") or ""), raw.get("title_detail") or {}
    return clean_line(entry_text(value, is_html="html" in str(detail.get("type", "")))) or None


def _texts(raw: Any) -> Iterator[str]:
    """The entry's texts, best first: its contents before its summary, HTML before plain text among the contents."""
    contents = sorted(raw.get("content") or [], key=lambda one: "html" not in str(one.get("type", "")))
    for one in [*contents, raw.get("summary_detail") or {"value": raw.get("summary")}, {"value": raw.get("subtitle")}]:
        value = str(one.get("value") or "")
        yield entry_text(value, is_html="html" in str(one.get("type", "")) or _MARKUP.search(value) is not None)


def _date(raw: Any, key: str) -> datetime | None:
    # feedparser answers a question for one date with another one, and warns; asking the dictionary itself does neither.
    value = dict.get(raw, key)
    if not isinstance(value, time.struct_time):
        return None
    try:
        return datetime.fromtimestamp(calendar.timegm(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None  # the year 0 or 99999: better no date than a wrong one
