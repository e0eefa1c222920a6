"""The tables, as SQLModel sees them. The schema itself is made by registry/migrations.py; a test holds the two together.

Names stay inside this package: everything that leaves it is a record from registry/records.py.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Dialect, Index, Text, TypeDecorator, UniqueConstraint, text
from sqlmodel import Field, SQLModel


def instant(value: datetime) -> str:
    """How a time is written into the file."""
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return value.astimezone(UTC).isoformat(timespec="microseconds")


class UtcTime(TypeDecorator[datetime]):
    """An instant as text in UTC with microseconds, always of one width, so that text order is time order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else instant(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


# Absent and JSON null would be two ways to say nothing; this keeps one.
OptionalJson = JSON(none_as_null=True)


class FeedRow(SQLModel, table=True):
    __tablename__ = "feed"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True, sa_type=Text)
    location: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    topic: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    trust: str = Field(sa_type=Text)
    interval_s: int
    cursor: dict[str, Any] = Field(sa_type=JSON)
    error_count: int = 0
    last_error: str | None = Field(default=None, sa_type=Text)
    last_checked_at: datetime | None = Field(default=None, sa_type=UtcTime)
    last_success_at: datetime | None = Field(default=None, sa_type=UtcTime)
    next_check_at: datetime = Field(sa_type=UtcTime)
    created_at: datetime = Field(sa_type=UtcTime)


class DocumentRow(SQLModel, table=True):
    __tablename__ = "document"
    __table_args__ = (
        UniqueConstraint("feed_id", "digest"),
        Index("document_by_external_id", "feed_id", "external_id"),
        Index("document_by_state", "state"),
        Index("document_by_feed", "feed_id"),
    )
    id: int | None = Field(default=None, primary_key=True)
    feed_id: int = Field(foreign_key="feed.id")
    external_id: str = Field(sa_type=Text)
    url: str | None = Field(default=None, sa_type=Text)
    title: str | None = Field(default=None, sa_type=Text)
    text: str = Field(sa_type=Text)
    digest: str = Field(sa_type=Text)
    published_at: datetime | None = Field(default=None, sa_type=UtcTime)
    fetched_at: datetime = Field(sa_type=UtcTime)
    fetch: dict[str, Any] = Field(sa_type=JSON)
    revises: int | None = Field(default=None, foreign_key="document.id")
    state: str = Field(sa_type=Text)
    problem: str | None = Field(default=None, sa_type=Text)
    near: int | None = Field(default=None, foreign_key="document.id")


class DefinitionRow(SQLModel, table=True):
    __tablename__ = "definition"
    __table_args__ = (
        Index("definition_by_entity", "topic", "entity_key", "state"),
        Index("definition_by_state", "topic", "state"),
        Index("definition_by_time", "created_at"),
        Index("definition_by_topic", "topic"),
        Index("definition_by_state_alone", "state"),
        Index("definition_by_name", "entity_key", "topic", "state"),
    )
    id: int | None = Field(default=None, primary_key=True)
    entity: str = Field(sa_type=Text)
    entity_key: str = Field(sa_type=Text)
    text: str = Field(sa_type=Text)
    text_digest: str = Field(sa_type=Text)
    topic: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    novelty: float | None = None
    novelty_digest: str | None = Field(default=None, sa_type=Text)
    document_id: int = Field(foreign_key="document.id", index=True)
    span_start: int
    span_end: int
    score: float
    supersedes: int | None = Field(default=None, foreign_key="definition.id", index=True)
    aliases: list[str] = Field(sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcTime)
    against: int | None = Field(default=None, foreign_key="definition.id", index=True)
    gone_at: datetime | None = Field(default=None, sa_type=UtcTime)


class DefinitionAliasRow(SQLModel, table=True):
    __tablename__ = "definition_alias"
    topic: str = Field(primary_key=True, sa_type=Text)
    alias_key: str = Field(primary_key=True, sa_type=Text)
    definition_id: int = Field(foreign_key="definition.id", primary_key=True, index=True)


