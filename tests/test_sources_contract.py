"""The contract of sources over every source that ships, and over one that a package adds."""

from __future__ import annotations

import dataclasses
import json
import os
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sources import AddressRefused, FetchSettings, NotReachable, Poll, kinds, open_source
from sources.base import Document
from sources.contract import SourceContract, Subject
from sources.robots import ROBOTS
from tests.sources_parts import LOCAL, Site, running_site

SETTINGS = dataclasses.replace(LOCAL, settle_s=0.05)


@pytest.fixture
def site() -> Iterator[Site]:
    ROBOTS.forget()
    with running_site() as running:
        yield running


class TestFeed(SourceContract):
    @pytest.fixture
    def subject(self, site: Site) -> Subject:
        def write(texts: dict[str, str]) -> None:
            items = "".join(f"<item><guid>{n}</guid><title>{n}</title><description>{t}</description></item>" for n, t in texts.items())
            site.serve("/feed", f"<rss version='2.0'><channel><title>watched</title>{items}</channel></rss>")

        location = site.base + "/feed"
        return Subject(location, write, site.routes.clear, lambda: open_source(location, settings=SETTINGS))


class TestJsonFeed(SourceContract):
    @pytest.fixture
    def subject(self, site: Site) -> Subject:
        def write(texts: dict[str, str]) -> None:
            items = [{"id": name, "title": name, "content_text": text} for name, text in texts.items()]
            feed = {"version": "https://jsonfeed.org/version/1.1", "title": "watched", "items": items}
            site.serve("/feed", json.dumps(feed), content_type="application/json")

        location = site.base + "/feed"
        return Subject(location, write, site.routes.clear, lambda: open_source(location, settings=SETTINGS))


def changed(text: str) -> str:
    """A date that is another one for another text."""
    return datetime.fromtimestamp(1_770_000_000 + zlib.crc32(text.encode()) % 10_000_000, UTC).isoformat()


class TestSitemap(SourceContract):
    @pytest.fixture
    def subject(self, site: Site) -> Subject:
        def write(texts: dict[str, str]) -> None:
            rows = ""
            for name, text in texts.items():
                page = f"<html><head><title>{name}</title></head><body><article><p>{text}</p></article></body></html>"
                site.serve(f"/{name}.html", page, content_type="text/html")
                rows += f"<url><loc>{site.base}/{name}.html</loc><lastmod>{changed(text)}</lastmod></url>"
            site.serve("/sitemap.xml", f"<urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>{rows}</urlset>")

        location = site.base + "/sitemap.xml"
        return Subject(location, write, site.routes.clear, lambda: open_source(location, settings=SETTINGS))


class TestPage(SourceContract):
    @pytest.fixture
    def subject(self, site: Site) -> Subject:
        def write(texts: dict[str, str]) -> None:
            page = f"<html><head><title>watched</title></head><body><article><p>{texts['tarn']}</p></article></body></html>"
            site.serve("/page.html", page, content_type="text/html")

        location = site.base + "/page.html"
        return Subject(location, write, site.routes.clear, lambda: open_source(location, kind="page", settings=SETTINGS), single=True)


class Clock:
    """File times that never repeat, so that no test waits for a second to pass."""

    def __init__(self) -> None:
        self.at = 1_770_000_000

    def stamp(self, path: Path) -> None:
        self.at += 1
        os.utime(path, (self.at, self.at))


