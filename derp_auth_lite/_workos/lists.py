"""Lists of the service: by offset, by walking its pages, and by a cursor of ours around its own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from .._keys import KeyRing
from .._pages import page_size
from ..exceptions import AuthBackendError, InvalidCursorError
from ..models import CursorResult
from .api import WorkOS
from .errors import Table

__all__ = ["Lists"]

_MOST = 100
"""Rows that the service gives at once."""

_MAX_PAGES = 10_000
_MAC = 32
_PURPOSE = "workos cursor"

Record = TypeVar("Record")
Row = dict[str, Any]


class Lists:
    """Reads lists; *keys* sign cursors, so that one of another list, or a changed one, is none."""

    def __init__(self, api: WorkOS, keys: KeyRing) -> None:
        self._api = api
        self._keys = keys

    def all(self, path: str, *, errors: Table, order: str = "desc", **params: str) -> Iterator[Row]:
        """Go through a whole list, a hundred rows a call.

        Raises:
            AuthBackendError: It does not end, or is longer than a million rows.
        """
        after: str | None = None
        for _ in range(_MAX_PAGES):
            rows, following = self._page(path, errors, {**params, "order": order}, _MOST, after)
            yield from rows
            if following is None:
                return
            if following == after:
                break
            after = following
        raise AuthBackendError("WorkOS answered with a list that does not end")

    def some(
        self,
        path: str,
        record: Callable[[Row], Record],
        *,
        errors: Table,
        page: Mapping[str, int],
        order: str = "desc",
        keep: Callable[[Row], bool] = lambda _: True,
        **params: str,
    ) -> list[Record]:
        """Return rows by limit and offset; those before them are walked over."""
        limit, offset = page["limit"], page["offset"]
        if not limit:
            return []
        rows = filter(keep, self.all(path, errors=errors, order=order, **params))
        return [record(row) for row in islice(rows, offset, offset + limit)]

    def by_cursor(
        self,
        path: str,
        record: Callable[[Row], Record],
        *,
        errors: Table,
        name: str,
        limit: int,
        after: str | None,
        order: str = "desc",
        keep: Callable[[Row], bool] = lambda _: True,
        **params: str,
    ) -> CursorResult[Record]:
        """Return a page of at most a hundred rows.

        Args:
            name: The list's own, to which its cursors belong.
            keep: Rows that it refuses are left out, so that a page may be shorter.

        Raises:
            InvalidCursorError: *after* is no cursor of this list.
        """
        size = min(page_size(limit), _MOST)
        start = self.open(name, after)
        rows, following = self._page(path, errors, {**params, "order": order}, size, start)
        return CursorResult(
            data=[record(row) for row in rows if keep(row)],
            has_more=following is not None,
            next_cursor=None if following is None else self.seal(name, following),
        )

    def seal(self, name: str, position: str) -> str:
        """Return a cursor of the list *name*."""
        raw = position.encode()
        mac = self._keys.mac(_PURPOSE, name.encode() + b"\n" + raw)
        return base64.urlsafe_b64encode(mac + raw).decode().rstrip("=")

    def open(self, name: str, cursor: str | None) -> str | None:
        """Return the position in a cursor.

        Raises:
            InvalidCursorError: It was changed, or is another list's.
        """
        if cursor is None:
            return None
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise InvalidCursorError from None
        mac, position = raw[:_MAC], raw[_MAC:]
        if not self._keys.check(_PURPOSE, name.encode() + b"\n" + position, mac):
            raise InvalidCursorError
        return position.decode()

    def _page(
        self, path: str, errors: Table, params: Mapping[str, str], size: int, after: str | None
    ) -> tuple[list[Row], str | None]:
        query: dict[str, str | int] = {"limit": size, **params}
        if after is not None:
            query["after"] = after
        answer = self._api.get(path, errors=errors, **query)
        rows, about = answer.get("data"), answer.get("list_metadata")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise AuthBackendError("WorkOS answered with something other than a list")
        following = about.get("after") if isinstance(about, dict) else None
        return rows, following if isinstance(following, str) and following else None
