"""The page behind an address as title and text; and the full text of what a feed only sums up.

Politely: robots.txt is asked, a host is not hurried, a poll fetches a bounded number. What cannot be had leaves the summary and a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .base import Document, FetchSettings
from .encoding import clean_line
from .errors import Busy, NotAPage, SourceError
from .formats import text_of
from .http import PAGES, Fetched, Validators, fetch, shown_address
from .page import PageText
from .robots import ROBOTS

#: Articles fetched in one poll, so that a feed of thousands does not hold a worker for an hour; the rest comes soon after.
ARTICLES_A_POLL = 20
AGAIN_S = 60.0
#: A text of fewer characters, or that ends in an ellipsis, is a summary.
_SUMMARY_CHARS = 600
_ELLIPSES = ("…", "...", "[…]", "[...]", "(…)", "Read more", "Continue reading", "Weiterlesen")


@dataclass(frozen=True, slots=True)
class Article:
    got: Fetched
    page: PageText


def fetch_article(url: str, settings: FetchSettings, *, validators: Validators | None = None) -> Article:
    """One page, HTML, PDF or plain text; an unchanged one has no text. Raises a SourceError that names the address."""
    ROBOTS.check(url, settings)
    got = fetch(url, settings, validators=validators, accept=PAGES)
    if got.unchanged:
        return Article(got, PageText(None, ""))
    page = text_of(got.body, kind=_kind(got))
    if not page.text:
        raise NotAPage(shown_address(url), page.problem or "there is no text on this page")
    return Article(got, page)


class FullTexts:
    """Completes a poll's documents, as far as the poll's share of fetches goes."""

    def __init__(self, settings: FetchSettings) -> None:
        # The feed's own credentials are for the feed's host; an article lies wherever the feed says.
        self._settings = replace(settings, headers=())
        self._left = ARTICLES_A_POLL

    def completed(self, document: Document, told: list[str]) -> Document | None:
        """The document with its article's text; as it is when it is whole or cannot be completed; None when its turn has not come."""
        if document.url is None or not is_summary(document.text):
            return document
        if self._left <= 0:
            return None
        self._left -= 1
        try:
            article = fetch_article(document.url, self._settings)
        except Busy:
            return None
        except SourceError as err:
            told.append(f"The full text of {shown_address(document.url)} could not be read ({err.reason}); the feed's summary was taken.")
            return document
        if len(article.page.text) <= len(document.text):
            return document  # a teaser behind a wall: the feed knows more than the page
        origin = {"full_text_from": article.got.url, "summary": clean_line(document.text, limit=2000)}
        return replace(document, text=article.page.text, fetch=document.fetch | origin)


def is_summary(text: str) -> bool:
    """Whether a feed's text is only the beginning or the gist of what it links to."""
    return len(text) < _SUMMARY_CHARS or text.rstrip().endswith(_ELLIPSES)


def _kind(got: Fetched) -> str:
    """The reader for a body, by what it is before what it is called."""
    kind = got.content_type.split(";")[0].strip().lower()
    if got.body.startswith(b"%PDF-") or kind == "application/pdf":
        return ".pdf"
    return ".txt" if kind == "text/plain" else ".md" if kind == "text/markdown" else ".html"
