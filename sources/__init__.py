"""Where documents come from: feeds over HTTP and folders of files. Knows bytes and dates, never models or rows."""

from .base import Document, FetchSettings, Poll, Source, backoff_s
from .errors import (
    AddressRefused,
    BadEncoding,
    Gone,
    HttpStatus,
    NotAFeed,
    NotReachable,
    SourceError,
    TimedOut,
    TooLarge,
    TooManyRedirects,
)
from .opening import detect_kind, open_source
from .watch import FolderWatcher

__all__ = [
    "AddressRefused",
    "BadEncoding",
    "Document",
    "FetchSettings",
    "FolderWatcher",
    "Gone",
    "HttpStatus",
    "NotAFeed",
    "NotReachable",
    "Poll",
    "Source",
    "SourceError",
    "TimedOut",
    "TooLarge",
    "TooManyRedirects",
    "backoff_s",
    "detect_kind",
    "open_source",
]
