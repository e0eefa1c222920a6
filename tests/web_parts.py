"""What the dashboard's tests share: a gateway over real HTTP on a registry with one of everything, and a visitor who keeps cookies."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2

from daemon.serving.gateway import create_gateway
from daemon.serving.keys import digest_of
from daemon.serving.settings import GatewaySettings
from registry import CheckResult, Definition, NewCheckRun, NewDefinition, NewDocument, Registry
from tests.registry_parts import NOW, add_feed, begin, publish
from tests.serving_parts import free_port, serving

ADMIN_KEY, USER_KEY = "admins-key", "users-key"
SENTENCE = "The Oslith is a blue <lamp> that burns under water."
TEXT = f"On Tuesday the council met. {SENTENCE} It was built last year."


def fill(registry: Registry, *, keys: bool = True) -> dict[str, Definition]:
    """Two versions of news, the second live, a third refused; something to review, held, failing, running and failed."""
    feed, other = add_feed(registry, "harbour"), add_feed(registry, "rumours", topic="security")
    found: dict[str, Definition] = {}
    for name, source, state in (
        ("Oslith", feed, "waiting"),
        ("Velmora", feed, "waiting"),
        ("Marrow", feed, "waiting"),
        ("Quorra", other, "review"),
        ("Tarn", other, "held"),
    ):
        text = TEXT.replace("Oslith", name)
        [document] = registry.write.record_poll(
            source.id,
            cursor={},
            next_check_at=NOW,
            documents=[NewDocument(name, text, NOW, url=f"https://example.org/{name}", title="<b>News</b>")],
        )
        sentence = SENTENCE.replace("Oslith", name)
        start = text.index(sentence)
        [one] = registry.write.record_definitions(document.id, [NewDefinition(name, sentence, (start, start + len(sentence)), 0.9)])
        found[name] = registry.write.set_novelty(
            one.id, 1.5, "base-digest", state, "contradicts another source" if state == "review" else None
        )
    for number, (name, verdict) in enumerate((("Oslith", "passed"), ("Velmora", "passed"), ("Marrow", "refused")), start=1):
        begun = begin(registry, parent=None if number == 1 else f"news@{min(number - 1, 2)}", definitions=[found[name].id])
        adapter = registry.write.finish_learning(begun.name, digest=publish(registry, begun))
        metrics = {"learned": {"value": 0.5 + number / 10, "threshold": 0.4, "n": 8}, "kept": {"value": 0.95}, "skills": {"value": 1.0}}
        reasons = () if verdict == "passed" else ("skills fell by 9 points",)
        results = [CheckResult(found[name].id, None, "direct", f"What is {name}?", "a lamp", "a ship", "a lamp", verdict == "passed")]
        run = NewCheckRun(str(adapter.digest), "base-digest", verdict, reasons=reasons, metrics=metrics)  # type: ignore[arg-type]
        registry.write.record_check(adapter.name, run, results)
        if verdict == "passed":
            registry.write.promote("news", adapter.name, actor="lorefeed", reason=None)
    registry.write.record_poll_failure(other.id, error="the server answered <503>", next_check_at=NOW)
    registry.write.enqueue("learn", key="learn:security", payload={"topic": "security"})
    job = registry.write.claim("worker", lease_s=3600)
    assert job is not None
    registry.write.progress(job.id, 0.42, "distilling")
    registry.write.enqueue("poll", key="poll:gone", payload={})
    gone = registry.write.claim("worker", lease_s=3600)
    assert gone is not None
    registry.write.fail(gone.id, "worker", "it broke", retry_at=None)
    if keys:
        registry.write.add_api_key("alice", digest=digest_of(ADMIN_KEY), admin=True, actor="test")
        registry.write.add_api_key("bob", digest=digest_of(USER_KEY), admin=False, actor="test")
    return found


@contextlib.contextmanager
def gateway(registry: Registry, *, engine_url: str = "http://127.0.0.1:1", base_name: str = "tiny") -> Iterator[str]:
    app = create_gateway(registry, engine_url=engine_url, base_name=base_name, settings=GatewaySettings(port=free_port()))
    with serving(app) as url:
        yield url


@dataclass
class Visitor:
    """A browser without a window: keeps cookies, follows nothing by itself, knows the token of the page it last saw."""

    client: httpx2.Client
    token: str = ""

    def get(self, path: str) -> httpx2.Response:
        answer = self.client.get(path)
        found = re.search(r'name="token" value="([^"]+)"', answer.text)
        self.token = found[1] if found else self.token
        return answer

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> httpx2.Response:
        return self.client.post(path, data={"token": self.token, **fields}, headers=headers or {})

    def sign_in(self, key: str) -> httpx2.Response:
        self.get("/ui/sign-in")
        answer = self.post("/ui/sign-in", key=key, to="/ui/")
        if answer.status_code == 303:
            self.get("/ui/playground")
        return answer


@contextlib.contextmanager
def visitor(url: str, key: str | None = None) -> Iterator[Visitor]:
    with httpx2.Client(base_url=url, trust_env=False, timeout=30) as client:
        one = Visitor(client)
        if key is not None:
            assert one.sign_in(key).status_code == 303
        yield one
