"""The gateway's own description, in OpenAPI 3.1, at /openapi.json: what may be asked, and every status that it may be answered with.

Of the answers themselves only what this gateway promises is described; the rest is the engine's, passed on as it comes.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel

from daemon.serving.access import ADMIN_PATH
from daemon.serving.admin import ORDERS
from daemon.serving.settings import GatewaySettings

Json = dict[str, Any]
_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message"],
            "properties": {"message": {"type": "string", "minLength": 1}, "type": {"type": ["string", "null"]}, "code": {}, "param": {}},
        }
    },
}
_STATUSES = {
    400: "The request is not JSON, or not what is described here",
    401: "An API key is missing or wrong",
    403: "This takes an administrator's key",
    404: "Nothing of that name is served",
    408: "The request did not arrive in time",
    409: "What is served does not allow it",
    413: "The request is larger than this gateway reads",
    421: "The request was meant for another host",
    429: "The gateway gives as many answers as it may; come back after Retry-After seconds",
    499: "The client left",
    500: "The engine failed at this request",
    502: "The engine's own front could not answer",
    503: "Engine, adapter or registry are away; come back after Retry-After seconds",
    504: "The engine took the request and fell silent",
}
_TEXT: Json = {"type": "string"}
_PART: Json = {"type": "object", "required": ["type", "text"], "properties": {"type": {"const": "text"}, "text": _TEXT}}
_MESSAGE: Json = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": ["system", "user", "assistant"]},
        "content": {"anyOf": [_TEXT, {"type": "array", "items": _PART, "minItems": 1}]},
    },
}


def describe(settings: GatewaySettings, *, models: list[str]) -> Json:
    """The document. `models` are the names that can be asked for at this moment, given as examples."""
    count: Json = {"type": "integer", "minimum": 1, "maximum": settings.max_tokens}
    common: Json = {
        "model": {"type": "string", "minLength": 1, "description": "An alias, a version (news@7) or base", "examples": models},
        "max_tokens": count,
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "stop": {
            "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 4}]
        },
        "seed": {"type": "integer", "minimum": 0, "maximum": 2**31},
        "stream": {"type": "boolean"},
    }
    prompt: Json = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 8}]}
    messages: Json = {"type": "array", "items": _MESSAGE, "minItems": 1}
    plain = {"type": "object", "required": ["model", "prompt"], "properties": {**common, "prompt": prompt}}
    chat = {"type": "object", "required": ["model", "messages"], "properties": {**common, "messages": messages}}
    keys: Json = {"bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lorefeed gateway", "version": version("lorefeed"), "description": __doc__},
        "components": {"securitySchemes": keys},
        "security": [{}, {"bearer": []}, {"basic": []}],
        "paths": _answering(plain, chat) | _asking() | _admin(),
    }


def _answering(plain: Json, chat: Json) -> Json:
    answer: Json = {"type": "object", "required": ["choices"], "properties": {"choices": {"type": "array"}}}
    content = {"application/json": {"schema": answer}, "text/event-stream": {"schema": _TEXT}}
    statuses = (400, 401, 404, 408, 413, 421, 429, 500, 502, 503, 504)
    return {
        path: {"post": _operation(what, body=body, content=content, statuses=statuses)}
        for path, what, body in (
            ("/v1/completions", "Continue a text", plain),
            ("/v1/chat/completions", "Answer in a conversation", chat),
        )
    }


def _asking() -> Json:
    open_to_all, keyed = (503,), (401, 421, 503)
    listing = {"type": "object", "required": ["object", "data"], "properties": {"object": {"const": "list"}, "data": {"type": "array"}}}
    status = {"type": "object", "required": ["status"], "properties": {"status": _TEXT}}
    flying = {
        "type": "object",
        "required": ["inflight", "total"],
        "properties": {"inflight": {"type": "object"}, "total": {"type": "integer"}},
    }
    ready = _operation("Whether the registry can be read and an engine answers", content=_json(status), statuses=())
    ready["responses"]["503"] = {"description": "What is not ready is named", "content": _json(status)}
    inflight = _operation("How many answers each version is giving", content=_json(flying), statuses=(400, *keyed))
    inflight["parameters"] = [
        {"name": "adapter", "in": "query", "schema": {"type": "string"}, "description": "wait until this one gives none"},
        {
            "name": "wait_s",
            "in": "query",
            "schema": {"type": "number", "minimum": 0, "maximum": 1},
            "description": "but not longer, in seconds",
        },
    ]
    return {
        "/v1/models": {"get": _operation("What can be asked for", content=_json(listing), statuses=keyed)},
        "/healthz": {"get": _operation("Whether the gateway lives", content=_json(status), statuses=open_to_all)},
        "/readyz": {"get": ready},
        "/metrics": {"get": _operation("Numbers for Prometheus", content={"text/plain": {"schema": _TEXT}}, statuses=keyed)},
        "/lorefeed/inflight": {"get": inflight},
    }


def _admin() -> Json:
    statuses = (400, 401, 403, 404, 409, 421, 503)
    done: Json = {"type": "object", "required": ["alias"], "properties": {"alias": _TEXT}}
    return {
        f"{ADMIN_PATH}{name}": {"post": _operation(what, body=_schema(kind), content=_json(done), statuses=statuses)}
        for name, (what, kind) in ORDERS.items()
    }


def _operation(what: str, *, content: Json, statuses: tuple[int, ...], body: Json | None = None) -> Json:
    responses: Json = {"200": {"description": what, "content": content}}
    responses |= {str(status): {"description": _STATUSES[status], "content": _json(_ERROR)} for status in statuses}
    asked: Json = {} if body is None else {"requestBody": {"required": True, "content": _json(body)}}
    return {"summary": what, "responses": responses, **asked}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _schema(kind: type[BaseModel]) -> Json:
    return kind.model_json_schema()
