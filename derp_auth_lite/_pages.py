"""Lists by offset and by cursor: bounds, and cursors that belong to one list.

A cursor is the position (created_at, id) of the last row of a page, so that the next page costs
what the first did and an inserted row shifts nothing. It carries a MAC over the list's name, hence
a changed one, or one of another list, is told from a good one.
"""

from __future__ import annotations

import base64
import binascii
import operator
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from ._keys import KeyRing
from ._statements import from_microseconds, to_microseconds
from .exceptions import InvalidCursorError
from .models import CursorResult
from .orm import as_utc

__all__ = ["FROM_NEWEST", "FROM_OLDEST", "Cursors", "Position", "bounds", "page_size"]

MAX_PAGE = 1000
_MAX_ROWS = 2**62
_PURPOSE = "cursor"
_MAC = 32
_LAYOUT = struct.Struct(">q16s")

Position = tuple[datetime, str]
FROM_NEWEST: Position = (datetime(9999, 12, 31, tzinfo=UTC), str(uuid.UUID(int=2**128 - 1)))
FROM_OLDEST: Position = (datetime(1, 1, 1, tzinfo=UTC), str(uuid.UUID(int=0)))

Record = TypeVar("Record")
Row = TypeVar("Row", bound=tuple[Any, ...])


def bounds(limit: int | None, offset: int | None) -> dict[str, int]:
    """Return the ``limit`` and ``offset`` of a statement; no limit means all rows.

    Raises:
        TypeError: One of them is no whole number.
        ValueError: One of them is negative.
    """
    return {
        "limit": _MAX_ROWS if limit is None else min(_count("limit", limit), _MAX_ROWS),
        "offset": 0 if offset is None else min(_count("offset", offset), _MAX_ROWS),
    }


def page_size(limit: int) -> int:
    """Return how many rows a page by cursor has: *limit*, and 1,000 at the most."""
    if _count("limit", limit) == 0:
        raise ValueError("limit must be at least 1")
    return min(limit, MAX_PAGE)


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} must not be negative")
    return value


class Cursors:
    """Makes and reads the cursors of one client; *keys* sign them."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def position(self, name: str, cursor: str | None, start: Position) -> Position:
        """Return where the list *name* goes on after *cursor*, or *start* without one.

        Raises:
            InvalidCursorError: The cursor was changed or is another list's.
        """
        if cursor is None:
            return start
        payload, mac = self._split(cursor)
        known = any(
            self._keys.check(_PURPOSE, name.encode() + payload, mac, kid=kid)
            for kid in self._keys.kids
        )
        if not known:
            raise InvalidCursorError
        moment, row_id = _LAYOUT.unpack(payload)
        return from_microseconds(moment), str(uuid.UUID(bytes=row_id))

    def page(
        self,
        name: str,
        fetch: Callable[..., list[Row]],
        info: Callable[[Row], Record],
        *,
        limit: int,
        after: str | None,
        start: Position = FROM_NEWEST,
        position: Callable[[Row], tuple[Any, Any]] = operator.attrgetter("created_at", "id"),
    ) -> CursorResult[Record]:
        """Return a page of the list *name*.

        Args:
            fetch: Called with ``limit`` and ``after``, a position; one row more than the page has
                is asked for.
            info: Makes a record of a row.
            limit: How many at most on a page, and 1,000 whatever it is.
            after: The cursor of the page before.
            start: Where the first page begins.
            position: Where a row stands.

        Raises:
            InvalidCursorError: *after* is no cursor of this list.
            ValueError: *limit* is not positive.
        """
        size = page_size(limit)
        rows = fetch(limit=size + 1, after=self.position(name, after, start))
        more = len(rows) > size
        rows = rows[:size]
        cursor = self._encode(name, *position(rows[-1])) if more else None
        return CursorResult(data=[info(row) for row in rows], has_more=more, next_cursor=cursor)

    def _encode(self, name: str, moment: Any, row_id: Any) -> str:
        payload = _LAYOUT.pack(to_microseconds(as_utc(moment)), uuid.UUID(str(row_id)).bytes)
        return _text(self._keys.mac(_PURPOSE, name.encode() + payload) + payload)

    def _split(self, cursor: object) -> tuple[bytes, bytes]:
        try:
            raw = base64.urlsafe_b64decode(f"{cursor}=".encode("ascii"))
        except (UnicodeEncodeError, binascii.Error):
            raise InvalidCursorError from None
        if len(raw) != _MAC + _LAYOUT.size or _text(raw) != cursor:
            raise InvalidCursorError
        return raw[_MAC:], raw[:_MAC]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
