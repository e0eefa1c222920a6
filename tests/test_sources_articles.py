"""Pages behind addresses: full text for summaries, robots.txt, sitemaps, all over a real server."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sources import Forbidden, NotAPage, Poll, TooLarge, open_source
from sources.article import ARTICLES_A_POLL, fetch_article, is_summary
from sources.robots import ROBOTS
from tests.sources_parts import LOCAL, Site, running_site

BODY = "A tarn is a small lake in the hills. " + "It was made by ice, and no river runs into it from above. " * 12
FULL = replace(LOCAL, full_text=True)


@pytest.fixture
def site() -> Iterator[Site]:
    ROBOTS.forget()
    with running_site() as running:
        yield running


def page(text: str) -> str:
    return f"<html><head><title>Tarn</title></head><body><nav>Home</nav><article><p>{text}</p></article></body></html>"


def feed(site: Site, count: int = 1, *, summary: str = "A tarn is a small…") -> str:
    items = "".join(
        f"<item><guid>{n}</guid><title>T{n}</title><link>{site.base}/a/{n}</link><description>{summary}</description></item>"
        for n in range(count)
    )
    return site.serve("/feed", f"<rss version='2.0'><channel><title>Hills</title>{items}</channel></rss>")


def poll(url: str, cursor: dict[str, object] | None = None) -> Poll:
    return open_source(url, settings=FULL).poll(cursor or {})


def test_a_summary_is_completed_from_its_page_and_says_where_from(site: Site) -> None:
    site.serve("/a/0", page(BODY), content_type="text/html")
    (document,) = poll(feed(site)).documents
    assert document.text == BODY.strip()
    assert document.fetch["full_text_from"] == site.base + "/a/0"
    assert document.fetch["summary"] == "A tarn is a small…"


def test_without_the_setting_no_page_is_fetched(site: Site) -> None:
    assert open_source(feed(site), settings=LOCAL).poll({}).documents[0].text == "A tarn is a small…"
    assert [path for path, _ in site.requests] == ["/feed"]


def test_a_feed_that_gives_everything_is_left_alone(site: Site) -> None:
    assert poll(feed(site, summary=BODY)).documents[0].text == BODY.strip()
    assert [path for path, _ in site.requests] == ["/feed"]


@pytest.mark.parametrize(("status", "text"), [(404, BODY), (200, "Log in.")])
def test_a_page_that_cannot_be_had_or_says_less_leaves_the_summary(site: Site, status: int, text: str) -> None:
    site.serve("/a/0", page(text), content_type="text/html", status=status)
    got = poll(feed(site))
    assert got.documents[0].text == "A tarn is a small…"
    assert bool(got.problems) == (status == 404)
    if status == 404:
        assert "nothing at this address" in got.problems[0]


def test_robots_txt_is_heeded_for_pages_and_asked_once(site: Site) -> None:
    site.serve("/robots.txt", "User-agent: lorefeed\nDisallow: /a/\n", content_type="text/plain")
    got = poll(feed(site, 3))
    assert {one.text for one in got.documents} == {"A tarn is a small…"}
    assert "robots.txt" in got.problems[0]
    assert [path for path, _ in site.requests] == ["/feed", "/robots.txt"]
    with pytest.raises(Forbidden):
        fetch_article(site.base + "/a/0", LOCAL)
    site.serve("/a/0", page(BODY), content_type="text/html")
    assert fetch_article(site.base + "/a/0", replace(LOCAL, robots=False)).page.title == "Tarn"


@pytest.mark.parametrize(("status", "allowed"), [(404, True), (403, True), (500, False), (429, False)])
def test_no_rules_allow_everything_and_a_server_in_trouble_nothing(site: Site, status: int, allowed: bool) -> None:
    site.serve("/robots.txt", "", status=status)
    site.serve("/a/0", page(BODY), content_type="text/html")
    if allowed:
        assert fetch_article(site.base + "/a/0", LOCAL).page.text
    else:
        with pytest.raises(Forbidden):
            fetch_article(site.base + "/a/0", LOCAL)


def test_many_articles_come_over_several_polls_and_none_is_lost(site: Site) -> None:
    count = ARTICLES_A_POLL + 5
    for number in range(count):
        site.serve(f"/a/{number}", page(BODY + f" Number {number}."), content_type="text/html")
    url = feed(site, count)
    first = poll(url)
    assert (len(first.documents), first.unfinished) == (ARTICLES_A_POLL, True)
    second = poll(url, first.cursor)
    assert (len(second.documents), second.unfinished) == (5, False)
    assert len({one.external_id for one in (*first.documents, *second.documents)}) == count
    assert poll(url, second.cursor).documents == ()


@pytest.mark.parametrize(("text", "expected"), [("Short.", True), (BODY, False), (BODY + "…", True), (BODY + " Read more", True)])
def test_what_is_a_summary(text: str, expected: bool) -> None:
    assert is_summary(text) is expected


def test_a_page_without_text_is_an_error_of_its_own(site: Site) -> None:
    with pytest.raises(NotAPage, match="no text"):
        fetch_article(site.serve("/empty", "<html><body><script>x()</script></body></html>", content_type="text/html"), LOCAL)


def test_a_packed_sitemap_is_read_and_a_packed_bomb_is_not(site: Site) -> None:
    site.serve("/a/0", page(BODY), content_type="text/html")
    one = f"<urlset><url><loc>{site.base}/a/0</loc></url></urlset>".encode()
    site.serve("/inner.xml.gz", gzip.compress(one), content_type="application/gzip")
    index = site.serve("/sitemap.xml", f"<sitemapindex><sitemap><loc>{site.base}/inner.xml.gz</loc></sitemap></sitemapindex>")
    assert [document.title for document in open_source(index, settings=LOCAL).poll({}).documents] == ["Tarn"]
    bomb = site.serve("/sitemap-big.xml.gz", gzip.compress(b" " * 5_000_000), content_type="application/gzip")
    with pytest.raises(TooLarge, match="unpacked"):
        open_source(bomb, settings=replace(LOCAL, max_bytes=1_000_000)).poll({})


def test_a_page_of_a_sitemap_that_fails_is_told_and_not_asked_again_until_it_changes(site: Site) -> None:
    listing = f"<urlset><url><loc>{site.base}/gone</loc><lastmod>2026-01-01</lastmod></url></urlset>"
    url = site.serve("/sitemap.xml", listing)
    first = open_source(url, settings=LOCAL).poll({})
    assert "nothing at this address" in first.problems[0]
    assert open_source(url, settings=LOCAL).poll(first.cursor).problems == ()
