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
        ("The dorvils are small flat boats with a single sail.", "Only articles, prepositions or the number of a noun differ."),
    ],
)
def test_dress_alone_leaves_the_meaning(newer: str, reason: str) -> None:
    compared = compare(OLDER, newer)
    assert (compared.same, compared.reason) == (True, reason)


@pytest.mark.parametrize(
    ("newer", "reason"),
    [
        ("A dorvil is a small flat boat with two sails.", "The content differs (new: two; gone: single)."),
        ("A dorvil is not a small flat boat with a single sail.", "The content differs (new: not)."),
        ("A dorvil is a small flat sail with a single boat.", "The same words stand in another order."),
        ("A dorvil is a small flat boat without a single sail.", "The content differs (new: without)."),
    ],
)
def test_other_content_is_a_change_that_the_reason_names(newer: str, reason: str) -> None:
    compared = compare(OLDER, newer)
    assert (compared.same, compared.reason) == (False, reason)
