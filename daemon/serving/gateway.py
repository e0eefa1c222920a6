"""The OpenAI-compatible front door: stable names in, the right version out, and a page that says what is going on.

Decides who answers (resolve.py), lets an engine answer (upstream.py), guards the door (access.py). Changes nothing in the registry unless an
administrator says so (admin.py), except that it may have a missing adapter loaded.
"""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio.to_thread
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from daemon.serving.access import Guard, Keys, check_bind
from daemon.serving.admin import admin_routes
from daemon.serving.answering import Answering
from daemon.serving.client import EngineClient
from daemon.serving.flight import InFlight
from daemon.serving.listen import inherited_sockets, most_open, serve
from daemon.serving.measures import Measures
from daemon.serving.names import BASE
from daemon.serving.openapi import describe
from daemon.serving.protocol import bad_request
from daemon.serving.reconcile import load_on_demand
from daemon.serving.resolve import Resolver
from daemon.serving.settings import GatewaySettings, ReconcileSettings
from daemon.serving.stage_measures import StageMeasures
from daemon.serving.turns import REASON, is_asleep, marker_of
from daemon.serving.upstream import Engines
from daemon.web.routes import Dashboard
from registry import Registry, RegistryError, ServedView

log = logging.getLogger(__name__)
DRAIN_WAIT_MAX_S = 60.0
GARBAGE_AFTER = 10_000  # objects more than before; a request leaves some hundred for as long as it lasts
LoadSettings = Callable[[], ReconcileSettings]  # an engine that is started again may be another one


def run_gateway(
    registry: Registry,
    *,
    engine_url: str | Sequence[str],
    base_name: str,
    settings: GatewaySettings,
    reconcile_settings: LoadSettings | None = None,
) -> None:
    """Serve until told to stop; answers under way are finished. `reconcile_settings` are asked for anew before each load."""
    sockets = inherited_sockets()
    host, port = most_open(sockets, settings.host, settings.port)
    settings = replace(settings, host=host, port=port)
    app = create_gateway(registry, engine_url=engine_url, base_name=base_name, settings=settings, reconcile_settings=reconcile_settings)
    log.info("Gateway listens on http://%s:%d, engine %s", settings.host, settings.port, engine_url)
    seldom_collected()
    # Chosen by measurement (`lorefeed bench gateway`): uvloop and httptools carry more than twice what asyncio and h11 do.

    async def alive() -> str | None:
        return await anyio.to_thread.run_sync(_registry_trouble, registry, abandon_on_cancel=True)

    serve(app, host=host, port=port, sockets=sockets, alive=alive, options={"loop": "uvloop", "http": "httptools"})


