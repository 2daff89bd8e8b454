"""One-time tokens: what mailed links carry, kept hashed and signed in the KV store.

The record under a token is bound to a purpose, an account, its address and its token stamp (see
:mod:`.sealed` for how it is kept).

Reading a token spends nothing. It is spent by the SQL statement that does the work and changes the
account's stamp (see :mod:`.redemptions`): whatever the store loses or repeats, one caller wins.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import timedelta

from .._clock import Clock
from .._keys import KeyRing
from .._local.sealed import SealedRecords
from ..exceptions import AuthBackendError
from ..kv.base import KVClient

__all__ = ["Claim", "OneTimeTokens"]

_log = logging.getLogger(__name__)


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
    """Makes one-time tokens and reads them back; arguments as those of ``SealedRecords``."""

    def __init__(self, kv: KVClient | None, keys: KeyRing, *, clock: Clock, prefix: str) -> None:
        self._records = SealedRecords(
            kv, keys, clock=clock, prefix=prefix, purpose="one-time token"
        )

    def issue(self, claim: Claim, lifetime: timedelta) -> str:
        """Return a new token that stands for *claim*.

        Raises:
            AuthBackendError: The KV store failed.
        """
        return self._records.issue(asdict(claim), lifetime)

    def read(self, purpose: str, token: object) -> Claim | None:
        """Return what *token* stands for, or ``None`` if it is none of ours for *purpose*.

        Raises:
            AuthBackendError: The KV store failed, which is not the same as "invalid".
        """
        fields = self._records.read(token)
        claim = None if fields is None else Claim(**fields)
        return claim if claim is not None and claim.purpose == purpose else None

    def forget(self, token: str) -> None:
        """Remove a token that was spent. A store that is down keeps it, which does no harm."""
        try:
            self._records.remove(token)
        except AuthBackendError:
            _log.warning("a spent one-time token could not be removed from the KV store")
