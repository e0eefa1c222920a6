"""What of doctor's findings can be put right by itself, each as an offer: what would be done, and how. Does nothing unasked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from registry import health
from registry.artifacts import Artifacts
from registry.queries import Queries
from registry.records import Adapter, Alias
from registry.states import AdapterState, JobState
from registry.store import Store


@dataclass(frozen=True, slots=True)
class Mending:
    """An offer. `do` carries it out and returns a sentence about what was done; it raises RegistryError if that cannot be."""

    object: str
    offer: str
    do: Callable[[], str]


def mendings(read: Queries, write: Store, artifacts: Artifacts, now: datetime, *, actor: str) -> list[Mending]:
    """To be asked for while no daemon works on the home: what one is making would look like what a dead one left."""
    found = [*_left_behind(read, write, artifacts, now)]
    found += _unserved_aliases(read, write, artifacts, actor=actor)
    found += _unknown_folders(read, write, artifacts, actor=actor)
    found += [
        Mending(f"job {job.id}", f"Try again what was given up: {job.kind} {job.key}", partial(_retry, write, job.id))
        for job in read.jobs(JobState.FAILED)
        if not _asked_for_again(read, job.key)
    ]
    return found


def _left_behind(read: Queries, write: Store, artifacts: Artifacts, now: datetime) -> Iterator[Mending]:
    """What the daemon does at its start."""
    left = artifacts.leftovers()
    if left:
        yield Mending(
            f"{len(left)} unfinished folders", "Delete what dead processes left unfinished", lambda: f"Deleted {len(artifacts.sweep())}"
        )
    if any(job.lease_until is not None and job.lease_until < now for job in read.jobs(JobState.RUNNING)):
        yield Mending("jobs", "Queue again what dead workers held", lambda: f"Queued {len(write.requeue_expired(now))}")
    learning = {a.name for a in read.bare_adapters() if a.state is AdapterState.LEARNING}
    if any(found.adapter in learning for found in artifacts.published()):
        yield Mending(
            "adapters", "Take in what was published before a crash", lambda: "; ".join(health.finish_published(read, write, artifacts))
        )


def _unserved_aliases(read: Queries, write: Store, artifacts: Artifacts, *, actor: str) -> Iterator[Mending]:
    adapters, aliases = read.adapters_and_aliases()
    by_name = {a.name: a for a in adapters}
    for alias in aliases:
        serving = None if alias.adapter is None else by_name[alias.adapter]
        if serving is None or (serving.state is AdapterState.LIVE and health.problem_of(artifacts, serving) is None):
            continue
        offer = f"Serve what {alias.name} served before {serving.name}"
        yield Mending(f"alias {alias.name}", offer, partial(_roll_back, write, alias, serving, actor=actor))


def _unknown_folders(read: Queries, write: Store, artifacts: Artifacts, *, actor: str) -> Iterator[Mending]:
    known = {(a.name, a.digest) for a in read.bare_adapters() if a.removed_at is None}
    learning = {a.name for a in read.bare_adapters() if a.state is AdapterState.LEARNING}
    for found in artifacts.published():
        if (found.adapter, found.digest) not in known and found.adapter not in learning:
            yield Mending(
                f"folder {found.path}", "Delete it: no row refers to it", partial(_delete, write, artifacts, found.path, actor=actor)
            )


def _asked_for_again(read: Queries, key: str) -> bool:
    return any(job.key == key for state in (JobState.QUEUED, JobState.RUNNING) for job in read.jobs(state))


def _retry(write: Store, job_id: int) -> str:
    job = write.retry_job(job_id)
    return f"Job {job.id} is {job.state.value}"


def _roll_back(write: Store, alias: Alias, serving: Adapter, *, actor: str) -> str:
    release = write.rollback(alias.name, to=None, actor=actor, reason=f"{serving.name} is not whole")
    return f"{alias.name} serves {release.to_adapter or 'the base model'}"


def _delete(write: Store, artifacts: Artifacts, path: Path, *, actor: str) -> str:
    artifacts.remove(path)
    write.add_event(actor, "deleted", f"folder {path.parent.name}/{path.name}", {"reason": "no row refers to it"})
    return f"Deleted {path}"
