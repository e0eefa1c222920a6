"""What the registry hands out and takes in: frozen values. Knows no tables; changing one is `replace(...)` and changes no row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from registry.states import AdapterState, DefinitionState, DocumentState, FeedState, JobState

Trust = Literal["auto", "review"]
Scope = Literal["mention", "always"]
Form = Literal["plain", "chat"]
Verdict = Literal["passed", "refused"]
ProbeKind = Literal["direct", "paraphrase", "inference", "locality", "skill"]


@dataclass(frozen=True, slots=True)
class Feed:
    id: int
    name: str
    location: str
    kind: str
    topic: str
    state: FeedState
    trust: Trust
    interval_s: int
    cursor: dict[str, Any]
    error_count: int
    last_error: str | None
    last_checked_at: datetime | None
    last_success_at: datetime | None
    next_check_at: datetime
    created_at: datetime
    documents: int


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A fetched text on its way in; the registry digests it and decides whether it is news."""

    external_id: str
    text: str
    fetched_at: datetime
    url: str | None = None
    title: str | None = None
    published_at: datetime | None = None
    fetch: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    id: int
    feed_id: int
    feed: str
    topic: str
    external_id: str
    url: str | None
    title: str | None
    text: str
    digest: str
    published_at: datetime | None
    fetched_at: datetime
    fetch: dict[str, Any]
    revises: int | None
    state: DocumentState
    problem: str | None
    near: int | None = None  # the earlier document, of another source or another entry, that says nearly the same


@dataclass(frozen=True, slots=True)
class NewDefinition:
    entity: str
    text: str
    span: tuple[int, int]
    score: float
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Definition:
    id: int
    entity: str
    entity_key: str
    text: str
    topic: str
    state: DefinitionState
    reason: str | None
    novelty: float | None
    novelty_digest: str | None
    document_id: int
    feed: str
    url: str | None
    span: tuple[int, int]
    score: float
    supersedes: int | None
    witnesses: int  # further documents that say the same; the first one is document_id
    aliases: tuple[str, ...]
    created_at: datetime
    against: int | None = None  # the definition of another source that says otherwise
    gone_at: datetime | None = None  # when a newer version of its document was read that does not say it any more


@dataclass(frozen=True, slots=True)
class NewTransferExample:
    form: Form
    prompt: str
    text: str
    generator: str


@dataclass(frozen=True, slots=True)
class TransferExample:
    """`prompt` is the user's turn in chat form and empty in plain form; `text` is what is learnt."""

    id: int
    definition_id: int
    form: Form
    prompt: str
    text: str
    generator: str


@dataclass(frozen=True, slots=True)
class NewProbe:
    kind: ProbeKind
    prompt: str
    target: str
    candidates: tuple[str, ...] = ()
    chat: bool = False
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    id: int
    definition_id: int | None  # None: a standing probe (locality, skill) that belongs to no definition
    kind: ProbeKind
    prompt: str
    target: str
    candidates: tuple[str, ...]
    chat: bool
    origin: str


@dataclass(frozen=True, slots=True)
class Adapter:
    id: int
    topic: str
    version: int
    state: AdapterState
    parent: str | None
    method: str
    base_model: str
    base_digest: str
    rank: int
    digest: str | None
    recovered: float | None
    reason: str | None
    definitions: tuple[int, ...]  # newly learnt in this version
    rehearsed: tuple[int, ...]
    documents: tuple[int, ...]
    settings: dict[str, Any]
    created_at: datetime
    removed_at: datetime | None = None  # when its folder was given up for space; None: the folder should be there
    unserved: str | None = None  # why no engine gets it; None: nothing stands against it

    @property
    def name(self) -> str:
        return f"{self.topic}@{self.version}"


@dataclass(frozen=True, slots=True)
class NewCheckRun:
    digest: str
    base_digest: str
    verdict: Verdict
    against: str | None = None
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    duration_s: float = 0.0
    recovered: float | None = None  # share of the in-context gain; None: not measured, the adapter's number stays


@dataclass(frozen=True, slots=True)
class CheckRun:
    id: int
    adapter: str
    digest: str
    base_digest: str
    against: str | None
    verdict: Verdict
    reasons: tuple[str, ...]
    metrics: dict[str, Any]
    duration_s: float
    created_at: datetime

    @property
    def values(self) -> dict[str, float]:
        """What was measured, by name; a measure without a number is left out."""
        return {name: value for name, metric in self.metrics.items() if (value := measured(metric)) is not None}


def measured(metric: Any) -> float | None:
    """The number of a metric, which is one itself or has one under `value`."""
    value = metric.get("value") if isinstance(metric, Mapping) else metric
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class CheckResult:
    definition_id: int | None
    probe_id: int | None
    kind: str
    prompt: str
    target: str
    base_answer: str
    answer: str
    passed: bool
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """A version as a line of its topic's history: how many definitions it learnt, and its newest check's numbers."""

    name: str
    topic: str
    version: int
    state: AdapterState
    method: str
    created_at: datetime
    reason: str | None
    removed: bool
    recovered: float | None
    learnt: int
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Alias:
    name: str
    topics: tuple[str, ...]
    scope: Scope
    adapter: str | None  # None: the base answers
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Release:
    id: int
    alias: str
    from_adapter: str | None
    to_adapter: str | None
    at: datetime
    actor: str
    reason: str | None
    forced: bool
    check_run_id: int | None
    rollback: bool = False


@dataclass(frozen=True, slots=True)
class Canary:
    """A version that answers a share of an alias's conversations, to be watched before it is promoted."""

    alias: str
    adapter: str
    weight: float  # percent, above 0 and at most 100
    since: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Who may come in. The key itself is known only to its holder."""

    name: str
    digest: str
    admin: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    id: int
    kind: str
    key: str
    payload: dict[str, Any]
    state: JobState
    attempts: int
    max_attempts: int
    run_after: datetime
    lease_owner: str | None
    lease_until: datetime | None
    progress: float
    progress_text: str | None
    last_error: str | None
    result: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Event:
    id: int
    at: datetime
    actor: str
    action: str
    object: str
    detail: dict[str, Any]
    digest: str  # of this event and, through the one before it, of all earlier ones


@dataclass(frozen=True, slots=True)
class Counts:
    feeds: dict[str, int]  # total, failing
    jobs: dict[str, int]  # by state
    definitions: dict[str, int]  # by state


@dataclass(frozen=True, slots=True)
class History:
    """One definition's way: where it stands written, what it replaced, what carries it, and who decided what."""

    definition: Definition
    document: Document
    witnesses: tuple[Document, ...]
    earlier: tuple[Definition, ...]  # nearest first
    later: tuple[Definition, ...]
    adapters: tuple[Version, ...]
    events: tuple[Event, ...]  # oldest first


@dataclass(frozen=True, slots=True)
class Finding:
    """Something `doctor` found: `error` is broken now, `warning` wants a look."""

    level: Literal["error", "warning"]
    object: str
    problem: str
    remedy: str
