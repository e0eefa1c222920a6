"""What several stages ask: which version a topic serves, what it would answer, and whether it belongs to the loaded base model."""

import logging
from collections.abc import Callable
from typing import TypeVar

from daemon.config import Settings
from daemon.errors import BaseChanged
from daemon.mentions import NameFinder, learnt_names
from daemon.teacher import Teacher
from registry import Adapter, DefinitionState, Registry

log = logging.getLogger(__name__)

Item = TypeVar("Item")
MERGE, MERGED = "merge", "merged"  # a method; and in an adapter's settings, the names of the versions it was merged of


def serving_adapter(registry: Registry, topic: str) -> Adapter | None:
    """The version that the topic's own alias points at."""
    alias = next((a for a in registry.read.aliases() if a.name == topic), None)
    return registry.read.adapter(alias.adapter) if alias is not None and alias.adapter is not None else None


def answered_by(registry: Registry, adapter: Adapter) -> Callable[[str], bool]:
    """Whether the topic's alias, serving the adapter, would give a text to it. With the scope `mention`, only what names something it has
    learnt; the base answers the rest."""
    scope = next((a.scope for a in registry.read.aliases() if a.name == adapter.topic), "mention")
    finder = NameFinder(learnt_names(registry, adapter))
    return lambda text: scope == "always" or finder.find(text) is not None


def carried_forgotten(registry: Registry, topic: str) -> tuple[Adapter, list[int]] | None:
    """The version that the topic serves and the forgotten definitions that it had in training; None if there are none."""
    serving = serving_adapter(registry, topic)
    if serving is None or not registry.read.forgotten_in(serving.name):
        return None
    forgotten = {d.id for d in registry.read.definitions(topic=topic, state=DefinitionState.FORGOTTEN)}
    return serving, sorted(forgotten & registry.read.carried(serving.name))


def require_same_base(teacher: Teacher, adapter: Adapter | None, settings: Settings) -> None:
    """Raises BaseChanged, naming both digests, where the adapter was made for another base than the one that is loaded."""
    if adapter is not None and adapter.base_digest != teacher.base_digest:
        raise BaseChanged(
            f"{adapter.name} was made for {adapter.base_model} with digest {adapter.base_digest[:16]}, but {settings.model} now has digest"
            f" {teacher.base_digest[:16]}."
        )


def finish_published(registry: Registry) -> None:
    """Before a version is made: one whose folder is published, but not on its row, would be made again and leave that folder behind for nobody."""
    for sentence in registry.finish_published():
        log.warning("%s", sentence, extra={"action": "recovered"})


def evenly(items: list[Item], at_most: int | None) -> list[Item]:
    """As many as are wanted, from all over the list, in its order; None: all of them."""
    if at_most is None or len(items) <= at_most:
        return items
    return [items[i * len(items) // at_most] for i in range(at_most)]