class TestFolder(SourceContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        folder, clock = tmp_path / "watched", Clock()

        def write(texts: dict[str, str]) -> None:
            folder.mkdir(exist_ok=True)
            for old in folder.iterdir():
                if old.stem not in texts:
                    old.unlink()
            for name, text in texts.items():
                path = folder / f"{name}.txt"
                if not path.exists() or path.read_text() != text:
                    path.write_text(text)
                    clock.stamp(path)

        def vanish() -> None:
            write({})
            folder.rmdir()

        return Subject(str(folder), write, vanish, lambda: open_source(str(folder), kind="folder", settings=SETTINGS))


class TestFile(SourceContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        path, clock = tmp_path / "watched.txt", Clock()

        def write(texts: dict[str, str]) -> None:
            path.write_text(texts["tarn"])
            clock.stamp(path)

        return Subject(
            str(path),
            write,
            lambda: path.unlink(missing_ok=True),
            lambda: open_source(str(path), kind="file", settings=SETTINGS),
            single=True,
        )


class TestJsonLines(SourceContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        path, clock = tmp_path / "watched.jsonl", Clock()

        def write(texts: dict[str, str]) -> None:
            path.write_text("".join(json.dumps({"id": name, "title": name, "text": text}) + "\n" for name, text in texts.items()))
            clock.stamp(path)

        return Subject(
            str(path), write, lambda: path.unlink(missing_ok=True), lambda: open_source(str(path), kind="file", settings=SETTINGS)
        )


class Shelf:
    """A source as somebody else would write it: an address book of texts in memory."""

    kind = "shelf"
    shelves: dict[str, dict[str, str]] = {}  # noqa: RUF012  shared on purpose: it stands for a server

    def __init__(self, location: str, settings: FetchSettings) -> None:
        self.location = location
        self.settings = settings

    def poll(self, cursor: dict[str, Any]) -> Poll:
        if self.location not in self.shelves:
            raise NotReachable(self.location, "there is no such shelf")
        texts, before = self.shelves[self.location], cursor.get("texts", {})
        fresh = [name for name, text in texts.items() if before.get(name) != text]
        documents = [Document(name, None, name, texts[name], None, {"fetched_from": self.location}) for name in fresh]
        return Poll(tuple(documents), {"texts": {**before, **texts}}, unchanged=not fresh)


class Broken:
    """What opens it fails, as a stranger's code may."""

    def __init__(self, location: str, settings: FetchSettings) -> None:
        raise RuntimeError("no token")


def nothing(location: str, settings: FetchSettings) -> None:
    """Opens, and gives no source."""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that declares kinds, installed where Python looks for packages."""
    info = tmp_path / "site" / "shelves-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelves\nVersion: 1.0\n")
    here = __name__
    (info / "entry_points.txt").write_text(f"[lorefeed.sources]\nshelf = {here}:Shelf\nbroken = {here}:Broken\nempty = {here}:nothing\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


class TestAddedKind(SourceContract):
    @pytest.fixture
    def subject(self, added: None) -> Subject:
        location = "shelf://hall"

        def write(texts: dict[str, str]) -> None:
            Shelf.shelves[location] = texts

        def vanish() -> None:
            Shelf.shelves.pop(location, None)

        vanish()
        return Subject(location, write, vanish, lambda: open_source(location, settings=SETTINGS))


def test_an_added_kind_is_listed_and_a_broken_one_names_its_package(added: None) -> None:
    assert kinds() == ("feed", "folder", "file", "page", "sitemap", "broken", "empty", "shelf")
    with pytest.raises(AddressRefused, match="RuntimeError: no token") as caught:
        open_source("broken://x")
    assert "Broken" in caught.value.hint
    with pytest.raises(AddressRefused, match="gives no source"):
        open_source("x", kind="empty")


def test_an_unknown_kind_says_which_there_are() -> None:
    with pytest.raises(AddressRefused) as caught:
        open_source("x", kind="gopher")
    assert "sitemap" in caught.value.hint


def test_opening_a_source_reads_nothing() -> None:
    assert open_source("http://no-such-host.invalid/feed").kind == "feed"
    source = open_source("/no/such/folder")
    assert (source.kind, source.location) == ("folder", "/no/such/folder")
    with pytest.raises(NotReachable):
        source.poll({})


def test_the_default_settings_allow_no_private_address() -> None:
    assert FetchSettings().allow_private == ()
