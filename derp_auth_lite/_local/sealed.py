"""Records in the KV store that who can write the store neither forges nor moves.

A record lies under the SHA-256 of a token and is signed together with its key, so that a copy of
the store holds nothing that could be presented, and a record stands for its own token alone.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import timedelta
from typing import Any

from .._clock import Clock
from .._keys import KeyRing
from .._statements import from_microseconds, to_microseconds
from ..exceptions import AuthNotConnectedError
from ..kv.base import KVClient

__all__ = ["SealedRecords"]

_BYTES = 32
_CHARACTERS = 43


class SealedRecords:
    """Keeps records under tokens of 32 random bytes.

    Args:
        kv: Where they are kept; without one every method raises.
        keys: Sign the records.
        clock: By which records expire.
        prefix: Begins every key in the store.
        purpose: Names the key that signs, so that a record of another purpose is none.
    """

    def __init__(
        self, kv: KVClient | None, keys: KeyRing, *, clock: Clock, prefix: str, purpose: str
    ) -> None:
        self._store = kv
        self._keys = keys
        self._clock = clock
        self._prefix = f"{prefix}:{purpose.replace(' ', '-')}"
        self._purpose = purpose

    def issue(self, fields: dict[str, Any], lifetime: timedelta) -> str:
        """Return a new token that stands for *fields*.

        Raises:
            AuthBackendError: The KV store failed.
        """
        token = secrets.token_urlsafe(_BYTES)
        key = self._key(token)
        ends = to_microseconds(self._clock() + lifetime)
        body = json.dumps({"ends": ends, "fields": fields}, separators=(",", ":")).encode()
        mac = self._keys.mac(self._purpose, key + b"\n" + body)
        signed = b"%b.%b.%b" % (self._keys.kid.encode(), mac.hex().encode(), body)
        self._kv.set(key, signed, ttl=lifetime.total_seconds())
        return token

    def read(self, token: object) -> dict[str, Any] | None:
        """Return what *token* stands for, or ``None`` if it is none of ours, or over.

        Raises:
            AuthBackendError: The KV store failed, which is not the same as "invalid".
        """
        if not isinstance(token, str) or len(token) != _CHARACTERS or not token.isascii():
            return None
        key = self._key(token)
        signed = self._kv.get(key)
        return None if signed is None else self._checked(key, signed)

    def remove(self, token: str) -> bool:
        """Remove a token's record; of many callers at once exactly one is told ``True``.

        Raises:
            AuthBackendError: The KV store failed.
        """
        return self._kv.delete(self._key(token))

    @property
    def _kv(self) -> KVClient:
        if self._store is None:
            raise AuthNotConnectedError("The auth client has no KV store: call set_kv() first")
        return self._store

    def _key(self, token: str) -> bytes:
        return f"{self._prefix}:{hashlib.sha256(token.encode('ascii')).hexdigest()}".encode()

    def _checked(self, key: bytes, signed: bytes) -> dict[str, Any] | None:
        kid, _, rest = signed.partition(b".")
        mac, _, body = rest.partition(b".")
        if not self._is_ours(key + b"\n" + body, kid, mac):
            return None
        record = json.loads(body)
        if self._clock() >= from_microseconds(record["ends"]):
            return None
        return dict(record["fields"])

    def _is_ours(self, message: bytes, kid: bytes, mac: bytes) -> bool:
        try:
            given = bytes.fromhex(mac.decode("ascii"))
            return self._keys.check(self._purpose, message, given, kid=kid.decode("ascii"))
        except ValueError:
            return False
