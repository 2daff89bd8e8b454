"""The most common passwords, which nobody may choose."""

from __future__ import annotations

__all__ = ["is_common"]


def is_common(password: str) -> bool:
    """Tell whether *password* is one of the most common ones, without regard to case."""
    return password.lower() in {"password", "12345678", "password1", "qwertyui", "123456789"}
