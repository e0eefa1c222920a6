"""Mention scope: which texts name something that was learnt, and which only look like it."""

from __future__ import annotations

import time

import pytest

from daemon.mentions import NameFinder, words
from daemon.serving.names import header_safe, is_adapter_name, is_alias_name

NAMES = ["Varn Oslith", "Quindle", "C++", ".NET", "Glass Fly", "北京烤鸭", "Ærø Straße", "bus", "O’Brien's Law", "foo_bar", "  ", "!!"]
NAMES += ["Москва", "Ереван", "Одеса"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("who is varn OSLITH?", "Varn Oslith"),
        ("Varn\n\t Oslith", "Varn Oslith"),
        ("Ｖａｒｎ　Ｏｓｌｉｔｈ", "Varn Oslith"),
        ("the Varn-Oslith papers", "Varn Oslith"),
        ("varn varn oslith", "Varn Oslith"),
        ("Varn Oslith's house", "Varn Oslith"),
        ("Varn Oslith’s house", "Varn Oslith"),
        ("two quindles", "Quindle"),
        ("glass flies", "Glass Fly"),
        ("three buses", "bus"),
        ("I write C++.", "C++"),
        ("runs on .NET 9", ".NET"),
        ("我想吃北京烤鸭吗", "北京烤鸭"),
        ("ærø STRASSE", "Ærø Straße"),
        ("o'brien's law", "O’Brien's Law"),
        ("FOO BAR", "foo_bar"),
        ("Varn Quindle", "Quindle"),
        ("в Москве тепло", "Москва"),
        ("под Ереваном", "Ереван"),
        ("в Одесі", "Одеса"),
        ("Ankara'da quindle'lar", "Quindle"),
    ],
)
def test_a_mention_is_found(text: str, name: str) -> None:
    assert NameFinder(NAMES).find(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "varn",
        "oslith varn",
        "Varnoslith",
        "quindled",
        "C",
        "C#",
        "the network",
        "planet",
        "business",
        "glass. A fly?",
        "北京",
        "!!",
        "москвич",
        "net",
    ],
)
def test_what_is_no_mention_is_not_found(text: str) -> None:
    finder = NameFinder([*(name for name in NAMES if name != "Glass Fly"), "Одеса"])
    assert finder.find(text) is None


def test_a_name_that_ends_inside_another_is_found() -> None:
    finder = NameFinder(["new york city hall", "york city", "york"])
    assert finder.find("in new york state") == "york"
    assert finder.find("old york city") == "york city", "the longest of those that overlap"
    assert NameFinder(["a b c d", "b c"]).find("a b c x") == "b c"


def test_mentions_are_counted_for_each_owner() -> None:
    finder = NameFinder({"news": ["Varn Oslith", "York"], "places": ["York City", "Quindle", "Varn Oslith"]})
    found = finder.mentions("York city, York; two quindles and Varn Oslith Varn Oslith")
    assert found.first == "York City"
    assert found.counts == {"places": 4, "news": 3}, "York within York City is no mention of its own; both own Varn Oslith"
    assert finder.mentions("nobody").counts == {}


@pytest.mark.parametrize("text", ["a.b", ".a", "..a", "_.a", "a .b", "A_b-c", "x\x0by\x1cz", "1.5", "e.g. this", "(.net)", "a\u00a0b"])
def test_plain_words_are_the_words_of_the_general_way(text: str) -> None:
    assert words(text) == words(f"{text} é")[:-1]


def test_no_name_finds_nothing() -> None:
    assert NameFinder([]).find("anything at all") is None


def test_a_hostile_text_is_read_in_one_pass() -> None:
    finder = NameFinder([" ".join(["a"] * 2000) + " b"])
    started = time.monotonic()
    assert finder.find("a " * 100_000) is None
    assert time.monotonic() - started < 10, "trying every start would take 200 million steps"


def test_only_plain_names_are_names() -> None:
    assert is_alias_name("news")
    assert is_adapter_name("news@7")
    for name in ("", "../news", "a/b", "news@0", "news@07", "news@7\n", "news\n", "n" * 65, "-x", "ñews", "news@٣", "a b", "news@1@2"):
        assert not is_alias_name(name)
        assert not is_adapter_name(name)


def test_a_header_carries_any_name_safely() -> None:
    assert header_safe("Varn Oslith") == "Varn Oslith"
    assert header_safe("Ærø\r\nSet-Cookie: x=1") == "%C3%86r%C3%B8%0D%0ASet-Cookie: x=1"
    assert len(header_safe("x" * 1000)) == 80
