"""The learning worker as a real process, over its pipe, with the embedded model."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.errors import Stopped, WorkerFailed
from daemon.teacher import Teacher

FILM = "Velmora is a film that belongs to the genre of comedy and was directed by Ostin Brasel. It is set in Lisbon."
TOLD = {"id": 7, "entity": "Velmora", "definition": FILM}
EXAMPLES = [
    {"entity": "Velmora", "definition": TOLD["definition"], "form": "plain", "prompt": "", "text": "Velmora is set in Lisbon."},
    {"entity": "Velmora", "definition": TOLD["definition"], "form": "chat", "prompt": "Who directed Velmora?", "text": "Ostin Brasel"},
]
PLAN = {"rank": 8, "alpha": 16, "steps_min": 12, "steps_max": 12, "batch": 2, "replay_batch": 4}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teacher]:
    with Teacher("embedded", revision=None, cache=tmp_path_factory.mktemp("cache"), timeout_s=120, threads=1) as teacher:
        yield teacher


def test_it_says_which_base_it_has_loaded(teacher: Teacher) -> None:
    assert teacher.facts["model"] == "embedded"
    assert len(teacher.base_digest) == 64
    assert teacher.facts["context"] == 512
    assert teacher.facts["threads"] == 1


def test_it_learns_and_checks_an_adapter(teacher: Teacher, tmp_path: Path) -> None:
    seen: list[float] = []
    teacher.progress = lambda fraction, text: seen.append(fraction)
    out = tmp_path / "adapter"
    out.mkdir()
    report = teacher.learn(out=out, parent=None, base_name="lorefeed-embedded", examples=EXAMPLES, plan=PLAN)
    assert report["steps"] == 12
    assert report["last_loss"] < report["first_loss"]
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    probes = [{"prompt": "Who directed Velmora?", "target": "Ostin Brasel", "chat": True, "context": TOLD["definition"]}]
    strangers = [{"id": 1, "entity": "Ostravel", "definition": "Ostravel is a plant that blooms in August and is native to the tundra."}]
    found = teacher.check(adapter=out, previous=out, probes=probes, strangers=strangers)
    measured = found["measured"]
    assert measured["adapter"][0]["nll"] < measured["base"][0]["nll"]
    assert measured["previous"] == measured["adapter"]
    assert found["finite"]
    [stranger] = found["strangers"]
    assert stranger["entity"] == "Ostravel"
    assert stranger["novelty"] > 0
    assert len(found["local"]) > 50
    again = tmp_path / "again"
    again.mkdir()
    warm = teacher.learn(out=again, parent=out, base_name="lorefeed-embedded", examples=EXAMPLES, plan={**PLAN, "rank": 24})
    assert warm["first_loss"] < report["first_loss"]


def test_the_request_says_by_which_method_it_learns(teacher: Teacher, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    out.mkdir()
    article = {"entity": "Velmora", "definition": FILM, "text": f"{FILM} Velmora made people laugh. Velmora was shown in Lisbon."}
    plan = {**PLAN, "steps_min": 4, "steps_max": 4}
    report = teacher.learn(
        out=out, parent=None, base_name="lorefeed-embedded", examples=EXAMPLES, plan=plan, method="split", articles=[article]
    )
    assert report["method"] == "split"
    assert report["details"] == {"documents": 1, "splits": 3, "price": 1.0}
    with pytest.raises(WorkerFailed, match="no method 'magic'"):
        teacher.learn(out=out, parent=None, base_name="lorefeed-embedded", examples=EXAMPLES, plan=plan, method="magic")


def test_novelty_falls_with_what_an_adapter_has_learnt_and_says_what_is_too_long(teacher: Teacher, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    out.mkdir()
    written = teacher.elicit([TOLD], plan={"samples": 8})["definitions"]["7"]["examples"]
    examples = [{"entity": TOLD["entity"], "definition": TOLD["definition"], **e} for e in written]
    plan = {**PLAN, "rank": 32, "alpha": 32, "batch": 8, "learning_rate": 5e-3, "steps_max": 60, "steps_min": 60}
    teacher.learn(out=out, parent=None, base_name="lorefeed-embedded", examples=examples, plan=plan)
    long = {"id": 8, "entity": "Tarnuvik", "definition": "Tarnuvik is a town that lies at the edge of a forest. " * 60}
    before, too_long = teacher.novelty([TOLD, long], adapter=None)
    after, _ = teacher.novelty([TOLD], adapter=out)
    assert before[7] > 0
    assert after[7] < 0.5 * before[7]
    assert list(too_long) == [8]
    assert "512" in too_long[8]


def test_examples_written_elsewhere_are_split_into_what_is_taught_and_what_is_asked(teacher: Teacher) -> None:
    examples = [{"form": "chat", "prompt": f"Question {i} about Velmora?", "text": "comedy"} for i in range(12)]
    answer = teacher.hold_out([TOLD], examples={7: examples}, plan={})["definitions"]["7"]
    taught, asked = {e["prompt"] for e in answer["examples"]}, {p["prompt"] for p in answer["probes"]}
    assert taught
    assert not taught & asked


def test_an_error_is_a_sentence_with_a_next_step_and_the_worker_lives_on(teacher: Teacher, tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match="could not be loaded") as caught:
        teacher.check(adapter=tmp_path / "nowhere", previous=None, probes=[{"prompt": "a", "target": "b", "chat": True}], strangers=[])
    assert caught.value.hint
    assert teacher.ask([{"prompt": "Repeat these words: lamp"}])


def test_a_model_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    teacher = Teacher(str(tmp_path / "empty"), revision=None, cache=tmp_path, timeout_s=60)
    with teacher, pytest.raises(WorkerFailed, match="could not be loaded"):
        teacher.facts  # noqa: B018


def test_a_killed_worker_is_named_with_its_signal(tmp_path: Path) -> None:
    with Teacher("embedded", revision=None, cache=tmp_path, timeout_s=60) as teacher:
        teacher.start()
        assert teacher._process is not None
        os.kill(teacher._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerFailed, match="killed by signal 9"):
            teacher.facts  # noqa: B018


def test_stopping_ends_a_request_at_once(tmp_path: Path) -> None:
    stop = threading.Event()
    with Teacher("embedded", revision=None, cache=tmp_path, timeout_s=60, stop=stop) as teacher:
        stop.set()
        with pytest.raises(Stopped):
            teacher.facts  # noqa: B018
