"""What can go wrong while a source is read, each as a sentence a person can act on.

Knows nothing of HTTP or files: whoever meets the trouble names it here, and the caller decides when to try again.
"""

from __future__ import annotations


class SourceError(Exception):
    """The source could not be read."""

    hint: str = "Look at the location, then poll it again."
    #: True when asking again is pointless and the feed is to be retired.
    permanent: bool = False

    def __init__(self, location: str, reason: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(location, reason)
        self.location = location
        self.reason = reason
        self.retry_after_s = retry_after_s
        if hint is not None:
            self.hint = hint

    def __str__(self) -> str:
        return f"{self.location}: {self.reason}"


class NotReachable(SourceError):
    """Nothing answers there."""

    hint = "Check the spelling, and that this machine can reach it. It is tried again by itself, less and less often."


class TimedOut(SourceError):
    """The answer took too long."""

    hint = "It is tried again by itself. If the server is always this slow, raise the time limits of fetching."


class HttpStatus(SourceError):
    """The server answered with something else than the document."""

    hint = "Open the address in a browser; the feed may have moved or need a login."

    def __init__(
        self, location: str, status: int, *, reason: str = "", hint: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(location, reason or f"the server answered with status {status}", hint=hint, retry_after_s=retry_after_s)
        self.status = status


class Gone(HttpStatus):
    """The server says that the feed is gone for good."""

    hint = "Remove the feed, or look on its site for a new address. It is not asked again."
    permanent = True


class Busy(SourceError):
    """Its host is being asked for other feeds."""

    hint = "Nothing is wrong; it is polled as soon as its host may be asked again."


class Forbidden(SourceError):
    """The site's robots.txt asks machines not to fetch this."""

    hint = "Fetch something else of this site, or ask its owner; a feed itself is always meant to be fetched."


class TooLarge(SourceError):
    """The document is larger than the cap."""

    hint = "Check that this is a feed and not a download; if it really is this large, raise the size cap of fetching."


class TooManyRedirects(SourceError):
    """The address leads from redirect to redirect."""

    hint = "Open the address in a browser, and give the address it ends at."


class AddressRefused(SourceError):
    """The address is one that Lorefeed does not fetch from."""

    hint = "Only public http and https addresses are fetched. If this one is yours, allow its network or host name in the settings."


class NotAFeed(SourceError):
    """What came back is no feed."""

    hint = "Give the address of the feed itself: RSS, Atom or JSON Feed."


class NotAPage(SourceError):
    """What came back is no page with a text."""

    hint = "Open the address in a browser: it may need a script or a login to show its text."


class BadEncoding(SourceError):
    """The bytes could not be turned into text."""

    hint = "The publisher's server or the file is damaged; it is tried again by itself."
