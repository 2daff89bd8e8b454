"""Time that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["MovableClock"]

_START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class MovableClock:
    """A clock that stands until it is moved, either way.

    Args:
        start: Where it stands at first; aware. By default noon of the first day of 2026, UTC.
        tick: How far each look moves it, so that what happens later is later in lists, too.
    """

    def __init__(self, start: datetime | None = None, *, tick: timedelta = timedelta(0)) -> None:
        self.now = _START if start is None else start.astimezone(UTC)
        self._tick = tick

    def __call__(self) -> datetime:
        """Return the present moment."""
        self.now += self._tick
        return self.now

    def advance(self, **units: float) -> None:
        """Move by ``days=``, ``minutes=``, ``seconds=`` and so on; a negative number goes back."""
        self.now += timedelta(**units)
