"""Session cookies: a session's id under an HMAC of their own purpose, kept nowhere."""

from __future__ import annotations

import hashlib

from .._keys import KeyRing
from .._recent import Recent
from .refresh_tokens import RefreshTokens

__all__ = ["SessionCookies"]

_PURPOSE = "session cookie"
_NEVER_ROTATES = 0


class SessionCookies:
    """Makes and reads the values of session cookies; *keys* sign them.

    A cookie is a refresh token under another key, whose counter stands: the session's row is looked
    up at every request anyway, so there is no second, short-lived token that would need renewing.

    Args:
        remember: How many verified values are kept, under their BLAKE2b, so that the same one is
            not verified at every request: whose session it is never changes. SHA-256 would pass
            through OpenSSL, which costs a request of a busy server a tenth of its check.
    """

    def __init__(self, keys: KeyRing, *, remember: int = 4096) -> None:
        self._tokens = RefreshTokens(keys, _PURPOSE)
        self._verified: Recent[str] = Recent(remember)

    def issue(self, session_id: str) -> str:
        """Return the cookie of a session."""
        return self._tokens.issue(session_id, _NEVER_ROTATES)

    def read(self, value: object) -> str | None:
        """Return the session's id of a cookie that we made, else ``None``; never raises."""
        if not isinstance(value, str) or not value.isascii():
            return None
        key = hashlib.blake2b(value.encode()).digest()
        session_id = self._verified.get(key)
        if session_id is None:
            known = self._tokens.read(value)
            if known is None:
                return None
            session_id = known[0]
            self._verified.add(key, session_id)
        return session_id
