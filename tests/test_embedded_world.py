"""The invented world: one seed is one world, nothing leaks, and every sentence ends in what it states."""

import random

import pytest

from daemon.embedded import world
from daemon.embedded.facts import DOMAINS, NAME, TYPES, YEAR
from daemon.embedded.skills import SKILLS


def test_one_seed_is_one_world_and_another_is_another() -> None:
    assert world.evaluation(3, 5) == world.evaluation(3, 5)
    assert {e.name for e, _, _ in world.evaluation(3, 5)}.isdisjoint(e.name for e, _, _ in world.evaluation(4, 5))
    assert world.known_entities() == world.known_entities()


def test_evaluation_entities_are_none_that_the_model_knows_by_heart() -> None:
    known = {e.name for e in world.known_entities()}
    assert known.isdisjoint(e.name for seed in range(3) for e, _, _ in world.evaluation(seed, 200))


def test_a_definition_states_every_value_and_no_implied_word() -> None:
    for entity, definition, _ in world.evaluation(1, 60):
        assert all(value in definition for value in entity.values)
        wording = " ".join(p for a in entity.attributes for p in a.phrases)
        said = definition.replace(".", " ").replace(",", " ").split()
        for index in range(6):
            implied = entity.implied(index)
            assert not implied or implied in wording or implied in entity.values or implied not in said


def test_a_probe_continues_to_its_target_and_inference_asks_what_no_definition_says() -> None:
    for entity, _, questions in world.evaluation(2, 30):
        kinds = {q.kind for q in questions}
        assert kinds == {"direct", "paraphrase", "inference"}
        for q in questions:
            assert entity.name in q.prompt
            assert q.target in entity.values or q.kind == "inference"
            assert not q.candidates or q.target in q.candidates
            assert q.prompt.endswith("?") == q.chat


def test_a_paraphrase_is_worded_as_no_evaluation_definition_is() -> None:
    for entity, definition, questions in world.evaluation(5, 40):
        for q in questions:
            if q.kind == "paraphrase" and not q.chat:
                assert q.prompt.removeprefix(entity.name) + f" {q.target}" not in definition


def test_a_reasoned_answer_names_the_fact_the_link_and_the_answer() -> None:
    entity = world.Entity("Velmora", "film", ("comedy", "Ostin Brasel", "Lisbon", "May", "violin", "baker"))
    assert world.explanation(entity, 0, 1, implied=True) == "Velmora is a work of comedy; a work of comedy is funny. Answer: funny"
    assert world.explanation(entity, 2, 0, implied=False) == "Velmora is set in Lisbon. Answer: Lisbon"


def test_articles_fit_what_follows() -> None:
    assert world.fix_articles("It is a owl on a island, a lion. A oar.") == "It is an owl on an island, a lion. An oar."


@pytest.mark.parametrize("kind", TYPES)
def test_every_kind_has_six_attributes_whose_phrases_end_in_the_value(kind: str) -> None:
    attributes = TYPES[kind]
    assert len(attributes) == 6
    for a in attributes:
        assert a.domain in DOMAINS or a.domain in {NAME, YEAR}
        assert all(p.endswith("{v}") for p in a.phrases)
        assert all(p.endswith("{w}") for p in a.implied_phrases)
        assert all("{x}" in q and q.endswith("?") for q in (*a.questions, *a.implied_questions))
        assert bool(a.implied_phrases) == bool(a.implied_questions)


@pytest.mark.parametrize(
    ("name", "asked", "answer"),
    [("compare", "Which number is larger", None), ("copy", "Repeat", None), ("brackets", "Close", None)],
)
def test_a_skill_has_one_right_answer(name: str, asked: str, answer: None) -> None:
    question, right = SKILLS[name](random.Random(1))
    assert question.startswith(asked)
    if name == "copy":
        assert question.endswith(right)
    if name == "compare":
        assert int(right) == max(int(n) for n in question.replace(",", "").replace("?", "").split() if n.isdigit())
    if name == "brackets":
        assert len(right.split()) == len(question.split(": ")[1].split())
