"""What a dead process left behind, put right; and what does not agree, said. Reads everything, decides nothing for the operator."""

from datetime import datetime

from registry.artifacts import Artifacts, Published
from registry.db import Database
from registry.errors import ArtifactDamaged
from registry.queries import Queries
from registry.records import Adapter, Alias, Finding
from registry.states import AdapterState, JobState
from registry.store import Store


def recover(read: Queries, write: Store, artifacts: Artifacts, now: datetime) -> list[str]:
    """Run at start, before anything else works. Returns a sentence for each thing done or found."""
    said = [f"Deleted an unfinished folder: {name}" for name in artifacts.sweep()]
    said += finish_published(read, write, artifacts)
    said += [f"Job {job.id} ({job.kind}) was left by a dead worker and is {job.state} now" for job in write.requeue_expired(now)]
    served = {alias.adapter for alias in read.aliases()}
    for adapter in _expected(read):
        # Every byte of what is served is read; for the rest names and sizes will do, so that a start takes no hour.
        if (problem := problem_of(artifacts, adapter, contents=adapter.name in served)) is not None:
            said.append(f"{_subject(adapter, read.aliases())}: {problem}")
    return said


def doctor(database: Database, read: Queries, artifacts: Artifacts, now: datetime) -> list[Finding]:
    """Everything that does not agree, with what to do about it. Changes nothing."""
    findings = [Finding("error", "registry", problem, "Restore a backup: lorefeed restore FILE") for problem in database.problems()]
    findings += [Finding("error", "registry", problem, "Restore a backup: lorefeed restore FILE") for problem in read.wrong_counts()]
    findings += _artifact_findings(read, artifacts)
    findings += _alias_findings(read)
    findings += _folder_findings(read, artifacts)
    findings += [
        Finding(
            "warning",
            f"job {job.id}",
            f"{job.kind} is running, but the lease of {job.lease_owner} ran out",
            "Start the daemon; it takes it up again",
        )
        for job in read.jobs(JobState.RUNNING)
        if job.lease_until is not None and job.lease_until < now
    ]
    return findings


def finish_published(read: Queries, write: Store, artifacts: Artifacts) -> list[str]:
    """A crash between the rename of the folder and the row's move: the folder is whole, so the learning is done."""
    learning = {a.name: read.adapter(a.name) for a in read.bare_adapters(present=True) if a.state is AdapterState.LEARNING}
    said = []
    for name, found in _newest_by_adapter(artifacts).items():
        if name in learning and artifacts.is_whole(found) and _is_made_of(found, learning[name]):
            write.finish_learning(name, digest=found.digest)
            said.append(f"Adapter {name} was published before a crash; it waits for its check now")
    return said


def _newest_by_adapter(artifacts: Artifacts) -> dict[str, Published]:
    by_time = sorted(artifacts.published(), key=lambda found: found.path.stat().st_mtime_ns)
    return {found.adapter: found for found in by_time}


def _is_made_of(found: Published, adapter: Adapter) -> bool:
    """The row may have been begun again since, with other definitions or another base; then the folder is not what it describes.

    Facts that the manifest does not state, or states in another form, are not compared.
    """
    definitions = found.manifest.get("definitions")
    if (
        isinstance(definitions, list)
        and all(isinstance(one, int) for one in definitions)
        and sorted(definitions) != list(adapter.definitions)
    ):
        return False
    return bool(found.manifest.get("base_digest", adapter.base_digest) == adapter.base_digest)


def _expected(read: Queries) -> list[Adapter]:
    return [a for a in read.bare_adapters(present=True) if a.digest is not None]


def problem_of(artifacts: Artifacts, adapter: Adapter, *, contents: bool = True) -> str | None:
    try:
        artifacts.verify(adapter, contents=contents)
    except ArtifactDamaged as err:
        return str(err)
    return None


def _subject(adapter: Adapter, aliases: list[Alias]) -> str:
    names = [alias.name for alias in aliases if alias.adapter == adapter.name]
    return f"adapter {adapter.name}" + (f", served as {', '.join(names)}," if names else "")


def _artifact_findings(read: Queries, artifacts: Artifacts) -> list[Finding]:
    aliases = read.aliases()
    findings = []
    for adapter in _expected(read):
        if (problem := problem_of(artifacts, adapter, contents=True)) is not None:
            served = [alias.name for alias in aliases if alias.adapter == adapter.name]
            remedy = (
                f"Restore the folder from a backup, or: lorefeed rollback {served[0]}" if served else "Restore the folder from a backup"
            )
            findings.append(Finding("error" if served else "warning", f"adapter {adapter.name}", problem, remedy))
    return findings


def _alias_findings(read: Queries) -> list[Finding]:
    adapters, aliases = read.adapters_and_aliases()
    live = {a.name for a in adapters if a.state is AdapterState.LIVE}
    pointed = {alias.adapter for alias in aliases if alias.adapter is not None}
    wrong = [
        Finding("error", f"alias {a.name}", f"It points at {a.adapter}, which is not live", f"Run: lorefeed rollback {a.name}")
        for a in aliases
        if a.adapter is not None and a.adapter not in live
    ]
    unserved = [
        Finding("error", f"adapter {name}", "It is live, but no alias points at it", f"Run: lorefeed promote {name}")
        for name in sorted(live - pointed)
    ]
    return wrong + unserved


def _folder_findings(read: Queries, artifacts: Artifacts) -> list[Finding]:
    folders = artifacts.published()  # before the rows: a folder that is published meanwhile is nobody's fault
    adapters = read.bare_adapters()
    known = {(a.name, a.digest) for a in adapters if a.removed_at is None}
    learning = {a.name for a in adapters if a.state is AdapterState.LEARNING}
    unknown = [found for found in folders if (found.adapter, found.digest) not in known]
    findings = [_unfinished(found) if found.adapter in learning else _unreferred(found) for found in unknown]
    left = [
        Finding("warning", f"folder {path}", "A dead process left it unfinished", "Start the daemon; it deletes it")
        for path in artifacts.leftovers()
    ]
    return findings + left


def _unfinished(found: Published) -> Finding:
    problem = f"It was published for {found.adapter}, whose row does not know it yet"
    return Finding("warning", f"folder {found.path}", problem, "Wait a moment, or start the daemon; it takes it in")


def _unreferred(found: Published) -> Finding:
    problem = f"It was published for {found.adapter}, which does not refer to it"
    return Finding("warning", f"folder {found.path}", problem, "Run: lorefeed adapters gc")