def seldom_collected() -> None:
    """What starting made stays for good and is not looked through for garbage, which takes a tenth of a second during which nobody is answered;
    the rest is looked through after some dozen requests instead of after each.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER, 10, 10)


def _registry_trouble(registry: Registry) -> str | None:
    """An error that the registry says in words is an answer, which a restart of the gateway would not better."""
    try:
        registry.read.aliases()
    except RegistryError as err:
        return f"The registry cannot be read: {err}"
    return None


def create_gateway(
    registry: Registry,
    *,
    engine_url: str | Sequence[str],
    base_name: str,
    settings: GatewaySettings,
    reconcile_settings: ReconcileSettings | LoadSettings | None = None,
) -> Starlette:
    view = registry.served()
    keys = Keys(view, settings)
    try:
        check_bind(settings, keys.all())
    except BaseException:
        view.close()
        raise
    urls = [engine_url] if isinstance(engine_url, str) else list(engine_url)
    fixed = reconcile_settings or ReconcileSettings(base_name=base_name)
    load_settings = (lambda: fixed) if isinstance(fixed, ReconcileSettings) else fixed
    gateway = _Gateway(registry, view, urls=urls, base_name=base_name, settings=settings, load_settings=load_settings)
    routes = [  # looked through in this order
        Route("/v1/completions", gateway.answering, methods=["POST"]),
        Route("/v1/chat/completions", gateway.answering, methods=["POST"]),
        Route("/", lambda _: RedirectResponse("/ui/")),
        Route("/healthz", gateway.healthz),
        Route("/readyz", gateway.readyz),
        Route("/metrics", gateway.metrics),
        Route("/lorefeed/inflight", gateway.inflight),
        Route("/v1/models", gateway.models),
        Route("/openapi.json", gateway.openapi),
        *admin_routes(registry),
        *Dashboard(registry, keys=keys.all, base_name=base_name, answering=gateway.answering, health=gateway.health).routes(),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, settings=settings, keys=keys.all)], lifespan=gateway.lifespan)


class _Gateway:
    def __init__(
        self,
        registry: Registry,
        view: ServedView,
        *,
        urls: Sequence[str],
        base_name: str,
        settings: GatewaySettings,
        load_settings: LoadSettings,
    ) -> None:
        self._registry = registry
        self._view = view
        self._base_name = base_name
        self._load_settings = load_settings
        self._settings = settings
        self._in_flight = InFlight()
        self._measures = Measures(StageMeasures(registry))
        self._engines = Engines(urls, timeout_s=settings.upstream_timeout_s, load=self._load)
        self.answering = Answering(
            Resolver(registry, view, base_name=base_name),
            self._engines,
            in_flight=self._in_flight,
            measures=self._measures,
            base_name=base_name,
            settings=settings,
            asleep=marker_of(registry.home).exists,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        try:
            async with self._engines.running():
                yield
        finally:
            self._view.close()

    async def _load(self, url: str, name: str, dispensable: Sequence[str]) -> None:
        """Bring in an adapter that may be asked for and that the engine lacks, as after an engine's restart."""
        await anyio.to_thread.run_sync(self._load_now, url, name, dispensable)

    def _load_now(self, url: str, name: str, dispensable: Sequence[str]) -> None:
        busy = self._in_flight.counts()
        with EngineClient(url) as client:
            idle = [one for one in dispensable if one not in busy]
            load_on_demand(self._registry, client, name, dispensable=idle, settings=self._load_settings())

    async def models(self, _: Request) -> Response:
        aliases = self._view.now().aliases.values()
        await self._engines.look()
        roots = {self._base_name: self._base_name, BASE: self._base_name}
        roots |= {alias.name: alias.adapter.name if alias.adapter else BASE for alias in aliases}
        roots |= {name: name for name in self._engines.resident()}
        cards = [
            {"id": name, "object": "model", "created": 0, "owned_by": "lorefeed", "root": root, "parent": self._parent(name)}
            for name, root in roots.items()
        ]
        return JSONResponse({"object": "list", "data": cards})

    def _parent(self, name: str) -> str | None:
        return None if name == self._base_name else self._base_name

    async def health(self) -> Mapping[str, bool]:
        """Of each engine, whether it answers."""
        return await self._engines.look()

    async def inflight(self, request: Request) -> Response:
        """How many answers each version is giving. With ?adapter=news@7&wait_s=5 it first waits until that one gives none."""
        adapter, wait = request.query_params.get("adapter"), request.query_params.get("wait_s", "0")
        told: dict[str, Any] = {}
        if adapter is not None:
            try:
                wait_s = float(wait)
            except ValueError:
                wait_s = -1.0
            if not 0 <= wait_s <= DRAIN_WAIT_MAX_S:
                return bad_request(f"wait_s is a number of seconds from 0 to {DRAIN_WAIT_MAX_S:g}.", param="wait_s")
            told["drained"] = await self._in_flight.drained(adapter, timeout_s=wait_s)
        return JSONResponse({"inflight": self._in_flight.counts(), "total": self._in_flight.total(), **told})

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """Ready means that the registry can be read and an engine answers; what is not is named."""
        problems: dict[str, str] = {}
        try:
            self._view.now()
        except RegistryError as err:
            problems["registry"] = str(err)
        health = await self._engines.look()
        if not any(health.values()):
            problems["engine"] = f"no answer from {', '.join(health)}"
        elif is_asleep(self._registry.home):
            problems["engine"] = REASON
        if problems:
            return JSONResponse({"status": "not ready", "problems": problems}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def openapi(self, _: Request) -> Response:
        names = [self._base_name, BASE, *self._view.now().aliases]
        return JSONResponse(describe(self._settings, models=list(dict.fromkeys(names))))

    async def metrics(self, _: Request) -> Response:
        counts, engines = self._in_flight.counts(), self._engines.health()
        text = await anyio.to_thread.run_sync(partial(self._measures.text, in_flight=counts, engines=engines))
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})
