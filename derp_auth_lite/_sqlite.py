"""SQLite as the library opens it: durable, in WAL mode, and patient with other writers."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import peewee

__all__ = ["BUSY_SECONDS", "SQLite", "is_busy", "patiently"]

BUSY_SECONDS = 30.0
"""How long a writer waits for the others before it gives up."""

_peewee_log = logging.getLogger("peewee")

_FIRST_PAUSE = (0.0005, 0.0015)  # a transaction of another's takes as long
_PAUSE = (0.0005, 0.004)  # shorter, and those who ask take the processor from who works
# Pauses of who has just come are longer, so that who came before is next.
_MODESTY = 6
_MODEST_SECONDS = 0.03
_LONGEST_STEP = 0.05
_PRAGMAS = (
    ("foreign_keys", 1),
    ("synchronous", 2),  # FULL: a commit that is rolled back by a power cut would un-spend a token
    ("cache_size", -65536),
    ("temp_store", 2),
)
_chance = secrets.SystemRandom()

_REMEMBERED = 1024  # reads of a connection

Result = TypeVar("Result")


def is_busy(error: BaseException) -> bool:
    """Tell whether *error* only says that another connection holds the lock."""
    text = str(error).lower()
    return "locked" in text or "busy" in text


def patiently(action: Callable[[], Result]) -> Result:
    """Run *action* again while the database is locked, with random pauses.

    SQLite's own waiting starves (one process was seen to wait a whole second among eight): who
    waits longer asks less often. Here it is the other way round, which keeps the longest wait near
    a tenth of that. Of a process's threads one at a time asks, and the others wait behind it: a
    hundred that all ask a thousand times a second would leave no processor to the one that they
    wait for.
    """
    try:
        return action()
    except (peewee.OperationalError, sqlite3.OperationalError) as error:
        if not is_busy(error):
            raise
    began = time.monotonic()
    waited = 0.0
    has_turn = False
    turn = _turn
    try:
        while True:
            # Who gets no turn asks nevertheless, now and then: the holder may wait for another
            # database, whose lock this thread has.
            has_turn = has_turn or turn.acquire(timeout=_LONGEST_STEP)
            if has_turn:
                time.sleep(_pause(waited))
            waited = time.monotonic() - began
            try:
                return action()
            except (peewee.OperationalError, sqlite3.OperationalError) as error:
                if not is_busy(error) or waited >= BUSY_SECONDS:
                    raise
    finally:
        if has_turn:
            turn.release()


def _pause(waited: float) -> float:
    """Return how long to wait now, after *waited* seconds."""
    if not waited:
        return _chance.uniform(*_FIRST_PAUSE)
    modesty = max(1.0, _MODESTY * (1 - waited / _MODEST_SECONDS))
    return _chance.uniform(*_PAUSE) * modesty


def _after_fork_in_child() -> None:
    """Forget a turn that a thread of the parent has."""
    global _turn  # noqa: PLW0603  there is one for the process
    _turn = threading.Lock()


_turn = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _Connection(sqlite3.Connection):
    """A connection that can be referred to weakly: a thread that ends takes its own along.

    It remembers rows of reads, and what the database was like when they were read.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.remembered: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        self._seen: tuple[int, int] | None = None
        self._asking = self.cursor()

    def forget_what_may_have_changed(self) -> None:
        """Forget all rows if anything was written since this was last called.

        SQLite counts what other connections commit, in this process or another (``data_version``),
        and what this one writes (``total_changes``). Asking takes a tenth of a read by key.
        """
        ((version,),) = self._asking.execute("PRAGMA data_version").fetchall()
        seen = (version, self.total_changes)
        if seen != self._seen or len(self.remembered) >= _REMEMBERED:
            self.remembered.clear()
            self._seen = seen


