"""`lorefeed engine, gateway, daemon, run, demo`: the processes of the service, in the foreground. Log lines go to standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon.commands.place import place_of
from daemon.errors import ConfigError

if TYPE_CHECKING:
    from daemon.config import Settings


def engine(ctx: typer.Context) -> None:
    """Serve the base model and its adapters with the embedded engine. With engine.kind = "vllm", vLLM does this instead.

    \b
    lorefeed engine
    """
    settings = _begin(ctx)
    if settings.engine.kind == "vllm":
        raise ConfigError(
            "engine.kind is vllm, which runs in an environment of its own and is not started here.",
            hint="Start it: systemctl start lorefeed-vllm; or set engine.kind = 'embedded'",
        )
    from daemon.learn.folders import folder_of
    from daemon.serving.engine_app import run_engine

    folder = folder_of(settings.model, settings.revision)
    run_engine(folder, host=settings.engine.host, port=settings.engine.port, served_name=settings.served_name, revision=settings.revision)


def gateway(ctx: typer.Context) -> None:
    """Serve the OpenAI-compatible API and the status page, and turn aliases into versions.

    \b
    lorefeed gateway
    """
    settings = _begin(ctx)
    from daemon.serving.gateway import run_gateway
    from daemon.serving.settings import GatewaySettings

    front = settings.gateway
    with place_of(ctx).registry(create=True) as registry:
        run_gateway(
            registry,
            engine_url=settings.engine.address,
            base_name=settings.served_name,
            settings=GatewaySettings(
                host=front.host,
                port=front.port,
                api_key=front.api_key.get_secret_value() if front.api_key else None,
                upstream_timeout_s=front.upstream_timeout_s,
            ),
        )


def run_the_daemon(ctx: typer.Context) -> None:
    """Poll, extract, learn, check and promote, for as long as it runs. SIGTERM ends it in order.

    \b
    lorefeed daemon
    """
    settings = _begin(ctx)
    from daemon.service import run_daemon

    raise typer.Exit(run_daemon(place_of(ctx).home, settings))


def run(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Do everything that is due, then end: 0, or 1 if a job failed.")] = False,
) -> None:
    """Start engine, gateway and daemon in the foreground, and stop them together with Ctrl-C.

    \b
    lorefeed run
    lorefeed run --once
    """
    settings = _begin(ctx)
    home = place_of(ctx).home
    if once:
        from daemon.service import run_once

        raise typer.Exit(run_once(home, settings))
    from daemon.supervisor import run_all

    raise typer.Exit(run_all(home, settings))


def demo(
    ctx: typer.Context,
    serve: Annotated[bool, typer.Option("--serve", help="Run the service on the sample and leave it running; needs --home.")] = False,
) -> None:
    """Watch the whole loop: learn from a feed, refuse a poisoned update, go back a version.

    Works in a temporary home, which is deleted at the end; with --home in that one, which is kept.

    \b
    lorefeed demo
    lorefeed --home ./sample demo --serve
    """
    place = place_of(ctx)
    home = None if place.given is None else place.home  # never in the home of every day, which $LOREFEED_HOME may name
    if not serve:
        from daemon.demo import run_demo

        raise typer.Exit(run_demo(home=home))
    if home is None:
        raise typer.BadParameter("--serve keeps what it learns: say where with --home DIR")
    from daemon.demo import run_sample

    raise typer.Exit(run_sample(home))


def _begin(ctx: typer.Context) -> Settings:
    """The settings, with logging as they say."""
    from daemon.logs import configure_logging

    settings = place_of(ctx).settings()
    configure_logging(settings.daemon.log_format)
    return settings
