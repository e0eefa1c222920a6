"""Writes about who may come in. Stores digests of keys, never a key."""

from sqlmodel import select

from registry.errors import AlreadyThere, NotThere
from registry.identity import check_name
from registry.models import ApiKeyRow
from registry.records import ApiKey
from registry.rows import api_key_record
from registry.store_base import StoreBase


class KeyStore(StoreBase):
    def add_api_key(self, name: str, *, digest: str, admin: bool, actor: str) -> ApiKey:
        """`digest` is the sha-256 of a long random key, in hex."""
        check_name("Key", name)
        with self._db.writing() as session:
            if session.exec(select(ApiKeyRow).where(ApiKeyRow.name == name)).first() is not None:
                raise AlreadyThere(f"There is a key named {name!r} already", hint=f"Choose another name, or: lorefeed keys remove {name}")
            row = ApiKeyRow(name=name, digest=digest, admin=admin, created_at=self._clock())
            session.add(row)
            self._note(session, actor, action="added", object=f"key {name}", admin=admin)
            session.flush()
            return api_key_record(row)

    def remove_api_key(self, name: str, *, actor: str) -> ApiKey:
        """Its holder is turned away from the next request on."""
        with self._db.writing() as session:
            row = session.exec(select(ApiKeyRow).where(ApiKeyRow.name == name)).first()
            if row is None:
                raise NotThere(f"There is no key named {name!r}", hint="List the keys: lorefeed keys list")
            removed = api_key_record(row)
            session.delete(row)
            self._note(session, actor, action="removed", object=f"key {name}", admin=removed.admin)
            return removed
