"""The embedded engine over HTTP: the subset of vLLM's API that reconcile and the gateway use, so that both engines have one code path.

Speaks HTTP and JSON; daemon.embedded.generate computes. That import waits until an engine really starts, because it brings torch.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from daemon.embedded.calls import (
    AdapterAlreadyLoaded,
    AdapterNotLoadable,
    AdapterUnknown,
    Answer,
    GenerationError,
    Piece,
    PromptNotUsable,
    PromptTooLong,
    Sampling,
    Ticket,
)
from daemon.serving import protocol
from daemon.serving.listen import inherited_sockets, serve
from daemon.serving.protocol import ChatRequest, CompletionRequest, LoadAdapter, UnloadAdapter, bad_request, error_json
from daemon.serving.streams import ClosingStream, unless_gone

if TYPE_CHECKING:
    from daemon.embedded.generate import Generator

log = logging.getLogger(__name__)
Body = TypeVar("Body", bound=BaseModel)
_ADAPTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
CLIENT_GONE = Response(status_code=499)


def run_engine(model: Path | str, *, host: str, port: int, served_name: str, revision: str | None = None) -> None:
    """Load the model and serve it until told to stop."""
    from daemon.embedded.generate import Generator, settle_threads

    started = time.monotonic()
    with Generator(model, revision=revision) as generator:
        settle_threads(generator)
        log.info("Engine serves %s as %s on http://%s:%d", model, served_name, host, port, extra={"duration_s": time.monotonic() - started})
        app = create_engine(generator, served_name=served_name, root=str(model))

        async def alive() -> None:
            await anyio.to_thread.run_sync(generator.ping, abandon_on_cancel=True)

        serve(app, host=host, port=port, sockets=inherited_sockets(), alive=alive)


def create_engine(generator: Generator, *, served_name: str, root: str) -> Starlette:
    engine = _Engine(generator, served_name, root)
    routes = [
        Route("/health", engine.health),
        Route("/v1/models", engine.models),
        Route("/v1/load_lora_adapter", engine.load, methods=["POST"]),
        Route("/v1/unload_lora_adapter", engine.unload, methods=["POST"]),
        Route("/v1/completions", engine.completions, methods=["POST"]),
        Route("/v1/chat/completions", engine.chat, methods=["POST"]),
    ]
    handlers: Any = {
        ValidationError: _refuse_body,
        AdapterAlreadyLoaded: partial(_refuse, status=400, kind="InvalidUserInput"),
        AdapterNotLoadable: partial(_refuse, status=400, kind="BadRequestError"),
        AdapterUnknown: partial(_refuse, status=404, kind="NotFoundError"),
        PromptTooLong: partial(_refuse, status=400, kind="BadRequestError"),
        PromptNotUsable: partial(_refuse, status=400, kind="BadRequestError"),
        GenerationError: partial(_refuse, status=500, kind="InternalServerError"),
        ClientDisconnect: _client_gone,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


class _Engine:
    """The endpoints, around one generator."""

    def __init__(self, generator: Generator, served_name: str, root: str) -> None:
        self._generator = generator
        self._name = served_name
        self._root = root
        self._created = int(time.time())

    async def health(self, _: Request) -> Response:
        return Response(status_code=200)

    async def models(self, _: Request) -> Response:
        base = self._card(self._name, root=self._root, parent=None) | {"max_model_len": self._generator.context_length}
        adapters = [self._card(name, root=str(path), parent=self._name) for name, path in self._generator.adapters().items()]
        return JSONResponse({"object": "list", "data": [base, *adapters]})

    def _card(self, name: str, *, root: str, parent: str | None) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "lorefeed", "root": root, "parent": parent}

    async def load(self, request: Request) -> Response:
        order = await _body(request, LoadAdapter)
        problem = self._load_problem(order)
        if problem:
            return error_json(400, problem, kind="InvalidUserInput")
        await anyio.to_thread.run_sync(self._generator.load_adapter, order.lora_name, Path(order.lora_path))
        log.info("Loaded adapter %s", order.lora_name, extra={"action": "loaded", "adapter": order.lora_name})
        return PlainTextResponse(f"Success: LoRA adapter '{order.lora_name}' added successfully.")

    def _load_problem(self, order: LoadAdapter) -> str | None:
        if not order.lora_name or not order.lora_path:
            return "Both 'lora_name' and 'lora_path' must be provided."
        if order.lora_name == self._name:
            return f"The name '{order.lora_name}' is the base model's."
        if not _ADAPTER_NAME.fullmatch(order.lora_name):
            return f"The name {order.lora_name!r} has characters that a served name cannot have."
        path = Path(order.lora_path)
        if "\0" in order.lora_path or not path.is_absolute():
            return "'lora_path' must be an absolute path: nothing is ever downloaded."
        return None if path.is_dir() else f"No adapter found for '{order.lora_name}': {path} is not a folder."

    async def unload(self, request: Request) -> Response:
        order = await _body(request, UnloadAdapter)
        if not order.lora_name:
            return error_json(400, "'lora_name' needs to be provided to unload a LoRA adapter.", kind="InvalidUserInput")
        await anyio.to_thread.run_sync(self._generator.unload_adapter, order.lora_name)
        log.info("Unloaded adapter %s", order.lora_name, extra={"action": "unloaded", "adapter": order.lora_name})
        return PlainTextResponse(f"Success: LoRA adapter '{order.lora_name}' removed successfully.")

    async def completions(self, request: Request) -> Response:
        wish = await _body(request, CompletionRequest)
        if (unsupported := wish.unsupported()) is not None:
            return bad_request(f"'{unsupported}' is not supported by the embedded engine.", param=unsupported)
        if not wish.prompts():
            return bad_request("The prompt is empty.", param="prompt")
        adapter = self._adapter(wish.model)
        prompts = [self._generator.encode(p) if isinstance(p, str) else p for p in wish.prompts()]
        call = _Call(self._generator, prompts, wish.sampling(), adapter=adapter)
        frame = partial(protocol.frame, f"cmpl-{uuid.uuid4().hex}", "text_completion", wish.model or self._name)
        with_logprobs = wish.logprobs is not None
        if wish.stream:
            choice = partial(protocol.completion_choice, with_logprobs=with_logprobs)
            return call.stream(frame, choice, opening=None, with_usage=wish.wants_stream_usage)
        answers = await unless_gone(request, call.answers())
        choices = [protocol.completion_choice(i, answer, with_logprobs=with_logprobs) for i, answer in enumerate(answers)]
        return JSONResponse(frame() | {"choices": choices, "usage": protocol.usage(answers)})

    async def chat(self, request: Request) -> Response:
        wish = await _body(request, ChatRequest)
        adapter = self._adapter(wish.model)
        ids = self._generator.encode_chat([message.plain() for message in wish.messages])
        call = _Call(self._generator, [ids], wish.sampling(room=self._generator.context_length - len(ids)), adapter=adapter)
        request_id, model = f"chatcmpl-{uuid.uuid4().hex}", wish.model or self._name
        if wish.stream:
            frame = partial(protocol.frame, request_id, "chat.completion.chunk", model)
            choice = partial(protocol.chat_delta, with_logprobs=bool(wish.logprobs))
            opening = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
            return call.stream(frame, choice, opening=opening, with_usage=wish.wants_stream_usage)
        answers = await unless_gone(request, call.answers())
        choices = [protocol.chat_choice(0, answers[0], with_logprobs=bool(wish.logprobs))]
        frame_json = protocol.frame(request_id, "chat.completion", model)
        return JSONResponse(frame_json | {"choices": choices, "usage": protocol.usage(answers)})

    def _adapter(self, model: str | None) -> str | None:
        """The adapter that a request's model names; None for the base."""
        if model is None or model == self._name:
            return None
        if model not in self._generator.adapters():
            raise AdapterUnknown(f"The model `{model[:200]}` does not exist.")
        return model


