"""What was verified a moment ago and need not be verified again."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Recent"]

T = TypeVar("T")


class Recent(Generic[T]):
    """The last few hundred or thousand values, in two generations.

    When the younger generation is full it becomes the older one, and the older one is forgotten. A
    value that is used again moves to the younger one. Single dictionary operations are atomic, and
    a race can only forget a value, so there is no lock that a fork could inherit.

    Args:
        size: How many are kept at the most; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self._half = size // 2
        self._young: dict[bytes, T] = {}
        self._old: dict[bytes, T] = {}

    def get(self, key: bytes) -> T | None:
        """Return the value that is kept for *key*, or ``None``."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.add(key, value)
        return value

    def add(self, key: bytes, value: T) -> None:
        """Keep a value."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        if self._half:
            self._young[key] = value
