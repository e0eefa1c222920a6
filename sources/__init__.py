"""Where documents come from: feeds over HTTP and folders of files. Knows bytes and dates, never models or rows."""

from .base import Document, FetchSettings, Poll, Rhythm, Source, backoff_s
from .errors import (
    AddressRefused,
    BadEncoding,
    Busy,
    Forbidden,
    Gone,
    HttpStatus,
    NotAFeed,
    NotAPage,
    NotReachable,
    SourceError,
    TimedOut,
    TooLarge,
    TooManyRedirects,
)
from .opening import detect_kind, kinds, open_source
from .rhythm import rhythm_of
from .watch import FolderWatcher

__all__ = [
    "AddressRefused",
    "BadEncoding",
    "Busy",
    "Document",
    "FetchSettings",
    "FolderWatcher",
    "Forbidden",
    "Gone",
    "HttpStatus",
    "NotAFeed",
    "NotAPage",
    "NotReachable",
    "Poll",
    "Rhythm",
    "Source",
    "SourceError",
    "TimedOut",
    "TooLarge",
    "TooManyRedirects",
    "backoff_s",
    "detect_kind",
    "kinds",
    "open_source",
    "rhythm_of",
]
