"""Every file of the feed sets once through the reader: none may crash it, hold it up or fill the memory."""

from __future__ import annotations

import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any

from sources.bench.sets import FEED_SETS, rows
from sources.entry import settle
from sources.errors import SourceError
from sources.feed import parse_feed
from sources.page import html_to_text


def measure(data_dir: Path) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    crashes: list[str] = []
    slowest = (0.0, "")
    size_bytes = said = 0
    html_to_text("<html><body><p>Loads the extractor, so that no file pays for it.</p></body></html>")
    before_kib = _peak_kib()
    began = time.perf_counter()
    for row in (row for name in FEED_SETS for row in rows(data_dir, name)):
        started = time.process_time()  # the machine may be busy with something else
        try:
            feed = parse_feed(row["data"], row["id"], base_url="http://feeds.example/feed")
            settle(feed.entries)
            outcomes["read, damage told" if feed.problems else "read"] += 1
            said += len(feed.problems)
        except SourceError as err:
            outcomes[f"refused: {err.reason[:60]}"] += 1
        except Exception as err:  # what is measured here is that none comes
            crashes.append(f"{row['id']}: {type(err).__name__}: {err}")
        slowest = max(slowest, (round(time.process_time() - started, 3), row["id"]))
        size_bytes += len(row["data"])
    return {
        "files": sum(outcomes.values()) + len(crashes),
        "crashes": crashes,
        "outcomes": dict(outcomes.most_common()),
        "slowest_cpu_s": slowest,
        "seconds": round(time.perf_counter() - began, 2),
        "size_bytes": size_bytes,
        "peak_memory_growth_bytes": (_peak_kib() - before_kib) * 1024,
    }


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
