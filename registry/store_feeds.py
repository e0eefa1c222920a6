"""Writes about feeds and what was fetched from them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select, update

from registry import taking_in
from registry.errors import AlreadyThere, BadName, BadValue, NotThere
from registry.identity import check_name
from registry.models import AliasRow, DefinitionRow, DocumentRow, FeedRow, WitnessRow
from registry.records import Document, Feed, NewDocument, Trust
from registry.rows import document_records, document_row, feed_records, feed_row, key
from registry.states import DocumentState, FeedState, check_move
from registry.store_base import DAEMON, StoreBase

FAILING_AFTER = 3  # failed polls in a row, after which it is an event: one alone is the network's ordinary life


class FeedStore(StoreBase):
    def add_feed(self, location: str, *, name: str, kind: str, topic: str, trust: Trust, interval_s: int, actor: str = "operator") -> Feed:
        """Adds a feed that is due at once, and its topic's alias if that is new."""
        check_name("Topic", topic)
        if not name.strip() or not name.isprintable():
            raise BadName(f"A feed cannot be named {name!r}", hint="Give it a name that can be read: --name NAME")
        if trust not in ("auto", "review"):
            raise BadValue(f"Trust is 'auto' or 'review', not {trust!r}")
        if interval_s <= 0:
            raise BadValue(f"Feed {name!r} cannot be polled every {interval_s} s", hint="Give a time above zero: --every 15m")
        with self._db.writing() as session:
            if session.exec(select(FeedRow).where(FeedRow.name == name)).first() is not None:
                raise AlreadyThere(f"There is a feed named {name!r} already", hint="Give this one another name: --name NAME")
            now = self._clock()
            row = FeedRow(
                name=name,
                location=location,
                kind=kind,
                topic=topic,
                state=FeedState.ACTIVE.value,
                trust=trust,
                interval_s=interval_s,
                cursor={},
                next_check_at=now,
                created_at=now,
            )
            session.add(row)
            if session.get(AliasRow, topic) is None:
                session.add(AliasRow(name=topic, topics=[topic], scope="mention"))
            self._note(session, actor, action="added", object=f"feed {name}", location=location, topic=topic)
            session.flush()
            return feed_records(session, [row])[0]

    def set_feed_state(self, name: str, state: FeedState | str, *, actor: str = "operator") -> Feed:
        new = FeedState(state)
        with self._db.writing() as session:
            row = feed_row(session, name)
            if row.state != new:
                check_move(f"Feed {name}", FeedState(row.state), new)
                row.state = new.value
                if new is FeedState.ACTIVE:
                    row.next_check_at = self._clock()
                self._note(session, actor, action=new.value, object=f"feed {name}")
            session.flush()
            return feed_records(session, [row])[0]

    def remove_feed(self, name: str, *, actor: str = "operator") -> Feed:
        """Retires the feed and frees its name. Its documents stay: they are the provenance of what was learnt."""
        with self._db.writing() as session:
            row = feed_row(session, name)
            row.state = FeedState.RETIRED.value
            row.name = f"{name} (removed {row.id})"
            self._note(session, actor, action="removed", object=f"feed {name}", now_named=row.name)
            session.flush()
            return feed_records(session, [row])[0]

    def record_poll(
        self,
        feed_id: int,
        *,
        cursor: Mapping[str, Any],
        next_check_at: datetime,
        documents: Sequence[NewDocument],
        moved_to: str | None = None,
        noticed: Iterable[tuple[str, Mapping[str, Any]]] = (),
    ) -> list[Document]:
        """Takes in what a successful poll brought and returns what is new. The same text of the same feed is never taken twice.

        `moved_to` becomes the feed's location: its server said that it has moved for good. `noticed` are events about the feed, each an
        action with its details.
        """
        digests = taking_in.digests_of(documents)
        noted = list(noticed)

        def write(session: Session) -> list[Document]:
            feed = taking_in.polled_feed(session, feed_id)
            if feed is None:
                raise _no_feed(feed_id)
            if feed.error_count >= FAILING_AFTER:
                self._note(session, DAEMON, action="recovered", object=f"feed {feed.name}", failed=feed.error_count)
            if moved_to is not None and moved_to != feed.location:
                self._note(session, DAEMON, action="moved", object=f"feed {feed.name}", from_location=feed.location, to_location=moved_to)
            for action, detail in noted:
                self._note(session, "daemon", action=action, object=feed.name, **detail)
            now = self._clock()
            taking_in.record_success(session, feed, cursor=cursor, now=now, next_check_at=next_check_at, location=moved_to or feed.location)
            return taking_in.take_in(session, documents, feed, digests=digests)

        taken: list[Document] = self._db.together.do(write)
        return taken

    def postpone_poll(self, feed_id: int, *, next_check_at: datetime) -> None:
        """The feed was not asked, and not because of itself: nothing changes but when it is due."""
        with self._db.writing() as session:
            _feed(session, feed_id).next_check_at = next_check_at

    def record_poll_failure(
        self,
        feed_id: int,
        *,
        error: str,
        next_check_at: datetime,
        cursor: Mapping[str, Any] | None = None,
        retire: bool = False,
    ) -> Feed:
        """Counts a failed poll. `retire` is for servers that say the feed is gone for good."""
        with self._db.writing() as session:
            feed = _feed(session, feed_id)
            feed.error_count += 1
            feed.last_error = error
            if feed.error_count == FAILING_AFTER:
                self._note(session, DAEMON, action="failing", object=f"feed {feed.name}", failed=feed.error_count, error=error)
            feed.last_checked_at = self._clock()
            feed.next_check_at = next_check_at
            if cursor is not None:
                feed.cursor = dict(cursor)
            if retire and feed.state != FeedState.RETIRED:
                feed.state = FeedState.RETIRED.value
                self._note(session, DAEMON, action="retired", object=f"feed {feed.name}", reason=error)
            session.flush()
            return feed_records(session, [feed])[0]

    def withdraw_document(self, document_id: int, *, reason: str, actor: str) -> Document:
        """Marks a document as one to be forgotten; fetched again, it is not taken in again."""
        with self._db.writing() as session:
            row = document_row(session, document_id)
            if row.state != DocumentState.WITHDRAWN:
                check_move(f"Document {document_id}", DocumentState(row.state), DocumentState.WITHDRAWN)
                row.state = DocumentState.WITHDRAWN.value
                row.problem = reason
                self._note(session, actor, action="withdrawn", object=f"document {document_id}", reason=reason)
            session.flush()
            return document_records(session, [row])[0]

    def give_up_texts(self, before: datetime, *, after: int = 0, limit: int = 2000) -> tuple[int, int]:
        """(how many documents lost their text, the number to go on after): those that were fetched before then, were read, and taught nothing.

        Their digests stay, so that none is taken in again, and so do address and title. What a definition was found in, or is confirmed by,
        keeps its text for ever. Reads `limit` documents at most, in the order of their numbers, from those above `after`.
        """
        with self._db.writing() as session:
            read = session.exec(
                select(DocumentRow.id, DocumentRow.state, DocumentRow.fetched_at, DocumentRow.text != "")
                .where(col(DocumentRow.id) > after)
                .order_by(col(DocumentRow.id))
                .limit(limit)
            ).all()
            young = next((place for place, (_, _, fetched_at, _) in enumerate(read) if fetched_at >= before), len(read))
            ids = [key(id_) for id_, state, _, has_text in read[:young] if has_text and state == DocumentState.EXTRACTED]
            told = set(session.exec(select(DefinitionRow.document_id).where(col(DefinitionRow.document_id).in_(ids))).all())
            told |= set(session.exec(select(WitnessRow.document_id).where(col(WitnessRow.document_id).in_(ids))).all())
            idle = [id_ for id_ in ids if id_ not in told]
            session.connection().execute(update(DocumentRow).where(col(DocumentRow.id).in_(idle)).values(text=""))
            if idle:
                self._note(session, DAEMON, action="texts_given_up", object="documents", number=len(idle), first=idle[0], last=idle[-1])
            return len(idle), key(read[young - 1][0]) if young else after


def _feed(session: Session, feed_id: int) -> FeedRow:
    feed = session.get(FeedRow, feed_id)
    if feed is None:
        raise _no_feed(feed_id)
    return feed


def _no_feed(feed_id: int) -> NotThere:
    return NotThere(f"There is no feed {feed_id}", hint="List the feeds: lorefeed feeds list")
