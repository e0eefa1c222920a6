"""Bytes to text when nobody can be trusted about the encoding: byte-order mark, declaration, what the bytes allow, a guess.

Never fails on text; says no only to what is not text at all.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

from charset_normalizer import from_bytes

#: Longest first: the mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 64 * 1024
_CONTROLS = bytes(sorted(set(range(32)) - {9, 10, 12, 13, 27}))
_WESTERN = frozenset("àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿßœšžÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞŸŒŠŽ“”„‘’–—…€£§°«»©®™·•\xa0")
#: What must never reach a database or a terminal: controls except tab and newline, and halves of surrogate pairs (JSON can carry them).
_STRAY = re.compile("[\udc80-\udcff]")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Decoded:
    text: str
    encoding: str
    problem: str | None = None


def decode(data: bytes, *, declared: str | None = None) -> Decoded | None:
    """The text of the bytes; None when they are no text. `problem` says what had to be guessed or given up."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _strict(data, name) or Decoded(data.decode(name, "replace"), name, f"parts of it are not valid {name}")
    if is_binary(data):
        return None
    found = _strict(data, "utf-8")
    if found is not None:
        return found
    if (cut := _cut_short(data)) is not None:
        return cut
    if declared and (found := _strict(data, declared)) is not None:
        return found
    return _damaged_utf8(data) or _guessed(data)


def is_binary(data: bytes) -> bool:
    """Whether bytes without a byte-order mark are something else than text: a NUL, or more controls than any text has."""
    sample = data[:_SAMPLE_BYTES]
    return b"\x00" in data or len(sample) - len(sample.translate(None, _CONTROLS)) > 0.02 * len(sample)


def clean_text(text: str) -> str:
    """Text as it is stored: composed characters, no controls, single spaces, paragraphs parted by one blank line."""
    if text.isascii() and text.isprintable():  # one line with nothing to compose or to drop; most titles, ids and addresses are
        return " ".join(text.split())
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n\n").replace("\x0b", "\n"))
    text = _UNPRINTABLE.sub("", text.replace("\u2028", "\n").replace("\u2029", "\n\n"))
    lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def clean_line(text: str, *, limit: int = 500) -> str:
    """The same for what must be one line, such as a title."""
    line = " ".join(clean_text(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _strict(data: bytes, name: str) -> Decoded | None:
    try:
        return Decoded(data.decode(name), name)
    except (UnicodeError, LookupError):  # LookupError: a declared encoding that does not exist
        return None


def _cut_short(data: bytes) -> Decoded | None:
    """UTF-8 whose last character lacks bytes: a file that was cut, not another encoding."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as err:
        if err.reason == "unexpected end of data" and err.start > 0 and not data[: err.start].isascii():
            return Decoded(data[: err.start].decode("utf-8"), "utf-8", "it ends in the middle of a character")
    return None


def _damaged_utf8(data: bytes) -> Decoded | None:
    """UTF-8 with a few stray bytes, as when a Windows text was pasted into it: the strays alone are read as cp1252."""
    text = data.decode("utf-8", "surrogateescape")
    strays = len(_STRAY.findall(text))
    sound = sum(not character.isascii() for character in text) - strays
    if sound < 2 * strays:
        return None
    mended = _STRAY.sub(lambda found: bytes([ord(found.group()) - 0xDC00]).decode("cp1252", "replace"), text)
    return Decoded(mended, "utf-8", "parts of it are not valid utf-8")


def _looks_western(data: bytes) -> bool:
    """Whether every byte above ASCII is a Western letter or mark in cp1252: a short text is too little for a detector's statistics."""
    high = data[:_SAMPLE_BYTES].translate(None, bytes(range(128)))
    return len(high) * 6 < len(data[:_SAMPLE_BYTES]) + 6 and set(high.decode("cp1252", "replace")) <= _WESTERN


def _guessed(data: bytes) -> Decoded:
    best = None if _looks_western(data) else from_bytes(data[:_SAMPLE_BYTES]).best()
    guess = best.encoding if best is not None else "cp1252"
    found = _strict(data, guess) or _strict(data, "cp1252") or Decoded(data.decode("latin-1"), "latin-1")
    return Decoded(found.text, found.encoding, f"the encoding is not declared or wrong; it was read as {found.encoding}")
