"""Fields of organizations and memberships as callers give them: what a value may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .._values import as_json_object, as_text, of_type, refuse_unknown
from ..exceptions import InvalidProfileError

__all__ = ["OWNER", "as_member_role", "as_slug", "org_changes"]

OWNER = "owner"
"""The role that every organization has a member with."""

_MAX_NAME = 255
_MAX_ROLE = 50
_SLUG = re.compile(r"[a-z0-9-]{1,63}")
_FIELDS = frozenset({"name", "slug", "metadata"})


def org_changes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return *values* checked: ``name``, ``slug``, and ``metadata``, a JSON object.

    Raises:
        TypeError: There is another keyword, or a value is of another type.
        InvalidProfileError: The slug is none, a text is too long, blank, or cannot be stored.
    """
    refuse_unknown(values, _FIELDS)
    return {name: _checked(name, value) for name, value in values.items()}


def as_slug(value: object) -> str | None:
    """Return *value* where it can be a slug, else ``None``: then nothing has it.

    Raises:
        TypeError: It is no text.
    """
    slug: str = of_type("slug", value, str)
    return slug if _SLUG.fullmatch(slug) else None


def as_member_role(value: object) -> str:
    """Return the role of a member: a text of 1 to 50 characters.

    Raises:
        TypeError: It is no text.
        InvalidProfileError: It is blank, too long, or has characters that cannot be stored.
    """
    return as_text("role", value, _MAX_ROLE)


def _checked(name: str, value: Any) -> Any:
    if name == "metadata":
        return as_json_object(name, value)
    if name == "name":
        return as_text(name, of_type(name, value, str).strip(), _MAX_NAME)
    slug = as_slug(value)
    if slug is None:
        raise InvalidProfileError("slug must be 1 to 63 lower-case letters, digits or hyphens")
    return slug
