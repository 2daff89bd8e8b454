"""The files of a :class:`~.disk.DiskKV` and its one connection to them."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import time
from pathlib import Path

from .._clock import Clock
from ..exceptions import ConfigError
from ._layout import LayoutError, is_laid_out

__all__ = ["PUT", "Store", "is_busy", "is_damage"]

PUT = (
    "INSERT INTO Cache (key, raw, store_time, expire_time, mode, value) VALUES (?, 1, ?, ?, 1, ?)"
    " ON CONFLICT (key, raw) DO UPDATE SET store_time = excluded.store_time,"
    " expire_time = excluded.expire_time, access_time = NULL, access_count = 0, tag = NULL,"
    " size = 0, mode = 1, filename = NULL, value = excluded.value"
)
"""Stores a row of key, present time, end (or None) and value."""

_log = logging.getLogger(__name__)
_PARTS = ("", "-wal", "-shm")
_OPENING_SECONDS = 60.0
_FILES_MOVE = os.name == "posix"  # elsewhere a file that is open can be neither moved nor removed
_LOOK_IS_GOOD_SECONDS = 0.01
_abandoned: list[sqlite3.Connection] = []


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether *error* only says that another connection holds the lock."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL}


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether *error* means that the file is no store: garbage, or without our tables."""
    return _code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class Store:
    """A folder with ``cache.db``, and one connection that all threads of the process share.

    One connection instead of diskcache's one a thread: short-lived threads need not open it anew,
    disconnecting closes all there is, and it can be closed before a fork. (SQLite keeps its locks
    by process: a child that inherits an open database believes in locks that it does not hold, and
    a write-ahead log can be deleted under it; https://www.sqlite.org/howtocorrupt.html section
    2.6.) The caller serialises the calls.
    """

    def __init__(self, directory: str | os.PathLike[str], clock: Clock) -> None:
        self.folder = Path(os.path.abspath(directory))  # noqa: PTH100  # resolve() follows links
        self._clock = clock
        self._database = str(self.folder / "cache.db")
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._looked = 0.0
        if os.path.expandvars(self._database) != self._database:
            # diskcache would expand it, into another folder.
            raise ConfigError(f"The KV folder {self.folder} must not name an environment variable")

    def connection(self, reading: bool = False) -> sqlite3.Connection:
        """Return the connection; open it where it is closed, or where the file is another now.

        A writer looks at the file each time, so that no two clients write to different ones. For a
        reader a look is good for 10 ms: it costs a fifth of a read.
        """
        if (
            self._connection is not None
            and _FILES_MOVE
            and not (reading and time.monotonic() < self._looked + _LOOK_IS_GOOD_SECONDS)
        ):
            self._looked = time.monotonic()
            if self._was_replaced():
                _log.warning("The KV store %s was replaced while it was open", self.folder)
                self.close()
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def abandon(self) -> None:
        """Forget a connection that belongs to a parent process, without closing it."""
        if self._connection is not None:
            _abandoned.append(self._connection)
            self._connection = None

    def set_aside(self, error: sqlite3.Error) -> None:
        """Close the damaged store and move it out of the way, unless another process has."""
        self.close()
        with contextlib.closing(self._lock()):
            if not self._was_replaced():
                self._move_away(error)

    def _open(self) -> sqlite3.Connection:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.closing(self._lock()):
            for part in _PARTS:
                if Path(self._database + part).is_dir():
                    self._move_away("a folder has the name of a file")
            try:
                return self._make()
            except (sqlite3.Error, LayoutError) as error:
                if isinstance(error, sqlite3.Error) and not is_damage(error):
                    raise
                self._move_away(error)
            return self._make()

    def _make(self) -> sqlite3.Connection:
        _create_private(self._database)
        if not is_laid_out(self._database):
            from ._diskcache import lay_out  # loads diskcache

            lay_out(str(self.folder))
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._database,
            timeout=_OPENING_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in ("synchronous = 1", "mmap_size = 0", "trusted_schema = 0"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute(f"EXPLAIN {PUT}", (b"", 0.0, None, b"")).fetchall()
            # From here on waiting is the caller's, in small random steps: SQLite's own starves.
            connection.execute("PRAGMA busy_timeout = 0").fetchall()
            self._identity = self._identify()
        except BaseException:
            connection.close()
            raise
        return connection

    def _was_replaced(self) -> bool:
        try:
            return self._identify() != self._identity
        except FileNotFoundError:
            return True

    def _identify(self) -> tuple[int, int]:
        found = os.stat(self._database)  # noqa: PTH116  # on the path of every call
        return found.st_dev, found.st_ino

    def _lock(self) -> sqlite3.Connection:
        """Keep other processes from opening or moving the store until the result is closed.

        A lock of SQLite's works on every system, and a process that dies gives it back.
        """
        name = self.folder / "opening.lock"
        try:
            return _lock_file(str(name))
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
        name.unlink(missing_ok=True)  # garbage is as good as no lock file
        return _lock_file(str(name))

    def _move_away(self, reason: object) -> None:
        stamp = self._clock().strftime("%Y%m%dT%H%M%SZ")
        aside = f"{self._database}.damaged-{stamp}-{secrets.token_hex(3)}"
        for part in _PARTS:
            with contextlib.suppress(FileNotFoundError):
                Path(self._database + part).rename(aside + part)
        _log.warning("The KV store %s was damaged (%s); it is now %s", self.folder, reason, aside)


def _lock_file(name: str) -> sqlite3.Connection:
    _create_private(name)
    lock = sqlite3.connect(name, timeout=_OPENING_SECONDS, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except BaseException:
        lock.close()
        raise
    return lock


def _create_private(name: str) -> None:
    """Make the file readable by its owner alone before SQLite makes it by the umask.

    A file that is there is not touched: opening and closing it would drop the locks that other
    connections of this process hold (https://www.sqlite.org/howtocorrupt.html section 2.2).
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
