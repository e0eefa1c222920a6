"""What the registry's tests arrange with: factories that take overrides, and a clock that is set by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from registry import Adapter, Definition, Document, Feed, NewCheckRun, NewDefinition, NewDocument, Registry

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def add_feed(registry: Registry, name: str = "harbour", *, topic: str = "news") -> Feed:
    return registry.write.add_feed(f"https://example.org/{name}.xml", name=name, kind="feed", topic=topic, trust="auto", interval_s=900)


def add_documents(registry: Registry, feed: Feed, *texts: str, external_id: str | None = None) -> list[Document]:
    new = [NewDocument(external_id or f"id-{text}", text, NOW, url="https://example.org/a") for text in texts]
    return registry.write.record_poll(feed.id, cursor={}, next_check_at=NOW, documents=new)


def define(registry: Registry, feed: Feed, entity: str, text: str, *, state: str = "waiting") -> Definition:
    """One definition in a document of its own."""
    number = len(registry.read.documents())
    [document] = add_documents(registry, feed, f"{number}. {text}")
    [found] = registry.write.record_definitions(document.id, [NewDefinition(entity, text, (3, 3 + len(text)), 0.9)])
    return registry.write.set_novelty(found.id, 2.5, "base-digest", state, None)


def begin(
    registry: Registry, *, topic: str = "news", parent: str | None = None, definitions: Sequence[int] = (), rehearsed: Sequence[int] = ()
) -> Adapter:
    return registry.write.begin_adapter(
        topic,
        parent=parent,
        method="context",
        base_model="tiny",
        base_digest="base-digest",
        rank=4,
        definitions=definitions,
        rehearsed=rehearsed,
        settings={"seed": 0},
    )


def publish(registry: Registry, adapter: Adapter, *, content: bytes = b"weights") -> str:
    folder = registry.artifacts.begin(adapter.name)
    (folder / "adapter_model.safetensors").write_bytes(content + adapter.name.encode())
    (folder / "notes").mkdir()
    (folder / "notes" / "adapter_config.json").write_text("{}")
    return registry.artifacts.publish(folder, adapter_name=adapter.name, manifest={"base_digest": adapter.base_digest})


def learn(
    registry: Registry,
    *,
    topic: str = "news",
    parent: str | None = None,
    definitions: Sequence[int] = (),
    rehearsed: Sequence[int] = (),
    verdict: str | None = "passed",
) -> Adapter:
    """A published adapter with a check run, ready to be promoted."""
    begun = begin(registry, topic=topic, parent=parent, definitions=definitions, rehearsed=rehearsed)
    adapter = registry.write.finish_learning(begun.name, digest=publish(registry, begun))
    if verdict is not None:
        judge(registry, adapter, verdict=verdict)
    return registry.read.adapter(adapter.name)


def judge(registry: Registry, adapter: Adapter, *, verdict: str) -> None:
    reasons = () if verdict == "passed" else ("skills fell by 9 points",)
    registry.write.record_check(adapter.name, NewCheckRun(str(adapter.digest), "base-digest", verdict, reasons=reasons), [])  # type: ignore[arg-type]


def promote(registry: Registry, adapter: Adapter, *, alias: str = "news") -> None:
    registry.write.promote(alias, adapter.name, actor="test", reason=None)


def served(registry: Registry, alias: str = "news") -> str | None:
    return registry.read.alias(alias).adapter


def states(registry: Registry, *definitions: Definition) -> list[str]:
    return [registry.read.definition(d.id).state.value for d in definitions]


def folder_of(registry: Registry, adapter: Adapter) -> Path:
    return registry.artifacts.path(adapter)
