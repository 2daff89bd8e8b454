"""Profile fields as callers give them: what is taken, and what a value may be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..exceptions import InvalidProfileError

__all__ = ["ADMIN_FIELDS", "PROFILE_FIELDS", "profile_changes"]

PROFILE_FIELDS = frozenset({"first_name", "last_name", "username", "image_url", "metadata"})
"""What a person may say about themselves."""

ADMIN_FIELDS = PROFILE_FIELDS | {"role", "is_active", "is_superuser"}
"""What an administrator may set besides."""

_MAX_TEXT = {"image_url": 2048, "role": 50}
_MAX_METADATA = 65_536
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def profile_changes(
    values: Mapping[str, Any], allowed: frozenset[str] = PROFILE_FIELDS
) -> dict[str, Any]:
    """Return *values* checked.

    Raises:
        TypeError: A keyword is not among *allowed*, or a value is of another type.
        InvalidProfileError: A text is too long or has characters that cannot be stored.
    """
    for name in values:
        if name not in allowed:
            raise TypeError(f"{name!r} cannot be set here: use one of {', '.join(sorted(allowed))}")
    return {name: _checked(name, value) for name, value in values.items()}


def _checked(name: str, value: Any) -> Any:
    if name in ("is_active", "is_superuser"):
        return _of_type(name, value, bool)
    if name == "metadata":
        return _json_object(name, value)
    if value is None and name != "role":
        return None
    text = _of_type(name, value, str)
    limit = _MAX_TEXT.get(name, 255)
    if len(text) > limit:
        raise InvalidProfileError(f"{name} must have at most {limit} characters")
    if _UNSTORABLE.search(text):
        raise InvalidProfileError(f"{name} has characters that cannot be stored")
    if name == "role" and not text.strip():
        raise InvalidProfileError("role must not be blank")
    return text


def _of_type(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")
    return value


def _json_object(name: str, value: Any) -> dict[str, Any]:
    _of_type(name, value, dict)
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{name} must be a JSON object: {error}") from None
    if len(text) > _MAX_METADATA:
        raise InvalidProfileError(f"{name} must be at most {_MAX_METADATA} characters of JSON")
    if "\\u0000" in text or re.search(r"\\ud[89ab]", text):
        decoded = json.loads(text)
        if _unstorable(decoded):
            raise InvalidProfileError(f"{name} has characters that cannot be stored")
    # A copy that went through JSON: what is returned now is what will be read later.
    return json.loads(text)  # type: ignore[no-any-return]


def _unstorable(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_UNSTORABLE.search(value))
    if isinstance(value, dict):
        return any(_unstorable(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(map(_unstorable, value))