class DefinitionCountRow(SQLModel, table=True):
    __tablename__ = "definition_count"
    topic: str = Field(primary_key=True, sa_type=Text)
    state: str = Field(primary_key=True, sa_type=Text)
    number: int


class DocumentCountRow(SQLModel, table=True):
    __tablename__ = "document_count"
    feed_id: int = Field(primary_key=True)
    state: str = Field(primary_key=True, sa_type=Text)
    number: int


class NearSignatureRow(SQLModel, table=True):
    __tablename__ = "near_signature"
    document_id: int = Field(foreign_key="document.id", primary_key=True)
    signature: bytes


class NearBandRow(SQLModel, table=True):
    __tablename__ = "near_band"
    band: int = Field(primary_key=True)
    document_id: int = Field(primary_key=True)


class WitnessRow(SQLModel, table=True):
    __tablename__ = "witness"
    definition_id: int = Field(foreign_key="definition.id", primary_key=True)
    document_id: int = Field(foreign_key="document.id", primary_key=True, index=True)
    span_start: int
    span_end: int


class TransferExampleRow(SQLModel, table=True):
    __tablename__ = "transfer_example"
    id: int | None = Field(default=None, primary_key=True)
    definition_id: int = Field(foreign_key="definition.id", index=True)
    form: str = Field(sa_type=Text)
    prompt: str = Field(sa_type=Text)
    text: str = Field(sa_type=Text)
    generator: str = Field(sa_type=Text)


class ProbeRow(SQLModel, table=True):
    __tablename__ = "probe"
    id: int | None = Field(default=None, primary_key=True)
    definition_id: int | None = Field(default=None, foreign_key="definition.id", index=True)
    kind: str = Field(sa_type=Text)
    prompt: str = Field(sa_type=Text)
    target: str = Field(sa_type=Text)
    candidates: list[str] = Field(sa_type=JSON)
    chat: bool
    origin: str = Field(sa_type=Text)
    dropped: bool = False


class AdapterRow(SQLModel, table=True):
    __tablename__ = "adapter"
    __table_args__ = (
        UniqueConstraint("topic", "version"),
        # One unfinished learning a topic: what a crash left is continued, never doubled.
        Index("adapter_one_learning", "topic", unique=True, sqlite_where=text("state = 'learning'")),
    )
    id: int | None = Field(default=None, primary_key=True)
    topic: str = Field(sa_type=Text)
    version: int
    state: str = Field(sa_type=Text)
    parent_id: int | None = Field(default=None, foreign_key="adapter.id", index=True)
    method: str = Field(sa_type=Text)
    base_model: str = Field(sa_type=Text)
    base_digest: str = Field(sa_type=Text)
    rank: int
    digest: str | None = Field(default=None, sa_type=Text)
    recovered: float | None = None
    reason: str | None = Field(default=None, sa_type=Text)
    settings: dict[str, Any] = Field(sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcTime)
    removed_at: datetime | None = Field(default=None, sa_type=UtcTime)
    unserved: str | None = Field(default=None, sa_type=Text)


class AdapterDefinitionRow(SQLModel, table=True):
    __tablename__ = "adapter_definition"
    __table_args__ = (Index("adapter_definition_by_role", "adapter_id", "role"),)
    adapter_id: int = Field(foreign_key="adapter.id", primary_key=True)
    definition_id: int = Field(foreign_key="definition.id", primary_key=True, index=True)
    role: str = Field(sa_type=Text)


class CheckRunRow(SQLModel, table=True):
    __tablename__ = "check_run"
    id: int | None = Field(default=None, primary_key=True)
    adapter_id: int = Field(foreign_key="adapter.id", index=True)
    digest: str = Field(sa_type=Text)
    base_digest: str = Field(sa_type=Text)
    against: str | None = Field(default=None, sa_type=Text)
    verdict: str = Field(sa_type=Text)
    reasons: list[str] = Field(sa_type=JSON)
    metrics: dict[str, Any] = Field(sa_type=JSON)
    duration_s: float
    created_at: datetime = Field(sa_type=UtcTime)


