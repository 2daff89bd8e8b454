"""One-time tokens: what mailed links carry, kept hashed and signed in the KV store.

A token is 32 random bytes; the store knows its SHA-256 only. The record under it is bound to a
purpose, an account, its address and its token stamp, and signed together with its key, so that who
can write the store neither forges a record nor moves one under a token of their own.

Reading a token spends nothing. It is spent by the SQL statement that does the work and changes the
account's stamp (see :mod:`.redemptions`): whatever the store loses or repeats, one caller wins.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from dataclasses import asdict, dataclass
from datetime import timedelta

from .._clock import Clock
from .._keys import KeyRing
from .._statements import from_microseconds, to_microseconds
from ..exceptions import AuthBackendError, AuthNotConnectedError
from ..kv.base import KVClient

__all__ = ["Claim", "OneTimeTokens"]

_log = logging.getLogger(__name__)

_KEY_PURPOSE = "one-time token"
_BYTES = 32
_CHARACTERS = 43


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a one-time token stands for.

    Args:
        purpose: The kind of mail that brought it; it is good for nothing else.
        email: The account's address when the token was made.
        user_id: The account; None where the address had none (a magic link to a new address).
        stamp: The account's token stamp when the token was made.
        new_email: The address that is to replace *email*.
    """

    purpose: str
    email: str
    user_id: str | None = None
    stamp: str | None = None
    new_email: str | None = None


class OneTimeTokens:
    """Makes one-time tokens and reads them back.

    Args:
        kv: Where they are kept; without one every method raises.
        keys: Sign the records.
        clock: By which tokens expire.
        prefix: Begins every key in the store.
    """

    def __init__(self, kv: KVClient | None, keys: KeyRing, *, clock: Clock, prefix: str) -> None:
        self._store = kv
        self._keys = keys
        self._clock = clock
        self._prefix = prefix

    def issue(self, claim: Claim, lifetime: timedelta) -> str:
        """Return a new token that stands for *claim*.

        Raises:
            AuthBackendError: The KV store failed.
        """
        token = secrets.token_urlsafe(_BYTES)
        key = self._key(token)
        ends = to_microseconds(self._clock() + lifetime)
        body = json.dumps({**asdict(claim), "ends": ends}, separators=(",", ":")).encode()
        mac = self._keys.mac(_KEY_PURPOSE, key + b"\n" + body)
        signed = b"%b.%b.%b" % (self._keys.kid.encode(), mac.hex().encode(), body)
        self._kv.set(key, signed, ttl=lifetime.total_seconds())
        return token

    def read(self, purpose: str, token: object) -> Claim | None:
        """Return what *token* stands for, or ``None`` if it is none of ours for *purpose*.

        Raises:
            AuthBackendError: The KV store failed, which is not the same as "invalid".
        """
        if not _is_plausible(token):
            return None
        key = self._key(str(token))
        signed = self._kv.get(key)
        claim = None if signed is None else self._checked(key, signed)
        return claim if claim is not None and claim.purpose == purpose else None

    def forget(self, token: str) -> None:
        """Remove a token that was spent. A store that is down keeps it, which does no harm."""
        try:
            self._kv.delete(self._key(token))
        except AuthBackendError:
            _log.warning("a spent one-time token could not be removed from the KV store")

    @property
    def _kv(self) -> KVClient:
        if self._store is None:
            raise AuthNotConnectedError("The auth client has no KV store: call set_kv() first")
        return self._store

    def _key(self, token: str) -> bytes:
        digest = hashlib.sha256(token.encode("ascii")).hexdigest()
        return f"{self._prefix}:one-time:{digest}".encode()

    def _checked(self, key: bytes, signed: bytes) -> Claim | None:
        kid, _, rest = signed.partition(b".")
        mac, _, body = rest.partition(b".")
        if not self._is_ours(key + b"\n" + body, kid, mac):
            return None
        fields = json.loads(body)
        ends = from_microseconds(fields.pop("ends"))
        return Claim(**fields) if self._clock() < ends else None

    def _is_ours(self, message: bytes, kid: bytes, mac: bytes) -> bool:
        try:
            given = bytes.fromhex(mac.decode("ascii"))
            return self._keys.check(_KEY_PURPOSE, message, given, kid=kid.decode("ascii"))
        except ValueError:
            return False


def _is_plausible(token: object) -> bool:
    return isinstance(token, str) and len(token) == _CHARACTERS and token.isascii()
