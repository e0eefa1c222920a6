"""Learning and a real vLLM in turns on one device: vLLM sleeps while something is learnt, nobody is answered wrongly, and it never sleeps on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from daemon.sample.server import batches, drop_into
from daemon.serving.errors import EngineFailed
from daemon.serving.turns import MARKER, Turn, is_asleep
from tests.vllm_parts import LONG, ROOT, World, need_vllm, running_world

pytestmark = pytest.mark.vllm
SLEEPER = """
import sys, time
from pathlib import Path
from daemon.serving.turns import Turn
Turn(Path(sys.argv[1]), sys.argv[2]).begin()
print("asleep", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    need_vllm()
    with running_world(tmp_path_factory.mktemp("turns"), more={"ENGINE__SHARING": "turns"}) as world:
        yield world


def sleeps(world: World) -> bool:
    return bool(world.http.get(f"{world.engine_url}/is_sleeping").json()["is_sleeping"])


def test_while_it_sleeps_questions_are_sent_away_and_afterwards_answered_as_before(world: World) -> None:
    world.wait(lambda: "news@10" in world.held())
    before = world.text("news")
    slow: list[httpx2.Response] = []
    under_way = threading.Thread(target=lambda: slow.append(world.complete("news", LONG, max_tokens=300)))
    under_way.start()
    world.wait(lambda: world.http.get(f"{world.gateway_url}/lorefeed/inflight").json()["total"] == 1, every_s=0.01)
    turn, other = Turn(world.home, world.engine_url), Turn(world.home, world.engine_url)
    turn.begin()
    under_way.join(timeout=60)
    assert slow[0].status_code == 200, "what is under way is finished first"
    assert slow[0].json()["usage"]["completion_tokens"] == 300
    assert sleeps(world)
    with pytest.raises(EngineFailed, match="Somebody else is learning"):
        other.begin()
    refused = world.complete("news")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
    assert "Something is being learnt" in refused.json()["error"]["message"]
    assert world.http.get(f"{world.gateway_url}/readyz").status_code == 503
    turn.end()
    turn.end()
    assert not sleeps(world)
    assert world.text("news") == before


def test_left_asleep_by_a_process_that_was_killed_it_is_woken(world: World) -> None:
    command = [sys.executable, "-c", SLEEPER, str(world.home), world.engine_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as sleeper:
        assert sleeper.stdout is not None
        assert sleeper.stdout.readline() == "asleep\n"
        assert sleeps(world)
        sleeper.kill()
    world.wait(lambda: not is_asleep(world.home), timeout_s=60)
    assert not sleeps(world)
    assert world.complete("news").status_code == 200
    assert "was left asleep; waking it" in world.said()


def test_something_is_learnt_in_its_turn_and_answered_in_the_engines(world: World, figures: list[str]) -> None:
    folder, over, seen = Path(world.home / "notes"), threading.Event(), Counter[str]()
    right = world.text("news", max_tokens=8)
    drop_into(folder, batches()["first"][:2])
    world.registry.write.add_feed(str(folder), name="notes", kind="folder", topic="notes", trust="auto", interval_s=10)

    def ask() -> None:
        with httpx2.Client(timeout=120, trust_env=False) as client:
            wish = {"model": "news", "prompt": LONG, "max_tokens": 8, "temperature": 0, "ignore_eos": True}
            while not over.wait(0.2):
                answer = client.post(f"{world.gateway_url}/v1/completions", json=wish)
                if answer.status_code == 200:
                    seen["right" if answer.json()["choices"][0]["text"] == right else "wrong"] += 1
                else:
                    seen[str(answer.status_code)] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    world.wait(lambda: is_asleep(world.home), timeout_s=300, every_s=0.05)
    world.wait(lambda: any(a.topic == "notes" and a.state in {"live", "refused"} for a in world.registry.read.adapters()), timeout_s=1800)
    world.wait(lambda: not is_asleep(world.home), timeout_s=300)
    assert world.text("news", max_tokens=8) == right
    over.set()
    asking.join(timeout=120)
    figures.append(
        f"learning and vLLM in turns: {seen['right']} answers, {seen['wrong']} wrong, {seen['503']} sent away while something was learnt"
    )
    assert seen["right"] > 0 < seen["503"]
    assert set(seen) <= {"right", "503"}
    assert not (world.home / MARKER).exists()
