"""Forgetting at the settings that users have: what was learnt well is gone, and the rest is as good as before. Slow."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.config import Settings, load_settings
from daemon.embedded import world
from daemon.pipeline import learn_topic
from daemon.teacher import Teacher
from registry import Registry
from tests.registry_parts import add_feed, define

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
KEPT, GONE = 6, 13  # what is gone is asked some two hundred questions about


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def test_what_is_forgotten_is_known_no_better_than_names_nobody_taught(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: Settings = load_settings(registry.home)
    drawn = world.evaluation(4711, KEPT + GONE)
    kept, gone = add_feed(registry, "kept"), add_feed(registry, "gone")
    for number, (entity, text, _) in enumerate(drawn):
        define(registry, kept if number < KEPT else gone, entity.name, text)
    with Teacher("embedded", revision=None, cache=tmp_path / "cache", timeout_s=1800) as teacher:
        first = learn_topic(registry, teacher, settings, "news")
        assert first.released, first.reasons
        registry.write.forget(feed="gone", actor="test", reason="the publisher withdrew it")
        second = learn_topic(registry, teacher, settings, "news")
    done = second.forgotten
    assert done is not None
    assert done.run is not None
    found = {name: metric["value"] for name, metric in done.run.metrics.items()}
    with capsys.disabled():
        shown = {
            name: round(found[name], 3)
            for name in sorted(found)
            if name.startswith(("forgotten", "learned", "kept", "gain")) and found[name] is not None
        }
        sys.stdout.write(f"\n{done.run.adapter}, {done.run.verdict}: {shown}, {done.run.metrics['forgotten']['n']} questions\n")
    assert done.run.verdict == "passed", done.run.reasons
    assert done.run.metrics["forgotten"]["n"] >= 200
    assert found["forgotten_before"] > 10 * found["forgotten_error"]  # it had been learnt, or there would be nothing to show
    assert abs(found["forgotten"]) <= max(2 * found["forgotten_error"], 0.05)
    assert found["forgotten_right"] <= found["forgotten_right_other_names"] + 0.05
    assert found["kept"] is not None
    assert found["kept"] >= 0.9
    assert found["gain_kept"] is not None
    assert found["gain_kept"] >= 0.98  # what remains is known as well as before
