"""What becomes of the versions that had something forgotten in training."""

import logging

from registry import AdapterState, NotAllowed, Registry

log = logging.getLogger(__name__)


def give_up_carriers(registry: Registry, definition_ids: list[int], *, actor: str) -> list[str]:
    """Marks every version that had the definitions in training for deletion, except one that is still served; returns their names."""
    given_up = []
    for adapter in registry.read.carriers(definition_ids):
        if adapter.digest is None or adapter.removed_at is not None or adapter.state in {AdapterState.LIVE, AdapterState.CHECKING}:
            continue
        try:
            registry.write.mark_removed(adapter.name, actor=actor, reason="carries what was forgotten")
            given_up.append(adapter.name)
        except NotAllowed as err:
            log.warning("%s: %s", err, err.hint, extra={"action": "not_removed", "adapter": adapter.name})
    return given_up
