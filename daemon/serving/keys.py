"""API keys: made at random, kept as digests, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from enum import Enum

PREFIX = "lf-"  # lets scanners for leaked secrets know one


class Holder(Enum):
    """What somebody who sent a key, or none, may do."""

    NOBODY = "nobody"
    USER = "user"
    ADMIN = "admin"


def new_key() -> str:
    """256 random bits. So much chance needs no slow hash: nobody can try all keys, and each request is hashed anew."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str | bytes) -> str:
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).hexdigest()


def holder_of(given: bytes, keys: Mapping[str, bool]) -> Holder:
    """Who sent this key. `keys`: digest to whether it is an administrator's. All are compared, so the time tells nothing."""
    sent, found = digest_of(given), Holder.NOBODY
    for digest, admin in keys.items():
        if hmac.compare_digest(sent, digest):
            found = Holder.ADMIN if admin else Holder.USER
    return found
