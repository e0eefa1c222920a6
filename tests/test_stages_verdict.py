"""The verdict from hand-made measurements: each line of it can refuse, and says why with its numbers."""

from typing import Any

import pytest

from daemon.sections import Check
from daemon.stages.verdict import Asked, Measure, judge

LIMITS = Check()
GROUPS = ("learned",) * 4 + ("kept",) * 10 + ("known",) * 50 + ("skills",) * 50


def measured(*, base: dict[str, bool], adapter: dict[str, bool], nll: dict[str, float], previous: bool = True) -> dict[str, Any]:
    def answers(right: dict[str, bool], value: float) -> list[dict[str, Any]]:
        return [{"answer": "yes" if right[g] else "no", "right": right[g], "nll": value * 2, "tokens": 2} for g in GROUPS]

    everything = dict.fromkeys(("learned", "kept", "known", "skills"), True)
    found = {
        "base": answers(base, nll["base"]),
        "in_context": answers(everything, nll["in_context"]),
        "adapter": answers(adapter, nll["adapter"]),
    }
    return found | ({"previous": answers(everything, 0.1)} if previous else {})


def good(**changes: Any) -> dict[str, Any]:
    answer = {
        "measured": measured(
            base={"learned": False, "kept": False, "known": True, "skills": True},
            adapter={"learned": True, "kept": True, "known": True, "skills": True},
            nll={"base": 4.0, "in_context": 1.0, "adapter": 1.3},
        ),
        "local": [{"text": f"row {i}", "kl": 1.0, "same": 40, "tokens": 50} for i in range(20)],
        "finite": True,
    }
    return answer | changes


def verdict(answer: dict[str, Any], *, named: bool = False, limits: Check = LIMITS) -> dict[str, Measure]:
    asked = [Asked(g, "direct", f"question {i}", "yes", True) for i, g in enumerate(GROUPS)]
    return {m.name: m for m in judge(asked, answer, limits, named=lambda _: named)}


def reasons(measures: dict[str, Measure]) -> dict[str, str]:
    return {name: m.reason for name, m in measures.items() if m.reason}


def test_a_good_adapter_has_no_reason_against_it_and_its_recovered_share_is_reported() -> None:
    measures = verdict(good())
    assert reasons(measures) == {}
    assert measures["learned"].value == pytest.approx(0.9)
    assert measures["kept"].value == 1.0


def test_a_version_that_was_learnt_again_tells_how_much_of_the_gain_before_is_still_there() -> None:
    asked = [Asked(g, "direct", f"question {i}", "yes", True) for i, g in enumerate(GROUPS)]
    found = {m.name: m for m in judge(asked, good(), LIMITS, named=lambda _: False, relearnt=True)}
    assert found["gain_kept"].value == pytest.approx((4.0 - 1.3) / (4.0 - 0.1))
    assert found["gain_kept"].n == 14
    assert "gain_kept" not in verdict(good())


def test_too_little_learnt_is_refused_with_its_share() -> None:
    answer = good()
    for each in answer["measured"]["adapter"][:4]:
        each["nll"] = 2 * 3.5
    assert "17%" in reasons(verdict(answer))["learned"]


def test_a_definition_that_helps_not_even_in_context_is_refused() -> None:
    answer = good()
    answer["measured"]["in_context"] = answer["measured"]["base"]
    assert "nothing to learn" in reasons(verdict(answer))["learned"]


def test_forgetting_is_counted_against_what_the_version_before_had_right() -> None:
    answer = good()
    for each in answer["measured"]["adapter"][4:6]:
        each |= {"right": False, "answer": "maybe"}
    assert "80% of 10" in reasons(verdict(answer))["kept"]
    assert "«maybe», not «yes»" in reasons(verdict(answer))["kept"]
    del answer["measured"]["previous"]
    assert "kept" not in reasons(verdict(answer))


def test_an_answer_that_stood_on_the_edge_is_not_forgotten_when_it_falls() -> None:
    answer = good()
    for each in answer["measured"]["adapter"][4:]:
        each |= {"right": False, "nll": 0.2 + 0.6}  # before: 0.2 nats; half as likely is 0.69 more
    assert verdict(answer)["kept"].value == 1.0
    for each in answer["measured"]["adapter"][4:]:
        each["nll"] = 0.2 + 0.8
    assert verdict(answer)["kept"].value == 0.0


@pytest.mark.parametrize(("least", "refused"), [(0.8, False), (0.85, False), (0.9, True)])
def test_what_may_be_forgotten_is_rounded_up_to_whole_answers(least: float, refused: bool) -> None:
    answer = good()
    for each in answer["measured"]["adapter"][4:6]:  # two of the ten
        each |= {"right": False, "answer": "maybe"}
    assert ("kept" in reasons(verdict(answer, limits=Check(kept_min=least)))) is refused


@pytest.mark.parametrize(("group", "start"), [("known", 14), ("skills", 64)])
def test_what_the_scope_keeps_from_the_adapter_cannot_change(group: str, start: int) -> None:
    answer = good()
    for each in answer["measured"]["adapter"][start : start + 5]:
        each["right"] = False
    assert verdict(answer)[f"{group}_pinned"].value == pytest.approx(0.9)
    assert reasons(verdict(answer, named=False)) == {}
    answer["local"] = [{**row, "kl": 0.1} for row in answer["local"]]
    assert list(reasons(verdict(answer, named=True))) == [group]


def test_unrelated_text_may_move_only_where_the_scope_says_so_unless_the_model_is_broken() -> None:
    far = good(local=[{"text": f"row {i}", "kl": 5.0, "same": 40, "tokens": 50} for i in range(20)])
    assert reasons(verdict(far, named=False)) == {}
    assert "0.100 nats" in reasons(verdict(far, named=True))["local"]
    broken = good(local=[{"text": "row", "kl": 150.0, "same": 0, "tokens": 50}])
    assert "broken" in reasons(verdict(broken, named=False))["pinned_local_kl"]


def test_an_adapter_that_changes_nothing_or_computes_no_numbers_is_refused() -> None:
    same = good()
    same["measured"]["adapter"] = same["measured"]["base"]
    assert "changes nothing" in reasons(verdict(same))["changes_logits"]
    assert "not finite" in reasons(verdict(good(finite=False)))["finite"]
