"""Feeds of every format and every kind of damage, served by a real server and polled."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sources import Document, NotAFeed, Poll, SourceError, open_source
from sources.entry import REMEMBERED, Entry, news, settle
from sources.feed import parse_feed
from sources.xmlfeed import without_nested_entities
from tests.sources_parts import LOCAL, RSS, Site, running_site

SHARED = Path(__file__).parents[2] / "shared" / "data"

ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title type="html">Lamps &amp;amp; &lt;b&gt;lakes&lt;/b&gt;</title><id>urn:lamps</id>
<entry><id>urn:one</id><title>Oslith</title><link href="/one"/><updated>2026-03-02T10:00:00+02:00</updated>
<summary>Short.</summary><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">
<p>An oslith is a lamp.</p><p>It is blue.</p></div></content>
</entry></feed>"""

RDF = """<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<channel rdf:about="https://varn.example/"><title>Old format</title></channel>
<item rdf:about="https://varn.example/1"><title>Tarn</title><link>https://varn.example/1</link>
<description>A tarn is a lake.</description><dc:date>2026-03-02T10:00:00Z</dc:date></item></rdf:RDF>"""

JSON_FEED = {
    "version": "https://jsonfeed.org/version/1.1",
    "title": "Lamps",
    "items": [
        {"id": 7, "url": "/7", "title": "Oslith", "content_html": "<p>An oslith is a lamp.</p>", "summary": "Short."},
        {"id": "8", "content_text": "A tarn is a lake.\ud800", "date_published": "2026-03-02T10:00:00+02:00"},
        "not an item",
        {"id": "9"},
    ],
}


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


def rss(*items: str) -> str:
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>T</title>{"".join(items)}</channel></rss>'


def poll(site: Site, body: bytes | str, content_type: str = "application/xml") -> Poll:
    return open_source(site.serve("/feed", body, content_type=content_type), settings=LOCAL).poll({})


def test_an_rss_feed_gives_its_entries_oldest_first(site: Site) -> None:
    got = poll(site, RSS)
    assert got.title == "Varn news"
    assert got.problems == ()
    assert [document.external_id for document in got.documents] == ["varn-1", "varn-2"]
    newest = got.documents[1]
    assert newest.text == "An oslith is a blue lamp."
    assert newest.url == "https://varn.example/2"
    assert newest.published_at == datetime(2026, 3, 3, 10, tzinfo=UTC)
    assert newest.fetch["fetched_from"] == site.base + "/feed"
    assert newest.fetch["format"] == "rss20"


def test_an_atom_feed_prefers_content_over_summary_and_resolves_links(site: Site) -> None:
    got = poll(site, ATOM)
    (document,) = got.documents
    assert got.title == "Lamps & lakes"
    assert document.text == "An oslith is a lamp.\n\nIt is blue."
    assert document.url == site.base + "/one"
    assert document.published_at == datetime(2026, 3, 2, 8, tzinfo=UTC)


def test_an_rdf_feed_is_read(site: Site) -> None:
    (document,) = poll(site, RDF).documents
    assert (document.title, document.text) == ("Tarn", "A tarn is a lake.")
    assert document.published_at == datetime(2026, 3, 2, 10, tzinfo=UTC)


def test_a_json_feed_is_read_and_its_bad_items_are_named(site: Site) -> None:
    got = poll(site, json.dumps(JSON_FEED), "application/feed+json")
    assert [(document.external_id, document.text) for document in got.documents] == [
        ("7", "An oslith is a lamp."),
        ("8", "A tarn is a lake."),
    ]
    assert got.documents[0].url == site.base + "/7"
    assert got.documents[0].published_at is None
    assert got.documents[1].published_at == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert got.problems == ("Item 3 is not an object and was skipped.", "Entry 3 (9) has no text.")


@pytest.mark.parametrize(
    "body", ['{"items": [', '{"version": "1"}', '{"version": "https://jsonfeed.org/version/1", "items": 3}', "{" * 100_000]
)
def test_json_that_is_no_feed_says_so(site: Site, body: str) -> None:
    with pytest.raises(NotAFeed, match="JSON"):
        poll(site, body, "application/json")


