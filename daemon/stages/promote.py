"""A passed adapter to what is served: moves the topic's alias. The registry refuses whatever did not pass."""

import logging

from registry import Registry, Release

log = logging.getLogger(__name__)


def promote(registry: Registry, adapter_name: str, *, actor: str, reason: str | None = None) -> Release:
    """Points the topic's own alias at the adapter."""
    adapter = registry.read.adapter(adapter_name)
    release = registry.write.promote(adapter.topic, adapter.name, actor=actor, reason=reason)
    log.info("Promoted %s", adapter.name, extra={"action": "promoted", "adapter": adapter.name, "alias": adapter.topic})
    return release
