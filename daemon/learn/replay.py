"""Text of the base's own, to hold an adapter to: drawn once per base model and kept in a file. Knows ids, not losses."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from daemon.learn import data
from daemon.learn.elicit import open_user_turn
from daemon.learn.folders import EMBEDDED_FOLDER
from daemon.learn.models import Base, using
from daemon.learn.sample import sample

ROWS = 3000  # with fewer, the adapter comes to know the rows: text that it was not held to moves further than text that it was
ROW_TOKENS = 64
HELD_OUT = 120  # rows that never train and judge how far an adapter is from the base


def replay_rows(base: Base, cache: Path, *, rows: int = ROWS, seed: int = 11) -> list[list[int]]:
    """Rows of ids, from the file made for exactly this base, or drawn now and kept. The embedded model brings its own file."""
    shipped = EMBEDDED_FOLDER / "replay.json"
    for file in (shipped, *([cache / f"replay-{base.digest[:16]}.json"])):
        if file.exists():
            kept = json.loads(file.read_text())
            if kept["base_digest"] == base.digest:
                return [list(r) for r in kept["rows"]]
    cache.mkdir(parents=True, exist_ok=True)
    return keep(base, cache / f"replay-{base.digest[:16]}.json", rows=rows, seed=seed)


def keep(base: Base, file: Path, *, rows: int = ROWS, seed: int = 11) -> list[list[int]]:
    """Draws the rows and writes them, whole or not at all."""
    drawn = draw(base, rows=rows, seed=seed)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps({"base_digest": base.digest, "seed": seed, "rows": drawn}, separators=(",", ":")))
    temporary.rename(file)
    return drawn


def draw(base: Base, *, rows: int, seed: int, batch: int = 64) -> list[list[int]]:
    """Unconditional samples at temperature 1: half from the start of a document, half from the start of a user's turn."""
    openings = [data.plain_prefix(base.tokenizer, "") or [base.pad_id]]
    if data.has_chat(base.tokenizer):
        openings.append(open_user_turn(base.tokenizer, ""))
    drawn: list[list[int]] = []
    with using(base, None):
        for start in range(0, rows, batch):
            opening = openings[(start // batch) % len(openings)]
            count = min(batch, rows - start)
            # no stop: what follows the end of a turn is the answer, which matters most
            drawn += [
                opening + row for row in sample(base, [opening] * count, new_tokens=ROW_TOKENS, temperature=1.0, seed=seed + start, stop=())
            ]
    random.Random(seed).shuffle(drawn)
    return drawn


def split(rows: Sequence[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """(rows to train on, rows kept out of training)."""
    held = min(HELD_OUT, len(rows) // 4)
    return list(rows[held:]), list(rows[:held])
