"""The plan of the bench's registry: its topics, their versions, and which definitions each version learnt and rehearsed. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

BUSY = "news"
OTHERS = 19
IN_DOCUMENT = 4  # definitions a document
WITH_FOLDER = 5  # versions of each topic
BASE_DIGEST = "5" * 64
BEGAN = datetime(2023, 1, 1, tzinfo=UTC)
LASTED = timedelta(days=3 * 365)


@dataclass(slots=True)
class Version:
    """One adapter. `place` among the topic's passed ones; a refused one learnt what the next then learns."""

    id: int
    topic: str
    number: int
    passed: bool
    place: int
    of_passed: int
    at: float  # share of the whole time that has gone by
    parent: int | None = None
    digest: str = ""
    learnt: range = range(0)
    rehearsed: range = range(0)
    learnt_ids: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.topic}@{self.number}"

    @property
    def state(self) -> str:
        if not self.passed:
            return "refused"
        return "live" if self.place == self.of_passed - 1 else "retired"

    @property
    def has_folder(self) -> bool:
        return self.passed and self.place >= self.of_passed - WITH_FOLDER


@dataclass(slots=True)
class Line:
    """One topic: how many definitions it has, how many of them were learnt, in how many versions, and how many are live at a time."""

    topic: str
    definitions: int
    versions: list[Version] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)  # of what was learnt, in the order of learning

    @property
    def passed(self) -> int:
        return sum(v.passed for v in self.versions)

    @property
    def learnable(self) -> int:
        return sum(is_learnable(k) for k in range(self.definitions % 100)) + self.definitions // 100 * 40

    @property
    def each(self) -> int:
        return max(1, -(-self.learnable // max(1, self.passed)))

    @property
    def live(self) -> int:
        return 5 * self.each


def is_learnable(place: int) -> bool:
    return place % 100 < 40


def moment(share: float) -> str:
    return (BEGAN + share * LASTED).isoformat(timespec="microseconds")


def topic_of(document: int, topics: list[str]) -> str:
    """Every second document is the busy topic's."""
    return topics[0] if document % 2 else topics[1 + document // 2 % (len(topics) - 1)]


def lines_of(topics: list[str], definitions: int, adapters: int) -> dict[str, Line]:
    lines = {topic: Line(topic, 0) for topic in topics}
    for document in range(1, -(-definitions // IN_DOCUMENT) + 1):
        lines[topic_of(document, topics)].definitions += min(IN_DOCUMENT, definitions - IN_DOCUMENT * (document - 1))
    rest = (adapters - adapters // 2) // (len(topics) - 1)
    for topic, line in lines.items():
        count = adapters - rest * (len(topics) - 1) if topic == BUSY else rest
        passed = [number % 50 != 0 or number == count for number in range(1, count + 1)]
        place = 0
        for number, is_passed in enumerate(passed, start=1):
            line.versions.append(Version(0, topic, number, is_passed, place, sum(passed), number / (count + 1)))
            place += is_passed
    ordered = sorted((v for line in lines.values() for v in line.versions), key=lambda v: (v.at, v.topic))
    for number, version in enumerate(ordered, start=1):
        version.id = number
        version.digest = sha256(version.name.encode()).hexdigest()
    for line in lines.values():
        before: int | None = None
        for version in line.versions:
            start = version.place * line.each
            version.parent = before
            version.learnt = range(start, min(start + line.each, line.learnable))
            version.rehearsed = range(max(0, start - line.live + line.each), min(start, line.learnable))
            before = version.id if version.passed else before
    return lines
