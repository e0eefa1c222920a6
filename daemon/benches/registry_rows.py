"""A registry as years of work leave it, written straight into its tables: documents, definitions, versions, checks, releases, the audit chain.

Half of everything is one busy topic's, so that one line of versions is as long as all others together. Entities are defined anew again and
again, so that a version rehearses what is live and not all that ever was; of the folders only the newest stay, as garbage collection leaves them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from daemon.benches.registry_lines import BASE_DIGEST, BUSY, IN_DOCUMENT, OTHERS, Line, Version, is_learnable, lines_of, moment, topic_of
from daemon.benches.registry_past import check_results, checks, events, jobs, releases
from registry import Registry, entity_key, text_digest

FEEDS_MAX = 1000
REVISIONS = 20  # definitions of one entity before another takes its place

_ONE = "SELECT id, entity, document_id FROM definition WHERE topic = ? AND state = 'superseded' AND id > ? ORDER BY id LIMIT 1"

Say = Callable[[str], None]
Rows = Iterable[tuple[Any, ...]]
_SYLLABLES = "ba de fi go hu ka le mi no pu ra se ti vo wy za quo thar skel orm".split()  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Filled:
    """What there is now, for a bench to ask about."""

    documents: int
    definitions: int
    adapters: int
    feeds: int
    events: int
    links: int
    file_bytes: int
    newest: dict[str, str]  # topic to its live version
    one: int  # a definition that was learnt and superseded
    entity: str
    document: int

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Filled:
        return cls(**json.loads(file.read_text(encoding="utf-8")))


def fill(home: Path, *, definitions: int, adapters: int, say: Say = lambda _: None) -> Filled:
    """Makes the registry in an empty home."""
    topics = [BUSY, *(f"topic-{n:02}" for n in range(1, OTHERS + 1))]
    feeds = max(2 * len(topics), min(FEEDS_MAX, definitions // 1000))
    documents = -(-definitions // IN_DOCUMENT)
    with Registry.open(home) as registry:
        lines = lines_of(topics, definitions, adapters)
        _publish(registry, lines)
        with closing(sqlite3.connect(home / "registry.sqlite3")) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # nobody mourns a half-filled bench
            connection.execute("PRAGMA cache_size = -200000")
            insert = _Inserter(connection)
            insert("feed", _feeds(feeds, topics))
            insert("document", _documents(documents, feeds, topics))
            say(f"{documents} documents.")
            insert("definition", _definitions(definitions, topics, lines))
            insert("witness", ((d, d // IN_DOCUMENT, 0, 40) for d in range(IN_DOCUMENT, definitions, 20)))
            _learnt(insert, lines)
            say(f"{definitions} definitions.")
            versions = sorted((v for line in lines.values() for v in line.versions), key=lambda v: v.id)
            insert("adapter", _adapters(versions))
            insert("adapter_definition", _links(versions, lines))
            insert("check_run", checks(versions))
            insert("check_result", check_results(versions))
            insert("alias", _aliases(topics, lines))
            insert("release", releases(versions))
            insert("job", jobs())
            say(f"{len(versions)} versions.")
            insert("event", events(definitions, versions))
            counted = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("event", "adapter_definition")}  # noqa: S608
            one = connection.execute(_ONE, (BUSY, definitions // 2)).fetchone()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    newest = {line.topic: next(v.name for v in reversed(line.versions) if v.passed) for line in lines.values()}
    size = (home / "registry.sqlite3").stat().st_size
    return Filled(documents, definitions, len(versions), feeds, counted["event"], counted["adapter_definition"], size, newest, *one)


class _Inserter:
    """Rows into a table's columns in their order; those that a row leaves out at its end are NULL or have a default."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __call__(self, table: str, rows: Rows) -> None:
        columns = [name for _, name, *_ in self._connection.execute(f"PRAGMA table_info({table})")]
        source = iter(rows)
        first = next(source, None)
        if first is None:
            return
        named, marks = ", ".join(columns[: len(first)]), ", ".join("?" * len(first))
        with self._connection:
            statement = f"INSERT INTO {table} ({named}) VALUES ({marks})"  # noqa: S608 - names of our own
            self._connection.execute(statement, first)
            self._connection.executemany(statement, source)


def _publish(registry: Registry, lines: dict[str, Line]) -> None:
    """The folders that are still there are real ones."""
    for version in (v for line in lines.values() for v in line.versions if v.has_folder):
        folder = registry.artifacts.begin(version.name)
        (folder / "adapter_model.safetensors").write_bytes(version.digest.encode() * 64)
        (folder / "adapter_config.json").write_text("{}")
        version.digest = registry.artifacts.publish(folder, adapter_name=version.name, manifest={"base_digest": BASE_DIGEST})


