"""`lorefeed documents`: what was fetched."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.commands.place import Json, Limit, cut, most, one_more, place_of
from daemon.commands.views import definition_json, document_json
from daemon.output import say, short, show_facts, show_json, show_table

app = typer.Typer(help="What was fetched: every text with where, when and how.", no_args_is_help=True)


@app.command("list")
def list_documents(
    ctx: typer.Context,
    feed: Annotated[str | None, typer.Option(metavar="N", help="Only of this feed.")] = None,
    state: Annotated[str | None, typer.Option(metavar="S", help="Only in this state: new, extracted, withdrawn.")] = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """The documents, newest first.

    \b
    lorefeed documents list --feed example.org --limit 20
    """
    from registry import DocumentState

    if state is not None and state not in list(DocumentState):
        raise typer.BadParameter(f"{state!r} is no state of a document: {', '.join(DocumentState)}")
    shown = most(limit, as_json=as_json)
    with place_of(ctx).registry() as registry:
        found = registry.read.documents(feed=feed, state=state, limit=one_more(shown), newest=True)
    documents = cut(found, shown)
    if as_json:
        show_json([document_json(document) for document in documents])
        return
    rows = [(d.id, d.feed, d.state, d.fetched_at, short(d.title or "", 50), d.url, short(d.problem or "", 60)) for d in documents]
    show_table(("id", "feed", "state", "fetched", "title", "url", "problem"), rows, empty="There are no documents.")


@app.command()
def show(ctx: typer.Context, document_id: Annotated[int, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """One document: its text, how it was fetched, and the definitions found in it.

    \b
    lorefeed documents show 12
    """
    with place_of(ctx).registry() as registry:
        document = registry.read.document(document_id)
        definitions = registry.read.definitions(document=document.id)
    if as_json:
        found = [definition_json(definition) for definition in definitions]
        show_json({**document_json(document), "text": document.text, "fetch": document.fetch, "definitions": found})
        return
    show_facts({key: value for key, value in document_json(document).items() if value is not None})
    say("")
    say(document.text or "(No text: it was empty, or given up because the document taught nothing: retention.idle_texts_days)")
    show_table(("id", "entity", "state", "characters"), [(d.id, d.entity, d.state, f"{d.span[0]}-{d.span[1]}") for d in definitions])
