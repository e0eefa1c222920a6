"""Every state a row can be in, a sentence each, and the one table of moves allowed between them. Knows no rows."""

from collections.abc import Mapping
from enum import StrEnum

from registry.errors import NotAllowed


class FeedState(StrEnum):
    ACTIVE = "active"
    "It is polled when it is due."
    PAUSED = "paused"
    "An operator stopped the polling; what came from it stays."
    RETIRED = "retired"
    "It was removed, or its server said that it is gone for good."


class DocumentState(StrEnum):
    NEW = "new"
    "It was fetched and nobody has read it yet."
    EXTRACTED = "extracted"
    "Its definitions were looked for, and any found are rows."
    WITHDRAWN = "withdrawn"
    "It is to be forgotten: nothing may be learnt from it again."


class DefinitionState(StrEnum):
    FOUND = "found"
    "It was extracted; whether it is news to the model is unknown."
    KNOWN = "known"
    "The model knew it already, so it is not learnt."
    WAITING = "waiting"
    "It is news, and the next learning takes it."
    REVIEW = "review"
    "An operator decides whether it may be learnt."
    HELD = "held"
    "It is set aside until somebody releases it."
    REJECTED = "rejected"
    "An operator does not want it learnt."
    LEARNED = "learned"
    "A served adapter carries it."
    REFUSED = "refused"
    "The check refused the adapter that carried it."
    SUPERSEDED = "superseded"
    "A newer definition of the same entity took its place."
    FORGOTTEN = "forgotten"
    "It is not to be known any more: no version that carries it may be served."


class AdapterState(StrEnum):
    LEARNING = "learning"
    "A worker is making it, or was when it died."
    CHECKING = "checking"
    "Its folder is published and waits for a verdict."
    REFUSED = "refused"
    "Its check failed, or its making was given up; it is kept with its numbers."
    PASSED = "passed"
    "Its check passed and no alias has served it yet."
    LIVE = "live"
    "At least one alias points at it."
    RETIRED = "retired"
    "A newer version took its place; it stays ready for a rollback."
    ROLLED_BACK = "rolled_back"
    "It was served and an operator took it back."


class JobState(StrEnum):
    QUEUED = "queued"
    "It waits for its time and for a worker."
    RUNNING = "running"
    "A worker holds its lease."
    DONE = "done"
    "It ended well and its result is on the row."
    FAILED = "failed"
    "It was given up; the last error is on the row."


_F = FeedState
_O = DocumentState
_D = DefinitionState
_A = AdapterState
_J = JobState

# By kind first: states of different kinds that read alike ("retired") are equal as strings, and would be one key.
ALLOWED: Mapping[type[StrEnum], Mapping[StrEnum, frozenset[StrEnum]]] = {
    FeedState: {
        _F.ACTIVE: frozenset({_F.PAUSED, _F.RETIRED}),
        _F.PAUSED: frozenset({_F.ACTIVE, _F.RETIRED}),
        _F.RETIRED: frozenset(),
    },
    DocumentState: {
        _O.NEW: frozenset({_O.EXTRACTED, _O.WITHDRAWN}),
        _O.EXTRACTED: frozenset({_O.WITHDRAWN}),
        _O.WITHDRAWN: frozenset(),
    },
    DefinitionState: {
        # found -> learned: an adapter may be made by hand from definitions whose novelty nobody measured.
        _D.FOUND: frozenset({_D.KNOWN, _D.WAITING, _D.REVIEW, _D.HELD, _D.REJECTED, _D.LEARNED, _D.REFUSED, _D.SUPERSEDED, _D.FORGOTTEN}),
        # known -> found: another base model may not know it, so its novelty is asked for again.
        _D.KNOWN: frozenset({_D.FOUND, _D.WAITING, _D.REVIEW, _D.HELD, _D.REJECTED, _D.SUPERSEDED, _D.FORGOTTEN}),
        _D.WAITING: frozenset({_D.FOUND, _D.KNOWN, _D.REVIEW, _D.HELD, _D.REJECTED, _D.LEARNED, _D.REFUSED, _D.SUPERSEDED, _D.FORGOTTEN}),
        _D.REVIEW: frozenset({_D.FOUND, _D.KNOWN, _D.WAITING, _D.HELD, _D.REJECTED, _D.SUPERSEDED, _D.FORGOTTEN}),
        # held -> learned: the adapter that was rolled back is promoted again.
        _D.HELD: frozenset({_D.FOUND, _D.WAITING, _D.REVIEW, _D.REJECTED, _D.LEARNED, _D.SUPERSEDED, _D.FORGOTTEN}),
        _D.REJECTED: frozenset({_D.WAITING, _D.REVIEW, _D.HELD, _D.FORGOTTEN}),
        # learned -> waiting: a topic is rebuilt, for another base model or without a forgotten document.
        _D.LEARNED: frozenset({_D.WAITING, _D.HELD, _D.REJECTED, _D.SUPERSEDED, _D.FORGOTTEN}),
        _D.REFUSED: frozenset({_D.WAITING, _D.REVIEW, _D.HELD, _D.REJECTED, _D.LEARNED, _D.SUPERSEDED, _D.FORGOTTEN}),
        # superseded -> learned: a rollback serves the older definition again.
        _D.SUPERSEDED: frozenset({_D.LEARNED, _D.WAITING, _D.HELD, _D.REJECTED, _D.FORGOTTEN}),
        _D.FORGOTTEN: frozenset(),
    },
    AdapterState: {
        _A.LEARNING: frozenset({_A.CHECKING, _A.REFUSED}),
        # checking and refused -> live: only a forced promotion, which needs a reason, or a later passing check.
        _A.CHECKING: frozenset({_A.PASSED, _A.REFUSED, _A.LIVE}),
        _A.REFUSED: frozenset({_A.LIVE}),
        _A.PASSED: frozenset({_A.LIVE}),
        _A.LIVE: frozenset({_A.RETIRED, _A.ROLLED_BACK}),
        _A.RETIRED: frozenset({_A.LIVE, _A.ROLLED_BACK}),
        _A.ROLLED_BACK: frozenset({_A.LIVE}),
    },
    JobState: {
        _J.QUEUED: frozenset({_J.RUNNING, _J.FAILED}),
        _J.RUNNING: frozenset({_J.QUEUED, _J.DONE, _J.FAILED}),
        _J.DONE: frozenset(),
        _J.FAILED: frozenset({_J.QUEUED}),
    },
}


def may_move(old: StrEnum, new: StrEnum) -> bool:
    return type(old) is type(new) and new in ALLOWED[type(old)][old]


def check_move(kind: str, old: StrEnum, new: StrEnum) -> None:
    """Raises NotAllowed unless a `kind` in state `old` may go to `new`. `kind` is the sentence's subject: "definition 12"."""
    if may_move(old, new):
        return
    allowed = ", ".join(sorted(ALLOWED[type(old)][old])) or "nothing, it has ended"
    raise NotAllowed(f"{kind} is {old.value} and cannot become {new.value}", hint=f"From {old.value} it can become: {allowed}")
