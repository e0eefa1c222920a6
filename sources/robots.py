"""robots.txt (RFC 9309), asked before a page is fetched that nobody subscribed to. Feeds are published to be fetched and are not asked about."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import replace
from urllib.parse import urlsplit

from protego import Protego

from .base import DAY_S, MIB, FetchSettings
from .errors import AddressRefused, Busy, Forbidden, HttpStatus, SourceError
from .http import PAGES, fetch, shown_address, user_agent

_REMEMBERED = 1000
_CAP_BYTES = MIB // 2  # RFC 9309 section 2.5 asks for at least 500 KiB
_NOBODY = Protego.parse("User-agent: *\nDisallow: /")
_EVERYBODY = Protego.parse("")


class Robots:
    """The rules of the sites asked lately, each kept for a day."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: OrderedDict[str, tuple[float, Protego]] = OrderedDict()

    def check(self, url: str, settings: FetchSettings) -> None:
        """Raises Forbidden when the site asks us not to fetch `url`. Fetches the rules when they are not known."""
        if settings.robots and not self._rules_of(url, settings).can_fetch(url, user_agent().split("/", 1)[0]):
            raise Forbidden(shown_address(url), "the site's robots.txt asks machines not to fetch this")

    def forget(self) -> None:
        with self._lock:
            self._rules.clear()

    def _rules_of(self, url: str, settings: FetchSettings) -> Protego:
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            known = self._rules.get(site)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        rules = _fetched(site, settings)
        with self._lock:
            self._rules[site] = (time.monotonic() + DAY_S, rules)
            self._rules.move_to_end(site)
            while len(self._rules) > _REMEMBERED:
                self._rules.popitem(last=False)
        return rules


def _fetched(site: str, settings: FetchSettings) -> Protego:
    """No rules (4xx) allow everything, a server that cannot say (5xx, silence) nothing for now (section 2.3.1)."""
    try:
        got = fetch(f"{site}/robots.txt", replace(settings, max_bytes=_CAP_BYTES, host_gap_s=0.0), accept=PAGES)
    except HttpStatus as err:
        return _EVERYBODY if 400 <= err.status < 500 and err.status != 429 else _NOBODY
    except (AddressRefused, Busy):
        raise
    except SourceError:
        return _NOBODY
    return Protego.parse(got.body.decode("utf-8", "replace"))


ROBOTS = Robots()
