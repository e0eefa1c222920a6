"""`lorefeed adapters sign`: signs versions that were made before there was a key, or after the key was changed."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.commands.place import OPERATOR, Json, place_of
from daemon.errors import ConfigError
from daemon.output import say, show_json


def sign(
    ctx: typer.Context,
    adapters: Annotated[list[str], typer.Argument(metavar="A...", help="Versions, such as news@7.")],
    as_json: Json = False,
) -> None:
    """Sign versions with signing.private_key, after their files were compared with what was published.

    New versions are signed as they are made; this is for older ones. Anybody can then verify the folder: model_signing verify key DIR --signature
    DIR/model.sig --public_key FILE.

    \b
    lorefeed adapters sign news@6 news@7
    """
    from registry import sign_folder

    place = place_of(ctx)
    key = place.settings().private_key
    if key is None:
        raise ConfigError("There is no signing.private_key.", hint="Set it in lorefeed.toml; see docs/operations.md, Signed versions.")
    with place.registry() as registry:
        for name in adapters:
            sign_folder(registry.artifacts.verify(registry.read.adapter(name)), key)
            registry.write.add_event(OPERATOR, "signed", f"adapter {name}", {})
    if as_json:
        show_json({"signed": adapters})
        return
    say(f"Signed: {', '.join(adapters)}. What was not loaded for want of a signature is loaded again within daemon.reconcile_s.")
