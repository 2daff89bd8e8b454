"""A password as text: what can be one, and its one form."""

from __future__ import annotations

import unicodedata

__all__ = ["MAX_CHARACTERS", "normalize", "problem_of"]

MAX_CHARACTERS = 4096
"""Nothing longer is looked at, so that a stranger cannot decide what a sign-in costs."""


def problem_of(password: object) -> str | None:
    """Say why *password* can be nobody's password; ``None`` if it can.

    A NUL or a lone surrogate cannot be typed: it comes from a program that went wrong, and other
    programs would cut the password there.
    """
    if not isinstance(password, str):
        return "The password must be text"
    if len(password) > MAX_CHARACTERS:
        return f"The password must have at most {MAX_CHARACTERS} characters"
    if "\0" in password:
        return "The password must not contain the NUL character"
    try:
        password.encode()
    except UnicodeEncodeError:
        return "The password must not contain half of a surrogate pair"
    return None


def normalize(password: str) -> str:
    """Return the form that is counted, compared and hashed: Unicode NFC, otherwise untouched.

    NFC makes an accented letter the same password on every keyboard (NIST SP 800-63B-4, section
    3.1.1.2). Nothing is stripped, cut or case-folded (OWASP ASVS 5.0, 6.2.8).
    """
    return unicodedata.normalize("NFC", password)
