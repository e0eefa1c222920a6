"""feedparser driven directly: its rules for every element that we read, and nothing for those that we do not.

`feedparser.parse` treats each element with the same care, and a feed's bytes twice. Here text comes in one piece, not in one for every line
and every `&lt;`; elements of an entry that carry neither text nor title, link, date or id are passed over with all that is in them; and the
little that is known of a text is copied flat. What is read stays the same. As in `feedparser.parse`, what is not well-formed goes to the
lenient reader.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.parsers.expat import XMLParserType
from xml.sax import SAXException
from xml.sax.expatreader import ExpatParser
from xml.sax.handler import feature_external_ges, feature_namespaces
from xml.sax.xmlreader import InputSource

from feedparser.api import LooseFeedParser, StrictFeedParser
from feedparser.sanitizer import replace_doctype
from feedparser.util import FeedParserDict

#: What one piece of text may grow to before it is handed on; an entry seldom has more.
_PIECE_BYTES = 64 * 1024
#: An entry is never deeper than this (rss/channel/item); what is called so further down is somebody's content.
_ENTRY_DEPTH = 3
_ENTRIES = frozenset({"item", "entry"})
#: What does not end a text input and an image that feedparser believes to be open.
_OF_TEXTINPUT = frozenset({"title", "link", "description", "name"})
_OF_IMAGE = frozenset({"title", "link", "description", "url", "href", "width", "height"})
_UNREAD = {
    **dict.fromkeys(("", "http://www.w3.org/2005/Atom", "http://purl.org/rss/1.0/"), ("author", "category", "comments", "contributor")),
    "http://purl.org/dc/elements/1.1/": ("contributor", "creator", "publisher", "subject"),
    "http://purl.org/rss/1.0/modules/slash/": ("comments", "department", "hit_parade", "section"),
    "http://search.yahoo.com/mrss/": ("category", "credit", "keywords", "rating", "thumbnail"),
    "http://wellformedweb.org/CommentAPI/": ("comment", "commentRss"),
    "http://www.itunes.com/dtds/podcast-1.0.dtd": (
        *("author", "block", "category", "duration", "episode", "episodeType", "explicit", "image", "keywords", "order", "season"),
    ),
}


@dataclass(frozen=True, slots=True)
class Read:
    """What feedparser's own result says of a feed, as far as it is asked."""

    version: str
    feed: Any
    entries: list[Any]
    problem: Exception | None


def read_xml(data: bytes, *, strictly: bool = True) -> Read:
    """The feed in `data`, which is UTF-8 and says so; leniently at once where that is not known."""
    version, data, entities = replace_doctype(data)
    problem: Exception | None = None
    reader: Any = None
    if strictly:
        reader = _Reader()
        try:
            _Expat(reader).parse(_source(data))
        except SAXException as err:
            problem = reader.exc or err
    if reader is None or problem is not None:
        reader = LooseFeedParser("", None, "utf-8", entities)
        _leave_html(reader)
        reader.feed(data.decode("utf-8", "replace"))
    return Read(version or reader.version, reader.feeddata, reader.entries, problem)


class _Type(FeedParserDict):  # type: ignore[misc]
    """What feedparser notes of a text: its type, language and base. None of these names has a second one that would have to be tried."""

    get = dict.get
    __getitem__ = dict.__getitem__

    def __deepcopy__(self, _memo: object) -> _Type:
        return _Type(self)


class _Reader(StrictFeedParser):  # type: ignore[misc]
    contentparams: FeedParserDict

    def __init__(self) -> None:
        super().__init__("", None, "utf-8")
        _leave_html(self)

    def push_content(self, *arguments: Any) -> None:
        super().push_content(*arguments)
        self.contentparams = _Type(self.contentparams)

    def plain_starttag(self, tag: str) -> None:
        """An element without namespace and attributes, as most are: `unknown_starttag` without its looks at what they do not have."""
        if self.incontent or self.baseuri or self.lang:
            self.unknown_starttag(tag, [])
            return
        self.depth += 1
        self.basestack.append(self.baseuri)
        self.langstack.append(self.lang)
        if tag not in _OF_TEXTINPUT:
            self.intextinput = 0
        if tag not in _OF_IMAGE:
            self.inimage = 0
        start = getattr(self, f"_start_{tag}", None)
        if start is None:
            self.push(tag, 1)
        else:
            start({})


class _Expat(ExpatParser):
    """Python's XML reader, collecting text and passing over what is not read."""

    _parser: XMLParserType  # the type stubs do not know of it

    def __init__(self, reader: _Reader) -> None:
        super().__init__()
        self._open: list[str] = []
        self._unread = 0  # elements that are open in one that is passed over, with it
        self._reader = reader
        self.setFeature(feature_namespaces, True)
        self.setFeature(feature_external_ges, False)
        self.setContentHandler(reader)
        self.setErrorHandler(reader)

    def reset(self) -> None:
        super().reset()
        self._parser.buffer_size = _PIECE_BYTES
        self._parser.buffer_text = True

    def start_element_ns(self, name: str, attrs: Any) -> None:
        if self._unread:
            self._unread += 1
        elif len(self._open) <= _ENTRY_DEPTH and self._open and _is_unread(name) and _is_entry(self._open[-1]):
            self._unread = 1
            self._parser.CharacterDataHandler = None
        else:
            self._open.append(name)
            if attrs or " " in name or self._reader.decls:
                super().start_element_ns(name, attrs)
            else:
                self._reader.plain_starttag(name.lower())

    def end_element_ns(self, name: str) -> None:
        if self._unread:
            self._unread -= 1
            if not self._unread:
                self._parser.CharacterDataHandler = self._reader.characters
            return
        self._open.pop()
        if " " in name:
            super().end_element_ns(name)
        else:
            self._reader.unknown_endtag(name.lower())


@lru_cache(maxsize=1000)
def _is_unread(name: str) -> bool:
    space, local = _parts(name)
    return local in _UNREAD.get(space, ())


@lru_cache(maxsize=1000)
def _is_entry(name: str) -> bool:
    return _parts(name)[1] in _ENTRIES


def _parts(name: str) -> tuple[str, str]:
    """Namespace and name of what expat writes as `namespace name prefix`, with the first and the last left out where there is none."""
    parts = name.split(" ")
    return ("", name) if len(parts) == 1 else (parts[0], parts[1])


def _source(data: bytes) -> InputSource:
    source = InputSource()
    source.setByteStream(io.BytesIO(data))
    return source


def _leave_html(reader: Any) -> None:
    """Its cleaning costs it the square of the number of unclosed comments, and html_to_text keeps only text anyway."""
    reader.resolve_relative_uris = reader.sanitize_html = False
