"""`lorefeed ask`: a question to the running gateway, to one model or to several beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon.commands.place import Json, Place, place_of
from daemon.commands.reach import gateway_url
from daemon.errors import DaemonError
from daemon.output import say, show_json, show_table

if TYPE_CHECKING:
    from daemon.serving.client import EngineClient, Reply

BASE = "base"


class GatewayDown(DaemonError):
    """The gateway does not answer."""

    hint = "lorefeed run"


def ask(
    ctx: typer.Context,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask.")],
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="M", help="base, an alias or an adapter (news@7). May be given more than once.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Ask the base model, every alias, and what was merged of several topics.")
    ] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer, in tokens.")] = None,
    as_json: Json = False,
) -> None:
    """Ask the running gateway. Without --model it asks the alias, if there is exactly one, else the base model.

    \b
    lorefeed ask "What is the Blue Harbour?" --compare
    lorefeed ask "What is the Blue Harbour?" --model base --model news@7
    """
    from daemon.serving.client import EngineClient

    place = place_of(ctx)
    settings = place.settings()
    key = settings.gateway.api_key.get_secret_value() if settings.gateway.api_key else None
    models, merged = _models(place, model or [], compare=compare)
    with EngineClient(gateway_url(settings), timeout_s=settings.gateway.upstream_timeout_s, api_key=key) as client:
        answers = [(name, _ask(client, question, name, max_tokens=max_tokens)) for name in models]
        heard = {reply.adapter for _, reply in answers}
        answers += [(name, _ask(client, question, name, max_tokens=max_tokens)) for name in merged if name not in heard]
    if as_json:
        listed = [{"model": name, "adapter": reply.adapter, "text": reply.text} for name, reply in answers]
        show_json({"question": question, "answers": listed})
    elif len(answers) == 1:
        say(answers[0][1].text)
    else:
        show_table(("model", "answered by", "answer"), [(name, reply.adapter, reply.text) for name, reply in answers], title=question)


def _models(place: Place, named: list[str], *, compare: bool) -> tuple[list[str], list[str]]:
    """Whom to ask; and the merged versions behind them, which answer for their aliases only when things of several topics are named."""
    from registry import split_adapter_name

    if named and not compare:
        return list(dict.fromkeys(named)), []
    with place.registry() as registry:
        aliases = registry.read.aliases()
    names = [alias.name for alias in aliases]
    if not compare:
        return (names if len(names) == 1 else [BASE]), []
    chosen = list(dict.fromkeys([BASE, *(named or names)]))
    served = [(alias.adapter, alias.topics) for alias in aliases if alias.name in chosen and alias.adapter is not None]
    merged = [adapter for adapter, topics in served if len(topics) > 1 and split_adapter_name(adapter)[0] not in topics]
    return chosen, merged


def _ask(client: EngineClient, question: str, model: str, *, max_tokens: int | None) -> Reply:
    import httpx2

    from daemon.serving.errors import EngineDown

    try:
        return client.chat([{"role": "user", "content": question}], model=model, max_tokens=max_tokens)
    except EngineDown as err:
        if isinstance(err.__cause__, httpx2.HTTPError):  # nobody there; otherwise the gateway itself says that its engine is down
            raise GatewayDown(f"The gateway at {client.url} does not answer ({err.__cause__})") from err
        raise
