"""What an administrator may change through the gateway: promote, roll back, begin and end a canary. The rules are the registry's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from daemon.serving.access import ADMIN_PATH, BodyTooLarge, BodyTooSlow, ClientGone, read_body
from daemon.serving.protocol import bad_request, error_json, not_found
from registry import (
    BadName,
    BadValue,
    Canary,
    NothingToRollBack,
    NotPromotable,
    NotThere,
    Registry,
    RegistryError,
    Release,
    split_adapter_name,
)

ACTOR = "gateway"
BODY_LIMIT_BYTES = 1 << 16


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Promote(_Order):
    adapter: str
    alias: str | None = None
    reason: str | None = None


class Rollback(_Order):
    alias: str
    to: int | None = Field(default=None, ge=1)
    reason: str | None = None


class BeginCanary(_Order):
    adapter: str
    alias: str | None = None
    weight: float = Field(gt=0, le=100)


class EndCanary(_Order):
    alias: str
    reason: str | None = None


ORDERS: Mapping[str, tuple[str, type[BaseModel]]] = {
    "promote": ("Point an alias at a version", Promote),
    "rollback": ("Go back to what the alias served before", Rollback),
    "canary": ("Try a version on some conversations", BeginCanary),
    "canary/end": ("End the trial", EndCanary),
}


def admin_routes(registry: Registry) -> list[Route]:
    """The Guard lets only administrators come here."""
    write = registry.write

    def promote(order: Promote) -> dict[str, Any]:
        alias = order.alias or split_adapter_name(order.adapter)[0]
        return release_answer(write.promote(alias, order.adapter, actor=ACTOR, reason=order.reason))

    def rollback(order: Rollback) -> dict[str, Any]:
        return release_answer(write.rollback(order.alias, to=order.to, actor=ACTOR, reason=order.reason))

    def begin(order: BeginCanary) -> dict[str, Any]:
        alias = order.alias or split_adapter_name(order.adapter)[0]
        return canary_answer(write.set_canary(alias, order.adapter, weight=order.weight, actor=ACTOR))

    def end(order: EndCanary) -> dict[str, Any]:
        return canary_answer(write.end_canary(order.alias, actor=ACTOR, reason=order.reason))

    doing: Mapping[str, Callable[[Any], dict[str, Any]]] = {"promote": promote, "rollback": rollback, "canary": begin, "canary/end": end}
    return [_route(name, kind, doing[name]) for name, (_, kind) in ORDERS.items()]


def release_answer(release: Release) -> dict[str, Any]:
    return {
        "alias": release.alias,
        "from": release.from_adapter,
        "to": release.to_adapter,
        "at": release.at.isoformat(),
        "reason": release.reason,
    }


def canary_answer(canary: Canary) -> dict[str, Any]:
    return {"alias": canary.alias, "adapter": canary.adapter, "weight": canary.weight, "since": canary.since.isoformat()}


def _route(name: str, kind: type[BaseModel], do: Callable[[Any], dict[str, Any]]) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            body = await read_body(request.scope, request.receive, limit_bytes=BODY_LIMIT_BYTES, timeout_s=10)
            order = kind.model_validate_json(body)
            return JSONResponse(await anyio.to_thread.run_sync(do, order))
        except ValidationError as err:
            first = err.errors(include_url=False, include_input=False, include_context=False)[0]
            return bad_request(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
        except (BodyTooLarge, BodyTooSlow, ClientGone) as err:
            return bad_request(err.__doc__ or "The request cannot be read.")
        except (BadName, BadValue) as err:
            return bad_request(f"{err}. {err.hint}.")
        except NotThere as err:
            return not_found(f"{err}. {err.hint}.")
        except (NotPromotable, NothingToRollBack) as err:
            return error_json(409, f"{err}. {err.hint}.", kind="ConflictError")
        except RegistryError as err:
            return error_json(503, f"{err}. {err.hint}.", kind="ServiceUnavailable", headers={"Retry-After": "5"})

    return Route(ADMIN_PATH + name, endpoint, methods=["POST"])
