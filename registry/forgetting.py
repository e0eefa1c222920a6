"""What is to be forgotten, and which versions carry it. Reads inside the caller's transaction; the writing is store_forget.py's."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from registry.errors import BadValue, NotThere
from registry.identity import entity_key
from registry.models import AdapterDefinitionRow, AdapterRow, AliasRow, DefinitionRow, DocumentRow, WitnessRow
from registry.records import Adapter, Definition, Document
from registry.rows import adapter_records, batches, definition_records, document_records, document_row, feed_row, key
from registry.states import DefinitionState, DocumentState


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What forgetting one thing comes to. `witnessed` stays, because a document that is not forgotten says the same."""

    documents: tuple[Document, ...]
    definitions: tuple[Definition, ...]
    witnessed: tuple[Definition, ...]
    carriers: tuple[Adapter, ...]  # the versions that learnt or rehearsed any of the definitions, or grew from one that did; newest first
    topics: tuple[str, ...]  # whose own alias serves one of those versions


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of it."""

    documents: list[DocumentRow]
    definitions: list[DefinitionRow]
    witnessed: list[DefinitionRow]


def find(session: Session, *, document: int | None, feed: str | None, entity: str | None) -> Found:
    """Raises BadValue unless exactly one thing is named, and NotThere if there is nothing of it."""
    if sum(one is not None for one in (document, feed, entity)) != 1:
        raise BadValue("One thing is forgotten at a time", hint="Name it: --document ID, --feed N or --entity NAME")
    if entity is not None:
        named = select(DefinitionRow).where(DefinitionRow.entity_key == entity_key(entity))
        rows = list(session.exec(named.order_by(col(DefinitionRow.id))))
        if not rows:
            raise NotThere(f"There is no definition of {entity!r}", hint="List the definitions: lorefeed definitions list")
        return Found([], _still_known(rows), [])
    documents = [document_row(session, document)] if document is not None else _of_feed(session, str(feed))
    ids = {key(d.id) for d in documents}
    found = [
        row
        for some in batches(sorted(ids))
        for row in session.exec(select(DefinitionRow).where(col(DefinitionRow.document_id).in_(some)).order_by(col(DefinitionRow.id)))
    ]
    going: list[DefinitionRow] = []
    staying: list[DefinitionRow] = []
    for row in _still_known(found):
        (staying if other_witness(session, row, ids) is not None else going).append(row)
    return Found([d for d in documents if d.state != DocumentState.WITHDRAWN], going, staying)


def other_witness(session: Session, row: DefinitionRow, forgotten: Collection[int]) -> WitnessRow | None:
    """A document that says the same as the definition and is neither withdrawn nor among the forgotten."""
    said = select(WitnessRow).join(DocumentRow).where(WitnessRow.definition_id == row.id, DocumentRow.state != DocumentState.WITHDRAWN)
    return next((w for w in session.exec(said.order_by(col(WitnessRow.document_id))) if w.document_id not in forgotten), None)


def describe(session: Session, found: Found) -> Forgetting:
    carrying = carriers(session, [key(row.id) for row in found.definitions])
    served = set(session.exec(select(AliasRow.name).where(col(AliasRow.adapter_id).in_([row.id for row in carrying]))))
    return Forgetting(
        documents=tuple(document_records(session, found.documents)),
        definitions=tuple(definition_records(session, found.definitions)),
        witnessed=tuple(definition_records(session, found.witnessed)),
        carriers=tuple(adapter_records(session, carrying)),
        topics=tuple(sorted(served & {row.topic for row in carrying})),
    )


def carriers(session: Session, definition_ids: Iterable[int]) -> list[AdapterRow]:
    """The versions that had any of the definitions in training, newest first: those that name it, and all that grew from them."""
    tainted: set[int] = set()
    for some in batches(definition_ids):
        wanted = select(AdapterDefinitionRow.adapter_id).where(col(AdapterDefinitionRow.definition_id).in_(some))
        tainted.update(session.exec(wanted.distinct()))
    fresh: Sequence[int] = sorted(tainted)
    while fresh:
        grown = {
            key(child)
            for some in batches(fresh)
            for child in session.exec(select(AdapterRow.id).where(col(AdapterRow.parent_id).in_(some)))
        } - tainted
        tainted |= grown
        fresh = sorted(grown)
    found = [row for some in batches(sorted(tainted)) for row in session.exec(select(AdapterRow).where(col(AdapterRow.id).in_(some)))]
    return sorted(found, key=lambda row: key(row.id), reverse=True)


def forgotten_in(session: Session, adapter: AdapterRow) -> DefinitionRow | None:
    """A forgotten definition that the adapter, or a version it grew from, had in training; None if there is none."""
    line: list[int] = []
    row: AdapterRow | None = adapter
    while row is not None:
        line.append(key(row.id))
        row = None if row.parent_id is None else session.get(AdapterRow, row.parent_id)
    for some in batches(line):
        wanted = select(DefinitionRow).join(AdapterDefinitionRow).where(DefinitionRow.state == DefinitionState.FORGOTTEN)
        found = session.exec(wanted.where(col(AdapterDefinitionRow.adapter_id).in_(some)).limit(1)).first()
        if found is not None:
            return found
    return None


def clean_ancestor(session: Session, adapter: AdapterRow) -> AdapterRow | None:
    """The newest version that the adapter grew from and that never had anything forgotten in training, its folder still there."""
    row = adapter
    while row.parent_id is not None:
        row = session.get_one(AdapterRow, row.parent_id)
        if row.removed_at is None and row.digest is not None and forgotten_in(session, row) is None:
            return row
    return None


def _of_feed(session: Session, name: str) -> list[DocumentRow]:
    wanted = select(DocumentRow).where(DocumentRow.feed_id == feed_row(session, name).id)
    return list(session.exec(wanted.order_by(col(DocumentRow.id))))


def _still_known(rows: Iterable[DefinitionRow]) -> list[DefinitionRow]:
    return [row for row in rows if row.state != DefinitionState.FORGOTTEN]
