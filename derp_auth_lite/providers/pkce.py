"""Proof Key for Code Exchange (RFC 7636): a stolen code is worth nothing without its verifier."""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256

__all__ = ["challenge_s256", "new_verifier"]

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)


def new_verifier() -> str:
    """Return a fresh verifier: 32 random bytes as 43 characters (RFC 7636, section 4.1)."""
    return secrets.token_urlsafe(32)


def challenge_s256(verifier: str) -> str:
    """Return the challenge that belongs to *verifier* (method S256, section 4.2).

    Raises:
        ValueError: The verifier is not 43 to 128 unreserved characters.
    """
    if not _VERIFIER.fullmatch(verifier):
        raise ValueError("a code verifier has 43 to 128 of A-Z, a-z, 0-9 and -._~")
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
