"""The XML reader that feedparser is given: Python's own, with neighbouring text handed on in one piece.

Python's reader leaves expat to report text as it meets it: a piece for every line and for every `&lt;`. A feed that carries escaped HTML
comes in hundreds of pieces an entry, and feedparser does its work for each. expat collects them itself when asked to (`buffer_text`);
what is read stays the same.
"""

from __future__ import annotations

from xml.parsers.expat import XMLParserType
from xml.sax.expatreader import ExpatParser

import feedparser.api

#: What one piece of text may grow to before it is handed on; an entry seldom has more.
_PIECE_BYTES = 64 * 1024


class _CollectingParser(ExpatParser):
    def reset(self) -> None:
        super().reset()
        parser: XMLParserType = vars(self)["_parser"]  # the type stubs do not know of it
        parser.buffer_size = _PIECE_BYTES
        parser.buffer_text = True


def create_parser() -> _CollectingParser:
    """What `xml.sax.make_parser` calls in a module that it is given by name."""
    return _CollectingParser()


def offer() -> None:
    """Puts this module first among those that feedparser asks for a reader."""
    if __name__ not in feedparser.api.PREFERRED_XML_PARSERS:
        feedparser.api.PREFERRED_XML_PARSERS.insert(0, __name__)


def withdraw() -> None:
    """feedparser as it comes."""
    if __name__ in feedparser.api.PREFERRED_XML_PARSERS:
        feedparser.api.PREFERRED_XML_PARSERS.remove(__name__)