def _feeds(count: int, topics: list[str]) -> Rows:
    cursor = json.dumps({"etag": '"5f0c"', "last_modified": "Mon, 02 Mar 2026 00:00:00 GMT"})
    for n in range(count):
        errors, error = (7, "the server answered 503") if n % 50 == 3 else (0, None)
        times = (moment(1), moment(1), "2999-01-01T00:00:00.000000+00:00", moment(0))
        topic = topics[0] if n % 2 == 0 else topics[1 + n // 2 % (len(topics) - 1)]
        yield n + 1, f"feed-{n:04}", f"https://f{n}.example/feed.xml", "feed", topic, "active", "auto", 900, cursor, errors, error, *times


def _feed_of(document: int, feeds: int, topics: list[str]) -> int:
    """One of the feeds that teach the document's topic."""
    half = feeds // 2
    if document % 2:
        return 1 + 2 * (document // 2 % half)
    others = len(topics) - 1
    rounds = max(1, half // others)
    return 2 + 2 * (document // 2 % others + others * (document // (2 * others) % rounds))


def _documents(count: int, feeds: int, topics: list[str]) -> Rows:
    fetch = json.dumps({"status": 200, "bytes": 5120, "final_url": "https://f.example/a"})
    for number in range(1, count + 1):
        text = " ".join(f"Sentence {n} of text {number} says what the council met about on that day." for n in range(IN_DOCUMENT))
        at = moment(number / count)
        state = "withdrawn" if number % 5000 == 0 else "extracted"
        yield (
            number, _feed_of(number, feeds, topics), f"id-{number}", f"https://f.example/{number}", f"Title of {number}", text,
            text_digest(text), at, at, fetch, None, state,
        )  # fmt: skip


def _definitions(count: int, topics: list[str], lines: dict[str, Line]) -> Iterator[tuple[Any, ...]]:
    seen = dict.fromkeys(topics, 0)
    live = {topic: line.live for topic, line in lines.items()}
    learnable = {topic: line.learnable for topic, line in lines.items()}
    for number in range(1, count + 1):
        document = 1 + (number - 1) // IN_DOCUMENT
        topic = topic_of(document, topics)
        place, line = seen[topic], lines[topic]
        seen[topic] += 1
        supersedes: int | None = None
        if is_learnable(place):
            turn = len(line.ids)
            entity, state = _entity(topic, turn, live[topic]), _learnt_state(turn, live[topic], learnable[topic])
            if turn >= live[topic] and turn // live[topic] % REVISIONS:
                supersedes = line.ids[turn - live[topic]]
            line.ids.append(number)
        else:
            entity, state = f"{_word(number * 7919)} {number}", _other_state(place, line.definitions)
        text = f"{entity} is a small lake in the north that {_word(number)} people named in {1000 + number % 1000}."
        reason = None if state in ("learned", "known", "found", "waiting") else "as years of work leave it"
        novelty = None if state == "found" else 0.01 + number % 300 / 100
        yield (
            number, entity, entity_key(entity), text, sha256(text.encode()).hexdigest(), topic, state, reason, novelty, BASE_DIGEST,
            document, 0, 40, 0.9, supersedes, "[]", moment(number / count),
        )  # fmt: skip


def _word(number: int) -> str:
    some = len(_SYLLABLES)
    return (_SYLLABLES[number % some] + _SYLLABLES[number // some % some] + _SYLLABLES[number // some**2 % some]).capitalize()


def _entity(topic: str, turn: int, live: int) -> str:
    generation, slot = turn // (REVISIONS * live), turn % live
    return f"{_word(generation * live + slot * 31)} {topic} {generation}-{slot}"


def _learnt_state(turn: int, live: int, learnable: int) -> str:
    if turn + live >= learnable:
        return "learned"
    return "superseded" if (turn // live + 1) % REVISIONS else "held"


def _other_state(place: int, of: int) -> str:
    """Most is known already; a few wait, at the end."""
    if place >= of - 5:
        return "waiting" if place % 2 else "found"
    hundred, rest = divmod(place, 100)
    if rest == 99:
        return "review" if hundred % 5 == 0 else "forgotten" if hundred % 50 == 1 else "known"
    return {95: "refused", 96: "rejected", 97: "rejected", 98: "held"}.get(rest, "known")


def _learnt(insert: _Inserter, lines: dict[str, Line]) -> None:
    """What learning asks of its definitions: two examples and a probe each."""
    ids = sorted(number for line in lines.values() for number in line.ids)
    asked = "What is it, in one word?"
    insert("transfer_example", ((2 * n + k + 1, d, "chat", asked, "a lake", "base") for n, d in enumerate(ids) for k in range(2)))
    insert("probe", ((n + 1, d, "direct", asked, "a lake", '["a lake", "a ship"]', 1, "elicited", 0) for n, d in enumerate(ids)))
    insert("definition_alias", ((BUSY, f"also {d}", d) for d in lines[BUSY].ids[::10]))


def _adapters(versions: list[Version]) -> Rows:
    settings = json.dumps(
        {"rank": 16, "alpha": 16, "learning_rate": 0.007, "temperature": 1.0, "batch": 20, "passes": 5.0, "steps_min": 60}
    )
    for v in versions:
        removed = None if v.has_folder else moment(min(1.0, v.at + 0.01))
        reason = None if v.passed else "skills fell by 9 points"
        yield (
            v.id, v.topic, v.number, v.state, v.parent, "context", "embedded", BASE_DIGEST, 16, v.digest, 0.81, reason, settings,
            moment(v.at), removed,
        )  # fmt: skip


def _links(versions: list[Version], lines: dict[str, Line]) -> Rows:
    for v in versions:
        ids = lines[v.topic].ids
        v.learnt_ids = [ids[place] for place in v.learnt]
        yield from ((v.id, d, "learnt") for d in v.learnt_ids)
        yield from ((v.id, ids[place], "rehearsed") for place in v.rehearsed)


def _aliases(topics: list[str], lines: dict[str, Line]) -> Rows:
    for topic in topics:
        live = next(v for v in reversed(lines[topic].versions) if v.passed)
        yield topic, json.dumps([topic]), "mention", live.id, moment(live.at)
    yield "all", json.dumps(topics[:3]), "mention", None, None
