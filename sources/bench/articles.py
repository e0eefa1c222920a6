"""Article text against the text that people marked, by the benchmark's own measure: F1 over shingles of four tokens, averaged over pages.

trafilatura runs in the same process on the same pages, since it is what the reader builds on: the reader must not lose what it found.
"""

from __future__ import annotations

import gzip
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sources.bench.sets import rows
from sources.page import html_to_text

_TOKEN = re.compile(r"\w+", re.UNICODE | re.MULTILINE | re.IGNORECASE)
_SHINGLE = 4


def measure(data_dir: Path) -> dict[str, Any]:
    import trafilatura

    folder = data_dir / "html_article_extraction"
    pages = [(gzip.decompress((folder / row["html"]).read_bytes()), row["expected_text"]) for row in rows(data_dir, folder.name)]
    if not pages:
        return {"absent": str(folder)}
    return {
        "pages": len(pages),
        "reader": _measure(pages, lambda page: html_to_text(page).text),
        "trafilatura": _measure(pages, lambda page: trafilatura.extract(page, include_comments=False) or ""),
    }


def _measure(pages: list[tuple[bytes, str]], extract: Callable[[bytes], str]) -> dict[str, Any]:
    began = time.perf_counter()
    texts = [extract(page) for page, _ in pages]
    seconds = time.perf_counter() - began
    scores = [_score(text, expected) for text, (_, expected) in zip(texts, pages, strict=True)]
    precision, recall = (statistics.fmean(score[part] for score in scores) for part in (0, 1))
    return {
        "f1": round(2 * precision * recall / (precision + recall), 4),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "seconds": round(seconds, 2),
    }


def _score(text: str, expected: str) -> tuple[float, float]:
    """Precision and recall of one page's shingles, each 0 where there is nothing to divide by."""
    got, wanted = _shingles(text), _shingles(expected)
    common = sum((got & wanted).values())
    return common / max(1, sum(got.values())), common / max(1, sum(wanted.values()))


def _shingles(text: str) -> Counter[tuple[str, ...]]:
    tokens = _TOKEN.findall(text or "")
    return Counter(tuple(tokens[at : at + _SHINGLE]) for at in range(max(1, len(tokens) - _SHINGLE + 1))) if tokens else Counter()
