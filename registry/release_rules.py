"""What may be served, what was served before it, and what becomes of the definitions. Works inside the caller's transaction."""

from collections.abc import Collection, Iterable, Sequence

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from registry import lineage
from registry.errors import NothingToRollBack, NotPromotable, NotThere
from registry.forgetting import forgotten_in
from registry.models import AdapterDefinitionRow, AdapterRow, AliasRow, CheckRunRow, DefinitionRow, ReleaseRow
from registry.rows import LEARNT, REHEARSED, batches, find_adapter, key
from registry.states import AdapterState, DefinitionState, check_move, may_move


def need_servable(session: Session, pointer: AliasRow, adapter: AdapterRow) -> None:
    """What even a forced promotion needs: a folder, a state that can go live, and a topic of the alias."""
    name = _name(adapter)
    if adapter.removed_at is not None:
        when = f"{adapter.removed_at:%Y-%m-%d}"
        raise NotPromotable(f"The folder of {name} was deleted on {when}", hint="Choose another version: lorefeed adapters list")
    forgotten = forgotten_in(session, adapter)
    if forgotten is not None:
        raise NotPromotable(
            f"{name} carries definition {forgotten.id} ({forgotten.entity}), which was forgotten",
            hint=f"Learn the topic without it: lorefeed learn {adapter.topic}",
        )
    # A merged adapter's topic is the alias's own name.
    if adapter.topic not in (pointer.name, *pointer.topics):
        topics = ",".join([*pointer.topics, adapter.topic])
        raise NotPromotable(
            f"{name} teaches {adapter.topic}; the alias {pointer.name} serves {', '.join(pointer.topics)}",
            hint=f"Add the topic: lorefeed aliases set {pointer.name} --topics {topics}",
        )
    if adapter.state != AdapterState.LIVE:  # another alias may serve it already
        check_move(f"Adapter {name}", AdapterState(adapter.state), AdapterState.LIVE)


def need_passing_check(adapter: AdapterRow, check: CheckRunRow | None) -> None:
    name = _name(adapter)
    hint = f"Run: lorefeed check {name}; or promote it with --force --reason R"
    if check is None:
        raise NotPromotable(f"{name} has no check run of its artifact {str(adapter.digest)[:12]}", hint=hint)
    if check.verdict != "passed":
        raise NotPromotable(f"The newest check run of {name} refused it: {'; '.join(check.reasons) or 'no reason was given'}", hint=hint)


def need_newer(session: Session, pointer: AliasRow, adapter: AdapterRow) -> None:
    """Two learnings may end in the wrong order; and going back is for rollback, which holds what it takes away."""
    served = None if pointer.adapter_id is None else session.get(AdapterRow, pointer.adapter_id)
    if served is not None and served.topic == adapter.topic and served.version > adapter.version:
        raise NotPromotable(
            f"The alias {pointer.name} serves {_name(served)}, which is newer than {_name(adapter)}",
            hint=f"Go back with: lorefeed rollback {pointer.name} --to {adapter.version}",
        )


def need_wanted_definitions(session: Session, adapter: AdapterRow) -> None:
    """An operator may set a definition aside while it is being learnt; then this adapter is not what they want served."""
    unwanted = {DefinitionState.REJECTED.value, DefinitionState.HELD.value}
    # a rollback held what it took back, and an import what it brought: this promotion releases them
    if adapter.state == AdapterState.ROLLED_BACK or "imported" in adapter.settings:
        unwanted.remove(DefinitionState.HELD)
    for row in learnt_by(session, [adapter]):
        if row.state in unwanted:
            raise NotPromotable(
                f"{_name(adapter)} learnt definition {row.id} ({row.entity}), which is {row.state} now",
                hint=f"Learn without it: lorefeed learn {adapter.topic}; or promote with --force --reason R",
            )


def learn(session: Session, adapter: AdapterRow) -> None:
    """What the adapter learnt is learned now, and what that replaces is superseded.

    A version that was rolled back also brings back what it rehearsed, for that was held with the versions it came from.
    """
    roles = (LEARNT, REHEARSED) if adapter.state == AdapterState.ROLLED_BACK else (LEARNT,)
    carried = _definitions(session, [adapter], roles=roles)
    for row in carried:
        if row.state != DefinitionState.SUPERSEDED and may_move(DefinitionState(row.state), DefinitionState.LEARNED):
            row.state, row.reason = DefinitionState.LEARNED.value, None
    learned = [row for row in carried if row.state == DefinitionState.LEARNED]
    session.flush()
    # Held here, so that going down from each one asks for no row by itself.
    below = [row for some in batches(lineage.replaced_by(session, [key(row.id) for row in learned])) for row in _rows(session, some)]
    for row in learned:
        _supersede(session, row)
    del below


def _rows(session: Session, ids: Sequence[int]) -> Sequence[DefinitionRow]:
    return session.exec(select(DefinitionRow).where(col(DefinitionRow.id).in_(ids))).all()


def replaced_by(session: Session, newer: DefinitionRow, carried: Collection[int]) -> DefinitionRow | None:
    """The nearest older definition of the entity that is among those `carried`; ones between that were never learnt are passed over."""
    row = newer
    while row.supersedes is not None:
        row = session.get_one(DefinitionRow, row.supersedes)
        if row.id in carried:
            return row
    return None


