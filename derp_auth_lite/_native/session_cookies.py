"""Session cookies: a session's id under an HMAC of their own purpose, kept nowhere."""

from __future__ import annotations

from .._keys import KeyRing
from .refresh_tokens import RefreshTokens

__all__ = ["SessionCookies"]

_PURPOSE = "session cookie"
_NEVER_ROTATES = 0


class SessionCookies:
    """Makes and reads the values of session cookies; *keys* sign them.

    A cookie is a refresh token under another key, whose counter stands: the session's row is looked
    up at every request anyway, so there is no second, short-lived token that would need renewing.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._tokens = RefreshTokens(keys, _PURPOSE)

    def issue(self, session_id: str) -> str:
        """Return the cookie of a session."""
        return self._tokens.issue(session_id, _NEVER_ROTATES)

    def read(self, value: object) -> str | None:
        """Return the session's id of a cookie that we made, else ``None``; never raises."""
        known = self._tokens.read(value)
        return None if known is None else known[0]
