"""What a command does to a running engine: loads what was just released, tries an adapter. An engine that is down is no failure here.

The daemon reconciles the engine again and again; doing it at once only spares the wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.commands.reach import answers, engine_answers
from daemon.output import note

if TYPE_CHECKING:
    from daemon.config import Settings
    from registry import Adapter, Registry


def reconcile_now(registry: Registry, settings: Settings) -> None:
    """Makes the engine hold what the registry serves now; says what could not be done."""
    from daemon.serving.client import EngineClient
    from daemon.serving.errors import ServingError
    from daemon.serving.reconcile import reconcile
    from daemon.serving_jobs import reconcile_settings

    for address in settings.engine.addresses:
        if not answers(address, "/health"):
            note(f"The engine at {address} does not answer; it is brought up to date when it is back and the daemon runs.")
            continue
        try:
            with EngineClient(address) as client:
                report = reconcile(registry, client, settings=reconcile_settings(settings))
        except ServingError as err:
            note(f"The engine at {address} was not brought up to date: {err}")
            continue
        for problem in report.problems:
            note(problem)


def load_problem(registry: Registry, settings: Settings, adapter: Adapter) -> str | None:
    """Why the engine would not take the adapter; None if it takes it, or is not there to be asked."""
    from daemon.jobs import engine_client, try_in_engine

    if not engine_answers(settings):
        return None
    with engine_client(settings) as client:
        return try_in_engine(registry, client, adapter, settings=settings)
