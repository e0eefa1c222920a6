"""Tells an operator's webhook what happened by itself, from the audit log: in order, each at least once, signed, tried again until it arrives.

The audit log is the outbox, so nothing is told that is not on record and nothing is lost by a crash: how far was told is itself an event.
Messages and signatures follow the Standard Webhooks specification (standardwebhooks.com).
"""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2

from daemon.errors import DaemonError
from daemon.sections import Notify
from registry import Event, Registry

log = logging.getLogger(__name__)

ABOUT = "notify"  # the object of the events that say how far was told
TIMEOUT_S = 10.0
AT_ONCE = 50
# (action, what its object begins with) of an event -> the type of its message
TYPES: dict[tuple[str, str], str] = {
    ("promoted", "alias"): "released",
    ("rolled back", "alias"): "rolled_back",
    ("canary ended", "alias"): "canary_ended",
    ("refused", "adapter"): "refused",
    ("not served", "adapter"): "not_served",
    ("forgotten", "definition"): "forgotten",
    ("review", "definition"): "review",
    ("failing", "feed"): "feed_failing",
    ("recovered", "feed"): "feed_recovered",
    ("silent", "feed"): "feed_silent",
    ("retired", "feed"): "feed_retired",
    ("given up", "job"): "job_given_up",
    ("learning waits", "service"): "learning_waits",
    ("learning goes on", "service"): "learning_goes_on",
}


class NotTold(DaemonError):
    """The webhook did not take a message. It is tried again, later and later, for as long as it takes."""


def to_tell(registry: Registry, wanted: Notify, *, limit: int = AT_ONCE) -> tuple[list[Event], int]:
    """(events that the webhook has not been told of, the number of the newest event looked at). Nothing before it was set up is told."""
    before = told_up_to(registry)
    if before is None:
        return [], registry.read.newest_event()
    seen = registry.read.events_after(before, limit=limit)
    return [e for e in seen if type_of(e) in wanted.events and e.object != ABOUT], seen[-1].id if seen else before


def told_up_to(registry: Registry) -> int | None:
    """The number of the newest event that was told or passed over; None: nobody was ever to be told."""
    newest = registry.read.events(limit=1, about=ABOUT)
    return int(newest[0].detail["up_to"]) if newest else None


def begin(registry: Registry) -> None:
    """From now on is told; what happened before the webhook was set up is not."""
    if told_up_to(registry) is None:
        registry.write.add_event("lorefeed", "began", ABOUT, {"up_to": registry.read.newest_event()})


def tell(registry: Registry, wanted: Notify) -> dict[str, Any]:
    """Tells everything there is to tell. Raises NotTold at the first message that does not arrive; what arrived before it is not told again."""
    told = 0
    while True:
        events, up_to = to_tell(registry, wanted)
        for event in events:
            try:
                _post(wanted, event)
            except (httpx2.HTTPError, httpx2.InvalidURL) as err:
                if event is not events[0]:
                    _told(registry, up_to=event.id - 1)
                raise NotTold(
                    f"The webhook was not told that {event.object} was {event.action}: {_why(err)}",
                    hint="Look at notify.url and at the program behind it; everything is told once it answers",
                ) from err
            told += 1
        if not events and up_to - (told_up_to(registry) or 0) < AT_ONCE:
            return {"told": told}
        _told(registry, up_to=up_to)


def _told(registry: Registry, *, up_to: int) -> None:
    registry.write.add_event("lorefeed", "told", ABOUT, {"up_to": up_to})


def type_of(event: Event) -> str | None:
    return TYPES.get((event.action, event.object.split(" ", 1)[0]))


def _post(wanted: Notify, event: Event) -> None:
    assert wanted.url is not None
    body = json.dumps(message(event), ensure_ascii=False).encode()
    headers = {
        "content-type": "application/json",
        "webhook-id": f"event_{event.id}",
        "webhook-timestamp": str(int(datetime.now(UTC).timestamp())),
    }
    if wanted.secret is not None:
        headers["webhook-signature"] = signature(wanted.secret.get_secret_value(), headers, body)
    httpx2.post(wanted.url, content=body, headers=headers, timeout=TIMEOUT_S).raise_for_status()


def message(event: Event) -> dict[str, Any]:
    """One event as the receiver reads it: `type`, `timestamp`, and `data` with `event, actor, action, object` and the event's own facts."""
    facts = {"event": event.id, "actor": event.actor, "action": event.action, "object": event.object}
    return {"type": f"lorefeed.{type_of(event)}", "timestamp": event.at.isoformat(), "data": {**event.detail, **facts}}


def signature(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 over id, time and body, in base64. A secret `whsec_...` is base64 itself, as the specification writes them."""
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _why(err: Exception) -> str:
    if isinstance(err, httpx2.HTTPStatusError):
        return f"it answered {err.response.status_code}"
    return f"{type(err).__name__}: {err}" if str(err) else type(err).__name__
