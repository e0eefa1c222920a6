"""When two names are the same entity and two texts the same text. Pure functions; knows no rows."""

import hashlib
import re
import unicodedata

from registry.errors import BadName

_QUOTES = "\"'`´“”„‟‘’‚‛«»‹›「」『』"
_ARTICLE = re.compile(r"^(?:the|an|a)\s+(?=\S)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ADAPTER = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})@([1-9][0-9]{0,8})")


def normal_text(text: str) -> str:
    """One spelling of a text: compatibility characters unified, runs of whitespace one space, ends trimmed."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def text_digest(text: str) -> str:
    """The sha-256 of the normal text, so that a re-wrapped or re-encoded page is not a new document."""
    return hashlib.sha256(normal_text(text).encode("utf-8", "surrogatepass")).hexdigest()


def entity_key(name: str) -> str:
    """The same key for `The "Blue  Harbour"` and `blue harbour`. Applying it twice changes nothing."""
    key = name
    # Each step can uncover another (a quote before an article, a capital whose small form decomposes), so go on until it rests.
    while (shorter := _shorten(key)) != key:
        key = shorter
    return key


def _shorten(name: str) -> str:
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
    key = normal_text(visible).casefold()
    if len(key) > 2 and key[0] in _QUOTES and key[-1] in _QUOTES:
        key = key[1:-1].strip() or key
    return _ARTICLE.sub("", key)


def check_name(kind: str, name: str) -> str:
    """The name of a topic or alias, if it can stand in an address, a folder and `topic@version`."""
    if name == "base" or not _NAME.fullmatch(name):
        raise BadName(f"{kind} {name!r} cannot be named so")
    return name


def split_adapter_name(name: str) -> tuple[str, int]:
    """`news@7` as ("news", 7)."""
    match = _ADAPTER.fullmatch(name)
    if match is None:
        raise BadName(f"{name!r} does not name an adapter", hint="Adapters are named topic@version, for example news@7")
    return match[1], int(match[2])
