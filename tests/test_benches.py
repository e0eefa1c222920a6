"""The benches of learning: what counts as a figure, that a killed bench goes on where it was, and the command as a user runs it."""

import json
import math
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.benches import cost, knowledge, measure, merged, plots, report, stream
from daemon.benches.__main__ import run
from daemon.benches.ledger import Ledger
from daemon.benches.methods import parse
from daemon.benches.sets import BenchSet, Probe, Taught, article, from_files, from_world
from daemon.embedded import world
from daemon.learn.budget import Budget, best
from daemon.learn.elicit import ElicitPlan
from daemon.learn.errors import LearnError, NotFinite
from daemon.learn.models import Base
from daemon.learn.train import TrainPlan
from tests.learn_parts import tiny_base

PLAN = TrainPlan(rank=4, alpha=8, learning_rate=2e-2, batch=2, steps_min=6, steps_max=6, replay_weight=1.0, replay_batch=2)
ELICIT = ElicitPlan()


def silent(fraction: float, text: str) -> None:
    """Nobody watches."""


def small_set() -> BenchSet:
    names = {"Velmora": "Lisbon", "Tarnuvik": "Bergen", "Drubon": "Turin"}
    told = [
        Taught(str(i), name, f"{name} is in {town}. It is old.", continuations=(f"{name} lies in {town}.", f"In {name} they say {town}."))
        for i, (name, town) in enumerate(names.items())
    ]
    asked = [Probe(f"p{i}", str(i), "direct", f"{n} is in", t, ("Lisbon", "Bergen", "Turin")) for i, (n, t) in enumerate(names.items())]
    asked += [Probe("k", None, "locality", "The sun is", "hot"), Probe("s", None, "skill", "Say: a", "a", (), True)]
    return BenchSet("small", told, asked)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the replay rows of the tiny model, which take longest to draw."""
    folder = tmp_path_factory.mktemp("bench")
    rows = [[1, *range(20 + i, 50 + i)] for i in range(40)]
    (folder / f"replay-{'0' * 16}.json").write_text(json.dumps({"base_digest": "0" * 64, "seed": 1, "rows": rows}))
    return folder


def asked(**changes: Any) -> knowledge.Asked:
    return replace(knowledge.Asked(("context", "finetune_transfer"), 2, 0, (1e-3, 2e-2), PLAN, ELICIT), **changes)


def figures_of(answer: dict[str, Any]) -> Any:
    """An answer without what depends on the clock and on the machine."""
    text = json.dumps(answer)
    return json.loads(text, object_hook=lambda d: {k: v for k, v in d.items() if "second" not in k and "memory" not in k})


def test_a_bench_that_was_killed_and_goes_on_answers_as_one_that_was_not(folder: Path, tmp_path: Path) -> None:
    for place in ("whole", "killed"):
        (tmp_path / place).mkdir()
        for file in folder.iterdir():
            (tmp_path / place / file.name).write_bytes(file.read_bytes())
    whole = knowledge.bench(tiny_base(), small_set(), asked(), tmp_path / "whole", silent)

    class Killed(Exception):
        pass

    def until_half(fraction: float, text: str) -> None:
        if fraction > 0.55:
            raise Killed

    with pytest.raises(Killed):
        knowledge.bench(tiny_base(), small_set(), asked(), tmp_path / "killed", until_half)
    rows = tmp_path / "killed" / "rows.jsonl"
    finished = len(rows.read_text().splitlines())
    assert 2 < finished < 9
    with rows.open("a") as lines:
        lines.write('{"key": {"half')  # what a kill in the middle of a write leaves
    seen: list[str] = []
    again = knowledge.bench(tiny_base(), small_set(), asked(), tmp_path / "killed", lambda f, text: seen.append(text))
    assert figures_of(again) == figures_of(whole)
    assert not any(text.startswith("context, learning rate 0.001, group 1") for text in seen)
    assert len(Ledger(rows).rows()) == 9  # the base, and two methods at two rates on two groups


def test_the_answer_has_the_contracts_keys_and_is_drawn_and_written(folder: Path) -> None:
    answer = knowledge.bench(tiny_base(), small_set(), asked(), folder, silent)
    assert {"model", "seed", "n_definitions", "at_once", "methods"} <= set(answer)
    assert list(answer["methods"]) == ["base", "in_context", "context", "finetune_transfer"]
    wanted = {
        "target_ppl", "target_ppl_macro", "accuracy", "exact_match", "recovered", "locality_ppl", "locality_kl", "locality_agreement",
        "locality_accuracy", "skill_accuracy", "seconds", "seconds_per_definition", "peak_memory_bytes", "by_kind", "learning_rate", "steps",
        "options",
    }  # fmt: skip
    for result in answer["methods"].values():
        assert wanted <= set(result)
    assert answer["methods"]["base"]["recovered"] == pytest.approx(0.0)
    assert answer["methods"]["in_context"]["recovered"] in (None, pytest.approx(1.0))
    assert answer["methods"]["base"]["locality_kl"] == 0.0
    assert answer["methods"]["context"]["locality_kl"] > 0
    assert [run["learning_rate"] for run in answer["methods"]["context"]["sweep"]] == [1e-3, 2e-2]
    drawn = plots.draw(answer, folder, kind="knowledge")
    text = report.write(answer, folder, kind="knowledge", plots=drawn).read_text()
    assert "| context |" in text
    assert text.count("## As an alias serves it") == 1
    assert answer["methods"]["context"]["by_mention"]["coverage"] == 1.0
    assert all((folder / name).read_text().startswith("<?xml") for name in drawn)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_a_stream_reports_each_step_and_goes_on_from_the_last(folder: Path) -> None:
    wanted = stream.Stream("context", "warm", 1, 0, 2, PLAN, ELICIT)
    answer = stream.bench(tiny_base(), small_set(), wanted, folder, silent)
    assert [s["definitions"] for s in answer["steps"]] == [1, 2, 3]
    assert answer["steps"][0]["kept"] == 1.0
    assert all(0 <= s["kept"] <= 1 for s in answer["steps"])
    seen: list[str] = []
    again = stream.bench(tiny_base(), small_set(), wanted, folder, lambda f, text: seen.append(text))
    assert figures_of(again) == figures_of(answer)
    assert seen == []  # nothing was done again
    assert "| 3 | 3 |" in report.stream(answer)
    retrained = stream.bench(tiny_base(), small_set(), replace(wanted, strategy="retrain"), folder, silent)
    assert len(retrained["steps"]) == 3
    joined = stream.bench(tiny_base(), small_set(), replace(wanted, strategy="merge", way="ties"), folder, silent)
    assert joined["steps"][0]["learnt"] == answer["steps"][0]["learnt"]  # the first follows nothing
    assert joined["steps"][1] != answer["steps"][1]
    assert "context, merge by ties, on small" in report.stream(joined)
    with pytest.raises(LearnError, match="'sideways'"):
        stream.bench(tiny_base(), small_set(), replace(wanted, strategy="sideways"), folder, silent)


def test_topics_are_merged_by_two_and_four_and_compared_with_what_each_was_alone(folder: Path) -> None:
    wanted = merged.MergeAsked(("sum", "retrain"), 1, 8, 0, PLAN, ELICIT)
    answer = merged.bench(tiny_base(), small_set(), wanted, folder, silent)
    assert len(answer["topics"]) == 3
    assert [(m["topics"], m["way"], len(m["kept"])) for m in answer["merged"]] == [(2, "sum", 2), (2, "retrain", 2)]
    assert (answer["merged"][0]["norm_kept"], answer["merged"][1]["norm_kept"]) == (1.0, None)
    seen: list[str] = []
    again = merged.bench(tiny_base(), small_set(), wanted, folder, lambda f, text: seen.append(text))
    assert figures_of(again) == figures_of(answer)
    assert seen == ["done"]
    assert "| 2 | sum |" in report.merge(answer)
    with pytest.raises(LearnError, match="'magic'"):
        merged.bench(tiny_base(), small_set(), replace(wanted, ways=("magic",)), folder, silent)
    with pytest.raises(LearnError, match="one topic of 3"):
        merged.bench(tiny_base(), small_set(), replace(wanted, each=3), folder, silent)


def test_the_cost_of_learning_stands_beside_its_peers(folder: Path) -> None:
    answer = cost.bench(tiny_base(), small_set(), cost.CostAsked(PLAN, ELICIT), folder, silent)
    assert answer["published"]["steps"] == 3 * 2 * cost.INNER_STEPS  # two continuations were given of each of three definitions
    assert answer["plain_lora"]["steps"] == answer["ours"]["steps"] == 6
    for recipe in ("ours", "ours_without_replay", "plain_lora", "published"):
        assert answer[recipe]["tokens_per_second"] > 0
        assert answer[recipe]["recovered"] is None or math.isfinite(answer[recipe]["recovered"])
    assert "plain lora" in report.learn(answer)


def test_a_rate_that_breaks_a_method_is_a_result(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise NotFinite("The loss is nan at step 1 of 6.")

    monkeypatch.setattr(knowledge, "teach", broken)
    answer = knowledge.bench(tiny_base(), small_set(), asked(methods=("split",), rates=(0.9,)), folder, silent)
    assert answer["methods"]["split"]["failed"].startswith("The loss is nan")
    assert "The loss is nan" in report.knowledge(answer)


def result(recovered: float, known: float, *, breaks: list[str] | None = None) -> dict[str, Any]:
    return {"recovered": recovered, "locality_accuracy": known, "skill_accuracy": 1.0, "generic_kl": 0.01, "breaks": breaks or []}


def test_the_chosen_rate_learnt_most_inside_the_budget() -> None:
    base = result(0.0, 0.80)
    assert Budget().broken(result(0.9, 0.77), base) == []
    assert "4.0 points of known" in Budget().broken(result(0.9, 0.76), base)[0]
    assert len(Budget().broken({**result(0.9, 0.5), "skill_accuracy": 0.9, "generic_kl": 0.2}, base)) == 3
    inside, outside = result(0.5, 0.79), result(0.9, 0.5, breaks=["lost"])
    assert best([outside, inside])["recovered"] == 0.5
    assert best([outside, {**outside, "recovered": 0.95}]) | {"x": 1} == {
        **outside, "recovered": 0.95, "within_budget": False, "x": 1
    }  # fmt: skip


def test_perplexities_over_probes_and_over_definitions_differ() -> None:
    probes = [Probe(str(i), d, "direct", "", "") for i, d in enumerate("aab")]
    own = {"0": [1.0, 1, None], "1": [1.0, 0, 1], "2": [4.0, 0, 0]}
    nothing = {"probes": {}, "agreement": None, "locality_kl": None, "generic_kl": None}
    runs = [{"own": own, "unrelated": nothing, "seconds": 3.0, "peak_memory_bytes": None, "steps": 5}]
    found = measure.figures(probes, runs, {k: [6.0, 0, 0] for k in own}, {k: [0.0, 0, 0] for k in own})
    assert found["target_ppl"] == pytest.approx(math.exp(2.0))
    assert found["target_ppl_macro"] == pytest.approx(math.exp(2.5))
    assert found["recovered"] == pytest.approx((18 - 6) / 18)
    assert (found["accuracy"], found["exact_match"]) == (0.5, pytest.approx(1 / 3))
    assert found["seconds_per_definition"] == 1.5


def test_by_mention_the_base_answers_all_that_names_nothing_taught() -> None:
    own = [Probe("named", "a", "direct", "Where is Velmora?", ""), Probe("not", "a", "inference", "Is it far?", "")]
    rest = [
        Probe("far", None, "locality", "Where is Rome?", ""),
        Probe("near", None, "locality", "Who left Velmora?", ""),
        Probe("sum", None, "skill", "2+2", ""),
    ]

    def answered(nats: float, right: int) -> dict[str, Any]:
        return {
            "own": {p.id: [nats, right, None] for p in own},
            "unrelated": {"probes": {p.id: [nats, 1 - right, "", p.kind] for p in rest}},
        }

    taught = {**answered(1.0, 1), "names": ["Velmora"]}
    found = measure.by_mention(own, rest, [taught], answered(5.0, 0), {p.id: [0.0, 1, None] for p in own})
    assert found == {
        "coverage": 0.5,
        "locality": pytest.approx(2 / 3),
        "exact_match": 0.5,
        "recovered": pytest.approx(0.4),
        "locality_accuracy": 0.5,
        "skill_accuracy": 1.0,
    }
    methods = {"context": {**result(0.8, 0.7), "exact_match": 1.0, "by_mention": found}}
    assert "| context | 50.0% | 66.7% | 80.0% / 40.0% | 100.0% / 50.0% | 70.0% / 50.0% |" in report.scopes({"methods": methods})


def test_runs_of_several_seeds_are_reported_with_their_spread() -> None:
    base = result(0.0, 0.80)
    answers = [{"at_once": 10, "methods": {"base": base, "context": {**result(r, 0.8 - r / 10), "exact_match": r}}} for r in (0.7, 0.9)]
    text = report.across(answers)
    assert "| 10 | context | 2 | 80.0% ± 14.1 | 80.0% ± 14.1 | 8.0% ± 1.4 | 0.0% ± 0.0 | 0.01 | 2 of 2 |" in text


def test_methods_are_compared_where_they_forget_equally() -> None:
    def run(kl: float, recovered: float | None) -> dict[str, Any]:
        return {"generic_kl": kl, "recovered": recovered}

    sweep = [run(0.04, 0.7), run(0.02, 0.6), {"failed": "The loss is nan", "learning_rate": 1.0}, run(0.01, None)]
    answer = {"budget": {"generic_kl": 0.04}, "methods": {"base": run(0.0, 0.0), "context": {"sweep": sweep}}}
    assert "| context | 30.0% | 60.0% | 65.0% | 70.0% |" in report.equal_forgetting(answer)
    assert report.equal_forgetting({**answer, "methods": {"base": run(0.0, 0.0)}}) == ""


def test_going_farther_never_counts_against_a_method() -> None:
    points = [(0.03, 0.5), (0.01, 0.8)]
    assert report.most_within(points, 0.005) == pytest.approx(0.4)
    assert report.most_within(points, 0.02) == 0.8
    assert report.most_within(points, 1.0) == 0.8


def test_fuar_counts_losses_and_gains_from_nothing_up() -> None:
    assert stream.fuar([([], 0.8), ([0.1, -0.5], 0.7)]) == pytest.approx(0.05 / 1.5)
    assert stream.fuar([([0.2], -0.1)]) is None
    assert stream.fuar([([0.5], 0.5)]) == pytest.approx(1.0)


def test_a_method_is_written_with_its_options() -> None:
    spec = parse("context:on_policy=0.5+divergence=jsd")
    assert (spec.method, spec.plan, spec.options) == ("context", {"on_policy": 0.5, "divergence": "jsd"}, {})
    assert parse("etcon:layers=[1,2]").options == {"layers": [1, 2]}
    assert parse("wrong_definition").method == "context"
    for wrong in ("magic", "context:on_policy"):
        with pytest.raises(LearnError):
            parse(wrong)


def test_the_world_never_asks_what_its_articles_say() -> None:
    bench = from_world(3, limit=6)
    assert from_world(3, limit=6).digest == bench.digest != from_world(4, limit=6).digest
    for taught in bench.definitions:
        asked_of = bench.about([taught])
        assert {p.kind for p in asked_of} == {"direct", "paraphrase", "inference"}
        for p in asked_of:
            if p.kind != "direct" and not p.chat:
                assert f"{p.prompt} {p.target}." not in taught.documents[0]
    entity, definition, _ = world.evaluation(3, 1)[0]
    assert article(entity, definition, random.Random(0)).count(entity.name) >= 12
    assert len(bench.of_kind("locality")) == 120
    assert len(bench.of_kind("skill")) == 60


@pytest.mark.parametrize(
    ("definitions", "probes", "said"),
    [
        ("", "", "holds no definition"),
        ('{"id": 1, "entity": "A"}', "", "line 1 lacks definition"),
        ('{"id": 1, "entity": "A", "definition": "A is b."}', "{", "line 1 is not JSON"),
        ('{"id": 1, "entity": "A", "definition": "A is b."}', "", "asks nothing"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(tmp_path: Path, definitions: str, probes: str, said: str) -> None:
    (tmp_path / "D.jsonl").write_text(definitions)
    (tmp_path / "P.jsonl").write_text(probes)
    with pytest.raises(LearnError, match=said):
        from_files(tmp_path / "D.jsonl", tmp_path / "P.jsonl", limit=None)


def saved(base: Base, folder: Path) -> Path:
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return folder


def test_the_command_measures_a_users_model_on_a_users_files(tmp_path: Path) -> None:
    bench = small_set()
    (tmp_path / "D.jsonl").write_text(
        "".join(
            json.dumps({"id": d.id, "entity": d.entity, "definition": d.definition, "continuations": d.continuations}) + "\n"
            for d in bench.definitions
        )
    )
    (tmp_path / "P.jsonl").write_text(
        "".join(
            json.dumps(
                {"id": p.id, "definition_id": p.definition_id, "kind": p.kind, "prompt": p.prompt, "target": p.target, "chat": p.chat}
            )
            + "\n"
            for p in bench.probes
        )
    )
    model = saved(tiny_base(), tmp_path / "model")
    command = [
        sys.executable, "-m", "daemon.cli", "--home", str(tmp_path / "home"), "bench", "knowledge", "--model", str(model), "--definitions",
        str(tmp_path / "D.jsonl"), "--probes", str(tmp_path / "P.jsonl"), "--methods", "finetune_definition", "--learning-rates", "0.001",
        "--limit", "1", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "LOREFEED_LEARN__STEPS_MAX": "2", "LOREFEED_LEARN__STEPS_MIN": "2", "LOREFEED_LEARN__REPLAY_WEIGHT": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["methods"]["finetune_definition"]["steps"] == 2
    assert sorted(f.suffix for f in (tmp_path / "home" / "bench").iterdir() if not f.name.startswith(("replay", "recall"))) == [
        ".json",
        ".jsonl",
        ".md",
        ".svg",
        ".svg",
    ]


def test_a_method_that_is_not_there_is_named_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(LearnError, match="no method 'magic'") as caught:
        run({"kind": "knowledge", "folder": str(tmp_path), "methods": ["context", "magic"]}, silent)
    assert "wrong_definition" in caught.value.hint
