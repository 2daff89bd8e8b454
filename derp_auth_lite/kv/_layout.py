"""What is in a store's file: settings, and rows of bytes. Reading it needs no diskcache.

diskcache takes some milliseconds to import, so that it is only loaded to make a file, or to set one
right that is not as it should be.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

from ..exceptions import AuthBackendError

__all__ = ["MODE_RAW", "SETTINGS", "LayoutError", "bytes_of", "is_laid_out"]

MODE_RAW = 1
"""diskcache's word for a value that is as it lies in its row."""

_LARGEST = 2**62

SETTINGS: dict[str, int | str] = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "size_limit": _LARGEST,
    "cull_limit": 0,
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 2**13,  # pages
    "sqlite_journal_mode": "wal",
    # A mapped file that is cut short kills the process (SIGBUS) instead of raising.
    "sqlite_mmap_size": 0,
    # NORMAL: a power cut may take the last commits back and never harms the file. Nothing here is
    # trusted alone, so what it takes back is a pending link or a count of attempts.
    "sqlite_synchronous": 1,
    "disk_min_file_size": _LARGEST,
    "disk_pickle_protocol": 0,
}
_COUNTERS = {"count", "size", "hits", "misses"}
_MADE_LAST = "Settings_size_delete"


class LayoutError(Exception):
    """The file is a database, but none that this library laid out."""


def is_laid_out(database: str) -> bool:
    """Tell whether a file has the tables and settings that it should have.

    Raises:
        LayoutError: if the database is another program's, or was tampered with.
    """
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        found = dict(connection.execute("SELECT key, value FROM Settings")) if names else {}
    # diskcache would run each unknown setting as a pragma or set it as an attribute.
    if set(found) - set(SETTINGS) - _COUNTERS:
        raise LayoutError("unknown settings")
    return _MADE_LAST in names and SETTINGS.items() <= found.items()


def bytes_of(mode: Any, filename: Any, value: Any) -> bytes:
    """Return the value of a row.

    Raises:
        AuthBackendError: if the row is pickled, names a file, or holds no bytes. Such a row was not
            written by this library; nothing of it is interpreted.
    """
    if mode != MODE_RAW or filename is not None or not isinstance(value, bytes):
        raise AuthBackendError("The KV store holds a row that this library did not write")
    return value
