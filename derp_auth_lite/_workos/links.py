"""Tokens of links in our own mails.

WorkOS mails short codes, which are worth something only together with an address or a user; a link
has to carry both. Such a token proves nothing by itself: the service checks what is in it.
"""

from __future__ import annotations

import base64
import binascii

from ..exceptions import InvalidTokenError

__all__ = ["CONFIRM", "ENTER", "join", "split"]

ENTER = "enter"
CONFIRM = "confirm"

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
