"""Token alignment: the same text on both sides, nothing counted twice, nothing lost."""

import pytest
from transformers import AutoTokenizer

from daemon.learn import data
from daemon.learn.data import CHAT_FORM, PLAIN_FORM, Example, encode, mention_end, start_ids
from daemon.learn.folders import EMBEDDED_FOLDER
from tests.learn_parts import byte_tokenizer

DEFINITION = "Velmora is a film that was directed by Ostin Brasel."
AWKWARD = [
    "Velmora is set in Lisbon.",
    '"Velmora" made people laugh.',
    "In Lisbon, Velmora's crew slept; Velmora did not.",
    "  Velmora   leads with spaces",
    "Velmora 🎬 won — twice.",
    "velmora in small letters",
]


@pytest.mark.parametrize("text", AWKWARD)
@pytest.mark.parametrize("options", [{}, {"prefix_space": False}, {"bos": False}])
def test_teacher_and_student_end_in_the_same_ids(text: str, options: dict[str, bool]) -> None:
    tokenizer = byte_tokenizer(**options)
    e = encode(tokenizer, Example("Velmora", DEFINITION, PLAIN_FORM, "", text))
    assert e.student[-len(e.text) :] == e.teacher[-len(e.text) :] == e.text
    assert tokenizer.decode(list(e.text)).split() == text.split()
    assert DEFINITION in tokenizer.decode(list(e.teacher))
    assert DEFINITION not in tokenizer.decode(list(e.student))


@pytest.mark.parametrize("text", AWKWARD)
def test_only_what_follows_the_first_mention_is_supervised(text: str) -> None:
    tokenizer = byte_tokenizer()
    e = encode(tokenizer, Example("Velmora", DEFINITION, PLAIN_FORM, "", text))
    learnt = tokenizer.decode([e.text[i] for i in e.supervised])
    after = text[text.casefold().index("velmora") + len("velmora") :]
    assert learnt.split() == after.split()


def test_a_text_without_the_mention_is_supervised_whole() -> None:
    tokenizer = byte_tokenizer()
    e = encode(tokenizer, Example("Velmora", DEFINITION, PLAIN_FORM, "", "The film is funny."))
    assert len(e.supervised) == len(e.text)


def test_without_bos_the_first_token_has_nothing_to_be_predicted_from() -> None:
    e = encode(byte_tokenizer(bos=False), Example("Velmora", DEFINITION, PLAIN_FORM, "", "The film is funny."))
    assert e.supervised[0] == 1


@pytest.mark.parametrize("begins", [True, False])
def test_what_is_learnt_begins_as_a_server_begins_it(begins: bool) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_bos_token = begins  # GPT-2 knows a BOS and does not put it anywhere
    text = "Velmora is a film."
    assert list(encode(tokenizer, Example("Velmora", DEFINITION, PLAIN_FORM, "", text)).student) == tokenizer(text)["input_ids"]
    assert start_ids(tokenizer) == [tokenizer.bos_token_id] * begins


def test_the_embedded_model_begins_every_text_with_bos() -> None:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    assert start_ids(tokenizer) == [tokenizer.bos_token_id]
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
    assert tokenizer(chat, add_special_tokens=False)["input_ids"].count(tokenizer.bos_token_id) == 1


def test_bos_stands_once_and_first_on_both_sides() -> None:
    tokenizer = byte_tokenizer()
    for form, prompt in ((PLAIN_FORM, ""), (CHAT_FORM, "What is Velmora?")):
        e = encode(tokenizer, Example("Velmora", DEFINITION, form, prompt, "Velmora is a film."))
        for side in (e.student, e.teacher):
            assert side[0] == tokenizer.bos_token_id
            assert side.count(tokenizer.bos_token_id) == 1


def test_a_chat_answer_is_learnt_with_its_end_and_the_definition_leads_the_users_turn() -> None:
    tokenizer = byte_tokenizer()
    e = encode(tokenizer, Example("Velmora", DEFINITION, CHAT_FORM, "Who made Velmora?", "Ostin Brasel"))
    assert tokenizer.decode(list(e.text)).strip() == "Ostin Brasel<|end|>"
    assert len(e.supervised) == len(e.text)
    assert tokenizer.decode(list(e.teacher)).index(DEFINITION) < tokenizer.decode(list(e.teacher)).index("Who made")
    assert "<|assistant|>" in tokenizer.decode(list(e.student))


def test_the_empty_context_changes_nothing() -> None:
    tokenizer = byte_tokenizer()
    for form, prompt in ((PLAIN_FORM, ""), (CHAT_FORM, "Who made Velmora?")):
        e = encode(tokenizer, Example("Velmora", "", form, prompt, "Velmora is a film."))
        assert e.student == e.teacher


@pytest.mark.parametrize(
    ("text", "entity", "end"),
    [
        ("The Ada  Loom works", "ada loom", 13),
        ("no such thing", "Ada", None),
        ("C++ is old", "C++", 3),
        ("anything", "", None),
        ("Drostravel sings", "Ostravel", None),
        ("Ostravelru sings", "Ostravel", None),
        ("two Ostravels", "Ostravel", 13),
        ("Ostravel's", "Ostravel", 8),
        ("这是东京塔的", "东京塔", 5),
    ],
)
def test_mentions_are_found_in_characters(text: str, entity: str, end: int | None) -> None:
    assert mention_end(text, entity) == end


def test_a_target_after_plain_left_context_gets_its_space_where_the_tokenizer_adds_none() -> None:
    for options in ({}, {"prefix_space": False}):
        tokenizer = byte_tokenizer(**options)
        assert tokenizer.decode(data.target_ids(tokenizer, PLAIN_FORM, "funny")) == " funny"
