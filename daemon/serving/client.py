"""A synchronous client of an engine, or of the gateway, which speaks the same language. For reconcile and `ask`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from daemon.serving.errors import AdapterRefused, EngineDown, EngineFailed, ModelUnknown, PromptRefused

LOAD_TIMEOUT_S = 120.0
HEALTH_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One entry of /v1/models: the base has no parent, an adapter's root is the folder it was loaded from."""

    name: str
    root: str | None
    parent: str | None


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished answer. `adapter` is the version that answered, where the gateway says so."""

    text: str
    model: str
    finish_reason: str | None
    adapter: str | None = None
    scope: str | None = None
    token_logprobs: tuple[float, ...] = ()
    tokens: tuple[str, ...] = ()


class EngineClient:
    """Talks to one engine. Thread-safe; close it, or use it as a context manager."""

    def __init__(self, url: str, *, timeout_s: float = 120.0, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # trust_env: a proxy of the environment must not come between two processes of one machine
        self._http = httpx2.Client(
            base_url=self.url,
            timeout=httpx2.Timeout(timeout_s, connect=5.0),
            headers=headers,
            trust_env=False,
            verify=self.url.startswith("https:"),  # reading every authority's certificate takes 50 ms, and plain HTTP asks for none
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> EngineClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def healthy(self) -> bool:
        """Whether the engine answers at all."""
        try:
            return self._http.get("/health", timeout=HEALTH_TIMEOUT_S).status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False

    def models(self) -> tuple[ModelCard, ...]:
        """What is loaded: the base first, then the adapters."""
        listing = _json(self._checked(self._send("GET", "/v1/models")))
        cards = listing.get("data")
        if not isinstance(cards, list):
            raise EngineFailed(f"{self.url}/v1/models answered without a list of models", status=200)
        return tuple(ModelCard(name=str(card["id"]), root=card.get("root"), parent=card.get("parent")) for card in cards)

    def in_flight(self) -> dict[str, int]:
        """Of a gateway: how many answers each version is giving. Nobody at the address gives none."""
        try:
            answer = self._http.get("/lorefeed/inflight")
        except httpx2.ConnectError:
            return {}
        except httpx2.HTTPError as err:
            raise EngineDown(f"The gateway at {self.url} does not say what it is answering: {err}") from err
        counts = _json(self._checked(answer)).get("inflight")
        if not isinstance(counts, dict):
            raise EngineFailed(f"{self.url} does not say what it is answering", status=answer.status_code)
        return {str(name): int(count) for name, count in counts.items()}

    def load(self, name: str, path: str) -> None:
        """Load an adapter folder under a name. Loading what is loaded already is no error."""
        answer = self._send("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path}, timeout_s=LOAD_TIMEOUT_S)
        if answer.is_success:
            return
        reason = _error_message(answer)
        if "already been loaded" in reason:
            return
        if answer.is_server_error and not self.healthy():
            raise EngineDown(f"The engine at {self.url} died while it was to load {name}: {reason}")  # which says nothing of the adapter
        raise AdapterRefused(name, reason)

    def unload(self, name: str) -> None:
        """Unload an adapter. Unloading what is not loaded is no error."""
        answer = self._send("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        if answer.status_code not in (httpx2.codes.OK, httpx2.codes.NOT_FOUND):
            raise EngineFailed(f"The engine did not unload {name}: {_error_message(answer)}", status=answer.status_code)

    def under_way(self) -> int:
        """How many requests it computes or has waiting. vLLM alone."""
        answer = self._checked(self._send("GET", "/metrics"))
        found = [
            sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name in ("vllm:num_requests_running", "vllm:num_requests_waiting")
        ]
        if not found:
            raise EngineFailed(f"{self.url}/metrics does not say how many requests are under way", status=answer.status_code)
        return int(sum(found))

    def sleep(self, level: int) -> None:
        """Stop: level 1 gives the device's memory back, level 0 does not. What has not begun by then waits for waking. vLLM alone, started for it."""
        self._checked(self._send("POST", f"/sleep?level={level}&mode=wait", timeout_s=LOAD_TIMEOUT_S))

    def wake_up(self) -> None:
        """Take the device's memory again and go on. No error for one that is awake."""
        self._checked(self._send("POST", "/wake_up", timeout_s=LOAD_TIMEOUT_S))

    def complete(
        self, prompt: str, *, model: str, max_tokens: int = 64, temperature: float = 0.0, logprobs: int | None = None, **more: Any
    ) -> Reply:
        """One plain continuation; greedy unless a temperature is given."""
        wish = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": temperature, "logprobs": logprobs, **more}
        answer = self._checked(self._send("POST", "/v1/completions", wish))
        choice = _choice(answer)
        said = choice.get("logprobs") or {}
        return _reply(
            answer,
            text=choice.get("text"),
            choice=choice,
            token_logprobs=tuple(said.get("token_logprobs") or ()),
            tokens=tuple(said.get("tokens") or ()),
        )

    def chat(
        self, messages: Sequence[Mapping[str, str]], *, model: str, max_tokens: int | None = None, temperature: float = 0.0, **more: Any
    ) -> Reply:
        """The assistant's next turn; greedy unless a temperature is given."""
        wish = {"model": model, "messages": [dict(m) for m in messages], "temperature": temperature, **more}
        if max_tokens is not None:
            wish["max_tokens"] = max_tokens
        answer = self._checked(self._send("POST", "/v1/chat/completions", wish))
        choice = _choice(answer)
        return _reply(answer, text=(choice.get("message") or {}).get("content"), choice=choice)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout_s: float | None = None) -> httpx2.Response:
        more: dict[str, Any] = {} if timeout_s is None else {"timeout": timeout_s}
        try:
            return self._http.request(method, path, json=body, **more)
        except httpx2.TimeoutException as err:
            raise EngineDown(f"The engine at {self.url} did not answer {path} in time") from err
        except httpx2.HTTPError as err:
            raise EngineDown(f"The engine at {self.url} cannot be reached: {err}") from err

    def _checked(self, answer: httpx2.Response) -> httpx2.Response:
        if answer.is_success:
            return answer
        message = _error_message(answer)
        if answer.status_code == httpx2.codes.NOT_FOUND:
            raise ModelUnknown(message, status=404)
        if answer.status_code == httpx2.codes.BAD_REQUEST:
            raise PromptRefused(message, status=400)
        if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
            raise EngineDown(message)
        raise EngineFailed(f"{self.url} answered {answer.status_code}: {message}", status=answer.status_code)


def _reply(answer: httpx2.Response, *, text: Any, choice: dict[str, Any], **more: Any) -> Reply:
    return Reply(
        text=str(text or ""),
        model=str(_json(answer).get("model", "")),
        finish_reason=choice.get("finish_reason"),
        adapter=answer.headers.get("x-lorefeed-adapter"),
        scope=answer.headers.get("x-lorefeed-scope"),
        **more,
    )


def _choice(answer: httpx2.Response) -> dict[str, Any]:
    choices = _json(answer).get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise EngineFailed("the answer has no choices", status=answer.status_code)
    return choices[0]


def _json(answer: httpx2.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError as err:
        raise EngineFailed(f"{answer.url} did not answer in JSON", status=answer.status_code) from err
    return value if isinstance(value, dict) else {}


def _error_message(answer: httpx2.Response) -> str:
    """The sentence inside an error, in whichever of the usual forms it comes."""
    try:
        value = answer.json()
    except ValueError:
        return answer.text.strip()[:500] or f"status {answer.status_code}"
    inner = value.get("error", value) if isinstance(value, dict) else value
    message = inner.get("message") if isinstance(inner, dict) else inner
    return str(message)[:500]
