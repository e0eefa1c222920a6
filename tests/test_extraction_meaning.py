"""Two definitions of one thing mean the same where only their dress differs; everything else is a change, and the reason names it."""

from __future__ import annotations

import pytest

from daemon.extraction import compare

OLDER = "A dorvil is a small flat boat with a single sail."


@pytest.mark.parametrize(
    ("newer", "reason"),
    [
        (OLDER, "The words are the same."),
        ("A **dorvil** is a small [flat](https://kesh.example/flat) boat with a single sail.", "Only the markup differs."),
        ("A dorvil is a small, flat boat with a single sail!", "Only case or punctuation differ."),
        ("The dorvils are small flat boats with a single sail.", "Only articles, prepositions, spelling or the number of a noun differ."),
    ],
)
def test_dress_alone_leaves_the_meaning(newer: str, reason: str) -> None:
    compared = compare(OLDER, newer)
    assert (compared.same, compared.reason) == (True, reason)


@pytest.mark.parametrize(
    ("newer", "kind", "reason"),
    [
        ("A dorvil is a small red boat with a single sail.", "changed", "The content differs (new: red; gone: flat)."),
        ("A dorvil is a small flat sail with a single boat.", "changed", "The same words stand in another order."),
        ("A dorvil is a small flat boat with two sails.", "contradicts", "The content differs (new: two; gone: single)."),
        ("A dorvil is not a small flat boat with a single sail.", "contradicts", "The content differs (new: not)."),
        ("A dorvil is a small flat boat without a single sail.", "contradicts", "The content differs (new: without)."),
        ("A dorvil is a tropical fruit eaten by monkeys.", "other", None),
        ("A dorvil is a fruit.", "changed", None),  # too little is said to tell two things apart
    ],
)
def test_other_content_has_a_kind_and_a_reason_that_names_it(newer: str, kind: str, reason: str | None) -> None:
    compared = compare(OLDER, newer, name="Dorvil")
    assert (compared.kind, compared.same) == (kind, False)
    assert reason is None or compared.reason == reason


def test_years_that_differ_contradict_and_other_ways_of_defining_do_not() -> None:
    assert compare("Kesh was founded in 1998 in Oslo.", "Kesh was founded in 2003 in Oslo.", name="Kesh").kind == "contradicts"
    for newer in ("Dorvil: a small flat boat with a single sail", "Dorvil refers to a small, flat boat with a single sail."):
        assert compare(OLDER, newer, name="Dorvil").same
    assert compare("An oslith is a grey organised lamp.", "An oslith is a grey organized lamp.").same
