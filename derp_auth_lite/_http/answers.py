"""What a service's JSON says, read with care: texts, numbers and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, TypeGuard

from ..exceptions import AuthBackendError

__all__ = ["from_timestamp", "is_timestamp", "text_or_none", "time_or_none"]

_FRACTION = re.compile(r"(\.\d{6})\d+")
_LATEST = 1e11  # seconds; a date can hold it


def text_or_none(value: Any) -> str | None:
    """Return *value* if it is a text that is not empty."""
    return value if isinstance(value, str) and value else None


def is_timestamp(value: Any) -> TypeGuard[float]:
    """Tell whether *value* can be seconds since 1970."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LATEST


def from_timestamp(value: float) -> datetime:
    """Return the aware time of whole seconds since 1970."""
    return datetime.fromtimestamp(int(value), UTC)


def time_or_none(value: Any, service: str) -> datetime | None:
    """Return an ISO time as an aware one, up to nine digits after the point; ``None`` for none.

    Raises:
        AuthBackendError: It is no time; the message names *service*.
    """
    if value in (None, ""):
        return None
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", value))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise AuthBackendError(f"{service} answered with a time that cannot be read") from None
