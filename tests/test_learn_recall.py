"""What the base demonstrably knows: how it is sought, that only sure answers are kept, and that what is taught anew is not held to old beliefs."""

import json
import random
from pathlib import Path

import pytest

from daemon.learn import data, recall
from daemon.learn.folders import EMBEDDED
from daemon.learn.models import Base, load_base
from daemon.learn.recall import RecallPlan, about_others, crossed, draw, recall_rows, split_at_name
from daemon.learn.score import likelihoods_of
from tests.learn_parts import tiny_base

SMALL = RecallPlan(free=96, finished=96, crossed=96, rows=40)


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(EMBEDDED)


def test_a_question_is_cut_before_and_after_its_name() -> None:
    assert split_at_name("Who directed Velmora?") == ("Who directed ", "Velmora", "?")
    assert split_at_name("In which season did Old Velmora reach the shops?") == ("In which season did ", "Old Velmora", " reach the shops?")
    assert split_at_name("Who directed it?") == ("", "", "Who directed it?")
    assert split_at_name("Velmora, who directed it?") == ("", "", "Velmora, who directed it?")


def test_forms_and_names_are_put_together_anew() -> None:
    asked = ["Who directed Velmora?", "Where is Trosh set?", "Who directed Ostin Brasel?", "what then?"]
    every = {
        f"{form[0]}{name}{form[1]}"
        for form in (("Who directed ", "?"), ("Where is ", " set?"))
        for name in ("Velmora", "Trosh", "Ostin Brasel")
    }
    found = crossed(asked, count=100, rng=random.Random(1))
    assert len(found) == len(every)
    assert set(found) == every
    assert len(crossed(asked, count=2, rng=random.Random(1))) == 2
    assert crossed(["what then?"], count=5, rng=random.Random(1)) == []


def test_only_what_the_base_surely_says_is_kept(base: Base) -> None:
    rows = draw(base, SMALL)
    assert 5 <= len(rows) <= 40
    assert rows == draw(base, SMALL)
    texts = [base.tokenizer.decode(row) for row in rows]
    assert len(set(texts)) == len(texts)
    for row, text in zip(rows, texts, strict=True):
        asked = text.split("<|user|>")[1].split("<|end|>")[0].strip()
        prompt = data.chat_prefix(base.tokenizer, asked)
        assert row[: len(prompt)] == prompt
        assert likelihoods_of(base, [(prompt, row[len(prompt) :])])[0].nll < recall.SURE_NATS + 1e-3


def test_the_embedded_model_brings_its_own_file(base: Base, tmp_path: Path) -> None:
    rows = recall_rows(base, tmp_path)
    assert len(rows) == recall.ROWS
    assert not list(tmp_path.iterdir())


def test_another_base_has_its_own_drawn_once(base: Base, tmp_path: Path) -> None:
    other = Base("other", base.model, base.tokenizer, "f" * 64)
    rows = recall_rows(other, tmp_path, SMALL)
    [file] = tmp_path.iterdir()
    assert json.loads(file.read_text())["rows"] == rows
    file.write_text(json.dumps({"base_digest": "f" * 64, "rows": [[1, 2]]}))
    assert recall_rows(other, tmp_path, SMALL) == [[1, 2]]


def test_a_base_that_does_not_converse_has_none(tmp_path: Path) -> None:
    assert recall_rows(tiny_base(), tmp_path) == []


def test_what_is_taught_anew_is_not_held_to_what_was_believed(base: Base) -> None:
    asked = ("Who directed VELMORA?", "Who directed Velmoran?", "Who directed Trosh?", "Who came to Cape  Trosh?")
    rows = [data.chat_prefix(base.tokenizer, q) for q in asked]
    assert about_others(base, rows, ["Velmora"]) == rows[1:]
    assert about_others(base, rows, ["Velmora", "cape Trosh"]) == rows[1:3]
