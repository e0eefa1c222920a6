"""One web page, watched: each time its text changes it is a new version of the same document. HTML, PDF or plain text."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from .article import fetch_article
from .base import Document, FetchSettings, Poll
from .caching import http_date
from .http import Validators
from .page import without_title


class PageSource:
    """A page at an http(s) address."""

    kind = "page"

    def __init__(self, location: str, settings: FetchSettings | None = None) -> None:
        self.location = location
        self._settings = settings or FetchSettings()

    def poll(self, cursor: dict[str, Any]) -> Poll:
        before = Validators(cursor["url"], cursor.get("etag"), cursor.get("last_modified")) if "url" in cursor else None
        article = fetch_article(self.location, self._settings, validators=before)
        got, page = article.got, article.page
        text = without_title(page.text, page.title)
        now = {"url": got.validators.url, "etag": got.validators.etag, "last_modified": got.validators.last_modified}
        digest = cursor.get("text") if got.unchanged else hashlib.sha256(text.encode()).hexdigest()
        known = got.unchanged or digest == cursor.get("text")
        title = cursor.get("title") if got.unchanged else page.title
        origin = {
            "fetched_from": got.url,
            "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": got.status,
            "content_type": got.content_type[:200],
            "etag": got.validators.etag,
            "last_modified": got.validators.last_modified,
            "format": "page",
            "body_sha256": hashlib.sha256(got.body).hexdigest(),
            "note": page.problem,
        }
        document = Document(self.location, got.url, page.title, text, http_date(got.validators.last_modified), origin)
        return Poll(
            documents=() if known else (document,),
            cursor=now | {"text": digest, "title": title},
            next_after_s=got.next_after_s,
            unchanged=known,
            moved_to=got.moved_to,
            title=title,
        )
