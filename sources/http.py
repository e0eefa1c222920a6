"""Polite, guarded HTTP for sources: conditional GET, caps, time limits, redirects judged one by one. Knows nothing about feeds.

One call is one fetch. A connection that fails at once is tried a second time; everything longer (Retry-After, back-off) is told to the
caller and is the caller's to keep.
"""

from __future__ import annotations

import contextlib
import functools
import re
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from ssl import SSLError

import httpx2
import stamina

from .base import FetchSettings
from .caching import retry_after_s, wait_asked_for_s
from .errors import AddressRefused, BadEncoding, Gone, HttpStatus, NotReachable, SourceError, TimedOut, TooLarge, TooManyRedirects
from .guard import AddressGuard
from .politeness import HOSTS
from .transport import GuardedTransport

FEEDS = "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, application/json;q=0.9, */*;q=0.5"
PAGES = "text/html, application/xhtml+xml, application/pdf;q=0.9, text/plain;q=0.8, */*;q=0.5"
_REDIRECTS = (301, 302, 303, 307, 308)
_PERMANENT = (301, 308)
_CODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate", "br", "zstd"})
#: Trouble that a second attempt may cure, because no byte of an answer was seen.
_TRANSIENT = (httpx2.ConnectError, httpx2.RemoteProtocolError, httpx2.ReadError)


@dataclass(frozen=True, slots=True)
class Validators:
    """What the server gave last time so that we need not fetch the same again; valid only for the address it came from."""

    url: str
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """One answer. `body` is decompressed; it is empty when `unchanged`."""

    url: str
    status: int
    body: bytes
    content_type: str
    unchanged: bool
    validators: Validators
    next_after_s: float | None
    moved_to: str | None


def fetch(location: str, settings: FetchSettings, *, validators: Validators | None = None, accept: str = FEEDS) -> Fetched:
    """GET the location, following redirects; raises a SourceError that names it. `accept` is the header of that name."""
    deadline = time.monotonic() + settings.overall_timeout_s
    guard = AddressGuard.of(settings)
    shown = shown_address(location)
    try:
        # The transport alone: what else httpx2's client does is done here with more care, and to make one costs half a small fetch.
        with contextlib.ExitStack() as visits, GuardedTransport(guard, deadline, proxy=settings.proxy) as transport:
            return _follow(transport, location, settings, validators=validators, accept=accept, visits=visits)
    except SourceError as err:
        if err.location == shown:
            raise
        raise _named(err, shown) from err
    except httpx2.TimeoutException as err:
        raise TimedOut(shown, _timeout_words(err, settings, deadline=deadline)) from err
    except httpx2.DecodingError as err:
        raise BadEncoding(shown, "the compressed body is damaged and cannot be unpacked") from err
    except httpx2.TransportError as err:
        raise NotReachable(shown, _transport_words(err), hint=_transport_hint(err)) from err


def shown_address(location: str) -> str:
    """The location as it may be printed and stored in messages: without a password."""
    return re.sub(r"(?<=://)([^/@:\s]*):[^/@\s]*@", r"\1:***@", location)


@functools.lru_cache(maxsize=1)
def user_agent() -> str:
    try:
        ours = version("lorefeed")
    except PackageNotFoundError:
        ours = "0"  # a source tree that was never installed
    return f"lorefeed/{ours} (+https://github.com/lorefeed/lorefeed)"


def _headers() -> dict[str, str]:
    return {"User-Agent": user_agent(), "Accept-Encoding": "gzip, deflate, br, zstd", "Connection": "close"}


def _follow(
    transport: GuardedTransport,
    location: str,
    settings: FetchSettings,
    *,
    validators: Validators | None,
    accept: str,
    visits: contextlib.ExitStack,
) -> Fetched:
    shown = shown_address(location)
    url = first = _url(location, shown)
    seen = {str(url)}
    entered: set[str] = set()
    moved_to: str | None = None
    still_permanent = True
    cookies = httpx2.Cookies()  # from one redirect to the next, and no longer
    for _ in range(settings.max_redirects + 1):
        if url.host not in entered:  # a redirect within a host is one visit
            visits.enter_context(HOSTS.visit(url.host, settings, shown))
            entered.add(url.host)
        secrets = settings.secret_headers() if _origin(url) == _origin(first) else {}
        response = _send(transport, url, settings, validators=validators, headers={"Accept": accept} | secrets, cookies=cookies)
        try:
            target = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not target:
                return _answer(response, shown, settings, validators=validators, moved_to=moved_to)
        finally:
            response.close()
        url = _redirected(url, target, shown)
        still_permanent = still_permanent and response.status_code in _PERMANENT
        moved_to = str(url) if still_permanent else moved_to
        if str(url) in seen:
            raise TooManyRedirects(shown, f"the redirects go in a circle (back to {shown_address(str(url))})")
        seen.add(str(url))
    raise TooManyRedirects(shown, f"there are more than {settings.max_redirects} redirects")


