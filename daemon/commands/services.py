"""`lorefeed engine, gateway, daemon, run, demo`: the processes of the service, in the foreground. Log lines go to standard error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from daemon.commands.place import place_of
from daemon.errors import ConfigError

if TYPE_CHECKING:
    from daemon.config import Settings

EngineKind = Literal["embedded", "vllm"]


def engine(
    ctx: typer.Context,
    kind: Annotated[EngineKind | None, typer.Option(help="Which engine; engine.kind of the configuration when missing.")] = None,
) -> None:
    """Serve the base model and its adapters with the embedded engine, or with vLLM in its own environment (engine.vllm_python).

    \b
    lorefeed engine
    lorefeed engine --kind vllm
    """
    settings = _begin(ctx)
    if (kind or settings.engine.kind) == "vllm":
        _run_vllm(ctx, settings)
        return
    from daemon.learn.folders import folder_of
    from daemon.serving.engine_app import run_engine

    folder = folder_of(settings.model, settings.revision)
    _record_start(settings, folder, kind="embedded", max_rank=None)
    run_engine(folder, host=settings.engine.host, port=settings.engine.port, served_name=settings.served_name, revision=settings.revision)


def _run_vllm(ctx: typer.Context, settings: Settings) -> None:
    from daemon.learn.folders import folder_of
    from daemon.serving.vllm import VllmSettings, allowed_rank, needed_rank, served_at_once
    from daemon.serving.vllm_process import need_mended, run_vllm

    ours = settings.engine
    if ours.vllm_python is None:
        raise ConfigError(
            "vLLM runs in an environment of its own, and engine.vllm_python does not say where.",
            hint="Set engine.vllm_python to the Python of that environment; or set engine.kind = 'embedded'",
        )
    need_mended(ours.vllm_python)
    with place_of(ctx).registry(create=True) as registry:
        configured = max(settings.learn.rank, settings.learn.merged_rank)  # any topic may come to hold so much
        rank, at_once = needed_rank(registry, configured=configured), served_at_once(registry)
    folder = folder_of(settings.model, settings.revision)
    wanted = VllmSettings(
        python=ours.vllm_python,
        model=str(folder),
        served_name=settings.served_name,
        host=ours.host,
        port=ours.port,
        max_resident=ours.max_resident,
        rank=rank,
        served_at_once=at_once,
        max_model_len=ours.vllm_max_model_len,
        memory_share=ours.vllm_memory_share,
        sleep_level=_sleep_level(settings),
        arguments=ours.vllm_arguments,
        home=settings.home,
    )
    _record_start(settings, folder, kind="vllm", max_rank=allowed_rank(rank), sleep_level=wanted.sleep_level)
    run_vllm(wanted)


def _sleep_level(settings: Settings) -> int | None:
    from daemon.machine import gpus

    return None if settings.engine.sharing != "turns" else int(bool(gpus()))


def _record_start(settings: Settings, folder: Path, *, kind: str, max_rank: int | None, sleep_level: int | None = None) -> None:
    """So that adapters of another base or of too high a rank are refused before this engine sees them."""
    from daemon.learn.folders import digest_of
    from daemon.serving.started import Started, record_start

    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    signed = settings.signing.public_key is not None
    started = Started(kind, settings.model, settings.revision, str(folder), digest_of(folder), max_rank, signed, sleep_level)
    record_start(settings.home, started)


def gateway(ctx: typer.Context) -> None:
    """Serve the OpenAI-compatible API and the dashboard, and turn aliases into versions.

    \b
    lorefeed gateway
    """
    settings = _begin(ctx)
    from daemon.heap import share_one_heap
    from daemon.serving.gateway import run_gateway
    from daemon.serving.settings import GatewaySettings
    from daemon.serving_jobs import reconcile_settings

    share_one_heap()
    front = settings.gateway
    with place_of(ctx).registry(create=True) as registry:
        run_gateway(
            registry,
            engine_url=settings.engine.addresses,
            base_name=settings.served_name,
            settings=GatewaySettings(
                host=front.host,
                port=front.port,
                api_key=front.api_key.get_secret_value() if front.api_key else None,
                upstream_timeout_s=front.upstream_timeout_s,
                body_limit_bytes=front.body_limit_bytes,
                max_concurrent=front.max_concurrent,
                max_tokens=front.max_tokens,
            ),
            reconcile_settings=lambda: reconcile_settings(settings),
        )


def run_the_daemon(ctx: typer.Context) -> None:
    """Poll, extract, learn, check and promote, for as long as it runs. SIGTERM ends it in order.

    \b
    lorefeed daemon
    """
    settings = _begin(ctx)
    from daemon.heap import share_one_heap
    from daemon.service import run_daemon

    share_one_heap()
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
    """The settings, with logging as they say; and from here on it is a service, not a command."""
    from daemon.heap import collect_often
    from daemon.logs import configure_logging

    collect_often()
    settings = place_of(ctx).settings()
    configure_logging(settings.daemon.log_format)
    return settings
