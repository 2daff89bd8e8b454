"""Where time comes from: a client's clock, never the database's and never a library's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["Clock", "utc_now"]

Clock = Callable[[], datetime]
"""Returns the present moment as an aware datetime in UTC."""


def utc_now() -> datetime:
    """Return the system's time, aware, in UTC."""
    return datetime.now(UTC)
