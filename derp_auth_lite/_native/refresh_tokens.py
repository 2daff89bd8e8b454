"""Refresh tokens: computed from a session's row and the secret, kept nowhere.

A token is the session's id and its rotation counter under an HMAC, so that the database holds
nothing that could be presented, and a session needs one row however often it was refreshed.
"""

from __future__ import annotations

import base64
import binascii
import struct
import uuid

from .._keys import KeyRing

__all__ = ["RefreshTokens"]

_PURPOSE = "refresh token"
_VERSION = 1
_LAYOUT = struct.Struct(">B4s16sQ")  # version, key id, session id, counter
_MAC = 32
_CHARACTERS = -(-(_LAYOUT.size + _MAC) * 4 // 3)


class RefreshTokens:
    """Makes and reads refresh tokens; *keys* sign them.

    Args:
        purpose: Picks the key. What is made for one purpose is worth nothing for another.
    """

    def __init__(self, keys: KeyRing, purpose: str = _PURPOSE) -> None:
        self._keys = keys
        self._purpose = purpose

    def issue(self, session_id: str, counter: int) -> str:
        """Return the refresh token of a session at *counter*."""
        head = _LAYOUT.pack(
            _VERSION, bytes.fromhex(self._keys.kid), uuid.UUID(session_id).bytes, counter
        )
        return _text(head + self._keys.mac(self._purpose, head))

    def read(self, token: object) -> tuple[str, int] | None:
        """Return session id and counter of a token that we made, else ``None``; never raises."""
        if not isinstance(token, str) or len(token) != _CHARACTERS:
            return None
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii") + b"==")
        except (UnicodeEncodeError, binascii.Error):
            return None
        if len(raw) != _LAYOUT.size + _MAC or _text(raw) != token:
            return None
        head, mac = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
        version, kid, session_id, counter = _LAYOUT.unpack(head)
        if version != _VERSION or not self._keys.check(self._purpose, head, mac, kid=kid.hex()):
            return None
        return str(uuid.UUID(bytes=session_id)), counter


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
