"""What organizations look like to the people who run them: roles, and a short name from a name."""

from __future__ import annotations

import re

__all__ = ["OWNER", "ROLES", "slug_of"]

OWNER = "owner"
ROLES = (OWNER, "admin", "member")


def slug_of(name: str) -> str:
    """Return a slug made from a name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
