"""`lorefeed pause` and `resume`: whether anything is learnt for now."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.commands.place import OPERATOR, Json, place_of
from daemon.output import say, show_json


def pause(
    ctx: typer.Context,
    reason: Annotated[str | None, typer.Option(metavar="R", help="Why; recorded for ever.")] = None,
    as_json: Json = False,
) -> None:
    """Begin no learning until it is resumed. What is being learnt is finished; feeds are read and everything served as before.

    \b
    lorefeed pause --reason "the GPU is needed until Monday"
    lorefeed resume
    """
    from daemon.quiet import pause as write_down
    from daemon.quiet import paused

    with place_of(ctx).registry() as registry:
        changed = write_down(registry, actor=OPERATOR, reason=reason)
        now = paused(registry)
    if as_json:
        show_json({"paused": now, "changed": changed})
    else:
        say(f"Learning is {'' if changed else 'already '}{now}")


def resume(ctx: typer.Context, as_json: Json = False) -> None:
    """Let learning go on.

    \b
    lorefeed resume
    """
    from daemon.quiet import resume as write_down

    with place_of(ctx).registry() as registry:
        changed = write_down(registry, actor=OPERATOR)
    if as_json:
        show_json({"paused": None, "changed": changed})
    else:
        say("Learning goes on." if changed else "Learning was not paused.")
