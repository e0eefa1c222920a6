"""The OpenAI-compatible front door: stable names in, the right version out, and a page that says what is going on.

Decides who answers (resolve.py), lets the engine answer (upstream.py), guards the door (access.py). Changes nothing in the registry,
except that it may have a missing adapter loaded.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio.to_thread
import uvicorn
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from daemon.serving.access import BodyTooLarge, Guard, read_body
from daemon.serving.client import EngineClient
from daemon.serving.errors import AdapterNotResident, AdapterRefused, EngineDown, ModelNotServed, ServingError
from daemon.serving.names import BASE, is_adapter_name
from daemon.serving.page import render_page
from daemon.serving.protocol import bad_request, error_json, not_found
from daemon.serving.reconcile import load_verified
from daemon.serving.resolve import Choice, Resolver
from daemon.serving.settings import GatewaySettings, ReconcileSettings, check_bind
from daemon.serving.upstream import EngineSilent, InFlight, Upstream
from registry import Registry, RegistryError

log = logging.getLogger(__name__)
RETRY_AFTER_S = 5


def run_gateway(
    registry: Registry, *, engine_url: str, base_name: str, settings: GatewaySettings, reconcile_settings: ReconcileSettings | None = None
) -> None:
    """Serve until told to stop; answers under way are finished."""
    app = create_gateway(registry, engine_url=engine_url, base_name=base_name, settings=settings, reconcile_settings=reconcile_settings)
    log.info("Gateway listens on http://%s:%d, engine %s", settings.host, settings.port, engine_url)
    uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning", server_header=False, timeout_graceful_shutdown=30)


def create_gateway(
    registry: Registry, *, engine_url: str, base_name: str, settings: GatewaySettings, reconcile_settings: ReconcileSettings | None = None
) -> Starlette:
    check_bind(settings)
    load_settings = reconcile_settings or ReconcileSettings(base_name=base_name)
    gateway = _Gateway(registry, engine_url=engine_url, base_name=base_name, settings=settings, load_settings=load_settings)
    routes = [
        Route("/", gateway.page),
        Route("/healthz", gateway.healthz),
        Route("/readyz", gateway.readyz),
        Route("/metrics", gateway.metrics),
        Route("/lorefeed/inflight", gateway.inflight),
        Route("/v1/models", gateway.models),
        Route("/v1/completions", gateway.answer, methods=["POST"]),
        Route("/v1/chat/completions", gateway.answer, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, settings=settings)], lifespan=gateway.lifespan)


class _Measures:
    """What Prometheus reads. Labels are only ever names that were resolved, so strangers cannot make new ones."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["model", "adapter"]
        self.requests = Counter("lorefeed_requests", "Answered requests.", [*labels, "status"], registry=self.registry)
        self.seconds = Histogram("lorefeed_request_seconds", "From request to last byte.", labels, registry=self.registry)
        self.in_flight = Gauge("lorefeed_in_flight", "Answers under way.", ["adapter"], registry=self.registry)


