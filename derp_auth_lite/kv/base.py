"""The key-value store that the library needs: bytes in, bytes out, with lifetimes."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["KVClient", "RateLimitResult"]


@dataclass(frozen=True, slots=True)
class RateLimitResult:
    """Outcome of :meth:`KVClient.rate_limit`; ``retry_after`` is in seconds."""

    allowed: bool
    count: int
    limit: int
    remaining: int
    retry_after: float | None


class KVClient(abc.ABC):
    """A store of bytes under bytes.

    Lifetimes are seconds; ``None`` means for ever. A key whose lifetime is over is not there. A
    store that cannot be reached raises :class:`~derp_auth_lite.exceptions.AuthBackendError` from
    every method: a caller never mistakes "down" for "not there".
    """

    supports_ttl = True
    supports_scan = True
    supports_batch = True

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disconnect()

    @abc.abstractmethod
    def connect(self) -> None:
        """Open the store. Opening an open store does nothing."""

    @abc.abstractmethod
    def disconnect(self) -> None:
        """Close the store. Closing a closed store does nothing."""

    @abc.abstractmethod
    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or ``None``."""

    @abc.abstractmethod
    def set(self, key: bytes, value: bytes, *, ttl: float | None = None) -> None:
        """Store *value* under *key*; an earlier value and its lifetime are replaced."""

    @abc.abstractmethod
    def delete(self, key: bytes) -> bool:
        """Remove *key*. Of many callers at once exactly one is told ``True``."""

    @abc.abstractmethod
    def exists(self, key: bytes) -> bool:
        """Tell whether *key* is there."""

    @abc.abstractmethod
    def mget(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of *keys*, in their order."""

    @abc.abstractmethod
    def mset(self, items: Sequence[tuple[bytes, bytes]], *, ttl: float | None = None) -> None:
        """Store all *items*, or none of them."""

    @abc.abstractmethod
    def delete_many(self, keys: Sequence[bytes]) -> int:
        """Remove *keys*; return how many were there."""

    @abc.abstractmethod
    def ttl(self, key: bytes) -> float | None:
        """Return the seconds that *key* has left; ``None`` if it has no end or is not there."""

    @abc.abstractmethod
    def expire(self, key: bytes, ttl: float) -> bool:
        """Give *key* a lifetime from now on. Returns ``False`` if it is not there."""

    @abc.abstractmethod
    def set_nx(self, key: bytes, value: bytes, *, ttl: float | None = None) -> bool:
        """Store *value* only where *key* is not there. Of many callers one is told ``True``."""

    @abc.abstractmethod
    def incr(self, key: bytes, *, ttl: float | None = None) -> int:
        """Add one to the counter *key* and return it.

        A counter that is not there starts at one and gets the lifetime *ttl* in the same step, so
        that no crash leaves a counter that never ends. Later calls keep the lifetime as it is. A
        value that is no counter raises ``ValueError``.
        """

    @abc.abstractmethod
    def scan(self, *, prefix: bytes | None = None, limit: int | None = None) -> Iterator[bytes]:
        """Iterate over the keys that begin with *prefix*, at most *limit*, in no certain order."""

    def purge(self) -> int:
        """Remove what has outlived its time; return how many. Stores that do so themselves: 0."""
        return 0

    def rate_limit(
        self, key: str, *, limit: int, window: float, key_prefix: str = "derp:ratelimit"
    ) -> RateLimitResult:
        """Count one more use of *key* in a fixed window of *window* seconds.

        Returns:
            Whether at most *limit* uses fell into the window, and how long until it ends.
        """
        name = f"{key_prefix}:{key}".encode()
        count = self.incr(name, ttl=window)
        allowed = count <= limit
        left = None if allowed else self.ttl(name)
        return RateLimitResult(
            allowed=allowed,
            count=count,
            limit=limit,
            remaining=max(0, limit - count),
            retry_after=None if allowed else math.ceil(window if left is None else left),
        )
