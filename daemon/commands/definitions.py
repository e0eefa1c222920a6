"""`lorefeed definitions`: what was found, and what an operator decides about it."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.commands.place import OPERATOR, Json, Limit, cut, most, one_more, place_of
from daemon.commands.views import adapter_row_json, definition_json, document_json, event_json
from daemon.output import note, say, short, show_facts, show_json, show_table

app = typer.Typer(help="What was found: entities and the sentences that define them.", no_args_is_help=True)

Ids = Annotated[list[int], typer.Argument(metavar="ID...", help="Numbers of definitions, as `lorefeed definitions list` shows them.")]
Reason = Annotated[str | None, typer.Option(metavar="R", help="Why; kept with the definition.")]


@app.command("list")
def list_definitions(
    ctx: typer.Context,
    topic: Annotated[str | None, typer.Option(metavar="T", help="Only of this topic.")] = None,
    state: Annotated[str | None, typer.Option(metavar="S", help="Only in this state: waiting, review, learned, ...")] = None,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Only those with a larger number.")] = 0,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """The definitions, oldest first.

    \b
    lorefeed definitions list --state review
    lorefeed definitions list --topic news --json | jq '.[].entity'
    """
    from registry import DefinitionState

    if state is not None and state not in list(DefinitionState):
        raise typer.BadParameter(f"{state!r} is no state of a definition: {', '.join(DefinitionState)}")
    shown = most(limit, as_json=as_json)
    with place_of(ctx).registry() as registry:
        found = registry.read.definitions(topic=topic, state=state, after=after, limit=one_more(shown))
    definitions = cut(found, shown, more=f"The next: --after {found[-2].id}" if len(found) > 1 else "")
    if as_json:
        show_json([definition_json(definition) for definition in definitions])
        return
    rows = [(d.id, d.topic, d.state, d.novelty, d.entity, short(d.text, 90), d.feed) for d in definitions]
    show_table(("id", "topic", "state", "novelty", "entity", "definition", "feed"), rows, empty="There are no definitions.")


@app.command()
def show(ctx: typer.Context, definition_id: Annotated[int, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """One definition: where it stands written, what carries it, and who decided what.

    \b
    lorefeed definitions show 3
    """
    with place_of(ctx).registry() as registry:
        history = registry.read.definition_history(definition_id)
    definition = history.definition
    more = {
        "reason": definition.reason,
        "aliases": definition.aliases,
        "against": definition.against,
        "gone_at": definition.gone_at,
        "witnesses": [document.id for document in history.witnesses],
        "earlier": [older.id for older in history.earlier],
        "later": [newer.id for newer in history.later],
        "created_at": definition.created_at,
    }
    if as_json:
        lineage = {
            "document": document_json(history.document),
            "adapters": [adapter_row_json(adapter) for adapter in history.adapters],
            "events": [event_json(event) for event in history.events],
        }
        show_json({**definition_json(definition), **more, **lineage})
        return
    facts = {**definition_json(definition), **more, "span": f"{definition.span[0]}-{definition.span[1]}"}
    show_facts({key: value for key, value in facts.items() if value not in (None, [], ())})
    show_table(("adapter", "state"), [(a.name, a.state) for a in history.adapters], title="Carried by", empty="no adapter yet")
    rows = [(e.at, e.actor, e.action, e.detail.get("reason")) for e in history.events]
    show_table(("when", "who", "what", "why"), rows, title="History", empty="nothing yet")


@app.command()
def transfer(ctx: typer.Context, definition_id: Annotated[int, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """What a definition is learnt from, its transfer set, and what was kept out of it to be asked.

    \b
    lorefeed definitions transfer 3
    """
    with place_of(ctx).registry() as registry:
        definition = registry.read.definition(definition_id)
        examples, probes = registry.read.transfer_set([definition_id]), registry.read.probes([definition_id])
    if as_json:
        show_json(
            {
                "id": definition.id,
                "entity": definition.entity,
                "examples": [{"form": e.form, "prompt": e.prompt, "text": e.text, "generator": e.generator} for e in examples],
                "probes": [{"kind": p.kind, "form": "chat" if p.chat else "plain", "prompt": p.prompt, "target": p.target} for p in probes],
            }
        )
        return
    rows = [(e.form, e.prompt, e.text, e.generator) for e in examples]
    show_table(("form", "asked", "says", "written by"), rows, title=f"{definition.entity} is learnt from", empty="nothing yet")
    asked = [(p.kind, p.prompt, p.target) for p in probes]
    show_table(("kind", "asked", "right is"), asked, title="And is asked", empty="nothing yet")


@app.command()
def approve(ctx: typer.Context, ids: Ids, reason: Reason = None, as_json: Json = False) -> None:
    """Let definitions under review be learnt: review -> waiting.

    \b
    lorefeed definitions approve 3 4 7
    """
    _move(ctx, ids, "waiting", only_from=("review",), reason=reason or "approved by an operator", as_json=as_json)


@app.command()
def reject(ctx: typer.Context, ids: Ids, reason: Reason = None, as_json: Json = False) -> None:
    """Say that definitions are not to be learnt.

    \b
    lorefeed definitions reject 5 --reason "an advertisement"
    """
    _move(ctx, ids, "rejected", only_from=(), reason=reason or "rejected by an operator", as_json=as_json)


@app.command()
def edit(
    ctx: typer.Context,
    definition_id: Annotated[int, typer.Argument(metavar="ID")],
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="The definition in your words.")] = None,
    entity: Annotated[str | None, typer.Option(metavar="NAME", help="The entity's name, where it was found wrongly.")] = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Correct what was found before it is learnt. A definition under review stays there: approve it then.

    \b
    lorefeed definitions edit 5 --text "An oslith is a blue lamp." --reason "the sentence was cut short"
    """
    with place_of(ctx).registry() as registry:
        edited = registry.write.edit_definition(definition_id, entity=entity, text=text, actor=OPERATOR, reason=reason)
    if as_json:
        show_json(definition_json(edited))
    else:
        say(f"Definition {edited.id} ({edited.entity}) is {edited.state}: {edited.text}")


