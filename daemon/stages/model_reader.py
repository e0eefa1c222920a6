"""Lets a model behind an OpenAI-compatible endpoint find definitions that the rules miss. Believes nothing that does not stand in the text.

Only paragraphs with a word that definitions have are asked about, and those in which a rule has found one already are not: the rules cost
nothing. The answer is bound to a JSON schema; a definition counts if its words stand in the text just so, name their entity, and pass the
screen. What the text itself tells the model can therefore do no more than choose among its own sentences.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import httpx2

from daemon.errors import DaemonError
from daemon.extraction import FoundDefinition, collapse, screen
from daemon.extraction.blocks import Kind, blocks
from daemon.extraction.found import MAX_DEFINITION_CHARACTERS
from daemon.extraction.verbs import TRIGGER
from daemon.sections import Extract

SCORE = 0.7  # what a quotation that was checked is worth beside the rules' own scores
_PART_CHARACTERS = 4000
_LEAST_WORDS = 5
_ASK = (
    "Find the sentences of this text that define what something is: an entity, a term, a product, a person, a work. For each give the entity as"
    " the text names it and the quotation, word for word, that defines it. Leave out opinions, news and whatever only mentions the entity."
    " An empty list is a good answer.\n\nTitle: {title}\n\n{text}"
)
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "definitions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"entity": {"type": "string"}, "quotation": {"type": "string"}},
                "required": ["entity", "quotation"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["definitions"],
    "additionalProperties": False,
}


class ReaderFailed(DaemonError):
    """The endpoint that reads documents did not answer as it should."""

    hint = "Check extract.endpoint, extract.endpoint_model and extract.endpoint_key, or remove them to read by rules alone."


class ModelReader:
    """One model behind `/chat/completions`."""

    def __init__(self, url: str, model: str, *, key: str | None = None, calls_max: int = 4, timeout_s: float = 60.0) -> None:
        self._url, self._model, self._calls_max = url.rstrip("/"), model, calls_max
        self._client = httpx2.Client(timeout=timeout_s, headers={"Authorization": f"Bearer {key}"} if key else {})

    @classmethod
    def of(cls, settings: Extract) -> Self | None:
        """The configured one; None where none is."""
        if settings.endpoint is None or settings.endpoint_model is None:
            return None
        key = settings.endpoint_key.get_secret_value() if settings.endpoint_key else None
        return cls(settings.endpoint, settings.endpoint_model, key=key, calls_max=settings.endpoint_calls_max)

    def further(self, text: str, title: str | None, found: Sequence[FoundDefinition]) -> list[FoundDefinition]:
        """What the model finds beside `found`, with its place in the text. Raises ReaderFailed."""
        made: list[FoundDefinition] = []
        for number, (start, end) in enumerate(_parts(text, found)):
            if number == self._calls_max:
                break
            for entity, quotation in self._asked(text[start:end], title or ""):
                definition = _checked(text, start, end, entity, quotation)
                if definition is not None and not any(_overlap(definition, other) for other in (*found, *made)):
                    made.append(definition)
        return made

    def _asked(self, text: str, title: str) -> Iterator[tuple[str, str]]:
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": _ASK.format(title=title, text=text)}],
            "temperature": 0.0,
            "response_format": {"type": "json_schema", "json_schema": {"name": "definitions", "strict": True, "schema": _SCHEMA}},
        }
        try:
            answer = self._client.post(f"{self._url}/chat/completions", json=body)
            answer.raise_for_status()
            told = json.loads(answer.json()["choices"][0]["message"]["content"])["definitions"]
            pairs = [(str(one["entity"]), str(one["quotation"])) for one in told]
        except (httpx2.HTTPError, KeyError, IndexError, TypeError, ValueError) as err:
            raise ReaderFailed(f"{self._url} did not read the text: {type(err).__name__}: {err}") from err
        yield from pairs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()


def _parts(text: str, found: Sequence[FoundDefinition]) -> Iterator[tuple[int, int]]:
    """Neighbouring paragraphs worth asking about, as places of at most so many characters; a longer paragraph is a part of its own."""
    open_part: tuple[int, int] | None = None
    for block in blocks(text):
        asked = block.kind in (Kind.PARAGRAPH, Kind.ITEM, Kind.DESCRIPTION) and TRIGGER.search(text, block.start, block.end) is not None
        asked = asked and not any(one.span[0] < block.end and block.start < one.span[1] for one in found)
        if open_part is not None and (not asked or block.end - open_part[0] > _PART_CHARACTERS):
            yield open_part
            open_part = None
        if asked:
            open_part = (block.start if open_part is None else open_part[0], block.end)
    if open_part is not None:
        yield open_part


def _checked(text: str, start: int, end: int, entity: str, quotation: str) -> FoundDefinition | None:
    """The definition at its place, if the quotation stands there just so, names its entity and passes the screen."""
    words = quotation.split()
    named = collapse(entity)
    if (
        len(words) < _LEAST_WORDS
        or len(quotation) > MAX_DEFINITION_CHARACTERS
        or not named
        or named.casefold() not in collapse(quotation).casefold()
    ):
        return None
    place = re.compile(r"\s+".join(map(re.escape, words))).search(text, start, end)
    if place is None or screen(place.group()) or screen(named):
        return None
    return FoundDefinition(named, collapse(place.group()), place.span(), SCORE, "model", ())


def _overlap(one: FoundDefinition, other: FoundDefinition) -> bool:
    return one.span[0] < other.span[1] and other.span[0] < one.span[1]
