"""A folder of real files: what is read, what is left out, what is reported once, and prompt events."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sources import AddressRefused, Document, FetchSettings, FolderWatcher, NotReachable, Poll, detect_kind, open_source

QUICK = FetchSettings(settle_s=0.05)
LONG_AGO = 1_770_000_000


def write(path: Path, content: bytes | str, *, at: float = LONG_AGO) -> Path:
    """A file that was finished long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (at, at))
    return path


def poll(folder: Path, cursor: dict[str, Any] | None = None, settings: FetchSettings = QUICK) -> Poll:
    return open_source(str(folder), settings=settings).poll(cursor or {})


def only(got: Poll) -> Document:
    (document,) = got.documents
    return document


def test_a_text_file_becomes_a_document(tmp_path: Path) -> None:
    path = write(tmp_path / "deep" / "Blue lamp.txt", "An oslith is a blue lamp.\r\n\r\nIt hangs.\n")
    document = only(poll(tmp_path))
    assert document.external_id == "deep/Blue lamp.txt"
    assert document.title == "Blue lamp"
    assert document.text == "An oslith is a blue lamp.\n\nIt hangs."
    assert document.url == path.as_uri()
    assert document.published_at == datetime.fromtimestamp(LONG_AGO, UTC)
    assert document.fetch["size_bytes"] == path.stat().st_size


def test_markdown_takes_its_title_from_the_front_matter_then_from_the_first_heading(tmp_path: Path) -> None:
    write(tmp_path / "a.md", '---\ntitle: "Service mesh"\ntags: [x]\n---\n# Other\n\nA **mesh** is a [layer](http://x).\n')
    write(tmp_path / "b.md", "# Tarn #\n\nA *tarn* is a lake.\n\n```\ncode\n```\n")
    write(tmp_path / "c.md", "A fell is a hill.\n")
    got = {document.external_id: document for document in poll(tmp_path).documents}
    assert (got["a.md"].title, got["a.md"].text) == ("Service mesh", "Other\n\nA mesh is a layer.")
    assert (got["b.md"].title, got["b.md"].text) == ("Tarn", "A tarn is a lake.")
    assert (got["c.md"].title, got["c.md"].text) == ("c", "A fell is a hill.")


@pytest.mark.parametrize("name", ["page.html", "page.HTM"])
def test_an_html_file_gives_its_title_and_main_text(tmp_path: Path, name: str) -> None:
    paragraphs = "".join(
        f"<p>An oslith is a blue lamp, and sentence {n} says something more about how it is hung and lit.</p>" for n in range(5)
    )
    write(
        tmp_path / name, f"<html><head><title>Oslith</title></head><body><nav>Menu Home</nav><article>{paragraphs}</article></body></html>"
    )
    document = only(poll(tmp_path))
    assert document.title == "Oslith"
    assert "sentence 4" in document.text
    assert "Menu" not in document.text
    assert "\n\n" in document.text


def test_only_text_files_that_are_meant_to_be_seen_are_read(tmp_path: Path) -> None:
    for name in [
        ".hidden.txt",
        ".git/notes.txt",
        "~$draft.txt",
        "#draft.txt",
        "a.txt~",
        "a.txt.swp",
        "photo.png",
        "a.pdf",
        "noext",
        "a.txt.part",
    ]:
        write(tmp_path / name, "A tarn is a lake.")
    write(tmp_path / "seen.TXT", "A tarn is a lake.")
    assert only(poll(tmp_path)).external_id == "seen.TXT"


def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "secret.txt", "A secret is hidden.")
    inside = tmp_path / "inside"
    write(inside / "real.txt", "A tarn is a lake.")
    (inside / "leaves.txt").symlink_to(outside)
    (inside / "leaves").symlink_to(outside.parent)
    (inside / "stays.txt").symlink_to("real.txt")
    (inside / "circle").symlink_to(inside)
    (inside / "dangling.txt").symlink_to("nothing.txt")
    (inside / "self.txt").symlink_to("self.txt")
    got = poll(inside)
    assert sorted(document.external_id for document in got.documents) == ["real.txt", "stays.txt"]
    assert got.problems == ()


def test_pipes_and_folders_with_a_texts_name_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    assert poll(tmp_path).documents == ()


