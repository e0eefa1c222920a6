"""When two documents say nearly the same: MinHash signatures of their texts, and the index of them. Writes only its own two tables.

A signature is a sample of the text's word pairs; the share in which two signatures agree estimates the share of pairs that the texts have
in common. The index finds by parts of signatures (bands), so that a text is compared with a few others and not with all. Only originals are
in it: a copy points at its original, and ten thousand copies of one story cost no more than one.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from registry.identity import normal_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Twenty bands of four find 99 of 100 texts of which every tenth word was changed, and one pair of strangers in a hundred thousand.
BANDS, ROWS = 20, 4
#: The share of word pairs in common from which texts are nearly the same.
THRESHOLD = 0.5
#: A shorter text has too few pairs to tell a copy from a chance.
WORDS_MIN = 32
_WORDS_MAX = 200_000  # a book is told by its beginning
_AT_ONCE = 4096  # pairs: their hashes stand beside each other in memory
_COMPARED = 20  # the candidates that share most bands
_WORD = re.compile(r"\w+")


def signature(text: str) -> bytes | None:
    """The text's signature, 320 bytes; None for one that is too short to be judged."""
    import numpy as np
    from datasketch import MinHash

    words = [found.group().encode() for found in islice(_WORD.finditer(normal_text(text).casefold()), _WORDS_MAX)]
    if len(words) < WORDS_MIN:
        return None
    made = MinHash(num_perm=BANDS * ROWS, hashfunc=zlib.crc32, scheme="affine32", permutations=_permutations())
    pairs = sorted({b" ".join(pair) for pair in pairwise(words)})
    for start in range(0, len(pairs), _AT_ONCE):
        made.update_batch(pairs[start : start + _AT_ONCE])
    return np.asarray(made.hashvalues, dtype="<u4").tobytes()


@cache
def _permutations() -> Any:
    """Made once: they are the same for every text, or signatures could not be compared."""
    from datasketch import MinHash

    return MinHash(num_perm=BANDS * ROWS, hashfunc=zlib.crc32, scheme="affine32", seed=1).permutations


def likeness(one: bytes, other: bytes) -> float:
    """The estimated share of word pairs that two texts have in common, from their signatures."""
    return float((_values(one) == _values(other)).mean())


def nearest(session: Session, document_id: int, mine: bytes, *, apart_from: Iterable[int] = ()) -> tuple[int, float] | None:
    """The indexed document that is most like this one, with how like; None where none is near. `apart_from` are its own earlier texts."""
    connection = session.connection()
    keys = list(_bands(mine))
    marks = ", ".join("?" * len(keys))
    found = connection.exec_driver_sql(
        f"SELECT document_id FROM near_band WHERE band IN ({marks}) GROUP BY document_id ORDER BY count(*) DESC, document_id LIMIT ?",  # noqa: S608
        (*keys, _COMPARED),
    )
    own = {document_id, *apart_from}
    best: tuple[int, float] | None = None
    for (other_id,) in found.all():
        if other_id in own:
            continue
        theirs = connection.exec_driver_sql("SELECT signature FROM near_signature WHERE document_id = ?", (other_id,)).scalar_one()
        alike = likeness(mine, theirs)
        if alike >= THRESHOLD and (best is None or alike > best[1]):
            best = (other_id, alike)
    return best


def index(session: Session, document_id: int, mine: bytes) -> None:
    """Lets the document be found. Twice is once."""
    connection = session.connection()
    connection.exec_driver_sql("INSERT OR REPLACE INTO near_signature (document_id, signature) VALUES (?, ?)", (document_id, mine))
    rows = [(key, document_id) for key in _bands(mine)]
    connection.exec_driver_sql("INSERT OR IGNORE INTO near_band (band, document_id) VALUES (?, ?)", rows)


def _values(packed: bytes) -> NDArray[Any]:
    import numpy as np

    return np.frombuffer(packed, dtype="<u4")


def _bands(packed: bytes) -> Iterator[int]:
    """A number for each part of the signature, of 64 bits so that chance meetings are rare; the part's place goes into it."""
    width = 4 * ROWS
    for place in range(BANDS):
        part = packed[place * width : (place + 1) * width]
        yield int.from_bytes(hashlib.blake2b(part, digest_size=8, salt=bytes([place])).digest(), "little", signed=True)