class SQLite(peewee.SqliteDatabase):  # type: ignore[misc]  # Peewee is not typed
    """A SQLite file, or with ``":memory:"`` one database in memory that all threads share.

    A plain in-memory database is another one in every thread, and a shared cache fails under
    several writers; the ``memdb`` file system of SQLite 3.36 and later does neither. One connection
    is kept open so that the content lives as long as this object.
    """

    def __init__(self, path: str | Path) -> None:
        self.in_memory = str(path) == ":memory:"
        self.path = None if self.in_memory else Path(path)
        name = f"file:/{secrets.token_hex(16)}?vfs=memdb" if self.in_memory else os.fspath(path)
        self._opened: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._opened_lock = threading.Lock()
        self._keeper: sqlite3.Connection | None = None
        super().__init__(
            name,
            timeout=0,
            check_same_thread=False,
            uri=self.in_memory,
            factory=_Connection,
        )

    def _connect(self) -> _Connection:
        if self.in_memory and self._keeper is None:
            self._keeper = sqlite3.connect(self.database, uri=True, check_same_thread=False)
        if self.path is not None:
            _create_private(self.path)
        connection: _Connection = patiently(super()._connect)
        try:
            patiently(lambda: self._prepare(connection))
        except BaseException:
            connection.close()
            raise
        with self._opened_lock:
            self._opened.add(connection)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for pragma, value in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma} = {value}")
        if not self.in_memory:
            # Eight processes that open a new file race here in spite of any busy time-out.
            connection.execute("PRAGMA journal_mode = wal").fetchone()

    def rows(
        self, sql: str, parameters: list[Any], *, remember: bool = False
    ) -> list[tuple[Any, ...]]:
        """Run a statement and return all its rows; raises the driver's errors.

        Peewee's way to the same rows takes a quarter longer than a read by key does.

        Args:
            remember: Give the rows of the last time again if the database is as it was then. Not in
                memory, where SQLite does not say so, nor in a transaction.
        """
        connection: _Connection = self._state.conn or self.connection()
        if remember and not self.in_memory and not connection.in_transaction:
            connection.forget_what_may_have_changed()
            key = (sql, *parameters)
            known = connection.remembered.get(key)
            if known is None:
                known = connection.remembered[key] = self._read(connection, sql, parameters)
            return known
        return self._read(connection, sql, parameters)

    def _read(
        self, connection: sqlite3.Connection, sql: str, parameters: list[Any]
    ) -> list[tuple[Any, ...]]:
        if _peewee_log.isEnabledFor(logging.DEBUG):
            self._log_query(sql, parameters)
        cursor = connection.cursor()
        try:
            cursor.execute(sql, parameters)
            return cursor.fetchall()
        except BaseException:
            # Cut off before its rows are taken, by Ctrl-C say, a statement would keep its lock.
            cursor.close()
            raise

    def commit(self) -> None:
        """Commit; an in-memory database may have to wait for its readers."""
        patiently(super().commit)

    def rollback(self) -> None:
        """Roll back; a full disk has SQLite do so by itself, which is no second error."""
        if self._state.conn is not None and self._state.conn.in_transaction:
            super().rollback()

    def _log_query(self, sql: str, _params: Any) -> None:
        """Keep what people typed, and their hashes, out of the log."""
        super()._log_query(sql, None)

    def close_all(self) -> None:
        """Close the database for good; no thread may be in a call."""
        self.close()
        self.close_connections()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def close_connections(self) -> None:
        """Close the connections of all threads, which open new ones; none may be in a call."""
        # First, so that a thread that goes on does not find its closed connection.
        self._state: Any = type(self._state)()
        with self._opened_lock:
            connections = list(self._opened)
            self._opened = weakref.WeakSet()
        for connection in connections:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def abandon(self) -> list[Any]:
        """Forget, in a forked child, all that belongs to the parent; return it unclosed."""
        inherited: list[Any] = [*self._opened, self._keeper]
        self._opened = weakref.WeakSet()
        self._opened_lock = threading.Lock()
        self._lock = threading.Lock()
        self._state.reset()
        return inherited


def _create_private(path: Path) -> None:
    """Make the file readable by its owner alone before SQLite makes it by the umask."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