def test_a_change_brings_the_file_again_and_a_touch_does_not(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "A tarn is a lake.")
    first = poll(tmp_path)
    write(path, "A tarn is a lake.", at=LONG_AGO + 10)
    touched = poll(tmp_path, first.cursor)
    assert touched.documents == ()
    write(path, "A tarn is a pond.", at=LONG_AGO + 20)
    changed = poll(tmp_path, touched.cursor)
    assert only(changed).text == "A tarn is a pond."
    path.unlink()
    assert poll(tmp_path, changed.cursor).cursor["files"] == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\n\t ", "is empty"),
        (b"PK\x03\x04\x00\x00\x08", "binary"),
        (b"\x01\x02\x03\x04\x05" * 10, "binary"),
        (b"x" * 3000, "larger than the cap"),
    ],
)
def test_a_file_that_cannot_be_learnt_from_is_reported_once_until_it_changes(tmp_path: Path, content: bytes, words: str) -> None:
    settings = replace(QUICK, max_bytes=2000)
    path = write(tmp_path / "bad.txt", content)
    write(tmp_path / "good.txt", "A tarn is a lake.")
    first = poll(tmp_path, settings=settings)
    assert only(first).external_id == "good.txt"
    assert len(first.problems) == 1
    assert "bad.txt" in first.problems[0]
    assert words in first.problems[0]
    again = poll(tmp_path, first.cursor, settings)
    assert (again.problems, again.unchanged) == ((), True)
    write(path, "A fell is a hill.", at=LONG_AGO + 10)
    assert only(poll(tmp_path, again.cursor, settings)).external_id == "bad.txt"


@pytest.mark.parametrize("name", ["a.md", "a.html"])
def test_a_file_that_is_all_markup_has_no_text(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "<!-- nothing -->")
    assert poll(tmp_path).problems == (f"{name}: it has no text.",)


