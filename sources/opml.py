"""OPML, the form in which feed readers hand over their subscriptions: read leniently, written as version 2.0 (opml.org/spec2.opml).

A category of the file is a folder around an outline or its `category` attribute. Knows nothing of topics; the caller maps them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from .encoding import clean_line
from .entry import web_url
from .errors import NotAFeed
from .http import shown_address
from .xmltree import local_name, parse_xml

_KINDS = frozenset({"", "rss", "rss1", "rss2", "atom", "feed", "rdf", "json", "jsonfeed", "link", "include"})
_DEPTH_MAX = 50
_USER = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Subscription:
    """One feed of the file. `category` is the outermost folder that it is in; None outside of all."""

    location: str
    title: str | None
    category: str | None
    page: str | None = None


def read_opml(data: bytes, location: str) -> tuple[tuple[Subscription, ...], tuple[str, ...]]:
    """The subscriptions in the file's order, each address once a category, and a sentence for each outline that is none."""
    root = parse_xml(data)
    if root is None or local_name(root) != "opml":
        raise NotAFeed(location, "this is no OPML file", hint="Export the subscriptions of a feed reader as OPML.")
    found: dict[tuple[str, str | None], Subscription] = {}
    problems: list[str] = []
    for outline, folders in _outlines(root):
        one = _subscription(outline, folders, problems)
        if one is not None:
            found.setdefault((one.location, one.category), one)
    return tuple(found.values()), tuple(problems)


def write_opml(subscriptions: Iterable[Subscription], *, title: str, now: datetime | None = None) -> bytes:
    """An OPML file with a folder for every category. Users and passwords in addresses are left out."""
    from lxml import etree  # type: ignore[import-untyped]

    root = etree.Element("opml", version="2.0")
    head = etree.SubElement(root, "head")
    etree.SubElement(head, "title").text = title
    etree.SubElement(head, "dateCreated").text = format_datetime(now or datetime.now(UTC))
    body = etree.SubElement(root, "body")
    folders: dict[str | None, Any] = {None: body}
    for one in subscriptions:
        if one.category not in folders:
            folders[one.category] = etree.SubElement(body, "outline", text=one.category, title=one.category)
        address = _USER.sub("", one.location)
        name = one.title or address
        attributes = {"type": "rss", "text": name, "title": name, "xmlUrl": address}
        etree.SubElement(folders[one.category], "outline", attributes | ({"htmlUrl": one.page} if one.page else {}))
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _outlines(root: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Every outline with the folders around it, by hand-kept stack: the file is a stranger's and may be nested without end."""
    stack: list[tuple[Any, tuple[str, ...]]] = [
        (child, ()) for child in reversed([one for body in root if local_name(body) == "body" for one in body])
    ]
    while stack:
        outline, folders = stack.pop()
        if local_name(outline) != "outline":
            continue
        yield outline, folders
        inside = (*folders, _attribute(outline, "text") or _attribute(outline, "title"))
        if len(inside) <= _DEPTH_MAX:
            stack += [(child, inside) for child in reversed(outline)]


def _subscription(outline: Any, folders: tuple[str, ...], problems: list[str]) -> Subscription | None:
    address, name = _attribute(outline, "xmlurl"), _attribute(outline, "title") or _attribute(outline, "text")
    if not address:
        if not len(outline) and _attribute(outline, "type").lower() in _KINDS - {"", "link", "include"}:
            problems.append(f"{name or 'An outline without a name'} gives no address (xmlUrl) and was left out.")
        return None
    if address.lower().startswith("feed:"):  # an old way to open a reader: feed://host/path or feed:https://host/path
        address = address[5:] if "://" in address[5:] else "http:" + address[5:]
    if web_url(address) is None:
        problems.append(f"{name or address}: {shown_address(address)[:200]} is no http address and was left out.")
        return None
    named = [part for part in _attribute(outline, "category").split(",")[0].split("/") if part.strip()]
    category = next(iter([folder for folder in folders if folder] or named), None)
    return Subscription(
        address, clean_line(name) or None, clean_line(category) if category else None, web_url(_attribute(outline, "htmlurl"))
    )


def _attribute(element: Any, name: str) -> str:
    """An attribute whatever the case of its name: writers disagree on xmlUrl."""
    return next((str(value).strip() for key, value in element.attrib.items() if str(key).lower() == name), "")
