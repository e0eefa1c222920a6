"""Polls as the daemon makes them: when a feed is due next, where it moves, what its row says, and the commands that list it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from daemon.config import ConfigError, Settings, load_settings
from daemon.stages.ingest import fetch_settings, poll_feed
from registry import Feed, Registry
from sources.politeness import HOSTS
from sources.robots import ROBOTS
from tests.cli_parts import Cli, make_cli
from tests.sources_parts import RSS, Handler, Site, running_site

NOW = datetime(2025, 3, 4, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR_S = 3600.0


@pytest.fixture
def site() -> Iterator[Site]:
    ROBOTS.forget()
    HOSTS.forget()
    with running_site() as running:
        yield running
    HOSTS.forget()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry.open(tmp_path / "home")
    yield registry
    registry.close()


def settings(tmp_path: Path, **sources: Any) -> Settings:
    options = {"allow_private": ("127.0.0.0/8",), "host_gap_s": 0.0} | sources
    return load_settings(tmp_path / "home", sources=options)


def add(registry: Registry, location: str, *, every_s: int = 900, name: str = "varn") -> Feed:
    return registry.write.add_feed(location, name=name, kind="feed", topic="news", trust="auto", interval_s=every_s)


def waited_s(registry: Registry, name: str = "varn") -> float:
    return (registry.read.feed(name).next_check_at - NOW).total_seconds()


def dated(count: int, gap: timedelta, *, newest: datetime = NOW) -> str:
    dates = [format_datetime(newest - number * gap, usegmt=True) for number in range(count)]
    items = "".join(
        f"<item><guid>{n}</guid><title>T{n}</title><description>Text {n}.</description><pubDate>{date}</pubDate></item>"
        for n, date in enumerate(dates)
    )
    return f"<rss version='2.0'><channel><title>Dated</title>{items}</channel></rss>"


def test_a_permanent_move_changes_the_stored_address_once_and_is_on_record(site: Site, registry: Registry, tmp_path: Path) -> None:
    new = site.serve("/new", RSS)
    feed = add(registry, site.serve("/old", b"", status=301, Location="/new"))
    poll_feed(registry, feed, settings(tmp_path), now=NOW)
    assert registry.read.feed("varn").location == new
    (moved,) = [event for event in registry.read.events(20) if event.action == "moved"]
    assert moved.detail == {"from_location": feed.location, "to_location": new}
    poll_feed(registry, registry.read.feed("varn"), settings(tmp_path), now=NOW)
    assert [path for path, _ in site.requests] == ["/old", "/new", "/new"]
    assert len(registry.read.documents()) == 2


def test_a_temporary_move_does_not_change_the_address(site: Site, registry: Registry, tmp_path: Path) -> None:
    site.serve("/new", RSS)
    feed = add(registry, site.serve("/old", b"", status=302, Location="/new"))
    poll_feed(registry, feed, settings(tmp_path), now=NOW)
    assert registry.read.feed("varn").location == feed.location


def test_a_feed_with_credentials_does_not_take_them_to_another_host(
    site: Site, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VARN_TOKEN", "Bearer abc")
    with running_site() as other:
        away = other.serve("/feed", RSS).replace("127.0.0.1", "localhost")
        feed = add(registry, site.serve("/old", b"", status=301, Location=away))
        chosen = settings(
            tmp_path, allow_private=("127.0.0.0/8", "localhost"), feeds={"varn": {"headers": {"Authorization": "env:VARN_TOKEN"}}}
        )
        report = poll_feed(registry, feed, chosen, now=NOW)
        assert registry.read.feed("varn").location == feed.location
        assert "credentials are for another host" in report.problems[-1]
        assert site.requests[0][1]["authorization"] == "Bearer abc"
        assert "authorization" not in other.requests[0][1]


def test_gone_retires_the_feed_and_it_is_not_asked_again(site: Site, registry: Registry, tmp_path: Path) -> None:
    feed = add(registry, site.serve("/feed", b"", status=410))
    poll_feed(registry, feed, settings(tmp_path), now=NOW)
    found = registry.read.feed("varn")
    assert (found.state, found.error_count) == ("retired", 1)
    assert "gone for good" in (found.last_error or "")
    assert registry.read.feeds_due(NOW + 900 * DAY) == []


@pytest.mark.parametrize(
    ("body", "every_s", "least_s", "most_s"),
    [
        (dated(6, timedelta(minutes=10)), 900, 900, 990),  # posts often: its interval
        (dated(6, timedelta(hours=8)), 900, 2 * HOUR_S, 2.2 * HOUR_S),  # a quarter of its gap
        (dated(6, timedelta(days=30)), 900, 6 * HOUR_S, 6.6 * HOUR_S),  # rarely: at least this often
        (dated(6, timedelta(days=30)), 60, 60, 66),  # an interval of its own is kept
        (dated(2, timedelta(days=30)), 900, 900, 990),  # too few dates say nothing
    ],
)
def test_the_interval_adapts_to_how_often_a_feed_posts(
    site: Site, registry: Registry, tmp_path: Path, body: str, every_s: int, least_s: float, most_s: float
) -> None:
    poll_feed(registry, add(registry, site.serve("/feed", body), every_s=every_s), settings(tmp_path), now=NOW)
    assert least_s <= waited_s(registry) <= most_s


def test_a_servers_wish_makes_the_wait_longer_and_never_shorter(site: Site, registry: Registry, tmp_path: Path) -> None:
    feed = add(registry, site.serve("/feed", RSS, Cache_Control="max-age=7200"))
    poll_feed(registry, feed, settings(tmp_path), now=NOW)
    assert waited_s(registry) >= 7200
    site.serve("/feed", RSS, Cache_Control="max-age=5")
    poll_feed(registry, registry.read.feed("varn"), settings(tmp_path), now=NOW)
    assert waited_s(registry) >= 900


def test_failures_back_off_without_an_end_and_success_forgets_them(site: Site, registry: Registry, tmp_path: Path) -> None:
    add(registry, site.serve("/feed", b"", status=500))
    waits = []
    for _ in range(12):
        poll_feed(registry, registry.read.feed("varn"), settings(tmp_path), now=NOW)
        waits.append(waited_s(registry))
    assert waits[1] > waits[0]
    assert waits[-1] <= 86_400
    assert min(waits[8:]) > 0.7 * 86_400
    assert (registry.read.feed("varn").state, registry.read.feed("varn").error_count) == ("active", 12)
    site.serve("/feed", RSS)
    poll_feed(registry, registry.read.feed("varn"), settings(tmp_path), now=NOW)
    assert (registry.read.feed("varn").error_count, registry.read.feed("varn").last_error) == (0, None)


def test_a_short_retry_after_does_not_undercut_the_back_off(site: Site, registry: Registry, tmp_path: Path) -> None:
    add(registry, site.serve("/feed", b"", status=503, Retry_After="1"))
    poll_feed(registry, registry.read.feed("varn"), settings(tmp_path), now=NOW)
    assert waited_s(registry) >= 0.8 * 900


def test_feeds_added_together_drift_apart(site: Site, registry: Registry, tmp_path: Path) -> None:
    url = site.serve("/feed", RSS)
    for number in range(5):
        poll_feed(registry, add(registry, f"{url}?{number}", name=f"f{number}"), settings(tmp_path), now=NOW)
    assert len({registry.read.feed(f"f{number}").next_check_at for number in range(5)}) == 5


def test_a_host_that_was_just_asked_is_asked_later_and_that_is_no_error(site: Site, registry: Registry, tmp_path: Path) -> None:
    url, polite = site.serve("/feed", RSS), settings(tmp_path, host_gap_s=40)
    for name in ("varn", "oslith"):
        poll_feed(registry, add(registry, f"{url}?{name}", name=name), polite, now=NOW)
    waiting = registry.read.feed("oslith")
    assert (waiting.error_count, waiting.last_error, waiting.last_checked_at) == (0, None, None)
    assert 30 <= waited_s(registry, "oslith") <= 41
    assert len(site.requests) == 1


def test_a_feed_that_falls_silent_is_one_event_until_it_posts_again(site: Site, tmp_path: Path) -> None:
    day = timedelta(days=1)
    clock = [NOW]
    registry = Registry.open(tmp_path / "home", clock=lambda: clock[0])
    add(registry, site.serve("/feed", dated(6, day / 2)))

    def silences_after(*days: int) -> int:
        for number in days:
            clock[0] = NOW + number * day
            poll_feed(registry, registry.read.feed("varn"), settings(tmp_path), now=clock[0])
        return sum(event.action == "silent" for event in registry.read.events(50))

    assert silences_after(0, 1, 2) == 0
    assert silences_after(4, 5, 9) == 1
    site.serve("/feed", dated(8, day / 2, newest=NOW + 9 * day))
    assert silences_after(10, 11) == 1
    assert silences_after(14, 15) == 2
    (newest, *_) = [event for event in registry.read.events(50) if event.action == "silent"]
    assert (newest.object, newest.detail["usual_gap_s"]) == ("varn", 12 * 3600)
    registry.close()


def test_a_secret_is_named_in_the_configuration_and_never_written_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("Bearer file\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "varn").write_text("http://ada:word@proxy.example:3128")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    headers = {"Authorization": f"file:{tmp_path / 'token'}"}
    chosen = settings(tmp_path, feeds={"varn": {"headers": headers, "proxy": "credential:varn", "full_text": True}})
    got = fetch_settings(chosen, "varn")
    assert (got.headers, got.proxy, got.full_text) == ((("Authorization", "Bearer file"),), "http://ada:word@proxy.example:3128", True)
    assert "word" not in repr(got)
    assert "Bearer file" not in repr(got)
    assert fetch_settings(chosen, "other").headers == ()
    with pytest.raises(ConfigError, match="env:NAME"):
        settings(tmp_path, feeds={"varn": {"headers": {"Authorization": "Bearer abc"}}})
    with pytest.raises(ConfigError, match="proxy with a password"):
        settings(tmp_path, feeds={"varn": {"proxy": "http://ada:word@proxy.example"}})


@pytest.mark.parametrize("reference", ["env:NO_SUCH_VARIABLE", "file:/no/such/file", "credential:varn"])
def test_a_secret_that_is_missing_is_an_error_on_the_row(
    site: Site, registry: Registry, tmp_path: Path, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    feed = add(registry, site.serve("/feed", RSS))
    poll_feed(registry, feed, settings(tmp_path, feeds={"varn": {"headers": {"X-Key": reference}}}), now=NOW)
    assert "The header X-Key of feed varn is to come from" in (registry.read.feed("varn").last_error or "")
    assert site.requests == []


# The commands


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    made = make_cli(tmp_path, capsys, monkeypatch)
    monkeypatch.setenv("LOREFEED_SOURCES__ALLOW_PRIVATE", '["127.0.0.0/8"]')
    return made


SUBSCRIPTIONS = """<opml version="2.0"><body>
<outline text="Cloud &amp; Security"><outline type="rss" text="Varn" xmlUrl="https://varn.example/feed"/>
<outline type="rss" text="Varn" xmlUrl="https://varn.example/other"/></outline>
<outline type="rss" text="Loose" xmlUrl="https://loose.example/rss"/><outline type="rss" text="Bad" xmlUrl="gopher://x"/></body></opml>"""


def test_an_opml_file_is_taken_over_with_its_categories_as_topics_and_comes_out_again(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "reader.opml"
    file.write_text(SUBSCRIPTIONS)
    got = cli("feeds", "import", file, "--trust", "review", "--json")
    assert got.status == 0
    assert [(one["name"], one["topic"], one["trust"]) for one in got.json["added"]] == [
        ("Varn", "cloud-security", "review"), ("Varn-2", "cloud-security", "review"), ("Loose", "news", "review"),
    ]  # fmt: skip
    assert got.json["problems"] == ["Bad: gopher://x is no http address and was left out."]
    again = cli("feeds", "import", file, "--json").json
    assert (again["added"], again["known"]) == ([], ["Varn", "Varn-2", "Loose"])
    cli("feeds", "add", tmp_path, "--kind", "folder")
    exported = cli("feeds", "export")
    assert "1 folders and files of this machine are not part of it" in exported.err
    (tmp_path / "out.opml").write_text(exported.out)
    other = tmp_path / "other"
    moved = cli("--home", other, "feeds", "import", tmp_path / "out.opml", "--json").json
    assert [(one["location"], one["topic"]) for one in moved["added"]] == [
        ("https://varn.example/feed", "cloud-security"), ("https://varn.example/other", "cloud-security"), ("https://loose.example/rss", "news"),
    ]  # fmt: skip


def test_an_import_into_one_topic_and_what_cannot_be_imported(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "reader.opml"
    file.write_text(SUBSCRIPTIONS)
    assert {one["topic"] for one in cli("feeds", "import", file, "--topic", "all", "--every", "2h", "--json").json["added"]} == {"all"}
    (tmp_path / "no.opml").write_text("<rss/>")
    refused = cli("feeds", "import", tmp_path / "no.opml")
    assert (refused.status, "no OPML file" in refused.err) == (1, True)
    assert cli("feeds", "import", tmp_path / "missing.opml").status == 1


def test_the_feeds_of_a_site_are_found(cli: Cli, site: Site) -> None:
    site.serve("/news.xml", RSS)
    link = '<html><head><link rel="alternate" type="application/rss+xml" href="/news.xml"></head><body>Hello</body></html>'
    found = cli("feeds", "discover", site.serve("/", link, content_type="text/html"), "--json")
    assert found.json == [{"location": site.base + "/news.xml", "title": "Varn news", "format": "rss20"}]
    bare = cli("feeds", "discover", site.serve("/bare", "<html><body>Nothing</body></html>", content_type="text/html"))
    assert (bare.status, "announces no feed" in bare.err) == (1, True)


def test_pages_sitemaps_and_files_can_be_watched(cli: Cli, site: Site, tmp_path: Path) -> None:
    (tmp_path / "terms.jsonl").write_text('{"text": "A tarn is a lake."}\n')
    page = site.serve("/tarn", "<html><body><article><p>A tarn is a small lake in the hills.</p></article></body></html>")
    for location, kind in ((page, "page"), (site.base + "/sitemap.xml", None), (tmp_path / "terms.jsonl", None)):
        assert cli("feeds", "add", location, *(["--kind", kind] if kind else [])).status == 0
    rows = cli("feeds", "list", "--json").json
    assert [row["kind"] for row in rows] == ["page", "sitemap", "file"]
    assert rows[2]["interval_s"] == 60
    for row in (rows[0], rows[2]):
        assert cli("feeds", "poll", row["name"]).status == 0
    assert cli("feeds", "add", page, "--kind", "gopher").status == 1


def test_the_list_shows_a_feeds_rhythm_and_that_it_is_silent(cli: Cli, site: Site) -> None:
    def answer(handler: Handler) -> None:
        handler.answer(200, dated(6, timedelta(days=2), newest=datetime.now(UTC) - 40 * DAY).encode(), {"Content-Type": "application/xml"})

    cli("feeds", "add", site.route("/feed", answer), "--name", "varn")
    cli("feeds", "poll", "varn")
    (row,) = cli("feeds", "list", "--json").json
    assert row["usual_gap_s"] == 2 * 86_400
    assert row["silent"] == "silent for 40 days; it used to post every 2 days"
    assert "silent for" in cli("feeds", "list").out


def test_the_configuration_with_options_for_a_feed_can_be_shown(cli: Cli) -> None:
    cli.home.mkdir(parents=True)
    (cli.home / "lorefeed.toml").write_text('[sources.feeds."varn"]\nfull_text = true\nheaders = { Authorization = "env:VARN" }\n')
    shown = cli("config")
    assert shown.status == 0
    assert "env:VARN" in shown.out
    assert cli("config", "--json").json["sources"]["feeds"]["varn"]["full_text"] is True
