"""The transport below :mod:`.client`: requests' adapter, with an end to every answer.

``requests`` ends a call when nothing arrives for some seconds; a server that sends one byte a
second is never ended. Here each read waits only for what is left of the whole call's time.

This module imports ``requests`` and ``urllib3`` at once: only :mod:`.client` imports it, late.
"""

from __future__ import annotations

import http.client
import io
import logging
import socket
import time
from contextvars import ContextVar
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

__all__ = ["DEADLINE", "DeadlineAdapter"]

DEADLINE: ContextVar[float] = ContextVar("derp_auth_lite_http_deadline")
"""The moment, on ``time.monotonic``, at which the present call must have ended."""


def _is_not_ours(_: object) -> bool:
    """Drop what urllib3 says of the library's calls: at DEBUG it shows each query."""
    return DEADLINE.get(None) is None


logging.getLogger("urllib3.connectionpool").addFilter(_is_not_ours)


class _DeadlineReader(io.RawIOBase):
    """Reads a socket, and waits no longer than the read time-out and the deadline allow."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._read_timeout = sock.gettimeout()
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        wait = left if self._read_timeout is None else min(left, self._read_timeout)
        self._sock.settimeout(wait)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        deadline = DEADLINE.get(None)
        if deadline is not None:
            self.fp.close()
            self.fp = io.BufferedReader(_DeadlineReader(sock, deadline))


class _Connection(HTTPConnection):
    response_class = _DeadlineResponse


class _TLSConnection(HTTPSConnection):
    response_class = _DeadlineResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class DeadlineAdapter(HTTPAdapter):
    """requests' adapter whose answers end at :data:`DEADLINE`; safe to share between threads.

    It is used without a ``requests.Session``: an adapter keeps connections and nothing else, so no
    cookie, no proxy or ``.netrc`` of the environment and no redirect can enter a call.
    """

    def __init__(self) -> None:
        super().__init__(pool_connections=8, pool_maxsize=32, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
