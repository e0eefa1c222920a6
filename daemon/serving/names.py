"""Which names may be asked for. A model name comes from strangers; only what matches here is looked up, and it is never forwarded raw."""

from __future__ import annotations

import re
from urllib.parse import quote

BASE = "base"
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ADAPTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}@[1-9][0-9]{0,8}")


def is_alias_name(name: str) -> bool:
    return _ALIAS.fullmatch(name) is not None


def is_adapter_name(name: str) -> bool:
    """Whether it is written like `topic@version`."""
    return _ADAPTER.fullmatch(name) is not None


def header_safe(text: str) -> str:
    """A text from a feed as a header value: printable ASCII, the rest percent-encoded, not long."""
    return quote(text[:80], safe=" !#$&'()*+,-./:;=?@[]^_`{|}~")


def shown(name: str) -> str:
    """A stranger's name as it may stand in an error message."""
    sound = name[:80].encode("utf-8", "replace").decode()  # JSON can smuggle in half characters that nothing can encode
    return sound if len(name) <= 80 else sound + "…"
