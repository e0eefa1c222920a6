"""A stand-in for an engine that computes nothing: one constant answer, at once (finds the gateway's own ceiling) or after a pause, as of an engine
that computes on a device of its own (finds what the gateway adds to a latency). Nothing else.

python -m daemon.serving.standin PORT BASE_NAME [PAUSE_MS]
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

_ANSWER = {
    "id": "cmpl-0",
    "object": "text_completion",
    "created": 0,
    "model": "standin",
    "choices": [{"index": 0, "text": " nothing", "message": {"role": "assistant", "content": "nothing"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 40, "completion_tokens": 1, "total_tokens": 41},
}


class StandIn(asyncio.Protocol):
    """One connection. Lists the base model, and says yes to everything else."""

    def __init__(self, base_name: str, pause_s: float) -> None:
        self._pause_s = pause_s
        listing = {"object": "list", "data": [{"id": base_name, "root": base_name, "parent": None}]}
        self._replies = {b"/v1/models": _reply(json.dumps(listing).encode()), b"/health": _reply(b"")}
        self._answer = _reply(json.dumps(_ANSWER).encode())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is one in all but its ancestors
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = urlsplit(url).path

    def on_message_complete(self) -> None:
        reply = self._replies.get(self._path)
        if reply is None and self._pause_s:
            asyncio.get_running_loop().call_later(self._pause_s, self._transport.write, self._answer)
        else:
            self._transport.write(reply or self._answer)


def _reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def stand_in(port: int, base_name: str, pause_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: StandIn(base_name, pause_s), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(stand_in(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) / 1000 if len(sys.argv) > 3 else 0.0))
