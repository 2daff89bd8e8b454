"""Keys derived from the configured secret, one for each purpose."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

__all__ = ["KeyRing", "hkdf_sha256"]

_SALT = b"derp_auth_lite"
_MAC_BYTES = 32
_KID_BYTES = 4
_KID_PURPOSE = "key id"


def hkdf_sha256(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """Derive *length* bytes from *secret* (RFC 5869, section 2, with SHA-256).

    Raises:
        ValueError: More than 255 blocks (8160 bytes) were asked for.
    """
    if length > 255 * _MAC_BYTES:
        raise ValueError("HKDF-SHA256 gives at most 8160 bytes")
    # An empty salt stands for a block of zeros (section 2.2); HMAC pads a key with zeros itself.
    return _expand(hmac.digest(salt, secret, "sha256"), info, length)


def _expand(key: bytes, info: bytes, length: int) -> bytes:
    output = block = b""
    for counter in range(1, -(-length // _MAC_BYTES) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]


class KeyRing:
    """The current secret and its predecessors, and the keys that come from them.

    A key serves one purpose only, so that what is made for one is worth nothing for another
    (NIST SP 800-57 part 1, section 5.2). A purpose is a few words, such as ``"refresh token"``,
    ``"one-time token"``, ``"cursor"``, ``"email address"``, ``"session cookie"``.

    Args:
        secret: The current secret. Text stands for its UTF-8 bytes.
        previous: Retired secrets. Nothing new is made with them; what they made is still known.

    Raises:
        ValueError: A secret is empty.
    """

    __slots__ = ("_keys", "_secrets", "kid", "kids")

    kid: str
    """Eight hexadecimal characters that name the current secret and reveal nothing about it."""

    kids: tuple[str, ...]
    """The names of all secrets, the current one first."""

    def __init__(self, secret: str | bytes, previous: Sequence[str | bytes] = ()) -> None:
        self._keys: dict[tuple[str, str], bytes] = {}
        self._secrets: dict[str, bytes] = {}
        for each in (secret, *previous):
            material = each.encode() if isinstance(each, str) else each
            if not material:
                raise ValueError("a secret must not be empty")
            self._secrets.setdefault(_name(material), material)
        self.kids = tuple(self._secrets)
        self.kid = self.kids[0]

    def __repr__(self) -> str:
        return f"KeyRing(kids={self.kids!r})"

    def mac(self, purpose: str, message: bytes, *, kid: str | None = None) -> bytes:
        """Return the 32-byte HMAC-SHA256 of *message* under the key for *purpose*.

        Args:
            kid: Names the secret; the current one by default.

        Raises:
            KeyError: No secret has that name.
        """
        name = self.kid if kid is None else kid
        return hmac.digest(self._key(name, purpose), message, "sha256")

    def check(self, purpose: str, message: bytes, mac: bytes, *, kid: str | None = None) -> bool:
        """Tell whether *mac* belongs to *message*, in constant time. Unknown *kid*: ``False``."""
        if kid is not None and kid not in self._secrets:
            return False
        return hmac.compare_digest(self.mac(purpose, message, kid=kid), mac)

    def _key(self, kid: str, purpose: str) -> bytes:
        key = self._keys.get((kid, purpose))
        if key is None:
            key = _derive(self._secrets[kid], purpose, _MAC_BYTES)
            self._keys[kid, purpose] = key
        return key


def _name(secret: bytes) -> str:
    return _derive(secret, _KID_PURPOSE, _KID_BYTES).hex()


def _derive(secret: bytes, purpose: str, length: int) -> bytes:
    return hkdf_sha256(secret, salt=_SALT, info=purpose.encode(), length=length)
