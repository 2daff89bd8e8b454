"""A document of another service, kept for a while and fetched again seldom."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from .._clock import Clock
from ..exceptions import AuthBackendError

__all__ = ["Remembered"]

T = TypeVar("T")

_FIRST_RETRY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    since: datetime


class Remembered(Generic[T]):
    """Keeps what *fetch* returned, and limits how often it is called. Safe for threads and forks.

    Args:
        fetch: Gets the document; raises AuthBackendError where it cannot.
        clock: Tells the time.
        lifetime: How long a document counts as fresh.
        min_interval: Shortest time between two fetches once there is a document. Until there is
            one, a failed fetch may be repeated after five seconds.
        max_age: How long an old document serves while no new one can be fetched.
    """

    def __init__(
        self,
        fetch: Callable[[], T],
        *,
        clock: Clock,
        lifetime: timedelta = timedelta(minutes=10),
        min_interval: timedelta = timedelta(minutes=1),
        max_age: timedelta = timedelta(days=1),
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lifetime = lifetime
        self._min_interval = min_interval
        self._max_age = max_age
        self._kept: _Kept[T] | None = None
        self._tried_at: datetime | None = None
        self._failure: AuthBackendError | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def get(self) -> T:
        """Return the document, fetched again when its lifetime is over.

        A document that is old serves on while its successor is being fetched elsewhere, or cannot
        be fetched.

        Raises:
            AuthBackendError: There is none that is young enough, and none could be fetched.
        """
        kept = self._kept
        if kept is not None and self._younger(kept.since, self._lifetime):
            return kept.value
        if kept is not None and self._younger(kept.since, self._max_age):
            self._fetch_again(wait=False)
            return (self._kept or kept).value
        self._fetch_again(wait=True)
        kept = self._kept
        if kept is None or not self._younger(kept.since, self._max_age):
            raise AuthBackendError(*self._why()) from self._failure
        return kept.value

    def newer(self) -> T:
        """Return the document as it is now, for a caller who missed something in it.

        Nothing is fetched when the last fetch is not ``min_interval`` ago: what that one found is
        the answer then.

        Raises:
            AuthBackendError: The last fetch failed, so that nobody knows what the document holds.
        """
        self._fetch_again(wait=True)
        kept, failure = self._kept, self._failure
        if kept is None or failure is not None:
            raise AuthBackendError(*self._why()) from failure
        return kept.value

    def _fetch_again(self, *, wait: bool) -> None:
        """Fetch, unless that was done too short a while ago or another thread is at it."""
        lock = self._own_lock()
        if not lock.acquire(blocking=wait):
            return
        try:
            if not self._may_fetch():
                return
            self._tried_at = self._clock()
            try:
                value = self._fetch()
            except AuthBackendError as error:
                self._failure = error
            else:
                self._kept = _Kept(value, self._tried_at)
                self._failure = None
        finally:
            lock.release()

    def _may_fetch(self) -> bool:
        if self._tried_at is None:
            return True
        pause = self._min_interval if self._kept else min(self._min_interval, _FIRST_RETRY)
        return not self._younger(self._tried_at, pause)

    def _younger(self, since: datetime, age: timedelta) -> bool:
        """Tell whether *since* is less than *age* ago; a moment in the future never is."""
        return timedelta(0) <= self._clock() - since < age

    def _own_lock(self) -> threading.Lock:
        """Return this process's lock: the parent's may have been held, for a fetch, at the fork."""
        if self._pid != os.getpid():
            self._tried_at = None
            self._lock, self._pid = threading.Lock(), os.getpid()
        return self._lock

    def _why(self) -> tuple[str, ...]:
        return (self._failure.message,) if self._failure else ()
