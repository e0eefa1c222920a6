"""What every source promises, run over each of them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import pytest

from sources import FetchSettings, NotReachable, Source, SourceError, open_source
from tests.sources_parts import LOCAL, running_site

SETTINGS = dataclasses.replace(LOCAL, settle_s=0.05)


@dataclass(frozen=True)
class Subject:
    """A source, and the ways to change what it reads. `write` takes all its texts by name."""

    location: str
    write: Callable[[dict[str, str]], None]
    vanish: Callable[[], None]

    def open(self) -> Source:
        return open_source(self.location, settings=SETTINGS)


@pytest.fixture(params=["feed", "json feed", "folder"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "folder":
        yield folder_subject(tmp_path / "watched")
        return
    with running_site() as site:

        def write(texts: dict[str, str]) -> None:
            if request.param == "feed":
                items = "".join(
                    f"<item><guid>{name}</guid><title>{name}</title><description>{text}</description></item>"
                    for name, text in texts.items()
                )
                site.serve("/feed", f"<rss version='2.0'><channel><title>watched</title>{items}</channel></rss>")
            else:
                entries = [{"id": name, "title": name, "content_text": text} for name, text in texts.items()]
                feed = {"version": "https://jsonfeed.org/version/1.1", "title": "watched", "items": entries}
                site.serve("/feed", json.dumps(feed), content_type="application/json")

        yield Subject(site.base + "/feed", write, site.routes.clear)


def folder_subject(folder: Path) -> Subject:
    folder.mkdir()
    clock = iter(range(1_770_000_000, 1_780_000_000))

    def write(texts: dict[str, str]) -> None:
        for old in folder.iterdir():
            if old.stem not in texts:
                old.unlink()
        for name, text in texts.items():
            path = folder / f"{name}.txt"
            path.write_text(text)
            at = next(clock)
            os.utime(path, (at, at))

    def vanish() -> None:
        write({})
        folder.rmdir()

    return Subject(str(folder), write, vanish)


TEXTS = {"tarn": "A tarn is a lake.", "fell": "A fell is a hill."}


def test_the_first_poll_brings_everything_and_the_second_nothing(subject: Subject) -> None:
    subject.write(TEXTS)
    source = subject.open()
    first = source.poll({})
    second = source.poll(first.cursor)
    assert sorted(document.text for document in first.documents) == sorted(TEXTS.values())
    assert (first.unchanged, first.title) == (False, "watched")
    assert (second.documents, second.problems, second.unchanged) == ((), (), True)


def test_the_cursor_is_all_the_memory_there_is(subject: Subject) -> None:
    subject.write(TEXTS)
    cursor = json.loads(json.dumps(subject.open().poll({}).cursor))
    assert subject.open().poll(cursor).documents == ()
    assert len(subject.open().poll({}).documents) == 2


def test_the_cursor_given_is_not_changed(subject: Subject) -> None:
    subject.write(TEXTS)
    cursor = subject.open().poll({}).cursor
    before = json.dumps(cursor)
    subject.write(TEXTS | {"beck": "A beck is a stream."})
    subject.open().poll(cursor)
    assert json.dumps(cursor) == before


def test_polling_again_from_an_old_cursor_brings_the_same_again(subject: Subject) -> None:
    subject.write(TEXTS)
    ids = [[(one.external_id, one.text) for one in subject.open().poll({}).documents] for _ in range(2)]
    assert ids[0] == ids[1]


def test_a_new_document_comes_alone(subject: Subject) -> None:
    subject.write(TEXTS)
    cursor = subject.open().poll({}).cursor
    subject.write(TEXTS | {"beck": "A beck is a stream."})
    assert [document.text for document in subject.open().poll(cursor).documents] == ["A beck is a stream."]


def test_a_changed_document_comes_again_under_its_id(subject: Subject) -> None:
    subject.write(TEXTS)
    first = subject.open().poll({})
    subject.write(TEXTS | {"tarn": "A tarn is a pond."})
    (changed,) = subject.open().poll(first.cursor).documents
    assert changed.text == "A tarn is a pond."
    assert changed.external_id in {document.external_id for document in first.documents}


def test_a_document_that_goes_brings_nothing(subject: Subject) -> None:
    subject.write(TEXTS)
    cursor = subject.open().poll({}).cursor
    subject.write({"fell": TEXTS["fell"]})
    assert subject.open().poll(cursor).documents == ()


def test_documents_are_whole_and_can_be_stored(subject: Subject) -> None:
    subject.write(TEXTS)
    for document in subject.open().poll({}).documents:
        assert document.external_id
        assert document.title in TEXTS
        assert document.published_at is None or document.published_at.tzinfo is UTC
        assert json.loads(json.dumps(document.fetch))["fetched_from"]
        with pytest.raises(dataclasses.FrozenInstanceError):
            document.text = "other"  # type: ignore[misc]


def test_a_source_that_vanishes_is_an_error_that_names_it_and_loses_nothing(subject: Subject) -> None:
    subject.write(TEXTS)
    cursor = subject.open().poll({}).cursor
    subject.vanish()
    with pytest.raises(SourceError) as caught:
        subject.open().poll(cursor)
    assert subject.location in str(caught.value)
    assert caught.value.hint
    assert caught.value.permanent is False


def test_opening_a_source_reads_nothing() -> None:
    assert open_source("http://no-such-host.invalid/feed").kind == "feed"
    source = open_source("/no/such/folder")
    assert (source.kind, source.location) == ("folder", "/no/such/folder")
    with pytest.raises(NotReachable):
        source.poll({})


def test_the_default_settings_allow_no_private_address() -> None:
    assert FetchSettings().allow_private == ()
