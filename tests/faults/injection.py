"""Makes the n-th call to database, KV store or mail fail, whatever code makes it.

Calls are counted, not named: new code is covered by running it. Each call has two points, before it
is made and after it was, when only the answer is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import peewee

from derp_auth_lite.exceptions import AuthBackendError, EmailSendError
from derp_auth_lite.kv.base import KVClient
from derp_auth_lite.native_client import NativeAuthClient

DATABASE = ("execute_sql", "rows", "begin", "commit")
KV = sorted(KVClient.__abstractmethods__ - {"connect", "disconnect"})


class Faults:
    """Counts the points that a client passes, and fails at one of them."""

    def __init__(self, client: NativeAuthClient) -> None:
        self._client = client
        self._clear()

    def _clear(self) -> None:
        self._fail_at: int | None = None
        self._for_good = False
        self.passed = 0
        self.failed = 0

    @contextlib.contextmanager
    def at(self, point: int | None, *, for_good: bool = False) -> Iterator[None]:
        """Fail at *point* (0 is the first), once or from there on; without one only count."""
        self._clear()
        self._fail_at, self._for_good = point, for_good
        with contextlib.ExitStack() as stack:
            for target, names, error in self._targets():
                for name in names:
                    stack.enter_context(self._wrapped(target, name, error))
            yield

    def _targets(self) -> list[tuple[Any, Any, Callable[[], Exception]]]:
        client = self._client
        return [
            (client._db.database, DATABASE, lambda: peewee.OperationalError("injected fault")),
            (client._kv_client, KV, AuthBackendError),
            (client._email_client._transport, ("send",), lambda: EmailSendError("injected")),
        ]

    @contextlib.contextmanager
    def _wrapped(self, target: Any, name: str, error: Callable[[], Exception]) -> Iterator[None]:
        real = getattr(target, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            self._point(error)
            result = real(*arguments, **keywords)
            self._point(error)
            return result

        setattr(target, name, call)
        try:
            yield
        finally:
            delattr(target, name)

    def _point(self, error: Callable[[], Exception]) -> None:
        number, self.passed = self.passed, self.passed + 1
        if self._fail_at is None or number < self._fail_at:
            return
        if number == self._fail_at or self._for_good:
            self.failed += 1
            raise error()
