"""Profile fields as callers give them: what is taken, and what a value may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._values import as_json_object, as_text, of_type, refuse_unknown

__all__ = ["ADMIN_FIELDS", "DEFAULT_ROLE", "PROFILE_FIELDS", "profile_changes"]

DEFAULT_ROLE = "default"
"""The role of an account that nobody gave another."""

PROFILE_FIELDS = frozenset({"first_name", "last_name", "username", "image_url", "metadata"})
"""What a person may say about themselves."""

ADMIN_FIELDS = PROFILE_FIELDS | {"role", "is_active", "is_superuser"}
"""What an administrator may set besides."""

_MAX_TEXT = {"image_url": 2048, "role": 50}


def profile_changes(
    values: Mapping[str, Any], allowed: frozenset[str] = PROFILE_FIELDS
) -> dict[str, Any]:
    """Return *values* checked.

    Raises:
        TypeError: A keyword is not among *allowed*, or a value is of another type.
        InvalidProfileError: A text is too long or has characters that cannot be stored.
    """
    refuse_unknown(values, allowed)
    return {name: _checked(name, value) for name, value in values.items()}


def _checked(name: str, value: Any) -> Any:
    if name in ("is_active", "is_superuser"):
        return of_type(name, value, bool)
    if name == "metadata":
        return as_json_object(name, value)
    if value is None and name != "role":
        return None
    return as_text(name, value, _MAX_TEXT.get(name, 255), blank=name != "role")
