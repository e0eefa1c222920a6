"""Writes about what is served: aliases, promotion and rollback. Every move is a row for ever. The rules: release_rules.py."""

from collections.abc import Sequence

from sqlmodel import Session

from registry import release_rules as rules
from registry.errors import BadValue, NothingToRollBack, NotPromotable, NotThere
from registry.identity import check_name
from registry.models import AdapterRow, AliasRow, CanaryRow, CheckRunRow, ReleaseRow
from registry.records import Adapter, Alias, Canary, Release, Scope
from registry.rows import (
    adapter_name,
    adapter_records,
    adapter_row,
    alias_record,
    alias_row,
    canary_record,
    key,
    newest_check,
    release_record,
)
from registry.states import AdapterState, DefinitionState
from registry.store_base import StoreBase


class ReleaseStore(StoreBase):
    def set_alias(self, name: str, *, topics: Sequence[str], scope: Scope, actor: str = "operator") -> Alias:
        """Makes an alias, or changes its topics and scope. What it points at only a release changes."""
        check_name("Alias", name)
        if scope not in ("mention", "always"):
            raise BadValue(f"A scope is 'mention' or 'always', not {scope!r}")
        if not topics:
            raise BadValue(f"Alias {name!r} needs at least one topic", hint="Name it: --topic T")
        named = [check_name("Topic", topic) for topic in dict.fromkeys(topics)]
        with self._db.writing() as session:
            row = session.get(AliasRow, name) or AliasRow(name=name, topics=named, scope=scope)
            row.topics, row.scope = named, scope
            session.add(row)
            self._note(session, actor, action="set", object=f"alias {name}", topics=named, scope=scope)
            session.flush()
            return alias_record(session, row)

    def remove_alias(self, name: str, *, actor: str = "operator") -> None:
        """Takes a served name away. Its releases stay on record; an adapter that no other alias serves is retired."""
        with self._db.writing() as session:
            row = alias_row(session, name)
            served = row.adapter_id
            self._note(session, actor, action="removed", object=f"alias {name}", adapter=adapter_name(session, served))
            self._end_canary(session, name, actor=actor, reason="the alias was removed")
            session.delete(row)
            session.flush()
            rules.retire(session, served)

    def promote(self, alias: str, adapter_name: str, *, actor: str, reason: str | None, forced: bool = False) -> Release:
        """Moves the alias to the adapter, if its newest check run passed and was of exactly this artifact. Twice is once.

        `forced` does without the check, and needs a reason. The version before stays ready for a rollback.
        """
        if forced and not (reason or "").strip():
            raise NotPromotable(f"A forced promotion of {adapter_name} needs a reason", hint="Say why: --force --reason R")
        self._verify_artifact(adapter_name)
        with self._db.writing() as session:
            pointer, adapter = alias_row(session, alias), adapter_row(session, adapter_name)
            if pointer.adapter_id == adapter.id:
                newest = rules.newest_release(session, alias)
                assert newest is not None, "an alias points somewhere since a release"
                return release_record(session, newest)
            check = newest_check(session, adapter)
            rules.need_servable(session, pointer, adapter)
            if not forced:
                rules.need_passing_check(adapter, check)
                rules.need_newer(session, pointer, adapter)
                rules.need_wanted_definitions(session, adapter)
            release = self._move(session, pointer, to=adapter, actor=actor, reason=reason, forced=forced, check=check)
            rules.learn(session, adapter)
            adapter.state = AdapterState.LIVE.value
            session.flush()
            rules.retire(session, release.from_adapter_id)
            return release_record(session, release)

    def rollback(self, alias: str, *, to: int | None, actor: str, reason: str | None) -> Release:
        """Moves the alias back to version `to`, or to what it served before; that may be the base model.

        What only the versions gone back over had learnt is held, so that the next learning does not bring it back.
        """
        with self._db.reading() as session:
            wanted = rules.rollback_target(session, alias_row(session, alias), to=to)
            target_name = None if wanted is None else adapter_name(session, wanted.id)
        if target_name is not None:
            self._verify_artifact(target_name)
        with self._db.writing() as session:
            pointer = alias_row(session, alias)
            target = rules.rollback_target(session, pointer, to=to)
            if (None if target is None else adapter_name(session, target.id)) != target_name:
                raise NothingToRollBack(f"{alias} moved while it was being rolled back", hint=f"Look again: lorefeed releases {alias}")
            current = session.get_one(AdapterRow, pointer.adapter_id)
            check = None if target is None else newest_check(session, target)
            release = self._move(session, pointer, to=target, actor=actor, reason=reason, check=check, rollback=True)
            if target is not None:
                target.state = AdapterState.LIVE.value
            session.flush()
            gone = rules.take_back(session, current, target)
            self._hold(session, gone, target, actor=actor, why=f"{alias} was rolled back" + (f": {reason}" if reason else ""))
            session.flush()
            return release_record(session, release)

    def set_canary(self, alias: str, adapter_name: str, *, weight: float, actor: str) -> Canary:
        """Lets the adapter answer `weight` percent of the alias's conversations. It needs what a promotion needs; a release ends it."""
        if not 0 < weight <= 100:
            raise BadValue(f"A canary's weight is percent, above 0 and at most 100, not {weight:g}")
        self._verify_artifact(adapter_name)
        with self._db.writing() as session:
            pointer, adapter = alias_row(session, alias), adapter_row(session, adapter_name)
            if pointer.adapter_id == adapter.id:
                raise NotPromotable(f"{alias} serves {adapter_name} already", hint=f"Look: lorefeed releases {alias}")
            rules.need_servable(session, pointer, adapter)
            rules.need_passing_check(adapter, newest_check(session, adapter))
            rules.need_wanted_definitions(session, adapter)
            row = session.get(CanaryRow, alias) or CanaryRow(alias=alias, adapter_id=key(adapter.id), weight=weight, since=self._clock())
            if row.adapter_id != adapter.id:
                row.adapter_id, row.since = key(adapter.id), self._clock()
            row.weight = weight
            session.add(row)
            self._note(session, actor, action="canary", object=f"alias {alias}", adapter=adapter_name, weight=weight)
            session.flush()
            return canary_record(session, row)

    def end_canary(self, alias: str, *, actor: str, reason: str | None) -> Canary:
        """The alias's own version answers everything again, from the next request on."""
        with self._db.writing() as session:
            alias_row(session, alias)
            row = session.get(CanaryRow, alias)
            if row is None:
                raise NotThere(f"The alias {alias} has no canary", hint=f"Begin one: lorefeed canary {alias}@VERSION --weight 5")
            ended = canary_record(session, row)
            self._end_canary(session, alias, actor=actor, reason=reason)
            return ended

    def set_unserved(self, name: str, reason: str | None, *, actor: str) -> Adapter:
        """Why no engine gets the adapter, on its row; None: it was proven sound again. Saying the same twice is once."""
        with self._db.writing() as session:
            row = adapter_row(session, name)
            if row.unserved != reason:
                row.unserved = reason
                self._note(session, actor, action="served" if reason is None else "not served", object=f"adapter {name}", problem=reason)
            session.flush()
            return adapter_records(session, [row])[0]

    def _end_canary(self, session: Session, alias: str, *, actor: str, reason: str | None) -> None:
        row = session.get(CanaryRow, alias)
        if row is not None:
            ended = adapter_name(session, row.adapter_id)
            self._note(session, actor, action="canary ended", object=f"alias {alias}", adapter=ended, reason=reason)
            session.delete(row)
            session.flush()

    def _verify_artifact(self, name: str) -> None:
        """Raises unless the folder is whole. Hashing takes a while, so it is done outside the write transaction.

        Whoever deletes a folder marks the row first (mark_removed), and the rules see that mark inside the transaction.
        """
        with self._db.reading() as session:
            [adapter] = adapter_records(session, [adapter_row(session, name)])
        if adapter.digest is None:
            again = f"Learn it first: lorefeed learn {adapter.topic}"
            raise NotPromotable(f"{name} has no published folder; it is {adapter.state}", hint=again)
        if adapter.removed_at is None:
            self._artifacts.verify(adapter)

    def _move(
        self,
        session: Session,
        pointer: AliasRow,
        *,
        to: AdapterRow | None,
        actor: str,
        reason: str | None,
        check: CheckRunRow | None,
        forced: bool = False,
        rollback: bool = False,
    ) -> ReleaseRow:
        now = self._clock()
        release = ReleaseRow(
            alias=pointer.name,
            from_adapter_id=pointer.adapter_id,
            to_adapter_id=None if to is None else to.id,
            at=now,
            actor=actor,
            reason=reason,
            forced=forced,
            rollback=rollback,
            check_run_id=None if check is None else check.id,
        )
        session.add(release)
        names = {"from": adapter_name(session, release.from_adapter_id), "to": adapter_name(session, release.to_adapter_id)}
        action = "rolled back" if rollback else "promoted"
        self._note(session, actor, action=action, object=f"alias {pointer.name}", **names, reason=reason, forced=forced)
        pointer.adapter_id, pointer.since = release.to_adapter_id, now
        self._end_canary(session, pointer.name, actor=actor, reason=f"the alias was {action}")
        session.flush()
        return release

    def _hold(self, session: Session, gone: Sequence[AdapterRow], target: AdapterRow | None, *, actor: str, why: str) -> None:
        """What only the versions gone back over carried is held; what they had replaced, and the target carries, is learned again."""
        learnt = rules.learnt_by(session, gone)
        kept = rules.known_to(session, target, learnt)
        for row in learnt:
            if key(row.id) in kept:
                continue
            if row.state == DefinitionState.LEARNED:
                row.state, row.reason = DefinitionState.HELD.value, why
                self._note(session, actor, action="held", object=f"definition {row.id}", reason=why)
            older = rules.replaced_by(session, row, kept)
            if older is not None and older.state == DefinitionState.SUPERSEDED:
                older.state, older.reason = DefinitionState.LEARNED.value, why
                self._note(session, actor, action="learned", object=f"definition {older.id}", reason=why)