def test_a_later_poll_brings_only_what_is_new_or_changed(site: Site) -> None:
    old = "<item><guid>1</guid><description>A tarn is a lake.</description></item>"
    source = open_source(site.serve("/feed", rss(old)), settings=LOCAL)
    first = source.poll({})
    site.serve("/feed", rss(old.replace("lake", "pond"), "<item><guid>2</guid><description>An oslith is a lamp.</description></item>"))
    second = source.poll(first.cursor)
    assert [(one.external_id, one.text) for one in second.documents] == [("1", "A tarn is a pond."), ("2", "An oslith is a lamp.")]
    site.serve("/feed", rss())
    site.serve("/feed", rss(old.replace("lake", "pond")) + "<!-- only white space is new -->")
    assert source.poll(second.cursor).documents == ()


def test_an_entry_that_drops_out_and_returns_is_not_news(site: Site) -> None:
    item = "<item><guid>1</guid><description>A tarn is a lake.</description></item>"
    source = open_source(site.serve("/feed", rss(item)), settings=LOCAL)
    cursor = source.poll({}).cursor
    site.serve("/feed", rss("<item><guid>2</guid><description>An oslith is a lamp.</description></item>"))
    cursor = source.poll(cursor).cursor
    site.serve("/feed", rss(item) + " ")
    assert source.poll(cursor).documents == ()


def test_what_is_remembered_is_bounded_but_never_less_than_the_feed_shows() -> None:
    def batch(name: str, count: int) -> list[Entry]:
        return [Entry(f"{name}-{number}", None, None, "A text.", None) for number in range(count)]

    seen: dict[str, list[str]] = {}
    for name in "abcdef":
        fresh, seen = news(batch(name, 1500), seen)
        assert len(fresh) == 1500
    assert len(seen) == REMEMBERED + 1500
    assert news(batch("f", 1500) + batch("e", 1500), seen)[0] == ()
    _, seen = news(batch("large", 9000), seen)
    assert news(batch("large", 9000), seen)[0] == ()


def test_an_unchanged_feed_is_neither_sent_nor_read_again(site: Site) -> None:
    source = open_source(site.serve("/feed", RSS, ETag='"v1"'), settings=LOCAL)
    first = source.poll({})
    again = source.poll(first.cursor)
    assert (again.unchanged, again.documents, again.title) == (True, (), "Varn news")
    assert site.requests[1][1]["if-none-match"] == '"v1"'


def test_entries_without_ids_or_dates_get_a_stable_id_and_no_date(site: Site) -> None:
    body = rss(
        "<item><link>https://varn.example/a</link><description>A tarn is a lake.</description></item>",
        "<item><title>Oslith</title><description>An oslith is a lamp.</description></item>",
    )
    got, again = poll(site, body), poll(site, body + " ")
    assert got.documents[0].external_id == "https://varn.example/a"
    assert got.documents[1].external_id.startswith("sha256:")
    assert [one.external_id for one in got.documents] == [one.external_id for one in again.documents]
    assert [one.published_at for one in got.documents] == [None, None]


def test_entries_that_share_an_id_but_not_a_page_are_told_apart(site: Site) -> None:
    item = "<item><guid isPermaLink='false'>same</guid><link>https://varn.example/{0}</link><description>Text {0}.</description></item>"
    got = poll(site, rss(item.format(1), item.format(2)))
    assert len({one.external_id for one in got.documents}) == 2


def test_an_entry_without_text_is_a_problem_and_the_others_are_read(site: Site) -> None:
    got = poll(site, rss("<item><guid>x</guid></item>", "<item><guid>y</guid><description>A tarn is a lake.</description></item>"))
    assert [one.external_id for one in got.documents] == ["y"]
    assert got.problems == ("Entry 1 (x) has no text.",)


def test_malformed_xml_gives_what_can_be_read_and_a_problem(site: Site) -> None:
    got = poll(site, RSS.replace("</channel></rss>", "<item><title>Broken & unfinished"))
    assert {"varn-1", "varn-2"} <= {one.external_id for one in got.documents}
    assert "not well-formed" in got.problems[0]


def test_an_entry_that_breaks_off_is_read_when_it_is_whole(site: Site) -> None:
    for cut in ("</item>", "lake.</description>", "<description>", "<title>Tarn"):
        url = site.serve("/feed.xml", RSS[: RSS.rindex(cut)])
        got = open_source(url, settings=LOCAL).poll({})
        assert [one.external_id for one in got.documents] == ["varn-2"]
        assert "breaks off" in got.problems[-1]
        site.serve("/feed.xml", RSS)
        [late] = open_source(url, settings=LOCAL).poll(got.cursor).documents
        assert (late.external_id, late.text) == ("varn-1", "A tarn is a small lake.")


