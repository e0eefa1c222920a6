"""A real HTTP server on this machine for the source tests, and small feeds to serve from it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sources import FetchSettings

LOCAL = FetchSettings(allow_private=("127.0.0.0/8",), connect_timeout_s=2, read_timeout_s=2, overall_timeout_s=5)

type_xml = "application/xml"

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"><channel><title>Varn news</title><link>https://varn.example/</link>
<item><guid>varn-2</guid><title>Oslith</title><link>https://varn.example/2</link><pubDate>Tue, 03 Mar 2026 10:00:00 GMT</pubDate>
<description>&lt;p&gt;An &lt;b&gt;oslith&lt;/b&gt; is a blue lamp.&lt;/p&gt;</description></item>
<item><guid>varn-1</guid><title>Tarn</title><link>https://varn.example/1</link><pubDate>Mon, 02 Mar 2026 10:00:00 GMT</pubDate>
<description>A tarn is a small lake.</description></item>
</channel></rss>"""

Route = Callable[["Handler"], None]


@dataclass
class Site:
    """A running server: routes by path, and every request it got."""

    base: str = ""
    routes: dict[str, Route] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def serve(self, path: str, body: bytes | str, *, content_type: str = type_xml, status: int = 200, **headers: str) -> str:
        """Answer `path` with these bytes and headers (underscores become dashes); gives the address."""
        data = body.encode() if isinstance(body, str) else body

        def answer(handler: Handler) -> None:
            handler.answer(status, data, {"Content-Type": content_type} | {key.replace("_", "-"): value for key, value in headers.items()})

        self.routes[path] = answer
        return self.base + path

    def route(self, path: str, answer: Route) -> str:
        self.routes[path] = answer
        return self.base + path


class Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.site.requests.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
        route = self.site.routes.get(self.path.partition("?")[0])
        # The client hangs up early in many of these tests; that is what they test.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if route is None:
                self.answer(404, b"not here", {})
            else:
                route(self)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if "Content-Length" not in headers and status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up


@contextlib.contextmanager
def running_site() -> Iterator[Site]:
    site = Site()
    server = _Server(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": site}))
    site.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
