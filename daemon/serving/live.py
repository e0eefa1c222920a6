"""The live canary: what is served is asked its own check questions again and again, and goes back by itself when it no longer knows them.

A version passes its check once; the engine, its memory, its adapters and its kernels go on living. The questions go to each engine under the
version's own name, so that one sick engine among several is seen too.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass

from daemon.serving.client import EngineClient
from daemon.serving.errors import EngineDown, EngineFailed
from daemon.serving.questions import Question, own_questions, right
from daemon.serving.settings import CanarySettings
from registry import NothingToRollBack, Registry

log = logging.getLogger(__name__)
ACTOR = "live canary"
LEAST_QUESTIONS = 2  # one wrong answer alone is no regression


@dataclass(frozen=True, slots=True)
class LiveReport:
    """What came of asking one alias. `right` of `asked` answers were as in the check; `action` says what was done, None if nothing."""

    alias: str
    adapter: str
    asked: int
    right: int
    action: str | None = None
    reason: str | None = None


def ask_live(
    registry: Registry, clients: Sequence[EngineClient], *, settings: CanarySettings, chance: random.Random | None = None
) -> list[LiveReport]:
    """Asks every alias's version and canary once, on every engine; rolls back or ends what regressed. A silent engine is no regression."""
    chance = chance or random.Random()
    served = [(alias.name, alias.adapter, False) for alias in registry.read.aliases() if alias.adapter is not None]
    tried = [(canary.alias, canary.adapter, True) for canary in registry.read.canaries()]
    reports = []
    for alias, adapter, is_canary in [*tried, *served]:
        questions = own_questions(registry, registry.read.adapter(adapter))
        if len(questions) < LEAST_QUESTIONS:
            continue
        worst = _ask_everywhere(clients, adapter, questions, settings=settings, chance=chance)
        if worst is None:
            continue
        found, asked, url = worst
        report = LiveReport(alias, adapter, asked, found)
        if found < settings.right_min * asked:
            reason = (
                f"{adapter} answered only {found} of {asked} of its own check questions as it did in its check, twice running, on {url}"
            )
            report = _take_back(registry, report, reason, is_canary=is_canary)
        reports.append(report)
    return reports


def _ask_everywhere(
    clients: Sequence[EngineClient], adapter: str, questions: Sequence[Question], *, settings: CanarySettings, chance: random.Random
) -> tuple[int, int, str] | None:
    """The worst engine's (right, asked, url); None if none could be asked. Bad answers are asked for again, with other questions."""
    found = []
    for client in clients:
        try:
            if adapter not in {card.name for card in client.models()}:
                continue  # reconcile will bring it; asking would say nothing of the version
            for _ in range(2):
                some = chance.sample(list(questions), min(settings.questions, len(questions)))
                count = right(client, some, model=adapter)
                if count >= settings.right_min * len(some):
                    break
        except (EngineDown, EngineFailed) as err:
            log.info("The live canary could not ask %s: %s", client.url, err)
            continue
        found.append((count, len(some), client.url))
    return min(found, key=lambda one: one[0] / one[1], default=None)


def _take_back(registry: Registry, report: LiveReport, reason: str, *, is_canary: bool) -> LiveReport:
    """Only what was asked is taken back: somebody may have released another version meanwhile."""
    if is_canary:
        registry.write.end_canary(report.alias, actor=ACTOR, reason=reason)
        action = "canary ended"
    else:
        if registry.read.alias(report.alias).adapter != report.adapter:
            return report
        try:
            registry.write.rollback(report.alias, to=None, actor=ACTOR, reason=reason)
        except NothingToRollBack:
            return report
        action = "rolled back"
    log.warning("%s: %s", action, reason, extra={"action": action, "alias": report.alias, "adapter": report.adapter})
    return LiveReport(report.alias, report.adapter, report.asked, report.right, action, reason)
