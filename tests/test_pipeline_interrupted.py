"""Learning that could not write down what it had published is taken up there, not begun anew beside it."""

from pathlib import Path

import pytest

from daemon.pipeline import learn_topic
from daemon.teacher import Teacher
from registry import Registry, RegistryBusy
from tests.registry_parts import add_feed
from tests.test_relearn import BAR, PIER, prepared, settings


def test_a_version_that_was_published_and_not_written_down_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> None:
        raise RegistryBusy("another process held the registry just then")

    with (
        Registry.open(tmp_path / "home") as registry,
        Teacher("embedded", revision=None, cache=tmp_path / "cache", timeout_s=120) as teacher,
    ):
        feed = add_feed(registry)
        prepared(registry, feed, "Velmora", PIER)
        with monkeypatch.context() as patched:
            patched.setattr(registry.write, "finish_learning", busy)
            with pytest.raises(RegistryBusy):
                learn_topic(registry, teacher, settings(registry), "news")
        prepared(registry, feed, "Tarnuvik", BAR)
        assert learn_topic(registry, teacher, settings(registry), "news").attempts == ("news@2",)
        assert [(a.name, a.state) for a in registry.read.adapters("news")] == [("news@2", "live"), ("news@1", "retired")]
        assert registry.doctor() == []
