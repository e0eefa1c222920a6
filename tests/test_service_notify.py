"""The webhook: told from the audit log, in order, at least once, signed by the Standard Webhooks specification."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Settings, load_settings
from daemon.jobs import NOTIFY, enqueue_notify, retry_delay_s
from daemon.notify import NotTold, begin, signature, tell, to_tell
from daemon.runner import run_job
from daemon.sections import Notify
from registry import Registry
from tests.registry_parts import NOW, add_feed, define, learn, promote
from tests.service_parts import never


class Receiver:
    """A program behind a webhook. Fails as often as it is told to."""

    def __init__(self, url: str) -> None:
        self.url, self.failures, self.got = url, 0, list[tuple[dict[str, str], bytes]]()

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    @property
    def types(self) -> list[str]:
        return [str(m["type"]).removeprefix("lorefeed.") for m in self.messages]


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            failing = receiver.failures > 0
            receiver.failures -= failing
            if not failing:
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(503 if failing else 204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook")
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def release(registry: Registry) -> None:
    feed, name = registry.read.feeds()[0] if registry.read.feeds() else add_feed(registry), f"Mole {len(registry.read.adapters())}"
    made = define(registry, feed, name, f"{name} is a pier.")
    registry.write.set_alias("news", topics=["news"], scope="mention")
    promote(registry, learn(registry, definitions=[made.id]))


def settings(registry: Registry, url: str, **more: Any) -> Settings:
    return load_settings(registry.home, notify={"url": url, **more})


def test_what_happened_is_told_once_in_order_and_nothing_from_before(registry: Registry) -> None:
    release(registry)
    with receiving() as receiver:
        wanted = settings(registry, receiver.url)
        assert enqueue_notify(registry, wanted) is None
        release(registry)
        registry.write.rollback("news", to=1, actor="operator", reason="it is wrong")
        assert enqueue_notify(registry, wanted) is not None
        job = registry.write.claim("me", lease_s=60, kinds=[NOTIFY])
        assert job is not None
        run_job(registry, wanted, job, owner="me", stop=never())
        assert enqueue_notify(registry, wanted) is None
        tell(registry, wanted.notify)
    assert receiver.types == ["released", "rolled_back"]
    data = receiver.messages[1]["data"]
    assert (data["object"], data["from"], data["to"], data["reason"], data["actor"]) == (
        "alias news",
        "news@2",
        "news@1",
        "it is wrong",
        "operator",
    )
    assert registry.audit().whole


def test_what_does_not_arrive_is_told_again_and_what_arrived_is_not(registry: Registry) -> None:
    begin(registry)
    release(registry)
    with receiving() as receiver:
        wanted = Notify(url=receiver.url)
        tell(registry, wanted)
        registry.write.rollback("news", to=None, actor="operator", reason=None)
        release(registry)
        receiver.failures = 1
        with pytest.raises(NotTold, match="alias news was rolled back: it answered 503") as caught:
            tell(registry, wanted)
        assert [retry_delay_s(caught.value, attempt) for attempt in (1, 2, 99)] == [10.0, 20.0, 3600.0]
        assert tell(registry, wanted) == {"told": 2}
    assert receiver.types == ["released", "rolled_back", "released"]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 3


def test_nobody_there_is_said_with_what_to_look_at(registry: Registry) -> None:
    begin(registry)
    release(registry)
    with pytest.raises(NotTold) as caught:
        tell(registry, Notify(url="http://127.0.0.1:1/hook"))
    assert "notify.url" in caught.value.hint


def test_only_what_is_wanted_is_told(registry: Registry) -> None:
    begin(registry)
    release(registry)
    assert to_tell(registry, Notify(url="http://x", events=("refused",)))[0] == []
    assert [e.action for e in to_tell(registry, Notify(url="http://x"))[0]] == ["promoted"]


def test_a_feed_that_fails_three_times_is_told_and_that_it_came_back(registry: Registry) -> None:
    feed = add_feed(registry)
    begin(registry)
    for _ in range(5):
        registry.write.record_poll_failure(feed.id, error="no answer", next_check_at=NOW)
    registry.write.record_poll(feed.id, cursor={}, next_check_at=NOW, documents=[])
    registry.write.record_poll(feed.id, cursor={}, next_check_at=NOW, documents=[])
    with receiving() as receiver:
        tell(registry, Notify(url=receiver.url))
    assert receiver.types == ["feed_failing", "feed_recovered"]
    assert receiver.messages[0]["data"]["error"] == "no answer"


def test_thousands_of_events_that_nobody_wants_are_passed_over(registry: Registry) -> None:
    begin(registry)
    for number in range(220):
        registry.write.add_event("test", "noted", f"thing {number}")
    release(registry)
    with receiving() as receiver:
        tell(registry, Notify(url=receiver.url))
        told = len(registry.read.events(1000, about="notify"))
        tell(registry, Notify(url=receiver.url))
        assert len(registry.read.events(1000, about="notify")) == told
    assert receiver.types == ["released"]


def test_the_signature_is_the_specifications(registry: Registry) -> None:
    headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330"}
    # the example that the Standard Webhooks libraries test themselves with
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", headers, b'{"test": 2432232314}') == expected
    begin(registry)
    release(registry)
    with receiving() as receiver:
        tell(registry, Notify(url=receiver.url, secret="plain words"))  # type: ignore[arg-type]
    [(sent, body)] = receiver.got
    assert sent["webhook-signature"] == signature("plain words", sent, body)
