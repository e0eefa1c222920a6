"""Broken input of every kind: an answer or a SourceError, never anything else. What longer runs of `sources.bench.fuzz` found is kept here."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.bench.fuzz import _READERS, _problem, mutated, run
from tests.sources_parts import RSS

ATOM = b"""<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom" xml:base="http://x.example/">
<title type="html">A &amp;lt;b&amp;gt;</title>
<entry><id>tag:1</id><link href="/1"/><updated>2026-03-03T10:00:00Z</updated><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">
<p>A tarn is a lake.</p></div></content></entry></feed>"""
RDF = b"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<channel rdf:about="x"><title>T</title></channel><item rdf:about="u"><title>t</title><dc:date>2026-03-03</dc:date></item></rdf:RDF>"""
JSON = b'{"version":"https://jsonfeed.org/version/1.1","title":"t","items":[{"id":1,"content_html":"<p>x</p>","date_published":"2026-03-03T10:00:00Z"}]}'
OPML = b'<opml version="2.0"><body><outline text="a"><outline xmlUrl="http://x.example/"/></outline></body></opml>'
MAP = b"<urlset><url><loc>http://x.example/</loc><lastmod>2026-03-03</lastmod></url></urlset>"
PAGE = b"<!doctype html><html><head><meta charset=koi8-r><title>t</title></head><body><ul><li><p>x</ul><iframe src=y><table><td>z</body></html>"
SEEDS = (RSS.encode(), ATOM, RDF, JSON, OPML, MAP, PAGE)

#: Each crashed a reader once. What it is stands beside it.
FINDINGS = [
    b'<a xmlns="http://www.w3.org/19\xed\xa0\x80">',  # a namespace that is no UTF-8: lxml cannot hand its name out
    b"<opml><body>&#xD800;<outline text='&#xDFFF;' xmlUrl='http://x.example/&#55296;'/></body></opml>",  # references to no character
    b"<urlset><url><loc>http://x.example/&#xD834;</loc></url></urlset>",
    b"\xed<opml><body/></opml>",
]


@pytest.mark.parametrize("reader", _READERS, ids=["feed", "html", "opml", "sitemap", "pdf", "mail", "markdown"])
@pytest.mark.parametrize("number", range(len(FINDINGS)))
def test_what_once_crashed_a_reader_does_not_any_more(reader: object, number: int) -> None:
    assert callable(reader)
    assert _problem(reader, FINDINGS[number]) is None


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.sampled_from(SEEDS), st.integers(0, 2**32), st.sampled_from(_READERS))
def test_a_broken_file_is_read_or_refused(seed: bytes, other: bytes, number: int, reader: object) -> None:
    assert callable(reader)
    assert _problem(reader, mutated(seed, other, random.Random(number))) is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(_READERS))
def test_any_bytes_are_read_or_refused(data: bytes, reader: object) -> None:
    assert callable(reader)
    assert _problem(reader, data) is None


KEYS = st.sampled_from(["id", "url", "title", "content_html", "content_text", "date_published", "items"])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(ANY_JSON)
def test_any_json_under_a_feeds_name_is_read_or_refused(value: object) -> None:
    feed = json.dumps({"version": "https://jsonfeed.org/version/1.1", "items": [value, {"id": value, "content_text": value, "url": value}]})
    assert _problem(_READERS[0], feed.encode("utf-8", "surrogatepass")) is None


@pytest.mark.slow
def test_ten_minutes_of_broken_real_feeds(tmp_path: Path) -> None:
    data = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (data / "feeds_gofeed").is_dir():
        pytest.skip(f"the real feeds are not at {data}")
    report = run(data, duration_s=600, seed=random.SystemRandom().randrange(2**32), findings=tmp_path / "findings")
    assert report["findings"] == {}, report