def test_hostile_markup_and_links_do_not_come_through(site: Site) -> None:
    html = "&lt;script&gt;alert(1)&lt;/script&gt;&lt;p onclick='x()'&gt;A tarn is a lake.&lt;/p&gt;&lt;iframe src='http://x'&gt;&lt;/iframe&gt;"
    (document,) = poll(site, rss(f"<item><guid>1</guid><link>javascript:alert(1)</link><description>{html}</description></item>")).documents
    assert (document.text, document.url) == ("A tarn is a lake.", None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "cp037"])
def test_entities_do_not_multiply(site: Site, encoding: str) -> None:
    levels = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    prolog = f'<?xml version="1.0" encoding="{encoding}"?><!-- [ > --> <!DOCTYPE rss [<!ENTITY e0 "x"><!ENTITY nbsp "&#160;">{levels}]>'
    bomb = (
        prolog + '<rss version="2.0"><channel><item><guid>1</guid><description>A tarn.&nbsp;&e5;&e9;</description></item></channel></rss>'
    )
    assert len(text_of(poll(site, bomb.encode(encoding)))) < 100


@pytest.mark.parametrize("piece", ["&lt;!--", "&lt;a href='", "<!--", "<a ", "&", "<![CDATA[", "\n"])
def test_hostile_repetition_takes_time_in_proportion(piece: str) -> None:
    started = time.process_time()
    body = rss(f"<item><guid>1</guid><description>A tarn. {piece * 20_000}</description></item>")
    parse_feed(body.encode(), "hostile", base_url="http://varn.example/")
    assert time.process_time() - started < 5


@pytest.mark.parametrize("data", [b"", b"  ", b"<!-- open", b"<!DOCTYPE rss [", b"<!DOCTYPE rss><rss/>", b"<rss>[<!DOCTYPE x [", b"<?xml"])
def test_a_prolog_of_any_shape_is_walked_to_its_end(data: bytes) -> None:
    assert without_nested_entities(data).startswith(data)


def test_a_plain_entity_survives() -> None:
    assert b'<!ENTITY deg "&#176;">' in without_nested_entities(
        b'<!DOCTYPE a [<!ENTITY deg "&#176;"><!ENTITY x SYSTEM "file:///etc/passwd">]><a/>'
    )
    assert b"passwd" not in without_nested_entities(b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a/>')


def test_ids_do_not_depend_on_where_the_feed_is_served() -> None:
    first, second = (parse_feed(RSS.encode(), "x", base_url=base) for base in ("http://a.example/", "http://b.example/"))
    assert [entry.external_id for entry in first.entries] == [entry.external_id for entry in second.entries] == ["varn-2", "varn-1"]


def test_a_body_that_is_the_name_of_a_file_does_not_open_that_file(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text(RSS)
    with pytest.raises(NotAFeed):
        poll(site, str(secret))


def text_of(got: Poll) -> str:
    (document,) = got.documents
    return document.text


@pytest.mark.parametrize(
    ("encoding", "declared", "header", "problems"),
    [
        ("utf-8", "utf-8", "application/xml", 0),
        ("utf-8", "", "text/xml", 0),
        ("utf-8", "utf-8", "text/xml; charset=iso-8859-1", 0),
        ("iso-8859-1", "iso-8859-1", "application/xml", 0),
        ("iso-8859-1", "", "application/xml; charset=iso-8859-1", 0),
        ("utf-16", "utf-16", "application/xml", 0),
        ("utf-8-sig", "", "application/rss+xml", 0),
        ("iso-8859-1", "utf-8", "application/xml", 1),
        ("iso-8859-1", "nonsense-8", "application/xml; charset=more-nonsense", 1),
    ],
)
def test_encodings_are_taken_from_bytes_header_and_declaration(
    site: Site, encoding: str, declared: str, header: str, problems: int
) -> None:
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    body = (
        declaration + '<rss version="2.0"><channel><item><guid>1</guid><description>Un café à Genève.</description></item></channel></rss>'
    )
    got = poll(site, body.encode(encoding), header)
    assert text_of(got) == "Un café à Genève."
    assert len(got.problems) == problems


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b"\xc3", b"\x80"])
def test_bytes_that_are_no_text_never_stop_a_feed(site: Site, byte: bytes) -> None:
    got = poll(site, rss("<item><guid>1</guid><description>A tarn@ is a lake.</description></item>").encode().replace(b"@", byte))
    assert "lake" in text_of(got)
    assert text_of(got).isprintable()


