"""What every source promises, as tests: inherit from `SourceContract` in a pytest module and give it a fixture called `subject`.

    class TestMySource(SourceContract):
        @pytest.fixture
        def subject(self, tmp_path): ...   # something with the attributes of Subject

Every promise here is one that the daemon relies on: it stores the cursor with the documents and hands it back unread.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

from .base import Document, Source
from .errors import SourceError

TEXTS = {
    "tarn": "A tarn is a lake. It lies high in the hills, and no river runs into it from above.",
    "fell": "A fell is a hill. It is open to everybody, and sheep graze on it in the summer.",
}
BECK = {"beck": "A beck is a stream. It runs down from a fell, and it is cold in every month."}
CHANGED = {"tarn": "A tarn is a pond. It lies high in the hills, and no river runs into it from above."}


@dataclass(frozen=True)
class Subject:
    """A source under test, and the ways to change what it reads.

    `write` makes the source hold exactly these texts, by name. `vanish` takes away what it reads. `open` gives a new source for it.
    `single` is for sources that hold one document only.
    """

    location: str
    write: Callable[[dict[str, str]], None]
    vanish: Callable[[], None]
    open: Callable[[], Source]
    single: bool = False

    def texts(self) -> dict[str, str]:
        return {"tarn": TEXTS["tarn"]} if self.single else dict(TEXTS)


class SourceContract:
    """The promises. Polls are made through new sources wherever that must make no difference."""

    def test_it_is_a_source_and_opening_it_reads_nothing(self, subject: Subject) -> None:
        subject.vanish()
        source = subject.open()
        assert isinstance(source, Source)
        assert source.kind
        assert source.location == subject.location

    def test_the_first_poll_brings_everything_and_the_second_nothing(self, subject: Subject) -> None:
        subject.write(subject.texts())
        source = subject.open()
        first = source.poll({})
        second = source.poll(first.cursor)
        assert {one.text for one in first.documents} == set(subject.texts().values())
        assert len(first.documents) == len(subject.texts())
        assert not first.unchanged
        assert second.documents == ()
        assert second.problems == ()
        assert second.unchanged

    def test_the_cursor_is_all_the_memory_there_is_and_can_be_stored_as_json(self, subject: Subject) -> None:
        subject.write(subject.texts())
        cursor = json.loads(json.dumps(subject.open().poll({}).cursor))
        assert subject.open().poll(cursor).documents == ()
        assert len(subject.open().poll({}).documents) == len(subject.texts())

    def test_the_cursor_given_is_not_changed(self, subject: Subject) -> None:
        subject.write(subject.texts())
        cursor = subject.open().poll({}).cursor
        before = json.dumps(cursor)
        subject.write(subject.texts() | CHANGED)
        subject.open().poll(cursor)
        assert json.dumps(cursor) == before

    def test_polling_again_from_an_old_cursor_brings_the_same_again(self, subject: Subject) -> None:
        subject.write(subject.texts())
        once, twice = ([(one.external_id, one.text) for one in subject.open().poll({}).documents] for _ in range(2))
        assert once == twice

    def test_a_new_document_comes_alone(self, subject: Subject) -> None:
        if subject.single:
            return
        subject.write(subject.texts())
        cursor = subject.open().poll({}).cursor
        subject.write(subject.texts() | BECK)
        assert [one.text for one in subject.open().poll(cursor).documents] == list(BECK.values())

    def test_a_changed_document_comes_again_under_its_id(self, subject: Subject) -> None:
        subject.write(subject.texts())
        first = subject.open().poll({})
        subject.write(subject.texts() | CHANGED)
        changed = subject.open().poll(first.cursor).documents
        assert [one.text for one in changed] == list(CHANGED.values())
        assert changed[0].external_id in {one.external_id for one in first.documents}

    def test_a_document_that_goes_brings_nothing(self, subject: Subject) -> None:
        if subject.single:
            return
        subject.write(subject.texts())
        cursor = subject.open().poll({}).cursor
        subject.write({"fell": TEXTS["fell"]})
        assert subject.open().poll(cursor).documents == ()

    def test_documents_are_whole_and_can_be_stored(self, subject: Subject) -> None:
        subject.write(subject.texts())
        for document in subject.open().poll({}).documents:
            assert document.external_id
            assert document.text == document.text.strip()
            assert document.published_at is None or document.published_at.tzinfo is UTC
            assert json.loads(json.dumps(document.fetch))["fetched_from"]
            assert isinstance(document, Document)

    def test_a_source_that_vanishes_is_an_error_that_names_it_and_says_what_to_try(self, subject: Subject) -> None:
        subject.write(subject.texts())
        cursor = subject.open().poll({}).cursor
        subject.vanish()
        failure: SourceError | None = None
        try:
            subject.open().poll(cursor)
        except SourceError as err:
            failure = err
        assert failure is not None
        assert subject.location in str(failure)
        assert failure.hint
        assert not failure.permanent

    def test_what_vanished_and_came_back_is_not_news(self, subject: Subject) -> None:
        subject.write(subject.texts())
        cursor = subject.open().poll({}).cursor
        subject.vanish()
        subject.write(subject.texts())
        assert subject.open().poll(cursor).documents == ()
