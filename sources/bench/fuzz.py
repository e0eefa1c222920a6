"""`python -m sources.bench.fuzz DIR SECONDS [SEED]`: real feeds and pages, broken at random, read until the time is up.

Anything but an answer or a SourceError is a finding, and so is a file that takes unreasonably long. Findings are written to ./fuzz-findings
to be kept as tests. A seed makes a run repeatable.
"""

from __future__ import annotations

import json
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from sources.bench.sets import FEED_SETS, rows
from sources.entry import news, settle
from sources.errors import SourceError
from sources.feed import parse_feed
from sources.formats import text_of
from sources.opml import read_opml
from sources.page import html_to_text
from sources.sitemap import read_sitemap

#: Allowed time of one input: far above what the largest real feed needs, far below what would hold a worker up.
_SLOW_S = 5.0
_TOKENS = (
    b"<", b">", b"&", b"]]>", b"<![CDATA[", b"<!--", b"-->", b"<!DOCTYPE x [", b"<!ENTITY a 'b'>", b"&a;", b"&#0;", b"&#xD800;", b"\x00",
    b"\xff\xfe", b"\xef\xbb\xbf", b"<?xml version='1.0' encoding='utf-16'?>", b"xml:base='http://[x'", b"<item>", b"</channel>", b"<entry>",
    b"<content type='xhtml'>", b"<div>" * 300, b"href='//'", b"<pubDate>99999-99-99</pubDate>", b"<guid>", b"\xf0\x9f", b"\\ud800", b"{", b"[[",
    b'"items":', b"null", b"1e999", b"<script>", b"<iframe ", b"<base href='http://[::1'>", b"charset=utf-7", b"%PDF-1.7", b"\r\n\r\n",
)  # fmt: skip


def _read_feed(data: bytes) -> None:
    feed = parse_feed(data, "fuzz", base_url="http://feeds.example/feed", content_type="application/xml")
    entries, _ = settle(feed.entries)
    fresh, seen = news(entries, {})
    json.dumps(seen)
    for entry in fresh:  # what a database and a terminal must be able to hold
        for text in (entry.text, entry.title or "", entry.external_id, entry.url or ""):
            text.encode("utf-8")
            assert "\x00" not in text


_READERS: tuple[Callable[[bytes], object], ...] = (
    _read_feed,
    html_to_text,
    lambda data: read_opml(data, "fuzz"),
    lambda data: read_sitemap(data, "fuzz", base_url="http://feeds.example/"),
    lambda data: text_of(b"%PDF-1.7\n" + data, kind=".pdf"),
    lambda data: text_of(data, kind=".eml"),
    lambda data: text_of(data, kind=".md"),
)


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """The bytes with a few random cuts, repeats, flips, splices from another file and awkward tokens."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at, until = sorted(chance.randint(0, len(found)) for _ in range(2))
        match chance.randrange(6):
            case 0:
                del found[at : min(until, at + 200)]
            case 1:
                found[at:at] = chance.choice(_TOKENS)
            case 2:
                found[at:at] = found[at : min(until, at + 500)] * chance.randint(1, 20)
            case 3:
                found[at : at + 1] = bytes([chance.randrange(256)])
            case 4:
                cut = chance.randint(0, len(other))
                found[at:at] = other[cut : cut + 300]
            case _:
                del found[at:]
    return bytes(found[:500_000])


def run(data_dir: Path, *, duration_s: float, seed: int, findings: Path) -> dict[str, object]:
    """Fuzzes for so long and tells what was found."""
    seeds = [row["data"] for name in FEED_SETS for row in rows(data_dir, name)]
    if not seeds:
        return {"absent": str(data_dir)}
    html_to_text("<html><body><p>Loads the extractor, so that no input pays for it.</p></body></html>")
    chance = random.Random(seed)
    until, tried, slowest = time.monotonic() + duration_s, 0, 0.0
    found: dict[str, str] = {}
    while time.monotonic() < until:
        data = mutated(chance.choice(seeds), chance.choice(seeds), chance)
        reader = chance.choice(_READERS[:1] * 6 + _READERS[1:])
        began = time.process_time()
        problem = _problem(reader, data)
        took = time.process_time() - began
        slowest, tried = max(slowest, took), tried + 1
        problem = problem or (f"took {took:.1f} s" if took > _SLOW_S else None)
        if problem is not None and problem not in found:
            findings.mkdir(parents=True, exist_ok=True)
            file = findings / f"{len(found)}.bin"
            file.write_bytes(data)
            found[problem] = str(file)
    return {"inputs": tried, "seed": seed, "seconds": duration_s, "slowest_s": round(slowest, 2), "findings": found}


def _problem(reader: Callable[[bytes], object], data: bytes) -> str | None:
    try:
        reader(data)
    except SourceError:
        return None
    except Exception as err:  # what is looked for
        where = traceback.extract_tb(err.__traceback__)[-1]
        return f"{type(err).__name__} at {Path(where.filename).name}:{where.lineno}: {str(err)[:100]}"
    return None


def main(arguments: list[str]) -> int:
    seed = int(arguments[2]) if len(arguments) > 2 else 1
    report = run(Path(arguments[0]), duration_s=float(arguments[1]), seed=seed, findings=Path("fuzz-findings"))
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 1 if report.get("findings") else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
