"""The schema's history: numbered steps, only ever appended to. A step that has been released is never edited.

Instants are text in UTC with microseconds. JSON is text. Booleans are 0 and 1. What NULL means stands beside each column that allows it.
"""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from registry import audit, counting
from registry.identity import entity_key


@dataclass(frozen=True, slots=True)
class Migration:
    """`then` is called in the same transaction, for what SQL cannot say."""

    version: int
    why: str
    statements: tuple[str, ...]
    then: Callable[[sqlite3.Connection], None] | None = None


def _keep_aliases(connection: sqlite3.Connection) -> None:
    """The aliases that definitions have already, under the key by which they are looked for."""
    for definition_id, topic, aliases in connection.execute("SELECT id, topic, aliases FROM definition").fetchall():
        rows = [(topic, entity_key(alias), definition_id) for alias in json.loads(aliases)]
        connection.executemany("INSERT OR IGNORE INTO definition_alias (topic, alias_key, definition_id) VALUES (?, ?, ?)", rows)


_FEEDS_TO_DEFINITIONS = Migration(
    1,
    "What was fetched and what was found in it: every definition names its document, every document its feed.",
    (
        """
        CREATE TABLE feed (
            id INTEGER NOT NULL PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            location TEXT NOT NULL,
            kind TEXT NOT NULL,
            topic TEXT NOT NULL,
            state TEXT NOT NULL,
            trust TEXT NOT NULL,
            interval_s INTEGER NOT NULL,
            cursor TEXT NOT NULL,
            error_count INTEGER NOT NULL,
            last_error TEXT,               -- NULL: the last poll went well, or there was none
            last_checked_at TEXT,          -- NULL: never polled
            last_success_at TEXT,          -- NULL: never polled with success
            next_check_at TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE document (
            id INTEGER NOT NULL PRIMARY KEY,
            feed_id INTEGER NOT NULL REFERENCES feed (id),
            external_id TEXT NOT NULL,
            url TEXT,                      -- NULL: it has no address
            title TEXT,                    -- NULL: it has no title
            text TEXT NOT NULL,
            digest TEXT NOT NULL,
            published_at TEXT,             -- NULL: the source does not say
            fetched_at TEXT NOT NULL,
            fetch TEXT NOT NULL,
            revises INTEGER REFERENCES document (id),  -- NULL: the first text under its external id
            state TEXT NOT NULL,
            problem TEXT,                  -- NULL: nothing went wrong in fetching and reading it
            UNIQUE (feed_id, digest)
        ) STRICT
        """,
        "CREATE INDEX document_by_external_id ON document (feed_id, external_id)",
        "CREATE INDEX document_by_state ON document (state)",
        """
        CREATE TABLE definition (
            id INTEGER NOT NULL PRIMARY KEY,
            entity TEXT NOT NULL,
            entity_key TEXT NOT NULL,
            text TEXT NOT NULL,
            text_digest TEXT NOT NULL,
            topic TEXT NOT NULL,
            state TEXT NOT NULL,
            reason TEXT,                   -- NULL: the state needs no explanation
            novelty REAL,                  -- NULL: not measured
            novelty_digest TEXT,           -- NULL: not measured; else the model it was measured with
            document_id INTEGER NOT NULL REFERENCES document (id),
            span_start INTEGER NOT NULL,
            span_end INTEGER NOT NULL,
            score REAL NOT NULL,
            supersedes INTEGER REFERENCES definition (id),  -- NULL: the entity had no other definition
            aliases TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX definition_by_entity ON definition (topic, entity_key)",
        "CREATE INDEX definition_by_state ON definition (topic, state)",
        "CREATE INDEX ix_definition_document_id ON definition (document_id)",
        "CREATE INDEX ix_definition_supersedes ON definition (supersedes)",
        """
        CREATE TABLE witness (
            definition_id INTEGER NOT NULL REFERENCES definition (id),
            document_id INTEGER NOT NULL REFERENCES document (id),
            span_start INTEGER NOT NULL,
            span_end INTEGER NOT NULL,
            PRIMARY KEY (definition_id, document_id)
        ) STRICT
        """,
        """
        CREATE TABLE transfer_example (
            id INTEGER NOT NULL PRIMARY KEY,
            definition_id INTEGER NOT NULL REFERENCES definition (id),
            form TEXT NOT NULL,
            prompt TEXT NOT NULL,
            text TEXT NOT NULL,
            generator TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX ix_transfer_example_definition_id ON transfer_example (definition_id)",
        """
        CREATE TABLE probe (
            id INTEGER NOT NULL PRIMARY KEY,
            definition_id INTEGER REFERENCES definition (id),  -- NULL: a standing probe, about no definition
            kind TEXT NOT NULL,
            prompt TEXT NOT NULL,
            target TEXT NOT NULL,
            candidates TEXT NOT NULL,
            chat INTEGER NOT NULL,
            origin TEXT NOT NULL,
            dropped INTEGER NOT NULL       -- 1: replaced, kept because old check results name it
        ) STRICT
        """,
        "CREATE INDEX ix_probe_definition_id ON probe (definition_id)",
    ),
)

_ADAPTERS_TO_RELEASES = Migration(
    2,
    "What was learnt, how it was judged and what is served; a release is a row for ever, so an answer's adapter can be told on any day.",
    (
        """
        CREATE TABLE adapter (
            id INTEGER NOT NULL PRIMARY KEY,
            topic TEXT NOT NULL,
            version INTEGER NOT NULL,
            state TEXT NOT NULL,
            parent_id INTEGER REFERENCES adapter (id),  -- NULL: made from the base model alone
            method TEXT NOT NULL,
            base_model TEXT NOT NULL,
            base_digest TEXT NOT NULL,
            rank INTEGER NOT NULL,
            digest TEXT,                   -- NULL: no folder was published
            recovered REAL,                -- NULL: not measured
            reason TEXT,                   -- NULL: the state needs no explanation
            settings TEXT NOT NULL,
            created_at TEXT NOT NULL,
            removed_at TEXT,               -- NULL: nobody deleted its folder
            UNIQUE (topic, version)
        ) STRICT
        """,
        "CREATE UNIQUE INDEX adapter_one_learning ON adapter (topic) WHERE state = 'learning'",
        """
        CREATE TABLE adapter_definition (
            adapter_id INTEGER NOT NULL REFERENCES adapter (id),
            definition_id INTEGER NOT NULL REFERENCES definition (id),
            role TEXT NOT NULL,
            PRIMARY KEY (adapter_id, definition_id)
        ) STRICT
        """,
        "CREATE INDEX ix_adapter_definition_definition_id ON adapter_definition (definition_id)",
        """
        CREATE TABLE check_run (
            id INTEGER NOT NULL PRIMARY KEY,
            adapter_id INTEGER NOT NULL REFERENCES adapter (id),
            digest TEXT NOT NULL,
            base_digest TEXT NOT NULL,
            against TEXT,                  -- NULL: there was no version before it to compare with
            verdict TEXT NOT NULL,
            reasons TEXT NOT NULL,
            metrics TEXT NOT NULL,
            duration_s REAL NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX ix_check_run_adapter_id ON check_run (adapter_id)",
        """
        CREATE TABLE check_result (
            id INTEGER NOT NULL PRIMARY KEY,
            check_run_id INTEGER NOT NULL REFERENCES check_run (id),
            definition_id INTEGER REFERENCES definition (id),  -- NULL: the probe is about no definition
            probe_id INTEGER REFERENCES probe (id),            -- NULL: asked without a stored probe
            kind TEXT NOT NULL,
            prompt TEXT NOT NULL,
            target TEXT NOT NULL,
            base_answer TEXT NOT NULL,
            answer TEXT NOT NULL,
            passed INTEGER NOT NULL,
            detail TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX ix_check_result_check_run_id ON check_result (check_run_id)",
        """
        CREATE TABLE alias (
            name TEXT NOT NULL PRIMARY KEY,
            topics TEXT NOT NULL,
            scope TEXT NOT NULL,
            adapter_id INTEGER REFERENCES adapter (id),  -- NULL: the base model answers
            since TEXT                     -- NULL: it never pointed anywhere else
        ) STRICT
        """,
        """
        CREATE TABLE release (
            id INTEGER NOT NULL PRIMARY KEY,
            alias TEXT NOT NULL,
            from_adapter_id INTEGER REFERENCES adapter (id),  -- NULL: the base model was served
            to_adapter_id INTEGER REFERENCES adapter (id),    -- NULL: the base model is served
            at TEXT NOT NULL,
            actor TEXT NOT NULL,
            reason TEXT,                   -- NULL: none was given, which only an unforced release may do
            forced INTEGER NOT NULL,
            rollback INTEGER NOT NULL,
            check_run_id INTEGER REFERENCES check_run (id)    -- NULL: forced without one, or back to the base
        ) STRICT
        """,
        "CREATE INDEX ix_release_alias ON release (alias)",
    ),
)

_JOBS_AND_EVENTS = Migration(
    3,
    "What the daemon has to do survives its death, and who decided what is written down.",
    (
        """
        CREATE TABLE job (
            id INTEGER NOT NULL PRIMARY KEY,
            kind TEXT NOT NULL,
            key TEXT NOT NULL,
            payload TEXT NOT NULL,
            state TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            max_attempts INTEGER NOT NULL,
            run_after TEXT NOT NULL,
            lease_owner TEXT,              -- NULL: nobody holds it
            lease_until TEXT,              -- NULL: nobody holds it
            progress REAL NOT NULL,
            progress_text TEXT,            -- NULL: the worker said nothing yet
            last_error TEXT,               -- NULL: no attempt failed
            result TEXT,                   -- NULL: not done, or done with nothing to tell
            created_at TEXT NOT NULL,
            started_at TEXT,               -- NULL: never claimed
            finished_at TEXT               -- NULL: not finished
        ) STRICT
        """,
        "CREATE UNIQUE INDEX job_one_unfinished ON job (key) WHERE state IN ('queued', 'running')",
        "CREATE INDEX job_by_state ON job (state, run_after)",
        """
        CREATE TABLE event (
            id INTEGER NOT NULL PRIMARY KEY,
            at TEXT NOT NULL,
            actor TEXT NOT NULL,
            action TEXT NOT NULL,
            object TEXT NOT NULL,
            detail TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX event_by_object ON event (object)",
    ),
)

_SERVING = Migration(
    4,
    "A version can be tried on a share of an alias's requests, one that engines must not get says why, and keys open the gateway.",
    (
        "ALTER TABLE adapter ADD COLUMN unserved TEXT",  # NULL: nothing stands against serving it; else why no engine gets it
        """
        CREATE TABLE canary (
            alias TEXT NOT NULL PRIMARY KEY REFERENCES alias (name),
            adapter_id INTEGER NOT NULL REFERENCES adapter (id),
            weight REAL NOT NULL,          -- percent of the alias's conversations
            since TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE api_key (
            id INTEGER NOT NULL PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            digest TEXT NOT NULL,          -- sha-256 of the key; the key itself is written nowhere
            admin INTEGER NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT
        """,
    ),
)

_AUDIT = Migration(
    5,
    "Each event vouches for the one before it, so that nobody alters the record unseen.",
    ("ALTER TABLE event ADD COLUMN digest TEXT NOT NULL DEFAULT ''",),
    then=audit.chain_what_there_is,
)

_WITNESSES = Migration(
    6,
    "Copies of one story are not several witnesses, one thing may have several names, and what a source takes back is marked.",
    (
        "ALTER TABLE document ADD COLUMN near INTEGER REFERENCES document (id)",  # NULL: no earlier document says nearly the same
        # NULL: no other source says otherwise; else the definition of another source that it stands against
        "ALTER TABLE definition ADD COLUMN against INTEGER REFERENCES definition (id)",
        "ALTER TABLE definition ADD COLUMN gone_at TEXT",  # NULL: it stands in its document still; else when a version without it was read
        "CREATE INDEX ix_definition_against ON definition (against)",
        "CREATE INDEX definition_by_time ON definition (created_at)",
        """
        CREATE TABLE near_signature (
            document_id INTEGER NOT NULL PRIMARY KEY REFERENCES document (id),
            signature BLOB NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE near_band (
            band INTEGER NOT NULL,
            document_id INTEGER NOT NULL,  -- no reference: twenty rows a document, each of which would be looked up
            PRIMARY KEY (band, document_id)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE definition_alias (
            topic TEXT NOT NULL,
            alias_key TEXT NOT NULL,
            definition_id INTEGER NOT NULL REFERENCES definition (id),
            PRIMARY KEY (topic, alias_key, definition_id)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX ix_definition_alias_definition_id ON definition_alias (definition_id)",
    ),
    then=_keep_aliases,
)

_LARGE = Migration(
    7,
    "A page or a command on a million definitions reads what it shows: counts are kept, and what is asked for has an index.",
    (
        *counting.statements(),
        "CREATE INDEX document_by_feed ON document (feed_id)",
        "DROP INDEX definition_by_entity",
        "CREATE INDEX definition_by_entity ON definition (topic, entity_key, state)",
        "CREATE INDEX definition_by_topic ON definition (topic)",
        "CREATE INDEX definition_by_state_alone ON definition (state)",
        "CREATE INDEX definition_by_name ON definition (entity_key, topic, state)",
        "CREATE INDEX ix_witness_document_id ON witness (document_id)",
        "CREATE INDEX adapter_definition_by_role ON adapter_definition (adapter_id, role)",
        "CREATE INDEX ix_adapter_parent_id ON adapter (parent_id)",
        "CREATE INDEX release_by_adapter ON release (to_adapter_id, alias)",
        "CREATE INDEX job_by_key ON job (key, finished_at)",
        "CREATE INDEX event_by_actor ON event (actor)",
    ),
)

MIGRATIONS: tuple[Migration, ...] = (
    _FEEDS_TO_DEFINITIONS,
    _ADAPTERS_TO_RELEASES,
    _JOBS_AND_EVENTS,
    _SERVING,
    _AUDIT,
    _WITNESSES,
    _LARGE,
)
LATEST = MIGRATIONS[-1].version