@app.command()
def hold(ctx: typer.Context, ids: Ids, reason: Reason = None, as_json: Json = False) -> None:
    """Set definitions aside until they are released.

    \b
    lorefeed definitions hold 5 --reason "waits for the second source"
    """
    _move(ctx, ids, "held", only_from=(), reason=reason or "held by an operator", as_json=as_json)


@app.command()
def release(ctx: typer.Context, ids: Ids, reason: Reason = None, as_json: Json = False) -> None:
    """Let held or refused definitions be learnt after all: held, refused -> waiting.

    \b
    lorefeed definitions release 5
    """
    _move(ctx, ids, "waiting", only_from=("held", "refused"), reason=reason or "released by an operator", as_json=as_json)


def _move(ctx: typer.Context, ids: list[int], state: str, *, only_from: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Moves all or, if one may not move, none. `only_from` is narrower than the registry's table: a word for each decision."""
    from registry import NotAllowed

    with place_of(ctx).registry() as registry:
        before = [registry.read.definition(definition_id) for definition_id in ids]
        for one in before:
            if only_from and one.state not in (*only_from, state):
                verb = {"held": "release", "refused": "release", "review": "approve"}.get(one.state)
                hint = f"lorefeed definitions {verb} {one.id}" if verb else f"lorefeed definitions show {one.id}"
                raise NotAllowed(f"Definition {one.id} ({one.entity}) is {one.state}, not {' or '.join(only_from)}", hint=hint)
        moved = registry.write.move_definitions(ids, state, reason=reason, actor=OPERATOR)
    if as_json:
        show_json([definition_json(definition) for definition in moved])
    else:
        for definition in moved:
            say(f"Definition {definition.id} ({definition.entity}) is {definition.state} now.")
    served = sorted({one.topic for one in before if one.state == "learned"}) if state != "waiting" else []
    for topic in served:
        note(f"What {topic} serves now was learnt with it and stays as it is; to take that back: lorefeed rollback {topic}")
