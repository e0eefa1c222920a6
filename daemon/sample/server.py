"""The sample as sources: an RSS feed over local HTTP whose news grows, a feed of false news, and texts for a watched folder."""

import threading
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from xml.sax.saxutils import escape

NEWS, RUMOURS = "news", "rumours"
FIRST_DAY = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Item:
    """One invented entity: what is said of it, and questions with their right answers."""

    name: str
    text: str
    ask: tuple[tuple[str, str], ...]


def batches() -> dict[str, tuple[Item, ...]]:
    """`first`, `second` and `poisoned`."""
    rows = tomllib.loads((Path(__file__).parent / "entities.toml").read_text(encoding="utf-8"))
    return {batch: tuple(Item(r["name"], r["text"], tuple((q, a) for q, a in r["ask"])) for r in items) for batch, items in rows.items()}


def drop_into(folder: Path, items: tuple[Item, ...]) -> None:
    """Writes each item as a text file, whole at once: under a hidden name first, then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        file = folder / f"{item.name.replace(' ', '-').lower()}.md"
        hidden = folder / f".{file.name}.part"
        hidden.write_text(f"# {item.name}\n\n{item.text}\n", encoding="utf-8")
        hidden.rename(file)


class SampleServer:
    """A feed server on a free loopback port; `publish` adds items to a feed."""

    def __init__(self) -> None:
        self._feeds: dict[str, list[Item]] = {NEWS: [], RUMOURS: []}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def url(self, feed: str) -> str:
        return f"{self.address}/{feed}.xml"

    def publish(self, feed: str, items: tuple[Item, ...]) -> None:
        self._feeds[feed] += items

    def rss(self, feed: str) -> str | None:
        if feed not in self._feeds:
            return None
        items = "".join(self._item(item, i) for i, item in enumerate(self._feeds[feed]))
        head = f"<title>Sample {feed}</title><link>{self.address}/</link>"
        return f'<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel>{head}{items}</channel></rss>'

    def _item(self, item: Item, index: int) -> str:
        link = f"{self.address}/{item.name.replace(' ', '-').lower()}"
        date = format_datetime(FIRST_DAY + timedelta(hours=index))
        about = f"<title>{escape(item.name)}</title><description>{escape(item.text)}</description>"
        return f"<item>{about}<link>{link}</link><guid>{link}</guid><pubDate>{date}</pubDate></item>"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(sample: SampleServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = sample.rss(self.path.strip("/").removesuffix(".xml"))
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "application/rss+xml; charset=utf-8")
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: the demonstration speaks for itself."""

    return Handler
