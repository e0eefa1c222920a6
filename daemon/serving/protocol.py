"""The part of OpenAI's HTTP language, in vLLM's dialect, that the engine understands, and its answers as JSON. Computes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import JSONResponse

from daemon.embedded.calls import Answer, Piece, Sampling, Token

DONE = b"data: [DONE]\n\n"
DEFAULT_MAX_TOKENS = 16  # what the completions API has always meant by leaving it out
MAX_TOP_LOGPROBS = 20


class StreamOptions(BaseModel):
    include_usage: bool = False


class _Wishes(BaseModel):
    """What both endpoints share. Unknown keys are ignored, as OpenAI's clients expect; what would change the answer is refused."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: str | list[str] | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool = False

    @property
    def wants_stream_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def _sampling(self, *, max_tokens: int, top_logprobs: int | None) -> Sampling:
        return Sampling(
            max_tokens=max_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            seed=self.seed,
            ignore_eos=self.ignore_eos,
            top_logprobs=top_logprobs,
        )


class CompletionRequest(_Wishes):
    prompt: str | list[int] | list[str] | list[list[int]]
    max_tokens: int | None = Field(default=None, ge=1)
    logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP_LOGPROBS)
    echo: bool = False
    suffix: str | None = None

    def prompts(self) -> list[str | list[int]]:
        """One entry for each answer wanted."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [[i for i in self.prompt if isinstance(i, int)]]
        return [p for p in self.prompt if not isinstance(p, int)]

    def sampling(self) -> Sampling:
        max_tokens = DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens
        return self._sampling(max_tokens=max_tokens, top_logprobs=self.logprobs)

    def unsupported(self) -> str | None:
        if self.echo:
            return "echo"
        return "suffix" if self.suffix else None


class TextPart(BaseModel):
    type: Annotated[str, StringConstraints(pattern="^(text|input_text)$")]
    text: str


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    content: str | list[TextPart] | None = None

    def plain(self) -> dict[str, str]:
        content = self.content or ""
        return {"role": self.role, "content": content if isinstance(content, str) else "".join(part.text for part in content)}


class ChatRequest(_Wishes):
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP_LOGPROBS)

    def sampling(self, *, room: int) -> Sampling:
        """`room` is what the context has left after the conversation: the longest answer unless the client wants less."""
        wanted = self.max_completion_tokens or self.max_tokens
        top = (self.top_logprobs or 0) if self.logprobs else None
        return self._sampling(max_tokens=max(1, room) if wanted is None else wanted, top_logprobs=top)


class LoadAdapter(BaseModel):
    lora_name: str = ""
    lora_path: str = ""


class UnloadAdapter(BaseModel):
    lora_name: str = ""


def error_json(status: int, message: str, *, kind: str, param: str | None = None, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as OpenAI's and vLLM's clients expect it."""
    return JSONResponse({"error": {"message": message, "type": kind, "param": param, "code": status}}, status_code=status, headers=headers)


def bad_request(message: str, *, param: str | None = None) -> JSONResponse:
    return error_json(400, message, kind="BadRequestError", param=param)


def not_found(message: str, *, param: str | None = None) -> JSONResponse:
    return error_json(404, message, kind="NotFoundError", param=param)


def event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def usage(answers: Sequence[Answer]) -> dict[str, int]:
    prompt, completion = sum(a.prompt_tokens for a in answers), sum(a.completion_tokens for a in answers)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def frame(request_id: str, kind: str, model: str) -> dict[str, Any]:
    """What every answer and chunk begins with."""
    return {"id": request_id, "object": kind, "created": int(time.time()), "model": model}


def completion_choice(index: int, part: Answer | Piece, *, with_logprobs: bool, offset: int = 0) -> dict[str, Any]:
    logprobs = completion_logprobs(part.tokens, offset=offset) if with_logprobs else None
    return {"index": index, "text": part.text, "logprobs": logprobs, "finish_reason": part.finish_reason}


def completion_logprobs(tokens: Sequence[Token], *, offset: int) -> dict[str, Any]:
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.top) | {token.text: token.logprob} for token in tokens],
        "text_offset": offsets,
    }


def chat_choice(index: int, answer: Answer, *, with_logprobs: bool) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    logprobs = chat_logprobs(answer.tokens) if with_logprobs else None
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": answer.finish_reason}


def chat_delta(index: int, piece: Piece, *, with_logprobs: bool) -> dict[str, Any]:
    logprobs = chat_logprobs(piece.tokens) if with_logprobs else None
    return {"index": index, "delta": {"content": piece.text}, "logprobs": logprobs, "finish_reason": piece.finish_reason}


def chat_logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    return {"content": [_chat_logprob(t.text, t.logprob) | {"top_logprobs": [_chat_logprob(*top) for top in t.top]} for t in tokens]}


def _chat_logprob(text: str, logprob: float | None) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}
