"""A store in a folder, shared by the processes of one machine."""

from __future__ import annotations

import itertools
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, TypeVarTuple

from .._clock import Clock, utc_now
from ..exceptions import AuthBackendError, AuthNotConnectedError
from ._fork import ForkAware
from ._layout import MODE_RAW, bytes_of
from ._store import PUT, Store, is_busy, is_damage
from ._values import check_bytes, check_ttl, parse_counter
from .base import KVClient

__all__ = ["DiskKV"]


def _living(statement: str, keys: str = "key = ?", order: str = "") -> str:
    alive = "raw = 1 AND (expire_time IS NULL OR expire_time > ?)"
    return f"{statement} WHERE {keys} AND {alive} {order}"


_GET = _living("SELECT mode, filename, value FROM Cache")
_END = _living("SELECT expire_time FROM Cache")
_DELETE = _living("DELETE FROM Cache")
_EXPIRE = _living("UPDATE Cache SET expire_time = ?")
_PUT_WHERE_FREE = f"{PUT} WHERE expire_time <= excluded.store_time"
_COUNT = "UPDATE Cache SET value = ? WHERE key = ? AND raw = 1"
_FIRST_KEYS = _living("SELECT key FROM Cache", "key >= ?", "ORDER BY key LIMIT ?")
_NEXT_KEYS = _living("SELECT key FROM Cache", "key > ?", "ORDER BY key LIMIT ?")
_PURGE = (
    "DELETE FROM Cache WHERE rowid IN"
    " (SELECT rowid FROM Cache WHERE expire_time <= ? ORDER BY expire_time LIMIT ?)"
)
_PAGE = 500
_BUSY_SECONDS = 60.0

Result = TypeVar("Result")
Values = TypeVarTuple("Values")


