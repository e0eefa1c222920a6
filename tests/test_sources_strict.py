"""The reader of XML feeds against feedparser's own: the same text, titles, links, dates and ids, on made and collected feeds."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import feedparser
import pytest

from sources.strict import read_xml
from sources.xmlfeed import prepared
from tests.sources_parts import RSS
from tests.test_sources_feed import ATOM, RDF

COLLECTED = sorted((Path(__file__).parents[2] / "shared" / "data").glob("feeds_*/*.jsonl"))


def escaped_feed() -> bytes:
    """Escaped HTML, CDATA, entities, line breaks and a nested namespace: all that text can be cut at."""
    html = "&lt;p&gt;One &amp;amp; two&lt;/p&gt;\r\n" * 300
    return (
        '<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY kesh "Kesh">]><rss version="2.0" xmlns:c="http://purl.org/rss/1.0/modules/content/">'
        f"<channel><title>&kesh; &amp; News</title><item><guid>1</guid><description>{html}</description>"
        f"<c:encoded><![CDATA[<p>A &amp; B</p>]]> and {html}</c:encoded></item></channel></rss>"
    ).encode()


ASKED = (
    *("id", "guidislink", "link", "title", "title_detail", "content", "summary", "summary_detail", "subtitle"),
    *("published_parsed", "created_parsed", "updated_parsed"),
)

#: Everything that is passed over, around what is not; names that mean something else elsewhere; an element like an entry in an entry's text.
CROWDED = """<?xml version="1.0"?><rss version="2.0" xmlns:a="http://www.w3.org/2005/Atom" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:m="http://search.yahoo.com/mrss/" xmlns:i="http://www.itunes.com/dtds/podcast-1.0.dtd" xmlns:s="http://purl.org/rss/1.0/modules/slash/">
<channel><title>News</title><category>Lamps</category><author>x@y.example</author><item><category domain="d">Lakes</category>
<a:author><a:name>One</a:name><a:uri>/one</a:uri></a:author><title>Tarn</title><dc:creator>Two</dc:creator>
<s:comments>7</s:comments>between<link>/tarn</link><m:thumbnail url="t.png"/><m:group><m:title>Pictured</m:title></m:group>
<comments>http://x.example/c</comments><i:author>Three</i:author><i:summary>Summed up.</i:summary>
<a:content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><item><category>kept</category></item></div></a:content>
<description>A tarn is a lake.</description></item><item><CATEGORY>Loud</CATEGORY><guid isPermaLink="false">2</guid></item></channel></rss>"""


def read_by_feedparser(body: bytes) -> tuple[Any, ...]:
    found = feedparser.parse(
        io.BytesIO(body),
        response_headers={"content-type": "application/xml; charset=utf-8"},
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    return asked_of(found.version, found.feed, found.entries, found.get("bozo_exception"))


def asked_of(version: str, feed: Any, entries: list[Any], problem: Exception | None) -> tuple[Any, ...]:
    told = [{name: dict.get(entry, name) for name in ASKED} for entry in entries]
    return version, dict.get(feed, "title"), told, str(problem)


@pytest.mark.parametrize(
    "body",
    [escaped_feed(), escaped_feed().replace(b"</channel>", b""), CROWDED.encode(), RSS.encode(), ATOM.encode(), RDF.encode(), b"<rss/>"],
    ids=["escaped", "damaged", "crowded", "plain", "atom", "rdf", "empty"],
)
def test_the_reader_gives_what_feedparser_gives(body: bytes) -> None:
    read = read_xml(body)
    assert asked_of(read.version, read.feed, read.entries, read.problem) == read_by_feedparser(body)


@pytest.mark.skipif(not COLLECTED, reason="no collected feeds (feeds_*) in shared/data beside the checkout")
def test_the_reader_gives_what_feedparser_gives_of_collected_feeds() -> None:
    unequal = []
    for file in COLLECTED:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            data, headers = prepared(base64.b64decode(row["data_b64"]), "", {})
            if data.strip() and "charset" in headers["content-type"]:
                read = read_xml(data)
                unequal += [row["id"]] * (asked_of(read.version, read.feed, read.entries, read.problem) != read_by_feedparser(data))
    assert unequal == []


def test_feedparser_is_handed_the_text_of_an_element_in_one_piece_and_nothing_that_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[str] = []
    monkeypatch.setattr("feedparser.mixin._FeedParserMixin.handle_data", lambda _self, text, escape=1: pieces.append(text))
    read_xml(b"<rss><item><title>&lt;p&gt;one\ntwo&lt;/p&gt;</title><author>Someone</author></item></rss>")
    assert pieces == ["<p>one\ntwo</p>"]
