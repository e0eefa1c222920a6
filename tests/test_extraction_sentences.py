"""Sentences end where a reader ends them, and splitting costs linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.extraction import sentences


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Velmora is a town. It is old.", ["Velmora is a town.", "It is old."]),
        ("Dr. Toll met J. R. Fenn in St. Oster. They spoke.", ["Dr. Toll met J. R. Fenn in St. Oster.", "They spoke."]),
        ("Tools, e.g. Saws and i.e. Hammers, cost 3.50 each.", ["Tools, e.g. Saws and i.e. Hammers, cost 3.50 each."]),
        ("It came from the U.S. It stayed.", ["It came from the U.S.", "It stayed."]),
        ("The U.S. Navy sailed.", ["The U.S. Navy sailed."]),
        ("Brael Motors Inc. makes cars.", ["Brael Motors Inc. makes cars."]),
        ("He sold saws, nails, etc. The shop closed.", ["He sold saws, nails, etc.", "The shop closed."]),
        ("Wait... what is it? A boat!", ["Wait... what is it?", "A boat!"]),
        ("She said “It is a boat.” Then she left.", ["She said “It is a boat.”", "Then she left."]),
        ("日本語です。次の文です。", ["日本語です。", "次の文です。"]),
        ("It sends files. gRPC is faster.", ["It sends files.", "gRPC is faster."]),
        ("First paragraph\n\nsecond paragraph", ["First paragraph", "second paragraph"]),
        ("See kesh.example for version 2.0.1 now.", ["See kesh.example for version 2.0.1 now."]),
        ("Vitamin C. It is an acid.", ["Vitamin C.", "It is an acid."]),
        ("1. Velmora is a town.", ["1. Velmora is a town."]),
        ("Yahoo! is a portal.", ["Yahoo! is a portal."]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(st.text(alphabet=st.sampled_from("aA. !?\n\"'”。…e.g1\u00a0-)"), max_size=200) | st.text(max_size=200))
def test_spans_are_ordered_and_lose_only_white_space(text: str) -> None:
    spans = sentences(text)
    at = 0
    for start, end in spans:
        assert at <= start < end <= len(text)
        assert not text[at:start].strip()
        assert text[start:end] == text[start:end].strip()
        at = end
    assert not text[at:].strip()


def test_a_large_text_is_split_into_all_of_its_sentences() -> None:
    assert len(sentences("Velmora Kesh is a film. It was shot in 1974. " * 5_000)) == 10_000
