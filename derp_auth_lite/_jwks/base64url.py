"""Base64url as RFC 7515 has it, and not a character more."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

__all__ = ["decode"]

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


def decode(text: object) -> bytes:
    """Decode base64url without padding (RFC 7515, section 2).

    Raises:
        ValueError: The text has padding, a stray character, or bits that its encoder would not
            have set: two texts never stand for the same bytes.
    """
    if not isinstance(text, str) or not _ALPHABET.fullmatch(text) or len(text) % 4 == 1:
        raise ValueError("not base64url")
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("not canonical base64url")
    return data