def _supersede(session: Session, newer: DefinitionRow) -> None:
    """All the way down: a rollback may have brought back one that stands further below."""
    row = newer
    while row.supersedes is not None:
        row = session.get_one(DefinitionRow, row.supersedes)
        if may_move(DefinitionState(row.state), DefinitionState.SUPERSEDED):
            row.state, row.reason = DefinitionState.SUPERSEDED.value, f"definition {newer.id} took its place"


def rollback_target(session: Session, pointer: AliasRow, *, to: int | None) -> AdapterRow | None:
    """The version to go back to, or None for the base model."""
    current = None if pointer.adapter_id is None else session.get(AdapterRow, pointer.adapter_id)
    if current is None:
        raise NothingToRollBack(f"The alias {pointer.name} serves the base model", hint=f"Look: lorefeed releases {pointer.name}")
    if to is None:
        return _served_before(session, current, alias=pointer.name)
    return _served_version(session, current, alias=pointer.name, version=to)


def _served_before(session: Session, current: AdapterRow, *, alias: str) -> AdapterRow | None:
    """What the alias served when `current` was promoted. One whose folder was deleted, or that carries what was forgotten, is passed over."""
    seen = {current.id}
    while True:
        arrival = session.exec(arrivals(alias, key(current.id)).limit(1)).first()
        if arrival is None or arrival.from_adapter_id is None or arrival.from_adapter_id in seen:
            return None
        current = session.get_one(AdapterRow, arrival.from_adapter_id)
        if current.removed_at is None and forgotten_in(session, current) is None:
            return current
        seen.add(current.id)


def _served_version(session: Session, current: AdapterRow, *, alias: str, version: int) -> AdapterRow:
    target = find_adapter(session, current.topic, version)
    hint = f"List what was served: lorefeed releases {alias}"
    if target is None:
        raise NotThere(f"There is no adapter {current.topic}@{version}", hint=hint)
    if target.version >= current.version:
        instead = f"Promote it instead: lorefeed promote {_name(target)}"
        raise NotPromotable(f"The alias {alias} serves {_name(current)}; {_name(target)} is not before it", hint=instead)
    if target.removed_at is not None:
        raise NotPromotable(f"The folder of {_name(target)} was deleted on {target.removed_at:%Y-%m-%d}", hint=hint)
    if (forgotten := forgotten_in(session, target)) is not None:
        raise NotPromotable(f"{_name(target)} carries definition {forgotten.id} ({forgotten.entity}), which was forgotten", hint=hint)
    served = select(ReleaseRow.id).where(ReleaseRow.alias == alias, ReleaseRow.to_adapter_id == target.id)
    if session.exec(served).first() is None:
        raise NotPromotable(f"The alias {alias} never served {_name(target)}", hint=hint)
    return target


def take_back(session: Session, current: AdapterRow, target: AdapterRow | None) -> list[AdapterRow]:
    """The current version, and those between it and the target, are rolled back. Those that another alias serves are not."""
    between = select(AdapterRow).where(
        AdapterRow.topic == current.topic,
        AdapterRow.version > (0 if target is None else target.version),
        AdapterRow.version < current.version,
        AdapterRow.state == AdapterState.RETIRED,
    )
    gone = [row for row in (current, *session.exec(between)) if not _is_served(session, row)]
    for row in gone:
        row.state = AdapterState.ROLLED_BACK.value
    session.flush()
    return gone


def retire(session: Session, adapter_id: int | None) -> None:
    """An adapter that no alias serves any more stays ready for a rollback."""
    row = None if adapter_id is None else session.get(AdapterRow, adapter_id)
    if row is not None and not _is_served(session, row):
        row.state = AdapterState.RETIRED.value
        session.flush()


def newest_release(session: Session, alias: str) -> ReleaseRow | None:
    return session.exec(select(ReleaseRow).where(ReleaseRow.alias == alias).order_by(col(ReleaseRow.id).desc()).limit(1)).first()


def arrivals(alias: str, adapter_id: int) -> SelectOfScalar[ReleaseRow]:
    """The releases by which an alias came to an adapter, other than by going back to it; newest first."""
    wanted = select(ReleaseRow).where(
        ReleaseRow.alias == alias, ReleaseRow.to_adapter_id == adapter_id, col(ReleaseRow.rollback).is_(False)
    )
    return wanted.order_by(col(ReleaseRow.id).desc())


def known_to(session: Session, target: AdapterRow | None, definitions: Iterable[DefinitionRow]) -> set[int]:
    """What the target carries of these, and of those whose place they took: what it and the versions it grew from learnt and rehearsed."""
    if target is None:
        return set()
    asked = [key(row.id) for row in definitions]
    return lineage.carried_of(session, key(target.id), [*asked, *lineage.replaced_by(session, asked)])


def learnt_by(session: Session, adapters: Iterable[AdapterRow]) -> list[DefinitionRow]:
    return _definitions(session, adapters, roles=(LEARNT,))


def _definitions(session: Session, adapters: Iterable[AdapterRow], *, roles: Sequence[str]) -> list[DefinitionRow]:
    wanted = select(DefinitionRow).join(AdapterDefinitionRow).where(col(AdapterDefinitionRow.role).in_(roles))
    wanted = wanted.where(col(AdapterDefinitionRow.adapter_id).in_([a.id for a in adapters])).distinct()
    return list(session.exec(wanted.order_by(col(DefinitionRow.id))))


def _is_served(session: Session, adapter: AdapterRow) -> bool:
    return session.exec(select(AliasRow.name).where(AliasRow.adapter_id == adapter.id)).first() is not None


def _name(adapter: AdapterRow) -> str:
    return f"{adapter.topic}@{adapter.version}"
