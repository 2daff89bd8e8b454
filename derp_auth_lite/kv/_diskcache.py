"""diskcache as it is safe to use: laid out with settings of our own, and bytes only.

diskcache 5.6.3 unpickles what it reads (CVE-2025-69872), opens and removes files that its rows
name, and believes the settings that it finds in the store. Who can write to the store's folder must
gain no more than that, so each of these is closed here.
"""

from __future__ import annotations

from typing import Any

import diskcache

from ._layout import MODE_RAW, SETTINGS, LayoutError, bytes_of

__all__ = ["BytesDisk", "lay_out"]


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache ships no types
    """Takes and gives bytes; every value lies in its row."""

    def put(self, key: bytes) -> tuple[bytes, bool]:
        """Return *key* as the table holds it."""
        return key, True

    def get(self, key: Any, raw: Any) -> bytes:
        """Return the key of a row."""
        return bytes_of(MODE_RAW if raw else None, None, key)

    def store(
        self,
        value: bytes,
        read: bool,
        key: Any = diskcache.UNKNOWN,  # noqa: ARG002  (the base's signature)
    ) -> tuple[int, int, None, bytes]:
        """Return size, mode, file name and value as the table holds them."""
        if read or not isinstance(value, bytes):
            raise TypeError("values are bytes")
        return 0, MODE_RAW, None, value

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool) -> bytes:
        """Return the value of a row, which is in no file."""
        return bytes_of(None if read else mode, filename, value)

    def remove(self, file_path: Any) -> None:
        """Remove nothing: no row has a file, and one that names a file was not written here."""


def lay_out(folder: str) -> None:
    """Make the tables and settings of a store.

    Raises:
        LayoutError: if what is there cannot be read.
    """
    # Made in two steps, so that its connection is closed where making it fails.
    cache = diskcache.Cache.__new__(diskcache.Cache)
    try:
        cache.__init__(folder, disk=BytesDisk, **SETTINGS)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise LayoutError("the settings cannot be read") from error
    finally:
        cache.close()