def _url(location: str, shown: str) -> httpx2.URL:
    try:
        url = httpx2.URL(location)
    except (httpx2.InvalidURL, ValueError) as err:
        raise AddressRefused(shown, f"this is not a valid address ({err})", hint="Check the spelling of the address.") from err
    if url.scheme not in ("http", "https") or not url.host:
        raise AddressRefused(shown, f"only http and https are fetched, this is {url.scheme or 'no address'!r}")
    if re.search(r"[%\[\]\s]", url.host):  # an IPv6 zone, or leftovers of a damaged address that were percent-encoded
        raise AddressRefused(shown, f"{url.host[:100]!r} is not a valid host name", hint="Check the spelling of the address.")
    return url


def _redirected(url: httpx2.URL, target: str, shown: str) -> httpx2.URL:
    try:
        joined = str(url.join(target))
    except (httpx2.InvalidURL, ValueError) as err:
        raise AddressRefused(shown, "it redirects to something that is no address") from err
    try:
        return _url(joined, shown).copy_with(fragment=None)
    except AddressRefused as err:
        raise AddressRefused(shown, f"it redirects to {shown_address(joined)[:200]}, and {err.reason}") from err


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    """Whom a secret is meant for: it never follows a redirect to somebody else."""
    return url.scheme, url.host, url.port


def _send(
    transport: GuardedTransport,
    url: httpx2.URL,
    settings: FetchSettings,
    *,
    validators: Validators | None,
    headers: dict[str, str],
    cookies: httpx2.Cookies,
) -> httpx2.Response:
    """One request. A user and password written into the address travel as a header: addresses are logged, headers are not."""
    auth = httpx2.BasicAuth(url.username, url.password) if url.username or url.password else None
    url = url.copy_with(username=None, password=None) if url.userinfo else url
    conditional = httpx2.Headers(_headers())
    conditional.update(headers)
    if validators and validators.url == str(url):
        if validators.etag:
            conditional["If-None-Match"] = validators.etag
        if validators.last_modified:
            conditional["If-Modified-Since"] = validators.last_modified
    timeout = {"connect": settings.connect_timeout_s} | dict.fromkeys(("read", "write", "pool"), settings.read_timeout_s)
    for attempt in stamina.retry_context(
        on=_TRANSIENT, attempts=max(1, settings.attempts), timeout=None, wait_initial=0.2, wait_jitter=0.1
    ):
        with attempt:
            request = httpx2.Request("GET", url, headers=conditional, extensions={"timeout": timeout})
            if auth is not None:
                request = next(auth.auth_flow(request))
            if len(cookies):
                cookies.set_cookie_header(request)
            response = transport.handle_request(request)
            response.request = request
            cookies.extract_cookies(response)
            return response
    raise AssertionError("a retry context either returns or raises")  # pragma: no cover


def _answer(
    response: httpx2.Response, shown: str, settings: FetchSettings, *, validators: Validators | None, moved_to: str | None
) -> Fetched:
    status, headers = response.status_code, response.headers
    asked_conditionally = "if-none-match" in response.request.headers or "if-modified-since" in response.request.headers
    unchanged = (status == 304 and asked_conditionally) or status == 204
    if not unchanged and status not in (200, 203):
        raise _status_error(response, shown)
    url = str(response.request.url)
    before = validators if unchanged and validators and validators.url == url else Validators(url)
    return Fetched(
        url=url,
        status=status,
        body=b"" if unchanged else _read(response, shown, settings.max_bytes),
        content_type=headers.get("content-type", ""),
        unchanged=unchanged,
        validators=Validators(
            url=url,
            etag=_sendable(headers.get("etag")) or before.etag,
            last_modified=_sendable(headers.get("last-modified")) or before.last_modified,
        ),
        next_after_s=wait_asked_for_s(headers),
        moved_to=moved_to,
    )


