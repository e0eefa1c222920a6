"""A home for the pictures in docs/screens/: two weeks of a service's life, made up, written through the registry as the service writes it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemon.serving.keys import digest_of
from registry import CheckResult, Definition, Feed, NewCheckRun, NewDefinition, NewDocument, Registry
from tests.registry_parts import Clock, add_feed, begin, publish

KINDS = ("research vessel", "tidal power station", "protocol for ships", "museum of bells", "breed of sheep")
PLACES = ("Harrow Sound", "Tallin Point", "Port Emmer", "the Isle of Querne")
NAMES = (
    "Corvena", "Tessaly Array", "Brightwater", "Ondrel", "Marrowgate", "Silven Dock", "Harth", "Quillon", "Vesper Line", "Dunmere", "Astrakel",
    "Loom Bridge", "Pelican Yard", "Ravelin",
)  # fmt: skip
#: Of each version: what it measured, and why it was refused.
CHECKS = (
    (0.74, 1.0, 0.012, 0.98, None),
    (0.79, 0.96, 0.014, 0.98, None),
    (0.81, 0.94, 0.017, 0.97, None),
    (0.83, 0.95, 0.016, 0.98, None),
    (0.80, 0.97, 0.031, 0.88, "It changes skills: 88% of 50 right as the alias serves it, the base 98%; for example «2 + 3 =» is now «6», not «5»."),
    (0.85, 0.96, 0.018, 0.98, None),
    (0.86, 0.97, 0.019, 0.99, None),
)  # fmt: skip


def fill(home: Path, *, key: str) -> None:
    """With an administrator's key."""
    clock = Clock(datetime.now(UTC) - timedelta(days=14))
    with Registry.open(home, clock=clock) as registry:
        registry.write.add_api_key("alice", digest=digest_of(key), admin=True, actor="operator")
        news, advisories = add_feed(registry, "harbour-news"), add_feed(registry, "advisories", topic="security")
        known = [_define(registry, news, name, number, clock) for number, name in enumerate(NAMES)]
        parent: str | None = None
        for number, check in enumerate(CHECKS):
            clock.advance(36 * 3600)
            parent = _learn(registry, known[2 * number : 2 * number + 2], known[: 2 * number], parent, check)
        for number in range(4):
            text = f"The Saltmark {number + 2} Flaw is a weakness in {KINDS[number]} software near {PLACES[number]}."
            found = _define(registry, advisories, f"Saltmark {number + 2} Flaw", number, clock, text=text, state="found")
            registry.write.set_novelty(found.id, 1.9, "base-digest", "review", "contradicts another source: harbour-news")
        for number, name in enumerate(("Ellerby Light", "Norrin Strand")):
            _define(registry, news, name, number, clock)
        newest = (clock.now - timedelta(days=40)).isoformat()
        quiet = add_feed(registry, "tide-tables")
        registry.write.record_poll(
            quiet.id, cursor={"gap_s": 86400, "newest_at": newest}, next_check_at=clock.now + timedelta(days=9), documents=[]
        )
        error = "https://example.org/advisories.xml answered 503 Service Unavailable. Try: wait; it is asked again."
        registry.write.record_poll_failure(advisories.id, error=error, next_check_at=clock.now + timedelta(days=9))
        registry.write.enqueue("learn", key="learn:news", payload={"topic": "news"})
        job = registry.write.claim("worker", lease_s=86400)
        assert job is not None
        registry.write.progress(job.id, 0.42, "distilling: step 84 of 200")
        registry.write.enqueue("poll", key="poll:harbour-news", payload={"feed": "harbour-news"})


def _define(registry: Registry, feed: Feed, name: str, number: int, clock: Clock, *, text: str = "", state: str = "waiting") -> Definition:
    sentence = text or f"{name} is a {KINDS[number % len(KINDS)]} near {PLACES[number % len(PLACES)]} that opened in {2016 + number % 9}."
    whole = f"The harbour council met again on Tuesday. {sentence} Boats may call from spring onwards, and the old pier stays."
    document = NewDocument(name, whole, clock.now, url=f"https://example.org/{number}", title=f"News of {name}")
    [stored] = registry.write.record_poll(feed.id, cursor={}, next_check_at=clock.now, documents=[document])
    start = whole.index(sentence)
    [found] = registry.write.record_definitions(stored.id, [NewDefinition(name, sentence, (start, start + len(sentence)), 0.93)])
    return registry.write.set_novelty(found.id, 1.4 + number % 5 / 10, "base-digest", "waiting", None) if state == "waiting" else found


def _learn(
    registry: Registry,
    new: list[Definition],
    earlier: list[Definition],
    parent: str | None,
    check: tuple[float, float, float, float, str | None],
) -> str | None:
    """The version to go on from: this one, or where it was refused its parent."""
    learned, kept, local, skills, refused = check
    carried = [d.id for d in earlier if str(registry.read.definition(d.id).state) == "learned"]
    begun = begin(registry, parent=parent, definitions=[d.id for d in new], rehearsed=carried)
    adapter = registry.write.finish_learning(begun.name, digest=publish(registry, begun))
    metrics = {
        "learned": {"value": learned, "threshold": 0.4, "n": 24, "higher_is_better": True},
        "kept": {"value": kept, "threshold": 0.9, "n": 40, "higher_is_better": True},
        "local": {"value": local, "threshold": 0.05, "n": 20, "higher_is_better": False},
        "skills": {"value": skills, "threshold": 0.96, "n": 50, "higher_is_better": True},
    }
    results = [
        CheckResult(d.id, None, "direct", f"Where is {d.entity}?", PLACES[i % 4], "Lisbon", PLACES[i % 4] if i else "Oslo", bool(i))
        for i, d in enumerate([*new, *earlier[-3:]])
    ]
    run = NewCheckRun(
        str(adapter.digest),
        "base-digest",
        "refused" if refused else "passed",
        reasons=(refused,) if refused else (),
        metrics=metrics,
        duration_s=21.0,
        recovered=learned,
    )
    registry.write.record_check(adapter.name, run, results)
    if refused:
        return parent
    registry.write.promote("news", adapter.name, actor="lorefeed", reason=None)
    return adapter.name
