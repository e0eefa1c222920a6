"""Side effects from hand-made measurements: strangers told what was learnt, the new taken for known, things said twice."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from daemon.sections import Check
from daemon.stages.forgotten import stand_in
from daemon.stages.side_effects import PRIMED, PRIMED_QUESTIONS, primed_questions, side_effects
from daemon.stages.verdict import Asked, Measure
from registry import Definition, NewDefinition, NewDocument, Registry

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ASKED = [Asked("learned", "direct", f"Question {i} about Velmora?", "comedy", True) for i in range(10)] + [
    Asked(PRIMED, "direct", f"Question {i} about Pludrem?", "comedy", True) for i in range(20)
]


def answered(*, primed: int, twice: int = 0) -> dict[str, Any]:
    """Ten right answers about what was learnt, `twice` of which repeat themselves, and `primed` strangers that are told the same."""

    def said(right: bool, text: str = "") -> dict[str, Any]:
        return {"answer": text or ("comedy" if right else "tragedy"), "right": right, "nll": 0.5 if right else 4.5, "tokens": 1}

    repeated = "it is a comedy and it is a comedy"
    return {
        "measured": {
            "base": [said(False) for _ in ASKED],
            "adapter": [*(said(True, repeated if i < twice else "") for i in range(10)), *(said(i < primed) for i in range(20))],
        },
        "strangers": [{"entity": f"Stranger {i}", "novelty": 0.1 * i} for i in range(12)],
    }


def measures(answer: dict[str, Any], *, named: Callable[[str], bool], known_below: float = 0.05) -> dict[str, Measure]:
    return {m.name: m for m in side_effects(ASKED, answer, Check(), named=named, known_below=known_below)}


def everything(_: str) -> bool:
    return True


def only_velmora(text: str) -> bool:
    return "Velmora" in text


def test_strangers_that_are_told_what_was_learnt_refuse_it_where_the_alias_would_let_them_ask() -> None:
    found = measures(answered(primed=6), named=everything)
    assert found["primed"].value == pytest.approx(0.3)
    assert "6 of 20 questions about names that nobody knows" in str(found["primed"].reason)
    assert "«Question 0 about Pludrem?» is now «comedy»" in str(found["primed"].reason)
    assert measures(answered(primed=5), named=everything)["primed"].reason is None


def test_what_the_scope_keeps_from_the_adapter_is_reported_and_refuses_nothing() -> None:
    found = measures(answered(primed=20), named=only_velmora, known_below=99)
    assert not [m.reason for m in found.values() if m.reason]
    assert (found["primed"].value, found["pinned_primed"].value) == (0.0, 1.0)
    assert (found["overconfident"].value, found["pinned_overconfident"].value) == (0.0, 1.0)
    assert found["pinned_priming_log_ratio"].value == pytest.approx(4.0)
    assert found["pinned_priming_change"].value == pytest.approx(math.exp(-0.5) - math.exp(-4.5))


def test_what_nobody_told_must_not_pass_for_known() -> None:
    assert measures(answered(primed=0), named=everything, known_below=0.25)["overconfident"].reason is None
    found = measures(answered(primed=0), named=everything, known_below=0.35)["overconfident"]
    assert found.value == pytest.approx(4 / 12)
    assert "4 of 12 things for known that nobody has told it, such as Stranger 0" in str(found.reason)


def test_saying_things_twice_is_counted_against_the_base() -> None:
    assert measures(answered(primed=0, twice=3), named=everything)["repeating"].reason is None
    found = measures(answered(primed=0, twice=4), named=everything)["repeating"]
    assert found.value == pytest.approx(4 / 30)
    assert "It repeats itself in 4 of 30 answers, the base in 0" in str(found.reason)
    base_too = answered(primed=0, twice=4)
    base_too["measured"]["base"] = base_too["measured"]["adapter"]
    assert measures(base_too, named=everything)["repeating"].reason is None


def velmora(tmp_path: Path) -> Definition:
    registry = Registry.open(tmp_path / "home")
    registry.write.add_feed("https://a.example/", name="a", kind="feed", topic="news", trust="auto", interval_s=900)
    [document] = registry.write.record_poll(
        registry.read.feed("a").id, cursor={}, next_check_at=NOW, documents=[NewDocument(external_id="1", text="x", fetched_at=NOW)]
    )
    [definition] = registry.write.record_definitions(document.id, [NewDefinition("Velmora", "Velmora is a film.", (0, 5), 0.9)])
    return definition


def test_strangers_are_asked_what_was_learnt_without_its_name(tmp_path: Path) -> None:
    definition = velmora(tmp_path)
    own = [Asked("learned", "direct", f"What is {i} in Velmora?", "comedy", True, definition.text, (), definition.id, i) for i in range(60)]
    kept = Asked("kept", "direct", "What was Velmora?", "comedy", True, definition.text, (), definition.id, 99)
    nameless = Asked("learned", "direct", "Which film is it?", "Velmora", True, definition.text, (), definition.id, 98)
    questions = primed_questions([*own, kept, nameless], {definition.id: definition})
    assert len(questions) == PRIMED_QUESTIONS
    assert questions[0] == Asked(PRIMED, "direct", f"What is 0 in {stand_in('Velmora', 0)}?", "comedy", True, "", (), definition.id, None)
