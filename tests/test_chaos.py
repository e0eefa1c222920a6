"""Everything goes wrong while documents flow in and clients ask: nothing may be answered wrongly, lost, made twice, or left broken.

Each kind of fault once in the quick suite, without learning, which alone would take as long; LOREFEED_CHAOS=200 rounds with it for the long proof.
LOREFEED_CHAOS_SEED repeats or varies the rounds.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from daemon.serving.names import BASE
from tests.chaos_clients import PINNED, PROMPTS, Key, Seen, Trouble, ask, asking, text_of
from tests.chaos_faults import FAULTS
from tests.chaos_parts import MOVED, TAUGHT, World, items, running_world

ROUNDS = int(os.environ.get("LOREFEED_CHAOS", len(FAULTS)))
SEED = int(os.environ.get("LOREFEED_CHAOS_SEED", "1"))
LONG = len(FAULTS) < ROUNDS


def dealt(rounds: int, chance: random.Random, *, without: set[str]) -> Iterator[str]:
    """So many faults in random order, each kind as often as the others."""
    left: list[str] = []
    for _ in range(rounds):
        left = left or chance.sample(sorted(FAULTS.keys() - without), len(FAULTS) - len(without))
        yield left.pop()


def in_quiet(world: World, wanted: set[Key]) -> dict[Key, str]:
    """What each version answers when it is asked by name and nothing goes wrong. Sorted, so that each is loaded once."""
    said = {}
    with httpx2.Client(timeout=120, trust_env=False) as http:
        for adapter, prompt in sorted(wanted):
            answer = ask(http, world.gateway_url, adapter, prompt)
            assert answer.status_code == httpx2.codes.OK, answer.text
            assert answer.headers["x-lorefeed-adapter"] == adapter
            said[adapter, prompt] = text_of(answer)[1]
    return said


def unexplained(world: World, troubles: list[Trouble]) -> list[Trouble]:
    """Those at a time when everybody was there to answer."""
    return [t for t in troubles if not any(t.since <= until and since <= t.until for since, until in world.down)]


def command_line(world: World, *arguments: str) -> dict[str, object]:
    command = [sys.executable, "-m", "daemon.cli", "--home", str(world.home), *arguments, "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120).stdout)


@pytest.mark.timeout(1200 + 20 * ROUNDS)
@pytest.mark.slow
def test_whatever_goes_wrong_nothing_is_lost_or_answered_wrongly(tmp_path: Path, figures: list[str]) -> None:
    chance, new, seen = random.Random(SEED), items(random.Random(SEED), defining=LONG), Seen()
    began = time.monotonic()
    with running_world(tmp_path) as (world, missing):
        before = in_quiet(world, {(name, prompt) for name in (*PINNED, BASE) for prompt in PROMPTS})
        for prompt in PROMPTS:  # or a mixed answer would not be noticed
            assert len({before[name, prompt] for name in PINNED}) == len(PINNED)
        done: Counter[str] = Counter()
        with asking(world, seen, SEED):
            for kind in dealt(ROUNDS, chance, without=set(missing)):
                world.news.items.append(next(new))
                FAULTS[kind](world, chance)
                done[kind] += 1
                time.sleep(chance.uniform(0.2, 2.0))
        if world.clock is not None:
            world.clock.set(0)
        world.news.items.append(next(item for item in new if item.entity or not LONG))  # what comes afterwards is learnt too
        took = world.wait(world.settled, what="the end of all work", timeout_s=600)
        world.wait(lambda: world.down_since is None, what="that all answer")
        after = in_quiet(world, before.keys() | seen.answers.keys())
        wrong = {key: dict(texts) for key, texts in seen.answers.items() if set(texts) != {after[key]}}
        adapters = world.registry.read.adapters()
        figures.append(
            f"{sum(done.values())} rounds {dict(done)} (killed: {dict(world.kills)}; not here: {missing or 'nothing'}) in"
            f" {time.monotonic() - began:.0f} s, settled {took:.0f} s after the last; {seen.total} answers by"
            f" {len({a for a, _ in seen.answers})} versions, {len(wrong)} wrong, {len(seen.mixed)} mixed, {len(seen.refused)} refused,"
            f" {len(seen.broken)} broken off; alias moved {len(seen.moves)} times, not {dict(seen.moves_refused)};"
            f" {len(world.news.items)} documents, {len(adapters)} versions, {world.news.spoiled_answers} garbage answers"
        )
        assert seen.total > ROUNDS
        assert len(seen.moves) > ROUNDS
        assert world.news.spoiled_answers
        assert (wrong, seen.mixed, seen.odd) == ({}, [], [])
        assert {key: after[key] for key in before} == before
        assert unexplained(world, seen.broken) == []
        assert unexplained(world, seen.refused) == []
        assert world.ended == []
        check_registry(world, seen)
        doctor, audit = command_line(world, "doctor"), command_line(world, "audit", "verify")
        assert doctor == {"ok": True, "findings": []}
        assert audit["whole"] is True


def check_registry(world: World, seen: Seen) -> None:
    """Every document once, every definition once, every version once and whole, every move of the alias and no other."""
    read = world.registry.read
    published = Counter((item.title, item.text) for item in world.news.items)
    assert Counter((d.title, d.text) for d in read.documents() if d.feed == "news") == published
    definitions = read.definitions(topic=TAUGHT)
    assert Counter(d.entity for d in definitions) == Counter(item.entity for item in world.news.items if item.entity)
    assert {str(d.state) for d in definitions} <= {"learned", "known", "refused"}
    versions = read.adapters(TAUGHT)
    assert not [a for a in versions if a.state in {"learning", "checking"}]
    assert any(a.state == "live" for a in versions) == LONG
    taught = [i for a in versions if a.state in {"live", "retired"} for i in a.definitions]
    assert len(taught) == len(set(taught)), "A definition was learnt as new by two released versions."
    folders = Counter(found.adapter for found in world.registry.artifacts.published())
    assert folders == Counter(a.name for a in read.adapters() if a.digest is not None)
    releases = [(r.to_adapter, r.rollback) for r in reversed(read.releases(MOVED)) if r.reason == "chaos"]
    assert releases == seen.moves
