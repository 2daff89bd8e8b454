"""diskcache as it is safe to use: laid out with settings of our own, and bytes only.

diskcache 5.6.3 unpickles what it reads (CVE-2025-69872), opens and removes files that its rows
name, and believes the settings that it finds in the store. Who can write to the store's folder must
gain no more than that, so each of these is closed here.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import diskcache

from ..exceptions import AuthBackendError

__all__ = ["BytesDisk", "LayoutError", "lay_out"]

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


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache ships no types
    """Takes and gives bytes; every value lies in its row."""

    def put(self, key: bytes) -> tuple[bytes, bool]:
        """Return *key* as the table holds it."""
        return key, True

    def get(self, key: Any, raw: Any) -> bytes:
        """Return the key of a row."""
        return self.fetch(diskcache.core.MODE_RAW if raw else None, None, key, read=False)

    def store(
        self,
        value: bytes,
        read: bool,
        key: Any = diskcache.UNKNOWN,  # noqa: ARG002  (the base's signature)
    ) -> tuple[int, int, None, bytes]:
        """Return size, mode, file name and value as the table holds them."""
        if read or not isinstance(value, bytes):
            raise TypeError("values are bytes")
        return 0, diskcache.core.MODE_RAW, None, value

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool) -> bytes:
        """Return the value of a row.

        Raises:
            AuthBackendError: if the row is pickled, names a file, or holds no bytes. Such a row was
                not written by this library; nothing of it is interpreted.
        """
        if (
            read
            or mode != diskcache.core.MODE_RAW
            or filename is not None
            or not isinstance(value, bytes)
        ):
            raise AuthBackendError("The KV store holds a row that this library did not write")
        return value

    def remove(self, file_path: Any) -> None:
        """Remove nothing: no row has a file, and one that names a file was not written here."""


def lay_out(folder: str, database: str) -> None:
    """Make the tables and settings of a store, unless they are there as they should be.

    Raises:
        LayoutError: if the database is another program's, or was tampered with.
    """
    con = sqlite3.connect(database, isolation_level=None)
    try:
        names = {name for (name,) in con.execute("SELECT name FROM sqlite_master")}
        found = dict(con.execute("SELECT key, value FROM Settings")) if names else {}
    finally:
        con.close()
    # diskcache would run each unknown setting as a pragma or set it as an attribute.
    if set(found) - set(SETTINGS) - _COUNTERS:
        raise LayoutError("unknown settings")
    if _MADE_LAST in names and SETTINGS.items() <= found.items():
        return
    # Made in two steps, so that its connection is closed where making it fails.
    cache = diskcache.Cache.__new__(diskcache.Cache)
    try:
        cache.__init__(folder, disk=BytesDisk, **SETTINGS)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise LayoutError("the settings cannot be read") from error
    finally:
        cache.close()
