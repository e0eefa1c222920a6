"""The plug between httpx2 and the guarded sockets. Nothing here knows what is fetched or why.

httpx2 offers no way to hand in a network backend, httpcore2's pool below it does: this transport is that pool, with httpx2's exceptions.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import httpcore2
import httpx2

from .guard import EVERYWHERE, AddressGuard, GuardedBackend

_TRANSLATION: tuple[tuple[type[Exception], type[httpx2.TransportError]], ...] = (
    (httpcore2.ConnectTimeout, httpx2.ConnectTimeout),
    (httpcore2.TimeoutException, httpx2.ReadTimeout),
    (httpcore2.ConnectError, httpx2.ConnectError),
    (httpcore2.ProxyError, httpx2.ProxyError),
    (httpcore2.NetworkError, httpx2.ReadError),
    (httpcore2.RemoteProtocolError, httpx2.RemoteProtocolError),
    (httpcore2.ProtocolError, httpx2.LocalProtocolError),
    (httpcore2.UnsupportedProtocol, httpx2.UnsupportedProtocol),
)


class GuardedTransport(httpx2.BaseTransport):
    """One connection pool for one fetch, ending at one deadline (`time.monotonic()`).

    A `proxy` is the operator's own and is connected to wherever it is. Names are resolved behind it; addresses written out, in any
    spelling, are judged before they are handed to it.
    """

    def __init__(self, guard: AddressGuard, deadline: float, *, proxy: str | None = None) -> None:
        self._guard = guard if proxy else None
        # Each pool has room for one connection that nobody keeps.
        self._pool: httpcore2.ConnectionPool
        if proxy:
            anywhere = GuardedBackend(AddressGuard(networks=EVERYWHERE), deadline)
            self._pool = _proxied(proxy, anywhere)
        else:
            self._pool = httpcore2.ConnectionPool(
                ssl_context=_tls(), max_connections=1, max_keepalive_connections=0, network_backend=GuardedBackend(guard, deadline)
            )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        if self._guard is not None:
            self._guard.judge_written(url.host)
        with _as_httpx2():
            answer = self._pool.handle_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=b"",
                    extensions=request.extensions,
                )
            )
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    def close(self) -> None:
        self._pool.close()


def _proxied(proxy: str, backend: GuardedBackend) -> httpcore2.ConnectionPool:
    url = httpx2.URL(proxy)
    auth = (url.username.encode(), url.password.encode()) if url.username else None
    plain = str(url.copy_with(username=None, password=None))
    return httpcore2.HTTPProxy(
        proxy_url=plain, proxy_auth=auth, ssl_context=_tls(), max_connections=1, max_keepalive_connections=0, network_backend=backend
    )


class _Body(httpx2.SyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        stream = self._answer.stream
        if not isinstance(stream, Iterable):
            raise TypeError("a synchronous pool answered with an asynchronous stream")
        with _as_httpx2():
            yield from stream

    def close(self) -> None:
        self._answer.close()


@contextmanager
def _as_httpx2() -> Iterator[None]:
    try:
        yield
    except Exception as err:
        for core, ours in _TRANSLATION:
            if isinstance(err, core):
                raise ours(str(err)) from err
        raise


@functools.lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Loading the certificate store costs more than a small fetch, so it is done once."""
    return ssl.create_default_context()
