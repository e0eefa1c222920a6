"""From the name in a request to the version that answers it. Asks the registry each time, so a rollback counts from the next request."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio.to_thread

from daemon.mentions import Mentions, NameFinder, learnt_names
from daemon.serving.errors import AdapterNotResident, ModelNotServed
from daemon.serving.names import BASE, header_safe, is_adapter_name, is_alias_name, shown
from registry import AdapterState, Registry, Served, ServedAdapter, ServedAlias, ServedView

FINDERS_KEPT = 3  # for each alias: of what it serves, of its canary, and of what it served before
PINNABLE = frozenset({AdapterState.PASSED, AdapterState.LIVE, AdapterState.RETIRED, AdapterState.ROLLED_BACK})
Owners = Mapping[str, ServedAdapter]  # by topic: whose names are looked for


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
    """For one event loop. Remembers only what can never change: the names that an immutable adapter version has learnt."""

    def __init__(self, registry: Registry, view: ServedView, *, base_name: str) -> None:
        self._registry = registry
        self._view = view
        self._base_name = base_name
        self._finders: OrderedDict[tuple[tuple[str, str, str | None, int], ...], asyncio.Future[NameFinder]] = OrderedDict()

    async def choose(self, model: str, body: dict[str, Any]) -> Choice:
        """Decide who answers a request. Raises ModelNotServed, AdapterNotResident, RegistryError."""
        if model in (BASE, self._base_name):
            return Choice(model, None, BASE)
        if is_adapter_name(model):
            return Choice(model, self._pinned(model).name, "pinned")
        served = self._view.now()  # one moment for the whole decision
        alias = self._alias(served, model)
        if alias.canary is not None and in_canary(alias, body):
            return await self._scoped(served, alias, {alias.canary.topic: alias.canary}, alias.canary, body, note=";canary")
        return await self._scoped(served, alias, self._owners(served, alias), alias.adapter, body)

    async def _scoped(
        self, served: Served, alias: ServedAlias, owners: Owners, own: ServedAdapter | None, body: dict[str, Any], *, note: str = ""
    ) -> Choice:
        if not owners or (own is None and alias.scope == "always"):
            return Choice(alias.name, None, BASE)
        if alias.scope == "always" and own is not None:
            return Choice(alias.name, _servable(own).name, f"always{note}")
        finder = await self._finder(served, owners)
        found = finder.mentions(conversation(body))
        if found.first is None:
            return Choice(alias.name, None, "no-mention")
        adapter, why = _by_mentions(owners, own, found)
        return Choice(alias.name, _servable(adapter).name, f"{why}{note}")

    def _owners(self, served: Served, alias: ServedAlias) -> Owners:
        """The version that stands for each topic of the alias: its own where it serves just that one, else the topic's own alias's."""
        if alias.adapter is None and alias.moved:
            return {}  # rolled back to the base model
        own = alias.adapter
        if own is not None and len(alias.topics) == 1:
            return {own.topic: own}
        lines = {}
        for topic in alias.topics if len(alias.topics) > 1 else ():
            line = own if own is not None and own.topic == topic else getattr(served.aliases.get(topic), "adapter", None)
            if line is not None and line.topic == topic:
                lines[topic] = line
        return lines if lines or own is None else {own.topic: own}

    def _pinned(self, name: str) -> ServedAdapter:
        adapter = self._view.adapter(name)
        if adapter is None:
            raise self._not_served(name)
        if adapter.state not in PINNABLE:
            raise self._not_served(name, why=f" It is {adapter.state.value}{f': {adapter.reason}' if adapter.reason else ''}.")
        if adapter.removed_at is not None:
            raise self._not_served(name, why=f" Its folder was deleted on {adapter.removed_at:%Y-%m-%d}.")
        return _servable(adapter)

    def _alias(self, served: Served, name: str) -> ServedAlias:
        alias = served.aliases.get(name) if is_alias_name(name) else None
        if alias is None:
            raise self._not_served(name)
        return alias

    def _not_served(self, name: str, *, why: str = "") -> ModelNotServed:
        aliases = self._view.now().aliases.values()
        there = [self._base_name, BASE, *(a.name for a in aliases), *sorted({a.adapter.name for a in aliases if a.adapter})]
        return ModelNotServed(f"The model `{shown(name)}` is not served.{why} There is: {', '.join(dict.fromkeys(there))}")

    async def _finder(self, served: Served, owners: Owners) -> NameFinder:
        """Built once for each set of versions, in a thread: many names take a second. Whoever asks meanwhile waits for the same one."""
        key = tuple((topic, adapter.name, adapter.digest, served.forgotten.get(topic, 0)) for topic, adapter in owners.items())
        if key not in self._finders:
            self._finders[key] = asyncio.ensure_future(anyio.to_thread.run_sync(self._build, owners))
            while len(self._finders) > FINDERS_KEPT * (1 + len(served.aliases)):
                self._finders.popitem(last=False)
        self._finders.move_to_end(key)
        try:
            return await asyncio.shield(self._finders[key])
        except Exception:
            self._finders.pop(key, None)  # the registry did not answer: the next request asks again
            raise

    def _build(self, owners: Owners) -> NameFinder:
        read = self._registry.read
        return NameFinder({topic: list(learnt_names(self._registry, read.adapter(adapter.name))) for topic, adapter in owners.items()})


def in_canary(alias: ServedAlias, body: dict[str, Any]) -> bool:
    """Drawn by what the conversation begins with, so that all its turns are answered by one version."""
    if alias.canary is None:
        return False
    drawn = hashlib.blake2b(f"{alias.canary.name}\0{_opening(body)}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(drawn) % 10_000 < alias.weight * 100


def _opening(body: dict[str, Any]) -> str:
    messages = body.get("messages")
    if isinstance(messages, list):
        said = (m for m in messages if isinstance(m, dict) and m.get("role") == "user")
        return "\n".join(_texts(next(said, {}).get("content")))
    return "\n".join(_texts(body.get("prompt"))) or str(body.get("prompt"))


def _by_mentions(owners: Owners, own: ServedAdapter | None, found: Mentions) -> tuple[ServedAdapter, str]:
    """Several topics are named: the adapter merged of them if there is one, else the topic that is named most (the first, if equal)."""
    name = header_safe(found.first or "")
    if len(found.counts) == 1:
        [topic] = found.counts
        return owners[topic], f"mentioned:{name}"
    counted = ",".join(f"{topic}={count}" for topic, count in sorted(found.counts.items(), key=lambda item: (-item[1], item[0])))
    if own is not None and own.topic not in owners:
        return own, f"merged:{counted}"
    topic = max(owners, key=lambda topic: found.counts.get(topic, 0))
    return owners[topic], f"most-mentioned:{counted}"


def _servable(adapter: ServedAdapter) -> ServedAdapter:
    if adapter.unserved is not None:
        raise AdapterNotResident(f"{adapter.name} is not served: {adapter.unserved}", hint="Look: lorefeed adapters show " + adapter.name)
    return adapter


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