class CheckResultRow(SQLModel, table=True):
    __tablename__ = "check_result"
    id: int | None = Field(default=None, primary_key=True)
    check_run_id: int = Field(foreign_key="check_run.id", index=True)
    definition_id: int | None = Field(default=None, foreign_key="definition.id")
    probe_id: int | None = Field(default=None, foreign_key="probe.id")
    kind: str = Field(sa_type=Text)
    prompt: str = Field(sa_type=Text)
    target: str = Field(sa_type=Text)
    base_answer: str = Field(sa_type=Text)
    answer: str = Field(sa_type=Text)
    passed: bool
    detail: dict[str, Any] = Field(sa_type=JSON)


class AliasRow(SQLModel, table=True):
    __tablename__ = "alias"
    name: str = Field(primary_key=True, sa_type=Text)
    topics: list[str] = Field(sa_type=JSON)
    scope: str = Field(sa_type=Text)
    adapter_id: int | None = Field(default=None, foreign_key="adapter.id")
    since: datetime | None = Field(default=None, sa_type=UtcTime)


class ReleaseRow(SQLModel, table=True):
    __tablename__ = "release"
    __table_args__ = (Index("release_by_adapter", "to_adapter_id", "alias"),)
    id: int | None = Field(default=None, primary_key=True)
    alias: str = Field(index=True, sa_type=Text)
    from_adapter_id: int | None = Field(default=None, foreign_key="adapter.id")
    to_adapter_id: int | None = Field(default=None, foreign_key="adapter.id")
    at: datetime = Field(sa_type=UtcTime)
    actor: str = Field(sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    forced: bool
    rollback: bool
    check_run_id: int | None = Field(default=None, foreign_key="check_run.id")


class CanaryRow(SQLModel, table=True):
    __tablename__ = "canary"
    alias: str = Field(primary_key=True, foreign_key="alias.name", sa_type=Text)
    adapter_id: int = Field(foreign_key="adapter.id")
    weight: float
    since: datetime = Field(sa_type=UtcTime)


class ApiKeyRow(SQLModel, table=True):
    __tablename__ = "api_key"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True, sa_type=Text)
    digest: str = Field(sa_type=Text)
    admin: bool
    created_at: datetime = Field(sa_type=UtcTime)


class JobRow(SQLModel, table=True):
    __tablename__ = "job"
    __table_args__ = (
        Index("job_one_unfinished", "key", unique=True, sqlite_where=text("state IN ('queued', 'running')")),
        Index("job_by_state", "state", "run_after"),
        Index("job_by_key", "key", "finished_at"),
    )
    id: int | None = Field(default=None, primary_key=True)
    kind: str = Field(sa_type=Text)
    key: str = Field(sa_type=Text)
    payload: dict[str, Any] = Field(sa_type=JSON)
    state: str = Field(sa_type=Text)
    attempts: int = 0
    max_attempts: int
    run_after: datetime = Field(sa_type=UtcTime)
    lease_owner: str | None = Field(default=None, sa_type=Text)
    lease_until: datetime | None = Field(default=None, sa_type=UtcTime)
    progress: float = 0.0
    progress_text: str | None = Field(default=None, sa_type=Text)
    last_error: str | None = Field(default=None, sa_type=Text)
    result: dict[str, Any] | None = Field(default=None, sa_type=OptionalJson)
    created_at: datetime = Field(sa_type=UtcTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcTime)


class EventRow(SQLModel, table=True):
    __tablename__ = "event"
    __table_args__ = (Index("event_by_object", "object"), Index("event_by_actor", "actor"))
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=UtcTime)
    actor: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    object: str = Field(sa_type=Text)
    detail: dict[str, Any] = Field(sa_type=JSON)
    digest: str = Field(sa_type=Text)
