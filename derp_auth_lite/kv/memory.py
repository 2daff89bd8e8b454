"""A store in the memory of one process."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence

from .._clock import Clock, utc_now
from ._fork import ForkAware
from ._values import check_bytes, check_ttl, parse_counter
from .base import KVClient

__all__ = ["MemoryKV"]

_FEW = 64


class MemoryKV(KVClient, ForkAware):
    """A store for tests, scripts and single processes; it is empty at each start.

    It is thread-safe. A forked child goes on with a copy of its own. Writes clear away what has
    outlived its time, so that memory stays within about twice of what is alive.
    """

    def __init__(self, *, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[bytes, tuple[bytes, float | None]] = {}
        self._clear_at = _FEW
        super().__init__()

    def __repr__(self) -> str:
        return "MemoryKV()"

    def connect(self) -> None:
        """Do nothing: memory is always there."""

    def disconnect(self) -> None:
        """Do nothing: what is stored lives as long as this object."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or ``None``."""
        check_bytes(key)
        with self._lock:
            entry = self._live(key, self._now())
            return entry and entry[0]

    def set(self, key: bytes, value: bytes, *, ttl: float | None = None) -> None:
        """Store *value* under *key*."""
        self.mset([(key, value)], ttl=ttl)

    def delete(self, key: bytes) -> bool:
        """Remove *key*; tell whether it was there."""
        return self.delete_many([key]) == 1

    def exists(self, key: bytes) -> bool:
        """Tell whether *key* is there."""
        check_bytes(key)
        with self._lock:
            return self._live(key, self._now()) is not None

    def mget(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of *keys*, in their order."""
        check_bytes(*keys)
        with self._lock:
            now = self._now()
            entries = [self._live(key, now) for key in keys]
        return [entry and entry[0] for entry in entries]

    def mset(self, items: Sequence[tuple[bytes, bytes]], *, ttl: float | None = None) -> None:
        """Store all *items*."""
        check_bytes(*itertools.chain.from_iterable(items))
        check_ttl(ttl)
        with self._lock:
            now = self._now()
            for key, value in items:
                self._store(key, value, ttl, now)

    def delete_many(self, keys: Sequence[bytes]) -> int:
        """Remove *keys*; return how many were there."""
        check_bytes(*keys)
        with self._lock:
            now = self._now()
            there = [key for key in set(keys) if self._live(key, now)]
            for key in there:
                del self._entries[key]
        return len(there)

    def ttl(self, key: bytes) -> float | None:
        """Return the seconds that *key* has left."""
        check_bytes(key)
        with self._lock:
            now = self._now()
            entry = self._live(key, now)
        return None if entry is None or entry[1] is None else entry[1] - now

    def expire(self, key: bytes, ttl: float) -> bool:
        """Give *key* a lifetime from now on."""
        check_bytes(key)
        check_ttl(ttl)
        with self._lock:
            now = self._now()
            entry = self._live(key, now)
            if entry is not None:
                self._store(key, entry[0], ttl, now)
        return entry is not None

    def set_nx(self, key: bytes, value: bytes, *, ttl: float | None = None) -> bool:
        """Store *value* only where *key* is not there."""
        check_bytes(key, value)
        check_ttl(ttl)
        with self._lock:
            now = self._now()
            free = self._live(key, now) is None
            if free:
                self._store(key, value, ttl, now)
        return free

    def incr(self, key: bytes, *, ttl: float | None = None) -> int:
        """Add one to the counter *key* and return it; a new one gets the lifetime *ttl*."""
        check_bytes(key)
        check_ttl(ttl)
        with self._lock:
            now = self._now()
            entry = self._live(key, now)
            if entry is None:
                self._store(key, b"1", ttl, now)
                return 1
            count = parse_counter(entry[0]) + 1
            self._entries[key] = (b"%d" % count, entry[1])
        return count

    def scan(self, *, prefix: bytes | None = None, limit: int | None = None) -> Iterator[bytes]:
        """Iterate over the keys, as they are now, that begin with *prefix*."""
        prefix = b"" if prefix is None else prefix
        check_bytes(prefix)
        with self._lock:
            now = self._now()
            keys = [
                key
                for key, (_, end) in self._entries.items()
                if key.startswith(prefix) and (end is None or end > now)
            ]
        return iter(keys if limit is None else keys[: max(0, limit)])

    def purge(self) -> int:
        """Remove what has outlived its time; return how many."""
        with self._lock:
            return self._clear_away(self._now())

    def before_fork(self) -> None:
        """Wait until no thread is in the middle of a change."""
        self._lock.acquire()

    def after_fork(self) -> None:
        """Let the threads go on."""
        self._lock.release()

    def _now(self) -> float:
        return self._clock().timestamp()

    def _live(self, key: bytes, now: float) -> tuple[bytes, float | None] | None:
        entry = self._entries.get(key)
        if entry is None or entry[1] is None or entry[1] > now:
            return entry
        del self._entries[key]
        return None

    def _store(self, key: bytes, value: bytes, ttl: float | None, now: float) -> None:
        if ttl is not None and ttl <= 0:
            self._entries.pop(key, None)
            return
        self._entries[key] = (value, None if ttl is None else now + ttl)
        if len(self._entries) > self._clear_at:
            self._clear_away(now)

    def _clear_away(self, now: float) -> int:
        dead = [key for key, (_, end) in self._entries.items() if end is not None and end <= now]
        for key in dead:
            del self._entries[key]
        self._clear_at = 2 * len(self._entries) + _FEW
        return len(dead)
