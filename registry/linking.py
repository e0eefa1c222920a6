"""Where a new definition belongs among those of its name: a witness of one, in place of one, against one, or a thing of its own.

Decides and writes nothing. Whether two texts mean the same is told by the caller's `compare`; the registry knows rows, not language.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlmodel import Session, col, select

from registry.identity import entity_key, text_digest
from registry.models import DefinitionAliasRow, DefinitionRow, DocumentRow, FeedRow
from registry.records import NewDefinition
from registry.rows import key
from registry.states import DefinitionState

#: Definitions that a new text about the same entity replaces: those that are, or may still come to be, learnt.
STANDING = (
    DefinitionState.FOUND,
    DefinitionState.KNOWN,
    DefinitionState.WAITING,
    DefinitionState.REVIEW,
    DefinitionState.HELD,
    DefinitionState.LEARNED,
)


class Likeness(Protocol):
    """How two definitions under one name stand to each other, with the reason as a sentence. `close`: most of what they say is one."""

    @property
    def kind(self) -> Literal["same", "changed", "contradicts", "other"]: ...

    @property
    def reason(self) -> str: ...

    @property
    def close(self) -> bool: ...


class Compare(Protocol):
    """Compares the older text with the newer one; both define what is called `name`."""

    def __call__(self, older: str, newer: str, /, *, name: str) -> Likeness: ...


@dataclass(frozen=True, slots=True)
class Verbatim:
    """The likeness of texts that nobody can read."""

    kind: Literal["same", "changed", "contradicts", "other"]
    reason: str
    close: bool


def verbatim(older: str, newer: str, /, *, name: str) -> Likeness:
    """The same only where the words are."""
    same = text_digest(older) == text_digest(newer)
    return (
        Verbatim("same", "The words are the same.", close=True)
        if same
        else Verbatim("changed", f"{name} is defined in other words.", close=False)
    )


@dataclass(frozen=True, slots=True)
class Place:
    """One definition's place. `reason` explains it: to whoever reads the record, and where `review` is set to the operator who decides."""

    witness_of: DefinitionRow | None = None
    supersedes: DefinitionRow | None = None
    against: DefinitionRow | None = None
    review: bool = False
    reason: str | None = None


def find_place(
    session: Session, one: NewDefinition, document: DocumentRow, feed: FeedRow, *, compare: Compare, lineage: Collection[int]
) -> Place:
    """`lineage` are the earlier texts of the document. The order of the rules is their meaning: sameness before all, then the own source."""
    digest = text_digest(one.text)
    # A text that comes back after another took its place is news again, so a superseded row takes no witnesses.
    named = [row for row in _by_name(session, one, feed.topic) if row.state != DefinitionState.SUPERSEDED]
    verbatim_row = next((row for row in named if row.text_digest == digest and row.entity_key == entity_key(one.entity)), None)
    if verbatim_row is not None:
        return Place(witness_of=verbatim_row)
    judged = [(row, compare(row.text, one.text, name=f"{row.entity} {one.entity}")) for row in named]
    for row, likeness in judged:
        if likeness.kind == "same":
            return Place(witness_of=row, reason=likeness.reason)
    standing = [(row, likeness) for row, likeness in judged if row.state in STANDING and _is_meant(row, one, likeness)]
    if not standing:
        return Place()
    # Of several things of one name it is the one that it has something in common with; the own source's before others', the newest first.
    sources = {key(row.id): session.get_one(DocumentRow, row.document_id) for row, _ in standing}
    older, likeness = min(standing, key=lambda pair: (pair[1].kind == "other", sources[key(pair[0].id)].feed_id != document.feed_id))
    told_by = sources[key(older.id)]
    if told_by.feed_id == document.feed_id:
        same_entry = older.document_id in lineage or (document.url is not None and document.url == told_by.url)
        if likeness.kind == "other" and not same_entry:
            return Place(reason=f"Another thing than definition {older.id} of the same name: they share no word of substance.")
        return _in_place_of(session, older, likeness)
    both = f"{_dated(feed, document)} and {_dated(session.get_one(FeedRow, told_by.feed_id), told_by)} disagree, which says: {older.text}"
    if likeness.kind == "contradicts":
        return Place(supersedes=older, against=older, review=True, reason=f"{likeness.reason} {both}")
    if likeness.kind == "other":
        return Place(against=older, review=True, reason=f"This may be another thing of the same name, or wrong. {both}")
    return Place(supersedes=older, against=older, reason=likeness.reason)


def _in_place_of(session: Session, older: DefinitionRow, likeness: Likeness) -> Place:
    """The same source says otherwise now. What it said against another source does not get past the operator by being reworded."""
    settled = older.state in (DefinitionState.WAITING, DefinitionState.LEARNED)
    if older.state != DefinitionState.REVIEW and (older.against is None or settled):
        return Place(supersedes=older, reason=likeness.reason)
    against = None if older.against is None else session.get_one(DefinitionRow, older.against)
    said = f" Another source says: {against.text}" if against is not None else ""
    reason = f"It is to take the place of definition {older.id}, which nobody has approved. {likeness.reason}{said}"
    return Place(supersedes=older, against=against, review=True, reason=reason)


def lineage_of(session: Session, document: DocumentRow) -> frozenset[int]:
    """The earlier texts of the document, without itself."""
    if document.revises is None:
        return frozenset()
    chain = session.connection().exec_driver_sql(
        "WITH RECURSIVE chain (id) AS (SELECT ? UNION SELECT revises FROM document JOIN chain USING (id) WHERE revises IS NOT NULL)"
        " SELECT id FROM chain",
        (document.revises,),
    )
    return frozenset(found for (found,) in chain)


def _by_name(session: Session, one: NewDefinition, topic: str) -> Sequence[DefinitionRow]:
    """What has the same name, newest first; then what has one of its names as another name, or the other way round."""
    own = entity_key(one.entity)
    in_topic = select(DefinitionRow).where(DefinitionRow.topic == topic).order_by(col(DefinitionRow.id).desc())
    rows = list(session.exec(in_topic.where(DefinitionRow.entity_key == own)))
    others = {entity_key(alias) for alias in one.aliases} - {own}
    wanted = select(DefinitionAliasRow.definition_id).where(
        DefinitionAliasRow.topic == topic, col(DefinitionAliasRow.alias_key).in_([own, *others])
    )
    linked = in_topic.where(col(DefinitionRow.id).in_(wanted) | col(DefinitionRow.entity_key).in_(others))
    there = {key(row.id) for row in rows}
    return [*rows, *(row for row in session.exec(linked) if key(row.id) not in there)]


def _is_meant(row: DefinitionRow, one: NewDefinition, likeness: Likeness) -> bool:
    """A shared abbreviation alone links nothing: two things are often called by one."""
    return row.entity_key == entity_key(one.entity) or likeness.close


def _dated(feed: FeedRow, document: DocumentRow) -> str:
    at = document.published_at or document.fetched_at
    return f"{feed.name} ({at:%Y-%m-%d})"
