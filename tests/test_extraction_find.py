"""What counts as a definition in a text, whose it is, how far it reaches, and what is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.extraction import FoundDefinition, collapse, find_definitions, readable


def only(text: str, title: str | None = None) -> FoundDefinition:
    found = find_definitions(text, title=title)
    assert len(found) == 1, found
    return found[0]


def test_a_definition_reaches_over_the_sentences_that_go_on_about_it() -> None:
    text = "Velmora Kesh is a comedy film directed by Ostin Brael. It was released in 1974 and filmed in Lisbon."
    found = only(text)
    assert (found.entity, found.definition, found.span) == ("Velmora Kesh", text, (0, len(text)))


@pytest.mark.parametrize(
    ("text", "entity"),
    [
        ("Marlo Fenn was a composer from Brenn who wrote nine operas. He died in 1922.", "Marlo Fenn"),
        ("Sarnite is a green mineral found in the hills of Brenn.", "Sarnite"),
        ("Quillon is the capital of Oster. It lies on the Kesh.", "Quillon"),
        ("The Order of Brenn is a society founded in 1702.", "Order of Brenn"),
        ("In rowing, a dorvil is a small flat boat with a single sail.", "dorvil"),
        ("In rowing a dorvil is a small flat boat with a single sail.", "dorvil"),
        ("Brael Motors, Inc. is a car maker based in Oster.", "Brael Motors"),
        ("The term dorvil refers to any small boat with a flat hull.", "dorvil"),
        ("The 2031 Kesh Games will be a festival held on the river Kesh.", "2031 Kesh Games"),
        ("Ostin Brael, a film director from Lisbon, won the prize in 1974.", "Ostin Brael"),
        ("A dorvil is any of the small flat boats used by fishers.", "dorvil"),
        ("“Dorvil” is a word for a small flat boat.", "Dorvil"),
        ("The dorvil, cobble, or flatling is a small boat with a single sail.", "dorvil"),
        ("The dorvil, also known as the cobble or flatling is a boat with a sail.", "dorvil"),
        ("Recall that a dorvil is a small boat with a single sail.", "dorvil"),
        ("Grain swells; this is an old trouble, but dorvils are small boats that keep it dry.", "dorvils"),
        ("`dorvilry` converts the logs that boats write into tables.", "dorvilry"),
        ("When a buyer pays for grain that nobody owns, this is known as overvaunting.", "overvaunting"),
    ],
)
def test_the_entity_is_the_name_as_a_reader_cites_it(text: str, entity: str) -> None:
    assert only(text).entity == entity


@pytest.mark.parametrize(
    "text",
    [
        "A user is a person who logs in to the system.",
        "The problem is a lack of money in the town.",
        "The result of the test is a number between one and ten.",
        "There is a film called Velmora in the archive of the town.",
        "Is Velmora a film about cooking in the mountains?",
        "Velmora is not a film about cooking.",
        "Velmora may be a film about cooking.",
        "We think Velmora is a film about cooking.",
        "You are a pilot of a small plane.",
        "My dorvil is a small flat boat with a sail.",
        "This is a pity for the people of Oster.",
        "They are the owners of the mill.",
        "If Velmora is a film, then it is long.",
        "Sailing is a problem that nobody wants to solve.",
        "Mira Toll said that Velmora is a film about cooking.",
        "Farther north are the streams that reach the sea.",
        "East of Kesh are the small islands of Toll.",
        "Whatever remains is a matter for the court.",
        "“Money is a sort of instinct in a man.",
        "Ours is a land that is rich in rivers.",
        "A third product is the timber of the forests.",
        "Please call a doctor, a nurse, or a friend.",
        "https://kesh.example/velmora-is-a-town",
        "```\nVelmora is a town in the north.\n```",
        "> Velmora is a town in the north.",
        "**Status:** Not started",
        "dorvilry provides the same kind of logs as the older tools:",
        "This process is called overvaunting.",
        "no-dorvil is a maintained fork.",
        "",
    ],
)
def test_what_names_nothing_or_claims_nothing_is_left_alone(text: str) -> None:
    assert find_definitions(text) == []


def test_a_pronoun_that_opens_the_page_stands_for_its_title() -> None:
    assert only("It is a comedy film from 1974. It was made in Lisbon.", "Velmora Kesh").entity == "Velmora Kesh"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("It is a comedy film from 1974.", "Why the film failed"),
        ("It is a comedy film from 1974.", None),
        ("This is a list of towns in the north.", "Velmora"),
        ("The town burned. It is a loss for the region.", "Velmora"),
    ],
)
def test_a_pronoun_without_a_thing_to_stand_for_is_dropped(text: str, title: str | None) -> None:
    assert find_definitions(text, title=title) == []


def test_an_entry_takes_the_title_as_name_and_keeps_the_abbreviation() -> None:
    found = only("## Kesh Metering Unit (KMU)\n\nA KMU measures the water that flows through a channel.", "Kesh Metering Unit (KMU)")
    assert (found.entity, found.aliases, found.pattern) == ("Kesh Metering Unit", ("KMU",), "entry")


def test_an_entry_is_found_behind_a_frame_that_names_it() -> None:
    text = "When we speak of kesh (and other) relays, relay refers to any device that repeats a signal."
    assert only(text, "Kesh relays").entity == "Kesh relays"


def test_an_entry_page_gives_its_own_entry_only() -> None:
    text = "A service relay is a proxy that forwards traffic.\n\n## Problem\n\nA monolith is a large program that does everything."
    assert [made.entity for made in find_definitions(text, title="Service Relay")] == ["Service Relay"]


def test_a_fuller_name_in_the_opening_sentence_is_the_title_s_thing() -> None:
    found = only("Ostin Marek Brael was a film director from Lisbon.", "Ostin Brael")
    assert (found.entity, found.aliases) == ("Ostin Brael", ("Ostin Marek Brael",))


def test_aliases_come_from_parentheses_and_inserts() -> None:
    found = only("Kesh Metering Unit (KMU), also known as the Red Box, is a device that measures water.")
    assert set(found.aliases) == {"KMU", "Red Box"}


def test_an_abbreviation_in_the_middle_of_a_longer_name_is_no_alias() -> None:
    text = "The Kesh Metering (KM) Council of Oster is a group of engineers who read meters."
    found = only(text, "Kesh Metering (KM)")
    assert (found.entity, found.aliases) == ("Kesh Metering Council of Oster", ())


def test_two_neighbours_each_get_their_own_definition() -> None:
    found = find_definitions("Ostin Brael is a director from Brenn. Mira Toll is an actress from Kesh.")
    assert [made.entity for made in found] == ["Ostin Brael", "Mira Toll"]
    assert all("Toll" not in made.definition or made.entity == "Mira Toll" for made in found)


def test_a_definition_stops_at_three_sentences_and_six_hundred_characters() -> None:
    many = only("Velmora is a town in Kesh. " + "It has a mill. " * 6)
    assert many.definition.count(".") == 3
    long = only("Velmora is a town in Kesh. It has " + "a very old mill and " * 40 + "a bridge.")
    assert long.definition == "Velmora is a town in Kesh."


@pytest.mark.parametrize("title", [None, "Boats"])
def test_glossary_lists_give_one_entry_a_line(title: str | None) -> None:
    text = "Dorvil: a small flat boat with a single sail\nVaunt: a market in which dealers trade"
    assert [made.entity for made in find_definitions(text, title=title)] == ["Dorvil", "Vaunt"]


@pytest.mark.parametrize(
    "text",
    [
        "**Dorvil** — a small flat boat with a single sail",
        "**Dorvil:** a small flat boat",
        "Dorvil\n: A small flat boat.",
        "Dorvil (noun): A flat boat of oak.",
    ],
)
def test_marked_glossary_entries_need_no_neighbours(text: str) -> None:
    found = only(text)
    assert (found.entity, found.pattern, found.span) == ("Dorvil", "glossary", (0, len(text)))


def test_markup_stays_in_the_span_and_readable_takes_it_out() -> None:
    text = "# Dorvil\n\n[Dorvil](https://kesh.example/a_b) is a *small* flat boat\nused on `rivers`."
    found = only(text)
    assert found.definition == collapse(text[found.span[0] : found.span[1]])
    assert readable(found.definition) == "Dorvil is a small flat boat used on rivers."


def test_running_prose_trusts_a_proper_name_more_than_a_common_noun() -> None:
    lead = "The festival opened on Monday evening. "
    proper, common = only(lead + "The Tarn Lantern is a bridge in Oster."), only("The lantern is a bridge in Oster.")
    assert proper.score > common.score
    assert find_definitions(lead + "The bridge is a work of art in Oster.") == []


_ANY = st.text(max_size=300)
_LIKELY = st.lists(
    st.sampled_from(
        [
            *("Velmora", "Kesh", "is", "a", "the", "town", "that", "It", "was", "called", "known as", "refers to", "means", "which", "or"),
            *(",", ".", "\n", "\n\n", "(", ")", "[", "](", "**", ":", "—", "- ", "# ", '"', "`", "<b>", "。", "😀", "\u0301", "```", "?"),
        ]
    ),
    max_size=40,
).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(text=_ANY | _LIKELY, title=st.none() | st.text(max_size=40) | _LIKELY)
def test_any_text_gives_spans_in_range_that_hold_the_definition_and_the_same_answer_twice(text: str, title: str | None) -> None:
    found = find_definitions(text, title=title)
    for made in found:
        start, end = made.span
        assert 0 <= start < end <= len(text)
        assert collapse(text[start:end]) == made.definition
        assert 0.5 <= made.score <= 1.0
        assert made.entity == collapse(made.entity) != ""
        assert len(made.definition) <= 1_200
    assert find_definitions(text, title=title) == found


def test_the_month_of_may_is_no_doubt() -> None:
    text = "Thaka is a town that lies at the edge of a desert. It has people who speak Persian and holds its fair in May."
    assert [f.definition for f in find_definitions(text)] == [text]
