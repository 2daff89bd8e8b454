"""The most common passwords, which nobody may choose (OWASP ASVS 5.0, 6.2.4)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["is_common"]


def is_common(password: str) -> bool:
    """Tell whether *password* as a whole is a common one, without regard to case."""
    return password.casefold() in _common()


@cache
def _common() -> frozenset[str]:
    """Read the list when the first password is set: some milliseconds, and 2 MB from then on."""
    text = files(__package__).joinpath("common.txt").read_text(encoding="utf-8")
    return frozenset(text.splitlines())