class _Gateway:
    def __init__(
        self, registry: Registry, *, engine_url: str, base_name: str, settings: GatewaySettings, load_settings: ReconcileSettings
    ) -> None:
        self._registry = registry
        self._engine_url = engine_url
        self._base_name = base_name
        self._settings = settings
        self._load_settings = load_settings
        self._resolver = Resolver(registry, base_name=base_name)
        self._in_flight = InFlight()
        self._measures = _Measures()
        self._upstream = Upstream(engine_url, timeout_s=settings.upstream_timeout_s, load=self._load)

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._upstream.close()

    async def answer(self, request: Request) -> Response:
        """Completions and chat completions."""
        started = time.monotonic()
        try:
            body = await self._read(request)
        except ClientDisconnect:
            return Response(status_code=499)
        if isinstance(body, Response):
            return self._counted(body, started=started)
        if self._in_flight.total() >= self._settings.max_concurrent:
            message = f"The gateway is already giving {self._settings.max_concurrent} answers; try again shortly."
            busy = error_json(429, message, kind="RateLimitError", headers={"Retry-After": "1"})
            return self._counted(busy, started=started)
        try:
            choice = await anyio.to_thread.run_sync(self._resolver.choose, body["model"], body)
        except ModelNotServed as err:
            return self._counted(not_found(str(err), param="model"), started=started)
        except RegistryError as err:
            return self._counted(_unavailable(f"The registry cannot be read: {err}"), started=started)
        return await self._forward(request, body, choice, started=started)

    async def _read(self, request: Request) -> dict[str, Any] | Response:
        limit = self._settings.body_limit_bytes
        try:
            body = json.loads(await read_body(request, limit_bytes=limit), parse_constant=_refuse_constant)
        except BodyTooLarge:
            return error_json(413, f"The request is larger than {limit} bytes.", kind="BadRequestError", headers={"Connection": "close"})
        except (ValueError, RecursionError) as err:
            return bad_request(f"The request is not JSON: {err}")
        if not isinstance(body, dict):
            return bad_request("The request is not a JSON object.")
        if not isinstance(body.get("model"), str) or not body["model"]:
            return bad_request("The request names no model.", param="model")
        return body

    async def _forward(self, request: Request, body: dict[str, Any], choice: Choice, *, started: float) -> Response:
        headers = {"x-lorefeed-model": choice.model, "x-lorefeed-adapter": choice.answered_by, "x-lorefeed-scope": choice.scope}
        self._in_flight.begin(choice.answered_by)
        upstream_body = body | {"model": choice.adapter or self._base_name}
        finished = partial(self._finished, choice, started)
        try:
            response = await self._upstream.forward(request, upstream_body, adapter=choice.adapter, headers=headers, done=finished)
        except ClientDisconnect:
            response = Response(status_code=499)
        except (EngineDown, AdapterNotResident, AdapterRefused, RegistryError) as err:
            response = _refusal(err, headers=headers)
        self._measures.requests.labels(choice.model, choice.answered_by, str(response.status_code)).inc()
        return response

    def _finished(self, choice: Choice, started: float) -> None:
        self._in_flight.end(choice.answered_by)
        self._measures.seconds.labels(choice.model, choice.answered_by).observe(time.monotonic() - started)

    def _counted(self, response: Response, *, started: float) -> Response:
        """For requests that name nothing we serve: counted without their words."""
        self._measures.requests.labels("unknown", "none", str(response.status_code)).inc()
        self._measures.seconds.labels("unknown", "none").observe(time.monotonic() - started)
        return response

    async def _load(self, name: str) -> None:
        """Bring in an adapter that the registry serves and the engine lacks, as after an engine's restart."""
        await anyio.to_thread.run_sync(self._load_now, name)

    def _load_now(self, name: str) -> None:
        log.warning("The engine has not got adapter %s; loading it", name, extra={"adapter": name})
        with EngineClient(self._engine_url) as client:
            load_verified(self._registry, client, self._registry.read.adapter(name), settings=self._load_settings)

    async def models(self, _: Request) -> Response:
        aliases = await anyio.to_thread.run_sync(self._registry.read.aliases)
        resident = [name for name in await self._upstream.resident() if is_adapter_name(name)]
        roots = {self._base_name: self._base_name, BASE: self._base_name}
        roots |= {alias.name: alias.adapter or BASE for alias in aliases} | {name: name for name in resident}
        cards = [
            {"id": name, "object": "model", "created": 0, "owned_by": "lorefeed", "root": root, "parent": self._parent(name)}
            for name, root in roots.items()
        ]
        return JSONResponse({"object": "list", "data": cards})

    def _parent(self, name: str) -> str | None:
        return None if name == self._base_name else self._base_name

    async def page(self, _: Request) -> Response:
        healthy = await self._upstream.healthy()
        view = partial(render_page, self._registry, base_name=self._base_name, engine_url=self._engine_url, engine_healthy=healthy)
        return HTMLResponse(await anyio.to_thread.run_sync(view))

    async def inflight(self, _: Request) -> Response:
        return JSONResponse({"inflight": self._in_flight.counts(), "total": self._in_flight.total()})

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """Ready means that the registry can be read and the engine answers; what is not is named."""
        problems = {}
        try:
            await anyio.to_thread.run_sync(self._registry.read.aliases)
        except RegistryError as err:
            problems["registry"] = str(err)
        if not await self._upstream.healthy():
            problems["engine"] = f"no answer from {self._engine_url}"
        if problems:
            return JSONResponse({"status": "not ready", "problems": problems}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def metrics(self, _: Request) -> Response:
        self._measures.in_flight.clear()
        for name, count in self._in_flight.counts().items():
            self._measures.in_flight.labels(name).set(count)
        return Response(generate_latest(self._measures.registry), headers={"content-type": CONTENT_TYPE_LATEST})


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _refusal(error: ServingError | RegistryError, *, headers: dict[str, str]) -> Response:
    if isinstance(error, EngineSilent):
        return error_json(504, str(error), kind="GatewayTimeout", headers=headers)
    return _unavailable(f"{error}. {error.hint}.", headers=headers)


def _unavailable(message: str, *, headers: dict[str, str] | None = None) -> Response:
    return error_json(503, message, kind="ServiceUnavailable", headers=(headers or {}) | {"Retry-After": str(RETRY_AFTER_S)})
