"""PostgreSQL as the library opens it: psycopg 3 behind Peewee's pool."""

from __future__ import annotations

import select
import threading
from typing import Any

import peewee
from playhouse.pool import PooledPostgresqlDatabase

from .exceptions import ConfigError

__all__ = ["Postgres", "is_lost"]

_CONNECT_SECONDS = 10
_POOL_SECONDS = 30.0


class Postgres(PooledPostgresqlDatabase):  # type: ignore[misc]  # Peewee is not typed
    """A pool of connections to the server that *url* names.

    Args:
        url: ``postgresql://user:password@host:port/name?options`` in libpq's form.
        pool_size: Connections that one process opens at the most.
    """

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        if peewee.psycopg is None:
            raise ConfigError(
                "PostgreSQL needs the driver psycopg 3: pip install 'derp_auth_lite[postgres]'"
            )
        super().__init__(
            url.replace("postgres://", "postgresql://", 1),
            max_connections=pool_size,
            timeout=_POOL_SECONDS,
            prefer_psycopg3=True,
            connect_timeout=_CONNECT_SECONDS,
        )

    def _is_closed(self, conn: Any) -> bool:
        """Tell at check-out whether the server hung up meanwhile.

        An idle connection has nothing to read; one that has was closed by the server or got a
        notice of its end. Asking the socket costs microseconds where Peewee's ``SELECT 1`` costs a
        round trip.
        """
        usable = (
            not conn.closed
            and self._adapter.txn_status(conn) == self._adapter.txn_idle
            and not _readable(conn.fileno())
        )
        if not usable:
            self._close_raw(conn)  # the pool just drops it
        return not usable

    def rows(self, sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
        """Run a statement and return all its rows; raises the driver's errors."""
        self._log_query(sql, parameters)
        cursor = self.connection().execute(sql, parameters)
        rows: list[tuple[Any, ...]] = [] if cursor.description is None else cursor.fetchall()
        return rows

    def _log_query(self, sql: str, _params: Any) -> None:
        """Keep what people typed, and their hashes, out of the log."""
        super()._log_query(sql, None)

    def abandon(self) -> list[Any]:
        """Forget, in a forked child, all that belongs to the parent; return it unclosed."""
        inherited: list[Any] = [entry[2] for entry in self._connections]
        inherited += [entry.connection for entry in self._in_use.values()]
        self._lock = threading.Lock()
        self._pool_lock = threading.RLock()
        self._pool_available = threading.Condition(self._pool_lock)
        self._connections: list[Any] = []
        self._in_use: dict[int, Any] = {}
        self._state.reset()
        return inherited


def _readable(descriptor: int) -> bool:
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(0))
    return bool(select.select([descriptor], [], [], 0)[0])


def is_lost(database: peewee.Database) -> bool:
    """Tell whether this thread's connection to the server is gone."""
    connection = database._state.conn
    if connection is None:
        return True
    if getattr(connection, "broken", False):
        return True
    return bool(getattr(connection, "closed", False))
