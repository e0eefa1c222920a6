"""Tells an operator's webhook what happened by itself. That nobody could be told is an event, never the end of the work."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import httpx2
import stamina

from registry import Registry

log = logging.getLogger(__name__)
ACTOR = "webhook"
TIMEOUT_S = 10.0


def notify(registry: Registry, url: str | None, happening: Mapping[str, Any]) -> bool:
    """POSTs one JSON object, three times at most. Whether it arrived; without a URL there is nobody to tell."""
    if url is None:
        return False
    try:
        for attempt in stamina.retry_context(on=httpx2.HTTPError, attempts=3, wait_initial=0.5, wait_max=5.0):
            with attempt:
                httpx2.post(url, json=dict(happening), timeout=TIMEOUT_S).raise_for_status()
    except (httpx2.HTTPError, httpx2.InvalidURL) as err:
        log.warning("The webhook was not told: %s", err, extra={"action": "not_notified"})
        registry.write.add_event(ACTOR, "not notified", f"alias {happening.get('alias')}", {"problem": str(err), "about": dict(happening)})
        return False
    return True
