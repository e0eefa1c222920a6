"""From the name in a request to the version that answers it. Reads the registry each time, so a rollback counts from the next request."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from daemon.mentions import NameFinder, learnt_names
from daemon.serving.errors import ModelNotServed
from daemon.serving.names import BASE, header_safe, is_adapter_name, is_alias_name, shown
from registry import Adapter, AdapterState, Alias, NotThere, Registry

FINDERS_KEPT = 64
PINNABLE = frozenset({AdapterState.PASSED, AdapterState.LIVE, AdapterState.RETIRED, AdapterState.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Choice:
    """Who answers: `model` as it was asked for, `adapter` None for the base, `scope` why."""

    model: str
    adapter: str | None
    scope: str

    @property
    def answered_by(self) -> str:
        return self.adapter or BASE


class Resolver:
    """Thread-safe. Remembers only what can never change: the names that an immutable adapter version has learnt."""

    def __init__(self, registry: Registry, *, base_name: str) -> None:
        self._registry = registry
        self._base_name = base_name
        self._finders: OrderedDict[tuple[str, str | None], NameFinder] = OrderedDict()
        self._lock = threading.Lock()

    def choose(self, model: str, body: dict[str, Any]) -> Choice:
        """Decide who answers a request."""
        if model in (BASE, self._base_name):
            return Choice(model=model, adapter=None, scope=BASE)
        if is_adapter_name(model):
            return Choice(model=model, adapter=self._pinned(model).name, scope="pinned")
        alias = self._alias(model)
        if alias.adapter is None:
            return Choice(model=model, adapter=None, scope=BASE)
        if alias.scope == "always":
            return Choice(model=model, adapter=alias.adapter, scope="always")
        name = self._finder(alias.adapter).find(conversation(body))
        if name is None:
            return Choice(model=model, adapter=None, scope="no-mention")
        return Choice(model=model, adapter=alias.adapter, scope=f"mentioned:{header_safe(name)}")

    def _pinned(self, name: str) -> Adapter:
        try:
            adapter = self._registry.read.adapter(name)
        except NotThere as err:
            raise self._not_served(name) from err
        if adapter.state not in PINNABLE:
            raise self._not_served(name, why=f" It is {adapter.state.value}{f': {adapter.reason}' if adapter.reason else ''}.")
        if adapter.removed_at is not None:
            raise self._not_served(name, why=f" Its folder was deleted on {adapter.removed_at:%Y-%m-%d}.")
        return adapter

    def _alias(self, name: str) -> Alias:
        if not is_alias_name(name):
            raise self._not_served(name)
        try:
            return self._registry.read.alias(name)
        except NotThere as err:
            raise self._not_served(name) from err

    def _not_served(self, name: str, *, why: str = "") -> ModelNotServed:
        aliases = self._registry.read.aliases()
        there = [self._base_name, BASE, *(a.name for a in aliases), *sorted({a.adapter for a in aliases if a.adapter})]
        return ModelNotServed(f"The model `{shown(name)}` is not served.{why} There is: {', '.join(dict.fromkeys(there))}")

    def _finder(self, adapter_name: str) -> NameFinder:
        adapter = self._registry.read.adapter(adapter_name)
        key = (adapter.name, adapter.digest)
        with self._lock:
            if key not in self._finders:
                self._finders[key] = NameFinder(learnt_names(self._registry, adapter))
            self._finders.move_to_end(key)
            while len(self._finders) > FINDERS_KEPT:
                self._finders.popitem(last=False)
            return self._finders[key]


def conversation(body: dict[str, Any]) -> str:
    """All the text of a request: the whole chat, or the prompt. Token ids say nothing here, so they mention nothing."""
    texts = []
    if "messages" in body:
        messages = body["messages"] if isinstance(body["messages"], list) else []
        for message in messages:
            texts += _texts(message.get("content") if isinstance(message, dict) else None)
    else:
        texts += _texts(body.get("prompt"))
    return "\n".join(texts)


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return []
    parts = (part.get("text") if isinstance(part, dict) else part for part in content)
    return [part for part in parts if isinstance(part, str)]
