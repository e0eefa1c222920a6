"""A stranger's XML as a tree, for the formats that feedparser does not read: nothing is fetched, no entity is resolved, damage is recovered from."""

from __future__ import annotations

import re
from typing import Any

from .encoding import decode

_DECLARED = re.compile(rb"\s*<\?xml[^>]{0,150}?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]{1,40})[\"']")
_REFERENCE = re.compile(rb"&#(?:[xX]([0-9A-Fa-f]{1,10})|([0-9]{1,10}));")


def parse_xml(data: bytes) -> Any:
    """The root element, or None when there is none. Bytes are decoded here: the parser would hand out names that are no text."""
    from lxml import etree  # type: ignore[import-untyped]

    declared = _DECLARED.match(data[:256])
    decoded = decode(data, declared=declared.group(1).decode("ascii") if declared else None)
    if decoded is None:
        return None
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, recover=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        return etree.fromstring(_REFERENCE.sub(_kept, decoded.text.encode("utf-8", "replace")), parser=parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


def _kept(reference: re.Match[bytes]) -> bytes:
    """A numeric reference, if it is to a character: in recovering, the parser would make bytes of others that are no UTF-8."""
    number = int(reference.group(1), 16) if reference.group(1) else int(reference.group(2))
    is_character = number in (9, 10, 13) or 0x20 <= number < 0xD800 or 0xE000 <= number < 0xFFFE or 0x10000 <= number <= 0x10FFFF
    return reference.group() if is_character else b""


def local_name(element: Any) -> str:
    """An element's name without its namespace, in lower case; empty for what is no element."""
    return element.tag.rsplit("}", 1)[-1].lower() if isinstance(element.tag, str) else ""