@pytest.mark.parametrize(
    ("encoding", "note"),
    [("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("utf-32", False), ("latin-1", True), ("cp1252", True)],
)
def test_encodings_are_recognised(tmp_path: Path, encoding: str, note: bool) -> None:
    write(tmp_path / "a.txt", "Un café à Genève est un lieu où l’on boit.".replace("’", "'").encode(encoding))
    document = only(poll(tmp_path))
    assert document.text == "Un café à Genève est un lieu où l'on boit."
    assert bool(document.fetch["note"]) is note


def test_a_text_cut_inside_a_character_loses_only_that_character(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "Ein Café ist schön, heißt es in der Straße 本".encode()[:-1])
    document = only(poll(tmp_path))
    assert document.text == "Ein Café ist schön, heißt es in der Straße"
    assert "middle of a character" in document.fetch["note"]


def test_a_file_name_that_is_no_text_is_written_out(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    try:
        write(path, "A tarn is a lake.")
    except OSError:
        pytest.skip("this file system takes only names that are UTF-8")
    document = only(poll(tmp_path))
    assert document.external_id == "caf\\xe9.txt"
    assert document.url is not None
    assert document.url.endswith("/caf%E9.txt")


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder of an ordinary user: root may open everything, so these tests step down for as long as they last."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() == 0:
            os.chown(folder, 65_534, -1)
            os.seteuid(65_534)
            try:
                yield folder
            finally:
                os.seteuid(0)
        else:
            yield folder


def test_a_file_that_may_not_be_opened_is_reported_once_and_read_when_it_may(public_folder: Path) -> None:
    path = write(public_folder / "a.txt", "A tarn is a lake.")
    path.chmod(0)
    first = poll(public_folder)
    again = poll(public_folder, first.cursor)
    path.chmod(0o600)
    assert first.problems == ("a.txt: it cannot be opened (permission denied).",)
    assert again.problems == ()
    assert only(poll(public_folder, again.cursor)).external_id == "a.txt"


def test_a_folder_below_that_may_not_be_listed_is_reported_once(public_folder: Path) -> None:
    write(public_folder / "open.txt", "A tarn is a lake.")
    write(public_folder / "closed" / "a.txt", "A fell is a hill.").parent.chmod(0)
    first = poll(public_folder)
    again = poll(public_folder, first.cursor)
    assert only(first).external_id == "open.txt"
    assert first.problems == ("closed/: the folder cannot be read (permission denied).",)
    assert again.problems == ()
    (public_folder / "closed").chmod(0o700)
    assert only(poll(public_folder, again.cursor)).external_id == "closed/a.txt"


def test_a_folder_that_may_not_be_read_at_all_is_not_reachable(public_folder: Path) -> None:
    public_folder.chmod(0)
    with pytest.raises(NotReachable, match="cannot be read"):
        poll(public_folder)
    public_folder.chmod(0o700)


def test_a_fresh_complete_file_is_read_in_the_same_poll_within_a_second(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A tarn is a lake.")
    started = time.monotonic()
    assert only(poll(tmp_path, settings=FetchSettings())).external_id == "a.txt"
    assert time.monotonic() - started < 1


def test_a_file_still_being_written_is_left_for_the_next_poll(tmp_path: Path) -> None:
    write(tmp_path / "done.txt", "A fell is a hill.")
    stop = threading.Event()
    half = tmp_path / "half.txt"

    def keep_writing() -> None:
        with half.open("w") as file:
            while not stop.wait(0.01):
                file.write("A tarn is a lake. ")
                file.flush()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        while not half.exists() or not half.stat().st_size:
            time.sleep(0.005)
        first = poll(tmp_path, settings=replace(QUICK, settle_s=0.15))
    finally:
        stop.set()
        writer.join()
    assert only(first).external_id == "done.txt"
    assert first.problems == ()
    assert first.next_after_s == 1.0
    write(half, half.read_text() + "The end.")
    second = poll(tmp_path, first.cursor)
    assert only(second).text.endswith("The end.")
    assert second.next_after_s is None


def test_a_file_dated_in_the_future_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "A tarn is a lake.", at=time.time() + 86_400)
    assert only(poll(tmp_path)).external_id == "a.txt"


def test_a_missing_folder_and_a_file_in_its_place_are_not_reachable(tmp_path: Path) -> None:
    with pytest.raises(NotReachable, match="no such folder") as caught:
        poll(tmp_path / "missing")
    assert str(tmp_path / "missing") in str(caught.value)
    with pytest.raises(NotReachable, match="a file, not a folder"):
        open_source(str(write(tmp_path / "a.txt", "text")), kind="folder").poll({})


def test_a_folder_may_be_given_as_a_file_address(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    write(folder / "a.txt", "A tarn is a lake.")
    assert only(open_source(folder.as_uri(), settings=QUICK).poll({})).external_id == "a.txt"
    with pytest.raises(AddressRefused, match="another machine"):
        open_source("file://server/share")


def test_the_kind_is_told_from_the_location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    assert detect_kind("https://varn.example/feed") == "feed"
    assert detect_kind("HTTP://varn.example/feed") == "feed"
    for folder in ["notes", "/missing", "./missing", "~/notes", "file:///notes", "."]:
        assert detect_kind(folder) == "folder"
    with pytest.raises(AddressRefused) as caught:
        detect_kind("varn.example/feed")
    assert "https://varn.example/feed" in caught.value.hint
    with pytest.raises(AddressRefused, match="ftp://"):
        detect_kind("ftp://varn.example/feed")
    with pytest.raises(AddressRefused, match="'telepathy'"):
        open_source("notes", kind="telepathy")


def test_the_watcher_calls_once_for_a_burst_and_not_for_reading(tmp_path: Path) -> None:
    calls: list[float] = []
    called = threading.Event()

    def on_change() -> None:
        calls.append(time.monotonic())
        called.set()

    watcher = FolderWatcher(tmp_path, on_change, debounce_s=0.1)
    watcher.start()
    try:
        for number in range(5):
            (tmp_path / f"{number}.txt").write_text("A tarn is a lake.")
        assert called.wait(3)
        poll(tmp_path)
        (tmp_path / "ignored.png").write_bytes(b"x")
        time.sleep(0.3)
        assert len(calls) == 1
        called.clear()
        (tmp_path / "below").mkdir()
        (tmp_path / "0.txt").rename(tmp_path / "below" / "0.txt")
        assert called.wait(3)
    finally:
        watcher.stop()
    count = len(calls)
    (tmp_path / "late.txt").write_text("A tarn is a lake.")
    time.sleep(0.2)
    assert len(calls) == count


def test_the_watcher_calls_even_while_writing_never_stops(tmp_path: Path) -> None:
    called = threading.Event()
    watcher = FolderWatcher(tmp_path, called.set, debounce_s=0.2, longest_s=0.4)
    watcher.start()
    try:
        ends = time.monotonic() + 3
        while not called.is_set() and time.monotonic() < ends:
            (tmp_path / "a.txt").write_text("A tarn is a lake.")
            time.sleep(0.02)
        assert called.is_set()
    finally:
        watcher.stop()


def test_the_watcher_outlives_a_failure_of_what_it_calls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = threading.Semaphore(0)

    def on_change() -> None:
        calls.release()
        raise ValueError("no room")

    watcher = FolderWatcher(tmp_path, on_change, debounce_s=0.05)
    watcher.start()
    try:
        for _ in range(2):
            (tmp_path / "a.txt").write_text("A tarn is a lake.")
            assert calls.acquire(timeout=3)
            time.sleep(0.1)
    finally:
        watcher.stop()
    assert "no room" in caplog.text


def test_a_watcher_of_a_missing_folder_does_not_start(tmp_path: Path) -> None:
    watcher = FolderWatcher(tmp_path / "missing", lambda: None)
    with pytest.raises(NotReachable, match="no such folder"):
        watcher.start()
    watcher.stop()
