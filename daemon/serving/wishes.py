"""What the gateway asks of a request before it sends it on: that it is JSON, names a model, and does not ask for too much."""

from __future__ import annotations

import json
from typing import Any


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)  # made once: json.loads would make one for every request


class Unfit(Exception):
    """The request cannot be sent on; the message is for its sender."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


def wish_in(content: bytes, *, max_tokens: int) -> dict[str, Any]:
    """The request's body. Raises Unfit."""
    try:
        body = _DECODER.decode(content.decode(json.detect_encoding(content), "surrogatepass"))
    except (ValueError, RecursionError) as err:
        raise Unfit(f"The request is not JSON: {err}") from err
    if not isinstance(body, dict):
        raise Unfit("The request is not a JSON object.")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise Unfit("The request names no model.", param="model")
    wanted, param = tokens_wanted(body)
    if wanted > max_tokens:
        raise Unfit(f"The request asks for {wanted} tokens; this gateway gives at most {max_tokens} a request.", param=param)
    return body


def tokens_wanted(body: dict[str, Any]) -> tuple[int, str]:
    """How many tokens all its answers may have together, as far as the request says; the engine bounds the rest by its context."""
    param = next((name for name in ("max_completion_tokens", "max_tokens") if _is_count(body.get(name))), "max_tokens")
    tokens = body[param] if _is_count(body.get(param)) else 0
    answers = max((body[name] for name in ("n", "best_of") if _is_count(body.get(name))), default=1)
    prompt = body.get("prompt")
    prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    return tokens * answers * prompts, param


def with_usage(body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The body with the wish that a stream ends with its usage; and whether the client had that wish itself."""
    options = body.get("stream_options")
    if not body.get("stream") or not (options is None or isinstance(options, dict)):
        return body, True
    asked = bool((options or {}).get("include_usage"))
    return (body if asked else body | {"stream_options": {**(options or {}), "include_usage": True}}), asked


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
