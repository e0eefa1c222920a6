"""Writes transfer sets with any OpenAI-compatible endpoint that the operator configures. Knows HTTP and prompts, no registry."""

import json
import re
from types import TracebackType
from typing import Any, Self

import httpx2

from daemon.errors import DaemonError
from daemon.sections import Elicit


class EndpointFailed(DaemonError):
    """The endpoint that writes transfer sets did not answer as it should."""

    hint = "Check elicit.endpoint, elicit.endpoint_model and elicit.endpoint_key, or remove them to let the model write for itself."


_SENTENCES = (
    "Here is what is known of {entity}:\n\n{definition}\n\nWrite {count} different sentences about {entity}, one a line."
    " Each names {entity}, stands on its own, and says only what follows from the text."
)
_QUESTIONS = (
    "Here is what is known of {entity}:\n\n{definition}\n\nWrite {count} different questions about {entity} that this text answers, each naming"
    ' {entity}, with a short answer. One JSON object a line: {{"question": "...", "answer": "..."}}'
)


class Endpoint:
    """One model behind `/chat/completions`."""

    def __init__(self, url: str, model: str, *, key: str | None = None, timeout_s: float = 120.0) -> None:
        self._url, self._model = url.rstrip("/"), model
        self._client = httpx2.Client(timeout=timeout_s, headers={"Authorization": f"Bearer {key}"} if key else {})

    @classmethod
    def of(cls, settings: Elicit) -> Self:
        assert settings.endpoint is not None
        assert settings.endpoint_model is not None
        return cls(
            settings.endpoint, settings.endpoint_model, key=settings.endpoint_key.get_secret_value() if settings.endpoint_key else None
        )

    def examples(self, entity: str, definition: str, *, samples: int) -> list[dict[str, str]]:
        """Sentences and answered questions, as `{form, prompt, text}`; lines that cannot be read are left out."""
        words = {"entity": entity, "definition": definition, "count": samples * 2}
        sentences = [_bare(line) for line in self._say(_SENTENCES.format(**words)).splitlines()]
        pairs = [pair for line in self._say(_QUESTIONS.format(**words)).splitlines() if (pair := _pair(line))]
        return [
            *({"form": "plain", "prompt": "", "text": s} for s in sentences if entity.casefold() in s.casefold()),
            *({"form": "chat", "prompt": q, "text": a} for q, a in pairs if entity.casefold() in q.casefold()),
        ]

    def _say(self, prompt: str) -> str:
        body = {"model": self._model, "messages": [{"role": "user", "content": prompt}], "temperature": 1.0}
        try:
            answer = self._client.post(f"{self._url}/chat/completions", json=body)
            answer.raise_for_status()
            return str(answer.json()["choices"][0]["message"]["content"])
        except (httpx2.HTTPError, KeyError, IndexError, ValueError) as err:
            raise EndpointFailed(f"{self._url} did not write a transfer set: {type(err).__name__}: {err}") from err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()


def _bare(line: str) -> str:
    """Without a list's bullet or number."""
    return re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line).strip()


def _pair(line: str) -> tuple[str, str] | None:
    try:
        found: Any = json.loads(_bare(line))
    except json.JSONDecodeError:
        return None  # models add headings and fences; a line that is no pair is not an error
    if not isinstance(found, dict) or not all(isinstance(found.get(k), str) and found[k].strip() for k in ("question", "answer")):
        return None
    return found["question"].strip(), found["answer"].strip()