class DiskKV(KVClient, ForkAware):
    """A store in the folder *directory*: a SQLite file that diskcache lays out.

    Threads and processes share it; of many that set_nx or delete one key, one wins. Lifetimes go by
    *clock* alone. Nothing is evicted: what has outlived its time goes at :meth:`purge`.

    A damaged store is set aside under another name and begun anew, with a warning in the log. A
    store that cannot be written (rights, a full disk) raises
    :class:`~derp_auth_lite.exceptions.AuthBackendError` and stays as it is. A folder that is made
    here is open to its owner alone (0700), as are the files in it (0600).

    diskcache's own methods are not used for keys and values: they go by the system's time, and
    follow pickles and file names that they find in a row (CVE-2025-69872).
    """

    def __init__(self, directory: str | os.PathLike[str], *, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._store = Store(directory, clock)
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._connected = False
        super().__init__()

    def __repr__(self) -> str:
        return f"DiskKV({str(self._store.folder)!r})"

    def connect(self) -> None:
        """Open the store, and make it where it is not there."""
        with self._own_lock():
            if self._connected:
                return
            self._connected = True
            try:
                self._run(_nothing)
            except BaseException:
                self._connected = False
                raise

    def disconnect(self) -> None:
        """Close the store."""
        with self._own_lock():
            self._connected = False
            self._store.close()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or ``None``."""
        check_bytes(key)
        return self._value(self._run(_rows, _GET, (key, self._now()), reading=True))

    def set(self, key: bytes, value: bytes, *, ttl: float | None = None) -> None:
        """Store *value* under *key*."""
        row = self._row(key, value, ttl)
        self._run(_changed, PUT, row)

    def delete(self, key: bytes) -> bool:
        """Remove *key*. Of many callers at once, in all processes, exactly one is told ``True``."""
        check_bytes(key)
        now = self._now()
        return self._run(_changed, _DELETE, (key, now)) == 1

    def exists(self, key: bytes) -> bool:
        """Tell whether *key* is there."""
        check_bytes(key)
        now = self._now()
        return bool(self._run(_rows, _END, (key, now), reading=True))

    def mget(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of *keys*, in their order, all as of one moment."""
        check_bytes(*keys)
        now = self._now()

        def read(connection: sqlite3.Connection) -> list[bytes | None]:
            with connection:
                connection.execute("BEGIN")
                return [self._value(_rows(connection, _GET, (key, now))) for key in keys]

        return self._run(read, reading=True)

    def mset(self, items: Sequence[tuple[bytes, bytes]], *, ttl: float | None = None) -> None:
        """Store all *items*, or none of them."""
        rows = [self._row(key, value, ttl) for key, value in items]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(PUT, rows)

        self._run(write)

    def delete_many(self, keys: Sequence[bytes]) -> int:
        """Remove *keys*; return how many were there."""
        check_bytes(*keys)
        now = self._now()

        def remove(connection: sqlite3.Connection) -> int:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                return sum(_changed(connection, _DELETE, (key, now)) for key in keys)

        return self._run(remove)

    def ttl(self, key: bytes) -> float | None:
        """Return the seconds that *key* has left."""
        check_bytes(key)
        now = self._now()
        rows = self._run(_rows, _END, (key, now), reading=True)
        return rows[0][0] - now if rows and isinstance(rows[0][0], float) else None

    def expire(self, key: bytes, ttl: float) -> bool:
        """Give *key* a lifetime from now on."""
        check_bytes(key)
        check_ttl(ttl)
        now = self._now()
        change = (_end(now, ttl), key, now)
        return self._run(_changed, _EXPIRE, change) == 1

    def set_nx(self, key: bytes, value: bytes, *, ttl: float | None = None) -> bool:
        """Store *value* only where *key* is not there; among all processes one is told ``True``."""
        row = self._row(key, value, ttl)
        return self._run(_changed, _PUT_WHERE_FREE, row) == 1

    def incr(self, key: bytes, *, ttl: float | None = None) -> int:
        """Add one to the counter *key* and return it; a new one gets *ttl* in the same commit."""
        first = self._row(key, b"1", ttl)
        now = first[1]

        def count(connection: sqlite3.Connection) -> int:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                value = self._value(_rows(connection, _GET, (key, now)))
                if value is None:
                    connection.execute(PUT, first)
                    return 1
                counted = parse_counter(value) + 1
                connection.execute(_COUNT, (b"%d" % counted, key))
                return counted

        return self._run(count)

    def scan(self, *, prefix: bytes | None = None, limit: int | None = None) -> Iterator[bytes]:
        """Iterate over the keys that begin with *prefix*, reading a page at a time."""
        prefix = b"" if prefix is None else prefix
        check_bytes(prefix)
        matching = itertools.takewhile(lambda key: key.startswith(prefix), self._keys_from(prefix))
        return itertools.islice(matching, None if limit is None else max(0, limit))

    def purge(self) -> int:
        """Remove what has outlived its time, some hundred rows a commit; return how many."""
        now = self._now()
        removed = 0
        while True:
            some = self._run(_changed, _PURGE, (now, _PAGE))
            removed += some
            if some < _PAGE:
                return removed

    def before_fork(self) -> None:
        """Wait for the running call, then close the connection: a child must not inherit it."""
        self._lock.acquire()
        self._store.close()

    def after_fork(self) -> None:
        """Go on, in the parent and in the child, with a connection of one's own."""
        self._process = os.getpid()
        self._lock.release()

    def _now(self) -> float:
        return self._clock().timestamp()

    def _row(
        self, key: bytes, value: bytes, ttl: float | None
    ) -> tuple[bytes, float, float | None, bytes]:
        check_bytes(key, value)
        check_ttl(ttl)
        now = self._now()
        return key, now, _end(now, ttl), value

    def _value(self, rows: list[Any]) -> bytes | None:
        if not rows:
            return None
        return bytes_of(*rows[0])

    def _keys_from(self, first: bytes) -> Iterator[bytes]:
        keys = self._page(_FIRST_KEYS, first)
        while True:
            yield from keys
            if len(keys) < _PAGE:
                return
            keys = self._page(_NEXT_KEYS, keys[-1])

    def _page(self, statement: str, first: bytes) -> list[bytes]:
        rows = self._run(_rows, statement, (first, self._now(), _PAGE), reading=True)
        return [bytes_of(MODE_RAW, None, key) for (key,) in rows]

    def _own_lock(self) -> threading.RLock:
        """Return the lock; a new one in a child that was forked without Python knowing."""
        if self._process != os.getpid():
            self._store.abandon()
            self._lock = threading.RLock()
            self._process = os.getpid()
        return self._lock

    def _run(
        self,
        work: Callable[[sqlite3.Connection, *Values], Result],
        *values: *Values,
        reading: bool = False,
    ) -> Result:
        """Run *work* until the file's lock is free, and once more on a new store after damage."""
        give_up = 0.0
        mended = False
        while True:
            with self._own_lock():
                if not self._connected:
                    raise AuthNotConnectedError("The KV store is not connected: call connect()")
                try:
                    return work(self._store.connection(reading), *values)
                except sqlite3.Error as error:
                    if not is_busy(error):
                        self._recover(error, mended)
                        mended = True
                    elif not give_up:
                        give_up = time.monotonic() + _BUSY_SECONDS
                    elif time.monotonic() > give_up:
                        raise self._unavailable(error) from error
                except OSError as error:
                    raise self._unavailable(error) from error
            # Waiting outside the lock lets this process's readers pass.
            time.sleep((200 + secrets.randbelow(1800)) / 1e6)

    def _recover(self, error: sqlite3.Error, mended: bool) -> None:
        if mended or not is_damage(error):
            self._store.close()
            raise self._unavailable(error) from error
        try:
            self._store.set_aside(error)
        except (OSError, sqlite3.Error) as failure:
            raise self._unavailable(failure) from failure

    def _unavailable(self, error: Exception) -> AuthBackendError:
        return AuthBackendError(f"The KV store {self._store.folder} cannot be used: {error}")


def _end(now: float, ttl: float | None) -> float | None:
    """Return when a lifetime ends; what is gone at once stays gone if the clock is set back."""
    if ttl is None:
        return None
    return now + ttl if ttl > 0 else 0.0


def _nothing(connection: sqlite3.Connection) -> None:
    """Do nothing with a connection but to have it opened."""


def _rows(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> list[Any]:
    # fetchall(), since a statement that is not read to its end keeps its lock.
    return connection.execute(statement, values).fetchall()


def _changed(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> int:
    return connection.execute(statement, values).rowcount
