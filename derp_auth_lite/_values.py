"""What callers give to be kept: texts and JSON objects, checked before a database sees them."""

from __future__ import annotations

import json
import re
from typing import Any

from .exceptions import InvalidProfileError

__all__ = ["as_json_object", "as_text", "is_storable", "of_type", "refuse_unknown"]

MAX_METADATA = 65_536
"""Characters of JSON that a ``metadata`` may take."""

# PostgreSQL keeps no NUL, and UTF-8 has no surrogates.
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
# The same as JSON writes them; a surrogate may be half of a pair, which is fine.
_ESCAPED = re.compile(r"\\u(0000|d[89a-f])")
_LEVELS = 64


def refuse_unknown(names: Any, allowed: frozenset[str]) -> None:
    """Raise ``TypeError`` for a keyword that is not among *allowed*."""
    for name in names:
        if name not in allowed:
            raise TypeError(f"{name!r} cannot be set here: use one of {', '.join(sorted(allowed))}")


def of_type(name: str, value: Any, kind: type) -> Any:
    """Return *value*; ``TypeError`` where it is of another type."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")
    return value


def is_storable(text: str) -> bool:
    """Tell whether every database can keep *text*; what it cannot keep, it cannot hold either."""
    return not _UNSTORABLE.search(text)


def as_text(name: str, value: Any, limit: int, *, blank: bool = False) -> str:
    """Return a text of at most *limit* characters.

    Args:
        blank: It may be empty, or white space alone.

    Raises:
        TypeError: It is no text.
        InvalidProfileError: It is too long, blank, or has characters that cannot be stored.
    """
    text: str = of_type(name, value, str)
    if len(text) > limit:
        raise InvalidProfileError(f"{name} must have at most {limit} characters")
    if not is_storable(text):
        raise InvalidProfileError(f"{name} has characters that cannot be stored")
    if not blank and not text.strip():
        raise InvalidProfileError(f"{name} must not be blank")
    return text


def as_json_object(name: str, value: Any) -> dict[str, Any]:
    """Return a copy that went through JSON: what is returned now is what will be read later.

    Raises:
        TypeError: It is no JSON object.
        InvalidProfileError: It is too long, or has characters that cannot be stored.
    """
    of_type(name, value, dict)
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{name} must be a JSON object: {error}") from None
    if len(text) > MAX_METADATA:
        raise InvalidProfileError(f"{name} must be at most {MAX_METADATA} characters of JSON")
    copy: dict[str, Any] = json.loads(text)
    suspicious = _ESCAPED.search(text) or text.count("{") + text.count("[") > _LEVELS
    if suspicious and not _storable(copy, _LEVELS):
        raise InvalidProfileError(
            f"{name} has characters that cannot be stored, or more than {_LEVELS} levels"
        )
    return copy


def _storable(value: Any, levels: int) -> bool:
    if isinstance(value, str):
        return is_storable(value)
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if not isinstance(value, list):
        return True
    return levels > 0 and all(_storable(part, levels - 1) for part in value)
