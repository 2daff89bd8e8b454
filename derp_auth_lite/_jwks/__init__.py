"""Tokens that others sign: their public keys, and what must hold before a token is believed."""

from __future__ import annotations

from .keys import JWKS, require_cryptography
from .verify import ASYMMETRIC_ALGORITHMS, KeySource, unverified_claims, verify_jwt

__all__ = [
    "ASYMMETRIC_ALGORITHMS",
    "JWKS",
    "KeySource",
    "require_cryptography",
    "unverified_claims",
    "verify_jwt",
]
