"""Who is at the dashboard: a cookie that only this gateway can have given, what its holder may do, and proof that a form came from our page.

A visitor signs in with a key. Where there are no keys at all, which the gateway allows on this machine alone, anybody may look; to act takes an
administrator's key always, as it does through the API.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from daemon.serving.keys import Holder, digest_of, holder_of

COOKIE = "lorefeed_session"
LASTS_S = 12 * 3600.0
KEPT = 1000  # more visitors than this at a time push the oldest out
FAILURES_PER_MINUTE = 30

Keys = Callable[[], Mapping[str, bool]]


@dataclass(frozen=True, slots=True)
class Session:
    """`key` is the digest of the key that was given, empty before that; `token` must come back with every form."""

    id: str
    token: str
    key: str = ""
    ends_at: float = 0.0


class Sessions:
    """In memory: a restart of the gateway signs everybody out. Thread-safe."""

    def __init__(self, keys: Keys, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys, self._clock = keys, clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._failures: list[float] = []
        self._lock = threading.Lock()

    def of(self, request: Request) -> Session:
        """The visitor's session, or a new one."""
        with self._lock:
            known = self._sessions.get(request.cookies.get(COOKIE, ""))
            if known is not None and known.ends_at > self._clock():
                return known
            return self._keep(Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32)))

    def holder(self, session: Session) -> Holder:
        """What the visitor may do now. A key that was removed meanwhile counts no more."""
        keys = self._keys()
        if session.key in keys:
            return Holder.ADMIN if keys[session.key] else Holder.USER
        return Holder.NOBODY if keys else Holder.USER

    def sign_in(self, session: Session, key: str) -> Session | None:
        """A new session, so that nobody could have planted the cookie; None if the key opens nothing or too many wrong ones were tried."""
        now = self._clock()
        with self._lock:
            self._failures = [at for at in self._failures if at > now - 60]
            if len(self._failures) >= FAILURES_PER_MINUTE:
                return None
        if holder_of(key.strip().encode(), self._keys()) is Holder.NOBODY:
            with self._lock:
                self._failures.append(now)
            return None
        with self._lock:
            self._sessions.pop(session.id, None)
            return self._keep(Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), digest_of(key.strip())))

    def sign_out(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session.id, None)

    def _keep(self, session: Session) -> Session:
        kept = replace(session, ends_at=self._clock() + LASTS_S)
        self._sessions[kept.id] = kept
        while len(self._sessions) > KEPT:
            self._sessions.popitem(last=False)
        return kept


def came_from_our_page(request: Request, session: Session, given_token: str) -> bool:
    """The token of this session, and no word from the browser that another site sent it (CSRF)."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host", ""):
        return False
    return hmac.compare_digest(given_token.encode(), session.token.encode())


def give_cookie(response: Response, session: Session, *, secure: bool) -> None:
    response.set_cookie(COOKIE, session.id, path="/ui", httponly=True, samesite="strict", secure=secure, max_age=int(LASTS_S))
