"""`lorefeed keys`: who may come in through the gateway, and who may change what it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon.commands.place import OPERATOR, Json, place_of
from daemon.output import note, say, show_json, show_table

if TYPE_CHECKING:
    from registry import ApiKey

app = typer.Typer(
    help="API keys of the gateway. With none, only this machine may ask; with one, everybody needs one.", no_args_is_help=True
)

KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, for you to tell them apart.")]


@app.command()
def add(
    ctx: typer.Context,
    name: KeyName,
    admin: Annotated[bool, typer.Option("--admin", help="It may also promote, roll back and begin canaries.")] = False,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once and kept only as a digest.

    \b
    lorefeed keys add laptop
    lorefeed keys add deploy --admin
    """
    from daemon.serving.keys import digest_of, new_key

    key = new_key()
    with place_of(ctx).registry() as registry:
        made = registry.write.add_api_key(name, digest=digest_of(key), admin=admin, actor=OPERATOR)
    if as_json:
        show_json({**key_json(made), "key": key})
        return
    say(key)
    note("It is shown this once: lorefeed keeps only its digest.")


@app.command("list")
def list_keys(ctx: typer.Context, as_json: Json = False) -> None:
    """Whose keys open the gateway.

    \b
    lorefeed keys list
    """
    with place_of(ctx).registry() as registry:
        keys = registry.read.api_keys()
    if as_json:
        show_json([key_json(key) for key in keys])
        return
    rows = [(key.name, "yes" if key.admin else "", key.created_at, key.digest[:12]) for key in keys]
    show_table(("name", "admin", "made", "digest"), rows, empty="There are no keys: only this machine may ask the gateway.")


@app.command()
def remove(ctx: typer.Context, name: KeyName, as_json: Json = False) -> None:
    """Take a key away. Its holder is refused from the next request on.

    \b
    lorefeed keys remove laptop
    """
    with place_of(ctx).registry() as registry:
        gone = registry.write.remove_api_key(name, actor=OPERATOR)
    if as_json:
        show_json(key_json(gone))
    else:
        say(f"The key {gone.name} opens nothing any more.")


def key_json(key: ApiKey) -> dict[str, object]:
    return {"name": key.name, "admin": key.admin, "created_at": key.created_at, "digest": key.digest[:12]}
