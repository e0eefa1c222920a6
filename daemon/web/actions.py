"""What an administrator can do on the dashboard. Each action says beforehand what it will do, and is the same write that the command makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from daemon.carriers import give_up_carriers
from daemon.quiet import pause, paused, resume
from registry import AdapterState, BadValue, DefinitionState, FeedState, Forgetting, NotAllowed, Registry, split_adapter_name

NAMES_TOLD = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """An action on its way: on what, by whom, why."""

    object: str
    actor: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Action:
    """`foretell` says what would happen, `do` does it and says what has; both raise RegistryError. `back` is the page to go to."""

    verb: str
    foretell: Callable[[Registry, str], str]
    do: Callable[[Registry, Asked], str]
    back: Callable[[str], str]
    dangerous: bool = False


def _definition(registry: Registry, number: str, *allowed: DefinitionState) -> int:
    if not number.isdecimal():
        raise BadValue(f"{number!r} is no definition's number")
    found = registry.read.definition(int(number))
    if allowed and found.state not in allowed:
        raise NotAllowed(
            f"Definition {number} ({found.entity}) is {found.state}, not {' or '.join(allowed)}", hint="Look at its page again"
        )
    return found.id


def _mover(verb: str, to: DefinitionState, effect: str, *allowed: DefinitionState, default: str, dangerous: bool = False) -> Action:
    def foretell(registry: Registry, number: str) -> str:
        found = registry.read.definition(_definition(registry, number, *allowed))
        return f"“{found.entity}” {effect}"

    def do(registry: Registry, asked: Asked) -> str:
        number = _definition(registry, asked.object, *allowed)
        [moved] = registry.write.move_definitions([number], to, reason=asked.reason or default, actor=asked.actor)
        return f"“{moved.entity}” is {moved.state.value} now."

    return Action(verb, foretell, do, lambda number: f"/ui/definitions/{number}", dangerous)


def _learn_foretell(registry: Registry, topic: str) -> str:
    waiting = len(_pending(registry, topic))
    return f"{waiting} definitions of {topic} are measured, learnt, checked and, if the check passes, released, without waiting for more."


def _learn(registry: Registry, asked: Asked) -> str:
    job = registry.write.enqueue(
        "learn", key=f"learn:{asked.object}", payload={"topic": asked.object, "pending": _pending(registry, asked.object)}
    )
    registry.write.add_event(asked.actor, "asked to learn", f"topic {asked.object}", {"reason": asked.reason})
    return f"Learning {asked.object} is queued." if job is not None else f"{asked.object} is being learnt already."


def _pending(registry: Registry, topic: str) -> list[int]:
    states = (DefinitionState.FOUND, DefinitionState.WAITING)
    return [d.id for state in states for d in registry.read.definitions(topic=topic, state=state)]


def _promote_foretell(registry: Registry, name: str) -> str:
    adapter, alias = registry.read.adapter(name), registry.read.alias(split_adapter_name(name)[0])
    if adapter.state is AdapterState.REFUSED:
        raise NotAllowed(f"{name} was refused by its check", hint=f"To serve it all the same: lorefeed promote {name} --force --reason R")
    return f"{alias.name} answers with {name} from the next request on, instead of {alias.adapter or 'the base model'}."


def _promote(registry: Registry, asked: Asked) -> str:
    release = registry.write.promote(split_adapter_name(asked.object)[0], asked.object, actor=asked.actor, reason=asked.reason)
    return f"{release.alias} serves {release.to_adapter} now."


def _rollback_foretell(registry: Registry, alias: str) -> str:
    now = registry.read.alias(alias)
    if now.adapter is None:
        raise NotAllowed(f"{alias} serves the base model; there is nothing to go back from", hint="Look at its topic's page")
    return (
        f"{alias} goes back from {now.adapter} to what it served before; what only {now.adapter} had learnt is held until you release it."
    )


def _rollback(registry: Registry, asked: Asked) -> str:
    release = registry.write.rollback(asked.object, to=None, actor=asked.actor, reason=asked.reason)
    return f"{release.alias} serves {release.to_adapter or 'the base model'} again."


def _feed(verb: str, effect: str, state: FeedState | None) -> Action:
    def foretell(registry: Registry, name: str) -> str:
        return f"{registry.read.feed(name).name} {effect}"

    def do(registry: Registry, asked: Asked) -> str:
        if state is not None:
            return f"{asked.object} is {registry.write.set_feed_state(asked.object, state, actor=asked.actor).state.value} now."
        registry.read.feed(asked.object)
        job = registry.write.enqueue("poll", key=f"poll:{asked.object}", payload={"feed": asked.object})
        return f"A poll of {asked.object} is queued." if job is not None else f"{asked.object} is being polled already."

    return Action(verb, foretell, do, lambda _: "/ui/feeds")


def _retry_foretell(registry: Registry, number: str) -> str:
    job = registry.read.job(int(number) if number.isdecimal() else 0)
    return f"{job.kind} {job.key} is tried again, with its attempts counted anew."


def _retry(registry: Registry, asked: Asked) -> str:
    job = registry.write.retry_job(int(asked.object))
    registry.write.add_event(asked.actor, "tried again", f"job {job.id}", {"reason": asked.reason})
    return f"Job {job.id} is {job.state.value}."


def _named(subject: str) -> dict[str, Any]:
    """`document 12`, `feed NAME` or `entity NAME`, as forgetting takes it."""
    kind, _, name = subject.partition(" ")
    if kind not in ("document", "feed", "entity") or not name or (kind == "document" and not name.isdecimal()):
        raise BadValue(f"{subject!r} is nothing that could be forgotten", hint="Name a document's number, a feed or an entity")
    return {"document": None, "feed": None, "entity": None, kind: int(name) if kind == "document" else name}


def _forget_foretell(registry: Registry, subject: str) -> str:
    plan = registry.read.forgetting(**_named(subject))
    if not plan.definitions and not plan.documents:
        raise NotAllowed(f"Nothing of {subject} is known any more", hint="Look at who decided what, on its page")
    told = [f"{_count(len(plan.definitions), 'definition')} {_are(plan.definitions)} forgotten for good{_names(plan)}"]
    if plan.documents:
        told.append(f"{_count(len(plan.documents), 'document')} {_are(plan.documents)} withdrawn")
    if plan.witnessed:
        told.append(f"{_count(len(plan.witnessed), 'definition')} stay, because other documents say the same")
    if plan.carried_by:
        told.append(f"{_count(plan.carried_by, 'version')} had it in training and can never be served again")
    if plan.topics:
        told.append(f"{', '.join(plan.topics)} is learnt again without it, and released when it is shown to know it no more")
    return f"{'; '.join(told)}. This cannot be taken back."


def _forget(registry: Registry, asked: Asked) -> str:
    _forget_foretell(registry, asked.object)
    reason = asked.reason or "forgotten on the dashboard"
    plan = registry.write.forget(**_named(asked.object), actor=asked.actor, reason=reason)
    give_up_carriers(registry, [d.id for d in plan.definitions], actor=asked.actor)
    again = f"; {', '.join(plan.topics)} is learnt again without it" if plan.topics else ""
    return f"{_count(len(plan.definitions), 'definition')} {_are(plan.definitions)} forgotten{again}."


def _names(plan: Forgetting) -> str:
    names = list(dict.fromkeys(d.entity for d in plan.definitions))
    more = f" and {len(names) - NAMES_TOLD} more names" if len(names) > NAMES_TOLD else ""
    return f" ({', '.join(names[:NAMES_TOLD])}{more})" if names else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _are(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _pause_foretell(registry: Registry, _: str) -> str:
    if (since := paused(registry)) is not None:
        raise NotAllowed(f"Learning is {since}", hint="Resume it")
    return "No learning begins until you resume it. What is being learnt is finished, feeds are read, and everything is served as before."


def _pause(registry: Registry, asked: Asked) -> str:
    _pause_foretell(registry, asked.object)
    pause(registry, actor=asked.actor, reason=asked.reason)
    return "Learning is paused."


def _resume_foretell(registry: Registry, _: str) -> str:
    if (since := paused(registry)) is None:
        raise NotAllowed("Learning is not paused", hint="See what is running")
    return f"Learning is {since}. It goes on with what waits."


def _resume(registry: Registry, asked: Asked) -> str:
    _resume_foretell(registry, asked.object)
    resume(registry, actor=asked.actor)
    return "Learning goes on."


_S = DefinitionState
ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "approve": _mover("Approve", _S.WAITING, "will be learnt.", _S.REVIEW, _S.WAITING, default="approved on the dashboard"),
        "reject": _mover("Reject", _S.REJECTED, "will not be learnt.", default="rejected on the dashboard", dangerous=True),
        "hold": _mover("Hold", _S.HELD, "is set aside until you release it.", default="held on the dashboard"),
        "release": _mover(
            "Release", _S.WAITING, "will be learnt after all.", _S.HELD, _S.REFUSED, _S.WAITING, default="released on the dashboard"
        ),
        "learn": Action("Learn now", _learn_foretell, _learn, lambda topic: f"/ui/topics/{topic}"),
        "promote": Action("Promote", _promote_foretell, _promote, lambda name: f"/ui/adapters/{name}"),
        "rollback": Action("Roll back", _rollback_foretell, _rollback, lambda alias: f"/ui/topics/{alias}", dangerous=True),
        "poll": _feed("Poll now", "is polled at once.", None),
        "pause": _feed("Pause", "is not polled until you resume it; what came from it stays.", FeedState.PAUSED),
        "resume": _feed("Resume", "is polled again, beginning now.", FeedState.ACTIVE),
        "retry": Action("Try again", _retry_foretell, _retry, lambda _: "/ui/"),
        "forget": Action(
            "Forget", _forget_foretell, _forget, lambda it: "/ui/feeds" if it.startswith("feed ") else "/ui/definitions", dangerous=True
        ),
        "pause_learning": Action("Pause learning", _pause_foretell, _pause, lambda _: "/ui/"),
        "resume_learning": Action("Resume learning", _resume_foretell, _resume, lambda _: "/ui/"),
    }
)