def test_a_web_page_names_the_feeds_it_offers(site: Site) -> None:
    page = """<!doctype html><html><head><title>Varn</title><link rel="stylesheet" href="a.css">
    <link rel="alternate" type="application/rss+xml" href="/rss.xml"><link rel="alternate" type="application/atom+xml" href="https://x.example/atom">
    <link rel="alternate" hreflang="de" href="/de"></head><body>Hello</body></html>"""
    with pytest.raises(NotAFeed, match="web page") as caught:
        poll(site, page, "text/html")
    assert f"{site.base}/rss.xml, https://x.example/atom" in caught.value.hint
    assert "/de" not in caught.value.hint


@pytest.mark.parametrize(
    "body", [b"", b"   \n", b"just words", b"\x89PNG\r\n\x1a\n\x00\x00", b"<html><body>no links</body></html>", b"<a/>", b"["]
)
def test_what_is_no_feed_is_an_error_with_a_hint(site: Site, body: bytes) -> None:
    with pytest.raises(NotAFeed) as caught:
        poll(site, body)
    assert caught.value.hint
    assert site.base in str(caught.value)


def test_the_servers_wish_for_the_next_time_is_passed_on(site: Site) -> None:
    assert open_source(site.serve("/a", RSS, Cache_Control="max-age=1200"), settings=LOCAL).poll({}).next_after_s == 1200
    assert open_source(site.serve("/b", RSS), settings=LOCAL).poll({}).next_after_s is None


def test_a_moved_feed_tells_its_new_address(site: Site) -> None:
    site.serve("/new", RSS)
    got = open_source(site.serve("/old", b"", status=301, Location="/new"), settings=LOCAL).poll({})
    assert got.moved_to == site.base + "/new"
    assert len(got.documents) == 2


def shared_feeds() -> list[Path]:
    return sorted(SHARED.glob("feeds_*/*.jsonl"))


def check_document(document: Document) -> None:
    assert document.external_id
    assert document.text.strip()
    for value in (document.external_id, document.text, document.title or "", document.url or ""):
        value.encode("utf-8")
        assert "\x00" not in value
    assert document.published_at is None or document.published_at.tzinfo is not None


@pytest.mark.skipif(not shared_feeds(), reason=f"no collected feeds beside the checkout ({SHARED}/feeds_*)")
def test_collected_feeds_are_all_read_or_refused_with_a_reason() -> None:
    read = refused = unnamed = entries = 0
    for file in shared_feeds():
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            header = (row.get("http_headers") or {}).get("Content-type", "")
            try:
                feed = parse_feed(base64.b64decode(row["data_b64"]), row["id"], base_url="http://feeds.example/x", content_type=header)
            except SourceError as err:
                refused += 1
                unnamed += row["id"] not in str(err)
                continue
            kept, _ = settle(feed.entries)
            for entry in kept:
                check_document(Document(entry.external_id, entry.url, entry.title, entry.text, entry.published_at))
            read += 1
            entries += len(kept)
    sys.stdout.write(f"collected feeds: {read} read with {entries} entries, {refused} refused\n")
    assert read > 20 * refused
    assert entries > 500
    assert unnamed == 0


@pytest.mark.parametrize(("slow_s", "together"), [(0.02, 1), (1.0, 2)], ids=["one after the other", "past a slow one"])
def test_feeds_are_read_one_at_a_time_and_a_slow_one_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, slow_s: float, together: int
) -> None:
    monkeypatch.setattr("sources.feed._PATIENCE_S", 0.3)
    reading, most = 0, 0

    def read(*arguments: Any, **named: Any) -> Any:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        time.sleep(slow_s)
        reading -= 1
        return parse_feed(*arguments, **named)

    monkeypatch.setattr("sources.feed.parse_feed", read)
    location = site.serve("/feed", RSS)
    with ThreadPoolExecutor(2) as pollers:
        polls = list(pollers.map(lambda _: open_source(location, settings=LOCAL).poll({}), range(2)))
    assert [len(one.documents) for one in polls] == [2, 2]
    assert most == together
