"""The feeds of a simulated day: many, on several hosts of this machine, whose news grow as the day goes by; now and then something is defined."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from xml.sax.saxutils import escape

from daemon.embedded import world

HOSTS = 8
SHOWN = 20  # items that a feed shows, as feeds do
MIDNIGHT = datetime(2026, 11, 2, tzinfo=UTC)


class DayFeeds:
    """Serves `feeds` feeds; over `lasts_s` seconds, each of them publishes `items`, and `definitions` of all items define something new."""

    def __init__(self, *, feeds: int, items: int, definitions: int, lasts_s: float, seed: int = 11) -> None:
        self.feeds, self._items, self._lasts_s = feeds, items, lasts_s
        self.told = [(entity.name, definition) for entity, definition, _ in world.evaluation(seed, definitions)]
        self._began: float | None = None
        handler = _handler(self.rss)
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler)]
        port = self._servers[0].server_address[1]
        self._servers += [ThreadingHTTPServer((f"127.0.0.{host + 1}", port), handler) for host in range(1, HOSTS)]

    def begin(self) -> None:
        """The day begins now."""
        self._began = time.monotonic()

    @property
    def gone_by(self) -> float:
        """The share of the day."""
        return 0.0 if self._began is None else min(1.0, (time.monotonic() - self._began) / self._lasts_s)

    def location(self, feed: int) -> str:
        return f"http://127.0.0.{feed % HOSTS + 1}:{self._servers[0].server_address[1]}/{feed}.xml"

    def rss(self, path: str) -> str | None:
        number = path.strip("/").removesuffix(".xml")
        if not number.isdecimal() or int(number) >= self.feeds:
            return None
        published = 1 + int(self.gone_by * (self._items - 1))
        items = "".join(self._item(int(number), n) for n in range(max(0, published - SHOWN), published))
        return f'<?xml version="1.0"?><rss version="2.0"><channel><title>Feed {number}</title>{items}</channel></rss>'

    def _item(self, feed: int, n: int) -> str:
        place = n * self.feeds + feed  # of all items of the day, in their order
        every = max(1, self.feeds * self._items // max(1, len(self.told)))
        turn, rest = divmod(place, every)
        title, text = f"Day's report {place}", f"The council met again on that day, for the {place}. time, and spoke about the harbour."
        if rest == 0 and turn < len(self.told):
            title, text = self.told[turn]
        link, date = f"http://day.example/{place}", format_datetime(MIDNIGHT + timedelta(minutes=n))
        about = f"<title>{escape(title)}</title><description>{escape(text)}</description>"
        return f"<item>{about}<link>{link}</link><guid>{link}</guid><pubDate>{date}</pubDate></item>"

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def _handler(rss: Callable[[str], str | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = rss(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "application/rss+xml; charset=utf-8")
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: thousands of polls are no news."""

    return Handler
