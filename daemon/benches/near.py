"""How well copies of documents are told, and what that costs with a million of them.

`accuracy` indexes made-up documents and asks about copies at three levels of editing, about strangers, and about documents that quote
another at length. `cost` measures what one more document costs at each size; the documents between are filled in with random signatures,
which is what those of strangers are.
"""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from registry import near
from registry.db import Database

LEVELS = (0.01, 0.05, 0.10)
_WORDS = 150
_VOCABULARY = 20_000
_PART = 50_000  # documents filled in at a time
_NOW = "2026-01-01T00:00:00.000000+00:00"
Json = dict[str, Any]
Say = Callable[[str], None]


class Texts:
    """Made-up prose whose words are as unevenly common as a language's, and edits of it."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._words = [f"w{number:x}" for number in range(_VOCABULARY)]
        total, self._cumulated = 0.0, []
        for rank in range(1, _VOCABULARY + 1):
            total += 1.0 / rank
            self._cumulated.append(total)

    def made(self, count: int = _WORDS) -> str:
        return " ".join(self._chance.choices(self._words, cum_weights=self._cumulated, k=count))

    def edited(self, text: str, share: float) -> str:
        """The text with this share of its words replaced, left out or added to."""
        words = text.split()
        for at in sorted(self._chance.sample(range(len(words)), max(1, round(share * len(words)))), reverse=True):
            how = self._chance.randrange(3)
            words[at : at + (how < 2)] = [] if how == 1 else [self.made(1)]
        return " ".join(words)

    def quoting(self, text: str) -> str:
        """Three tenths of the text in a document of its own."""
        words = text.split()
        return f"{self.made(_WORDS // 2)} {' '.join(words[: 3 * len(words) // 10])} {self.made(_WORDS // 2)}"


def accuracy(pairs: int, *, seed: int = 7) -> Json:
    """Precision and recall by level of editing: a copy counts as told when it is told to be a copy of its own original."""
    texts = Texts(seed)
    originals = [texts.made() for _ in range(pairs)]
    with _database() as database:
        _add_documents(database, pairs)
        with database.writing() as session:
            for number, text in enumerate(originals, start=1):
                near.index(session, number, _signature(text))
        with database.reading() as session:

            def told(text: str) -> int | None:
                found = near.nearest(session, 0, _signature(text))
                return None if found is None else found[0]

            wrong = sum(told(texts.made()) is not None for _ in range(pairs)) + sum(
                told(texts.quoting(one)) is not None for one in originals
            )
            levels = {}
            for level in LEVELS:
                answers = [told(texts.edited(text, level)) for text in originals]
                right = sum(answer == number for number, answer in enumerate(answers, start=1))
                mistaken = sum(answer not in (None, number) for number, answer in enumerate(answers, start=1))
                levels[f"{level:.0%}"] = {
                    "recall": round(right / pairs, 4),
                    "precision": round(right / max(1, right + mistaken + wrong), 4),
                }
    return {"pairs": pairs, "strangers_and_quotes": 2 * pairs, "told_wrongly": wrong, "edited": levels}


def cost(sizes: list[int], *, sample: int = 1000, seed: int = 7, say: Say = lambda _: None) -> Json:
    """What one more document costs at each size: its signature, the look for an original, its place in the index, and the commit."""
    texts = Texts(seed)
    values = np.random.default_rng(seed)
    at_sizes: dict[str, Json] = {}
    there = 0
    with _database() as database:
        for size in sorted(sizes):
            while there < size:
                part = min(_PART, size - there)
                _fill(database, there, part, values)
                there += part
                say(f"{there} documents.")
            there = _measure(database, there, sample, texts, at_sizes)
        file_bytes = database.path.stat().st_size
    first, last = (at_sizes[str(size)]["ms_a_document"] for size in (min(sizes), max(sizes)))
    return {"sizes": at_sizes, "ratio": round(last / first, 3), "file_bytes": file_bytes}


def _measure(database: Database, there: int, sample: int, texts: Texts, at_sizes: dict[str, Json]) -> int:
    made = [texts.made() for _ in range(sample)]
    _add_documents(database, sample, after=there)
    signing = looking = 0.0
    for number, text in enumerate(made, start=there + 1):
        began = time.perf_counter()
        mine = _signature(text)
        signed = time.perf_counter()
        with database.writing() as session:
            if near.nearest(session, number, mine) is None:
                near.index(session, number, mine)
        signing, looking = signing + signed - began, looking + time.perf_counter() - signed
    at_sizes[str(there)] = {
        "ms_a_document": round(1000 * (signing + looking) / sample, 3),
        "ms_signature": round(1000 * signing / sample, 3),
        "ms_index": round(1000 * looking / sample, 3),
        "resident_bytes": _resident_bytes(),
    }
    return there + sample


@contextmanager
def _database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="lorefeed-bench-") as folder:
        database = Database(Path(folder))
        with closing(sqlite3.connect(database.path)) as connection, connection:
            connection.execute(
                "INSERT INTO feed (id, name, location, kind, topic, state, trust, interval_s, cursor, error_count, next_check_at, created_at)"
                " VALUES (1, 'bench', 'x', 'feed', 'news', 'active', 'auto', 60, '{}', 0, ?, ?)",
                (_NOW, _NOW),
            )
        try:
            yield database
        finally:
            database.close()


def _add_documents(database: Database, count: int, *, after: int = 0) -> None:
    rows = [(number, str(number), str(number), _NOW) for number in range(after + 1, after + count + 1)]
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.executemany(
            "INSERT INTO document (id, feed_id, external_id, text, digest, fetched_at, fetch, state) VALUES (?, 1, ?, '', ?, ?, '{}', 'extracted')",
            rows,
        )


def _fill(database: Database, after: int, count: int, values: np.random.Generator) -> None:
    """Strangers by the thousand, straight into the tables."""
    _add_documents(database, count, after=after)
    signatures = values.integers(0, 2**32, size=(count, near.BANDS * near.ROWS), dtype=np.uint32)
    bands = values.integers(-(2**63), 2**63 - 1, size=(count, near.BANDS), dtype=np.int64)
    numbers = np.repeat(np.arange(after + 1, after + count + 1), near.BANDS)
    flat = bands.reshape(-1)
    order = np.argsort(flat)
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.executemany(
            "INSERT INTO near_signature (document_id, signature) VALUES (?, ?)",
            [(after + 1 + row, packed.tobytes()) for row, packed in enumerate(signatures)],
        )
        pairs = zip(flat[order].tolist(), numbers[order].tolist(), strict=True)
        connection.executemany("INSERT INTO near_band (band, document_id) VALUES (?, ?)", pairs)


def _signature(text: str) -> bytes:
    made = near.signature(text)
    assert made is not None
    return made


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
