"""What is asked about other names: which names, which questions, and that an adapter held to the answers leaves other things alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from daemon.learn import data
from daemon.learn.contrast import contrast_rows, other_names, questions
from daemon.learn.data import CHAT_FORM, PLAIN_FORM, Example, mentions
from daemon.learn.elicit import ElicitPlan, Told, elicit
from daemon.learn.errors import LearnError
from daemon.learn.folders import EMBEDDED
from daemon.learn.methods import held_targets
from daemon.learn.models import load_base
from daemon.learn.replay import replay_rows
from daemon.learn.train import TrainPlan
from tests.learn_parts import tiny_base

FILM = "Velmora is a film that belongs to the genre of comedy and was directed by Ostin Brasel. It is set in Lisbon."
ASKED = Example("Velmora", FILM, CHAT_FORM, "Who directed Velmora?", "Ostin Brasel")
WRITTEN = Example("Velmora", FILM, PLAIN_FORM, "", "In Lisbon Velmora was loved.")


def test_names_are_found_within_sentences_and_none_is_taught() -> None:
    texts = ["It was named by Liprex Liki in the Velmora days.", "What does Łódź export? Ask Été Mar.", "The VELMORAS of old. Then nobody."]
    assert other_names(texts, ["Velmora"]) == ["Liprex Liki", "Été Mar"]
    assert other_names(["in Old Velmora Town"], ["Velmora"]) == []


def test_the_question_is_asked_about_another_name() -> None:
    assert questions([ASKED, WRITTEN], ["Liprex"], count=9, seed=0, chat=True) == [(CHAT_FORM, "Who directed Liprex?")]
    assert questions([ASKED, WRITTEN], ["Liprex"], count=9, seed=0, chat=False) == [(PLAIN_FORM, "In Lisbon Liprex")]
    assert questions([ASKED], [], count=9, seed=0, chat=True) == []
    assert questions([WRITTEN], ["Liprex"], count=9, seed=0, chat=True) == []
    written_apart = replace(ASKED, prompt="Who directed VELMORA, and who acted in velmora?")
    assert questions([written_apart], [r"\1"], count=1, seed=0, chat=True) == [(CHAT_FORM, r"Who directed \1, and who acted in \1?")]


def test_the_base_answers_and_nothing_of_the_new_thing_is_in_it(tmp_path: Path) -> None:
    base = load_base(EMBEDDED)
    drawn = elicit(base, [Told(1, "Velmora", FILM)], ElicitPlan(samples=4, turns=2))[1]
    rows = contrast_rows(base, drawn, replay_rows(base, tmp_path)[:200], count=20, seed=3)
    assert 10 <= len(rows) <= 20
    assert rows == contrast_rows(base, drawn, replay_rows(base, tmp_path)[:200], count=20, seed=3)
    texts = [base.tokenizer.decode(row) for row in rows]
    assert all("<|assistant|>" in text for text in texts)
    assert not any(mentions(text, "Velmora") for text in texts)


@pytest.mark.parametrize(("share", "own", "others"), [(0.5, 20, 20), (0.25, 30, 10), (0.0, 40, 0)])
def test_as_many_rows_are_held_as_the_run_looks_at(share: float, own: int, others: int) -> None:
    base = tiny_base()
    row = data.plain_prefix(base.tokenizer, "Nobody had seen Liprex Liki for a year.")
    held = held_targets(base, [ASKED], [row] * 50, TrainPlan(contrast=share), seen=40)
    assert sum(t.ids == tuple(row) for t in held) == own
    assert sum(t.ids != tuple(row) for t in held) == others


def test_without_names_the_bases_own_text_is_all() -> None:
    base = tiny_base()
    rows = [data.plain_prefix(base.tokenizer, "nobody was there")] * 8
    assert [t.ids for t in held_targets(base, [ASKED], rows, TrainPlan(contrast=0.5), seen=10)] == [tuple(r) for r in rows[:5]]
    assert held_targets(base, [ASKED], rows, TrainPlan(replay_weight=0.0), seen=10) == []


def test_a_share_that_leaves_no_text_of_the_bases_own_is_refused() -> None:
    with pytest.raises(LearnError, match=r"contrast is 1 and recall 0\.4"):
        held_targets(tiny_base(), [ASKED], [[1, 2, 3]], TrainPlan(contrast=1.0), seen=10)