def _status_error(response: httpx2.Response, shown: str) -> HttpStatus:
    status = response.status_code
    wait_s = retry_after_s(response.headers.get("retry-after"))
    if status == 410:
        return Gone(shown, status, reason="the server says that this is gone for good (410)")
    if status == 404:
        return HttpStatus(shown, status, reason="there is nothing at this address (404)", retry_after_s=wait_s)
    if status in (401, 403):
        return HttpStatus(shown, status, reason=f"the server refuses to show this ({status})", retry_after_s=wait_s)
    if status in (429, 503):
        asked = f", and asks to wait {wait_s:.0f} s" if wait_s is not None else ""
        words = "we ask too often" if status == 429 else "the server is not available now"
        return HttpStatus(
            shown,
            status,
            reason=f"{words} ({status}){asked}",
            hint="It is tried again by itself. If this lasts, poll the feed less often.",
            retry_after_s=wait_s,
        )
    return HttpStatus(shown, status, retry_after_s=wait_s)


def _read(response: httpx2.Response, shown: str, cap_bytes: int) -> bytes:
    """The decompressed body, read piece by piece so that neither a huge file nor a compressed bomb is ever held whole."""
    codings = {part.strip().lower() for part in response.headers.get("content-encoding", "").split(",")}
    if not codings <= _CODINGS:
        raise BadEncoding(shown, f"the body is compressed as {', '.join(sorted(codings - _CODINGS))}, which was not asked for")
    announced = response.headers.get("content-length", "")
    if re.fullmatch(r"[0-9]{1,18}", announced) and int(announced) > cap_bytes:
        raise TooLarge(shown, f"the server announces {int(announced):,} bytes, and the cap is {cap_bytes:,}")
    pieces: list[bytes] = []
    size_bytes = 0
    for piece in response.iter_bytes():
        size_bytes += len(piece)
        if size_bytes > cap_bytes:
            raise TooLarge(shown, f"the body is larger than the cap of {cap_bytes:,} bytes; reading stopped there")
        pieces.append(piece)
    return b"".join(pieces)


def _sendable(value: str | None) -> str | None:
    """A validator that can be sent back as a header; a strange one is dropped and only costs us the saving."""
    return value if value and len(value) <= 1000 and value.isascii() and value.isprintable() else None


def _named(err: SourceError, shown: str) -> SourceError:
    """The guard knows only a host; the person knows the location."""
    reason = err.reason if f"//{err.location}" in shown else f"it leads to {err.location}; {err.reason}"
    return type(err)(shown, reason, hint=err.hint, retry_after_s=err.retry_after_s)


def _timeout_words(err: httpx2.TimeoutException, settings: FetchSettings, *, deadline: float) -> str:
    if time.monotonic() >= deadline - 0.01:
        return f"the whole fetch took longer than {settings.overall_timeout_s:g} s"
    if isinstance(err, httpx2.ConnectTimeout):
        return f"no connection within {settings.connect_timeout_s:g} s"
    return f"the server sent nothing for {settings.read_timeout_s:g} s"


def _transport_words(err: httpx2.TransportError) -> str:
    cause = _root(err)
    if isinstance(cause, SSLError):
        return f"the secure connection failed ({getattr(cause, 'verify_message', '') or cause.reason or 'TLS error'})"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(err, httpx2.ConnectError):
        return f"no connection ({getattr(cause, 'strerror', None) or 'network error'})".replace("\n", " ")
    return "the connection broke off before the answer was complete"


def _transport_hint(err: httpx2.TransportError) -> str | None:
    return "Check the certificate of the server and the clock of this machine." if isinstance(_root(err), SSLError) else None


def _root(err: BaseException) -> BaseException:
    """The system's own error. The pool cuts the chain of causes (`raise ... from None`) but keeps the cause as its argument."""
    while True:
        inside = err.__cause__ or next((arg for arg in err.args if isinstance(arg, BaseException)), None)
        if inside is None:
            return err
        err = inside
