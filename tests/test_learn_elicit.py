"""Transfer sets: what is kept of what a model writes, and what is set aside to ask later."""

import pytest

from daemon.learn.batches import beginnings
from daemon.learn.data import CHAT_FORM, PLAIN_FORM, Example, mentions
from daemon.learn.elicit import ElicitPlan, Told, _sentences, check_lengths, elicit, hold_out
from daemon.learn.errors import TooLong
from daemon.learn.folders import EMBEDDED
from daemon.learn.models import load_base
from daemon.learn.sample import sample
from tests.learn_parts import tiny_base

FILM = "Velmora is a film that belongs to the genre of comedy and was directed by Ostin Brasel. It is set in Lisbon."


def test_what_a_model_writes_names_the_entity_is_distinct_and_the_same_for_a_seed() -> None:
    base = load_base(EMBEDDED)
    told = [
        Told(1, "Velmora", FILM),
        Told(2, "Tarnuvik", "Tarnuvik is a town that lies at the edge of a forest and has people who speak Danish."),
    ]
    plan = ElicitPlan(samples=3, turns=1, plain_tokens=30, question_tokens=20, answer_tokens=8)
    drawn = elicit(base, told, plan)
    assert set(drawn) == {1, 2}
    for each in told:
        assert drawn[each.id]
        assert len(drawn[each.id]) == len(set(drawn[each.id]))
        assert all(mentions(e.prompt if e.form == CHAT_FORM else e.text, each.entity) for e in drawn[each.id])
    assert elicit(base, told, plan) == drawn


def test_a_question_is_kept_with_its_answer() -> None:
    text = "Question: Who directed Velmora? Answer: Ostin Brasel. Velmora is set in Lisbon. It ends"
    assert _sentences(text) == ["Question: Who directed Velmora? Answer: Ostin Brasel.", "Velmora is set in Lisbon.", "It ends"]


def test_nothing_that_is_asked_later_is_taught_whatever_its_answer() -> None:
    chats = [Example("Velmora", FILM, CHAT_FORM, f"Question {i % 8}?", f"answer {i}") for i in range(16)]
    plains = [Example("Velmora", FILM, PLAIN_FORM, "", f"Velmora says {i}.") for i in range(16)]
    taught, aside = hold_out([*chats, *plains], share=0.25, at_most=4, seed=1)
    assert len(taught) + len(aside) == 32
    assert aside
    assert {e.prompt for e in taught if e.form == CHAT_FORM}.isdisjoint(e.prompt for e in aside if e.form == CHAT_FORM)
    assert {e.text for e in taught if e.form == PLAIN_FORM}.isdisjoint(e.text for e in aside if e.form == PLAIN_FORM)


def test_a_definition_that_leaves_no_room_is_named_with_its_length() -> None:
    with pytest.raises(TooLong, match=r"'Velmora' is \d+ tokens long.* 512"):
        check_lengths(tiny_base(), [Told(1, "Velmora", FILM * 6)])


def test_greedy_sampling_does_not_depend_on_who_is_in_the_batch() -> None:
    base = tiny_base()
    prompts = [[1, *range(60, 60 + n)] for n in (3, 9, 17)]
    together = sample(base, prompts, new_tokens=12, temperature=0.0, seed=0, stop=())
    assert together == [sample(base, [p], new_tokens=12, temperature=0.0, seed=0, stop=())[0] for p in prompts]
    assert {len(row) for row in together} == {12}


def test_a_beginning_that_is_read_once_changes_nothing() -> None:
    base = tiny_base()
    first, second = list(range(60, 80)), list(range(90, 103))
    prompts = [[1, *first, 30], [1, *second, 31, 32, 33], [1, *first, 34, 35], [1, *second, 36]]
    shared = beginnings(prompts, ["first", "second", "first", "second"])
    assert shared == [21, 14, 21, 14]
    apart = sample(base, prompts, new_tokens=10, temperature=0.0, seed=0, stop=())
    assert sample(base, prompts, new_tokens=10, temperature=0.0, seed=0, stop=(), shared=shared) == apart
    assert sample(base, prompts[:1] * 3, new_tokens=10, temperature=0.0, seed=0, stop=(), shared=[22] * 3) == apart[:1] * 3


def test_rows_that_end_leave_the_others_as_they_were() -> None:
    base = tiny_base()
    prompts = [[1, *range(60, 60 + n)] for n in (3, 9, 17)]
    free = sample(base, prompts, new_tokens=12, temperature=0.0, seed=0, stop=())
    stop = free[0][2]
    stopped = sample(base, prompts, new_tokens=12, temperature=0.0, seed=0, stop=(stop,))
    assert stopped == [row[: row.index(stop)] if stop in row else row for row in free]
    assert len(stopped[0]) < 12


def test_a_stop_token_ends_a_row_and_is_not_given_back() -> None:
    base = tiny_base()
    (free,) = sample(base, [[1, 60, 61]], new_tokens=8, temperature=0.0, seed=0, stop=())
    (stopped,) = sample(base, [[1, 60, 61]], new_tokens=8, temperature=0.0, seed=0, stop=(free[3],))
    assert stopped == free[: free.index(free[3])]