class _Call:
    """One HTTP request's generations: begun together, given up together."""

    def __init__(self, generator: Generator, prompts: Sequence[list[int]], sampling: Sampling, *, adapter: str | None) -> None:
        for ids in prompts:
            generator.check_length(ids, max_tokens=sampling.max_tokens)  # all or none begin
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[tuple[int, Piece | Future[Answer]]] = asyncio.Queue()
        self.tickets: list[Ticket] = []
        for index, ids in enumerate(prompts):
            ticket = generator.submit(ids, adapter=adapter, sampling=sampling, on_piece=partial(self._tell, index))
            self.tickets.append(ticket)
            ticket.result.add_done_callback(partial(self._tell, index))

    def _tell(self, index: int, news: Piece | Future[Answer]) -> None:
        """From the generator's thread into the event loop."""
        try:
            self._loop.call_soon_threadsafe(self._news.put_nowait, (index, news))
        except RuntimeError:  # the loop has ended with the server: nobody listens any more
            self.give_up()

    def give_up(self) -> None:
        for ticket in self.tickets:
            ticket.cancel()

    async def answers(self) -> list[Answer]:
        try:
            return [await asyncio.wrap_future(ticket.result) for ticket in self.tickets]
        except BaseException:  # cancelled because the client has gone, or one of several failed: the others are not wanted either
            self.give_up()
            raise

    def stream(
        self,
        frame: Callable[[], dict[str, Any]],
        choice: Callable[..., dict[str, Any]],
        *,
        opening: dict[str, Any] | None,
        with_usage: bool,
    ) -> Response:
        async def close() -> None:
            self.give_up()

        return ClosingStream(self._events(frame, choice, opening=opening, with_usage=with_usage), close=close)

    async def _events(
        self,
        frame: Callable[[], dict[str, Any]],
        choice: Callable[..., dict[str, Any]],
        *,
        opening: dict[str, Any] | None,
        with_usage: bool,
    ) -> AsyncIterator[bytes]:
        no_usage = {"usage": None} if with_usage else {}
        if opening is not None:
            yield protocol.event(frame() | {"choices": [opening]} | no_usage)
        answers: list[Answer] = []
        while len(answers) < len(self.tickets):
            index, news = await self._news.get()
            if isinstance(news, Piece):
                yield protocol.event(frame() | {"choices": [choice(index, news)]} | no_usage)
            elif (error := news.exception()) is not None:
                failure = {"message": str(error), "type": "InternalServerError", "param": None, "code": 500}
                yield protocol.event({"error": failure})
                break
            else:
                answers.append(news.result())
        else:
            if with_usage:
                yield protocol.event(frame() | {"choices": [], "usage": protocol.usage(answers)})
        yield protocol.DONE


async def _body(request: Request, kind: type[Body]) -> Body:
    return kind.model_validate_json(await request.body())


async def _refuse(_: Request, error: Exception, *, status: int, kind: str) -> Response:
    return error_json(status, str(error), kind=kind)


async def _refuse_body(_: Request, error: Exception) -> Response:
    if not isinstance(error, ValidationError):
        raise error
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return bad_request(f"{where}: {first['msg']}" if where else str(first["msg"]), param=where or None)


async def _client_gone(_: Request, __: Exception) -> Response:
    return CLIENT_GONE
