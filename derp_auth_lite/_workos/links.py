"""Tokens of links in our own mails.

WorkOS mails short codes, which are worth something only together with an address or a user; a link
has to carry both. Such a token proves nothing by itself: the service checks what is in it. The
token of a recovery is good by itself; a link binds it to the address that it was mailed to.
"""

from __future__ import annotations

import base64
import binascii

from .._keys import KeyRing
from ..exceptions import InvalidTokenError

__all__ = ["CONFIRM", "ENTER", "bind", "join", "split", "unbind"]

ENTER = "enter"
CONFIRM = "confirm"

_RECOVER = "recover"
_PURPOSE = "workos recovery link"
_MAX = 1024


def join(kind: str, whose: str, code: str) -> str:
    """Return one token for a code and the address, or the user, that it belongs to."""
    text = f"{kind}\n{whose}\n{code}"
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def split(kind: str, token: object) -> tuple[str, str]:
    """Return the address or user, and the code, of a token.

    Raises:
        InvalidTokenError: It is no token of this kind.
    """
    if not isinstance(token, str) or len(token) > _MAX or not token.isascii():
        raise InvalidTokenError
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidTokenError from None
    parts = text.split("\n")
    if (
        len(parts) != 3
        or parts[0] != kind
        or not all(part and part.isprintable() for part in parts)
    ):
        raise InvalidTokenError
    return parts[1], parts[2]


def bind(keys: KeyRing, email: str, token: str) -> str:
    """Return the token of a recovery, bound to the address that it is mailed to."""
    mac = keys.mac(_PURPOSE, f"{email}\n{token}".encode())
    return join(_RECOVER, email, f"{token} {mac.hex()}")


def unbind(keys: KeyRing, bound: object) -> tuple[str, str]:
    """Return the address and the token of a recovery.

    Raises:
        InvalidTokenError: They were not bound by this library.
    """
    email, rest = split(_RECOVER, bound)
    token, _, mac = rest.rpartition(" ")
    if not keys.check(_PURPOSE, f"{email}\n{token}".encode(), _from_hex(mac)):
        raise InvalidTokenError
    return email, token


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
