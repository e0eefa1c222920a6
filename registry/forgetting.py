"""What is to be forgotten, and which versions carry it. Reads inside the caller's transaction; the writing is store_forget.py's."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from registry import lineage
from registry.errors import BadValue, NotThere
from registry.identity import entity_key
from registry.models import AdapterRow, AliasRow, DefinitionRow, DocumentRow, WitnessRow
from registry.records import Definition, Document, Version
from registry.rows import DEFINITION, DOCUMENT, batches, definition_records, document_records, document_row, feed_row, key, plain_rows
from registry.states import DefinitionState, DocumentState
from registry.versions import version_records

_Row = TypeVar("_Row")

VERSIONS_TOLD = 100
_TOPICS = "SELECT DISTINCT topic FROM adapter WHERE id IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What forgetting one thing comes to. `witnessed` stays, because a document that is not forgotten says the same."""

    documents: tuple[Document, ...]
    definitions: tuple[Definition, ...]
    witnessed: tuple[Definition, ...]
    carried_by: int  # how many versions learnt or rehearsed any of the definitions, or grew from one that did
    carriers: tuple[Version, ...]  # the newest of them
    topics: tuple[str, ...]  # whose own alias serves one of those versions


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of it."""

    documents: list[DocumentRow]
    definitions: list[DefinitionRow]
    witnessed: list[DefinitionRow]


def find(session: Session, *, document: int | None, feed: str | None, entity: str | None, to_change: bool = True) -> Found:
    """Raises BadValue unless exactly one thing is named, and NotThere if there is nothing of it. Unless they are `to_change`, the rows of many
    documents are plain ones, which are read several times as fast."""
    if sum(one is not None for one in (document, feed, entity)) != 1:
        raise BadValue("One thing is forgotten at a time", hint="Name it: --document ID, --feed N or --entity NAME")
    if entity is not None:
        named = select(DefinitionRow).where(DefinitionRow.entity_key == entity_key(entity))
        rows = list(session.exec(named.order_by(col(DefinitionRow.id))))
        if not rows:
            raise NotThere(f"There is no definition of {entity!r}", hint="List the definitions: lorefeed definitions list")
        return Found([], _still_known(rows), [])
    documents = [document_row(session, document)] if document is not None else _of_feed(session, str(feed), to_change=to_change)
    ids = {key(d.id) for d in documents}
    given = (
        select(DefinitionRow).where(col(DefinitionRow.document_id).in_(some)).order_by(col(DefinitionRow.id))
        for some in batches(sorted(ids))
    )
    found = [row for wanted in given for row in _rows(session, wanted, DEFINITION, to_change=to_change)]
    going: list[DefinitionRow] = []
    staying: list[DefinitionRow] = []
    witnessed = _witnessed(session, [key(row.id) for row in found], ids)
    for row in _still_known(found):
        (staying if row.id in witnessed else going).append(row)
    return Found([d for d in documents if d.state != DocumentState.WITHDRAWN], going, staying)


def _witnessed(session: Session, definition_ids: Iterable[int], forgotten: Collection[int]) -> set[int]:
    """Those of the definitions that `other_witness` has one for."""
    said = select(WitnessRow.definition_id, WitnessRow.document_id).join(DocumentRow).where(DocumentRow.state != DocumentState.WITHDRAWN)
    some_at_a_time = (session.exec(said.where(col(WitnessRow.definition_id).in_(some))) for some in batches(definition_ids))
    return {number for some in some_at_a_time for number, document in some if document not in forgotten}


def other_witness(session: Session, row: DefinitionRow, forgotten: Collection[int]) -> WitnessRow | None:
    """A document that says the same as the definition and is neither withdrawn nor among the forgotten."""
    said = select(WitnessRow).join(DocumentRow).where(WitnessRow.definition_id == row.id, DocumentRow.state != DocumentState.WITHDRAWN)
    return next((w for w in session.exec(said.order_by(col(WitnessRow.document_id))) if w.document_id not in forgotten), None)


def describe(session: Session, found: Found) -> Forgetting:
    carrying = lineage.grown_from(session, [key(row.id) for row in found.definitions])
    numbers = set(carrying)
    served = {alias.name for alias in session.exec(select(AliasRow)) if alias.adapter_id in numbers}
    topics = {topic for (topic,) in session.connection().exec_driver_sql(_TOPICS, (json.dumps(carrying),))}
    return Forgetting(
        documents=tuple(document_records(session, found.documents)),
        definitions=tuple(definition_records(session, found.definitions)),
        witnessed=tuple(definition_records(session, found.witnessed)),
        carried_by=len(carrying),
        carriers=tuple(version_records(session, carrying[:VERSIONS_TOLD])),
        topics=tuple(sorted(served & topics)),
    )


def carriers(session: Session, definition_ids: Iterable[int]) -> list[AdapterRow]:
    """The versions that had any of the definitions in training, newest first: those that name it, and all that grew from them."""
    some_at_a_time = batches(lineage.grown_from(session, definition_ids))
    found = [row for some in some_at_a_time for row in session.exec(select(AdapterRow).where(col(AdapterRow.id).in_(some)))]
    return sorted(found, key=lambda row: key(row.id), reverse=True)


def forgotten_in(session: Session, adapter: AdapterRow) -> DefinitionRow | None:
    """A forgotten definition that the adapter, or a version it grew from, had in training; None if there is none."""
    session.flush()  # the line is walked by statements of our own
    found = min(lineage.tainted(session, key(adapter.id)).values(), default=None)
    return None if found is None else session.get_one(DefinitionRow, found)


def clean_ancestor(session: Session, adapter: AdapterRow) -> AdapterRow | None:
    """The newest version that the adapter grew from and that never had anything forgotten in training, its folder still there."""
    tainted = lineage.tainted(session, key(adapter.id))
    line = lineage.line(session, key(adapter.id))
    oldest_tainted = max((place for place, number in enumerate(line) if number in tainted), default=0)
    clean = line[oldest_tainted + 1 :]  # never the adapter itself
    there = (col(AdapterRow.removed_at).is_(None), col(AdapterRow.digest).is_not(None))
    rows = [row for some in batches(clean) for row in session.exec(select(AdapterRow).where(col(AdapterRow.id).in_(some), *there))]
    return min(rows, key=lambda row: clean.index(key(row.id)), default=None)


def _of_feed(session: Session, name: str, *, to_change: bool) -> list[DocumentRow]:
    wanted = select(DocumentRow).where(DocumentRow.feed_id == feed_row(session, name).id).order_by(col(DocumentRow.id))
    return _rows(session, wanted, DOCUMENT, to_change=to_change)


def _rows(session: Session, wanted: SelectOfScalar[_Row], columns: Sequence[Any], *, to_change: bool) -> list[_Row]:
    return list(session.exec(wanted)) if to_change else plain_rows(session, wanted, columns)


def _still_known(rows: Iterable[DefinitionRow]) -> list[DefinitionRow]:
    return [row for row in rows if row.state != DefinitionState.FORGOTTEN]
