"""PostgreSQL as the library opens it: psycopg 3 behind Peewee's pool.

A server may stand behind a pooler that gives each transaction another of its connections (PgBouncer
in transaction mode, for one). Nothing may then outlive a transaction: no prepared statement, no
setting of a session. So each connection is asked who answers at its other end.
"""

from __future__ import annotations

import json
import select
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

import peewee
from playhouse.pool import PooledPostgresqlDatabase

from ._begin import SPARES
from ._failures import failures
from .exceptions import ConfigError

if TYPE_CHECKING:
    from ._pipeline import Pipeline  # the driver is an extra

__all__ = ["Postgres", "is_lost", "lift_limits"]

_LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout")
# A machine that went without a word is given up after half a minute or so, not after hours.
_LIBPQ_DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


@dataclass(frozen=True)
class _Options:
    """What a URL says to the library, beside what libpq reads."""

    pool_size: int = 20
    pool_timeout: float = 30.0
    statement_timeout: float = 30.0

    @classmethod
    def taken_from(cls, url: str, **defaults: Any) -> tuple[str, Self]:
        """Return the URL that is left for libpq, and the options.

        Raises:
            ConfigError: An option is no number, or out of range.
        """
        place, _, query = url.replace("postgres://", "postgresql://", 1).partition("?")
        own, left = dict(defaults), []
        for pair in filter(None, query.split("&")):
            name, _, value = pair.partition("=")
            if name in cls.__dataclass_fields__:
                own[name] = _number(name, unquote(value))
            else:
                left.append(pair)
        own["pool_size"] = int(own.get("pool_size", cls.pool_size))
        if own["pool_size"] < 1:
            raise ConfigError("pool_size in the database's URL must be at least 1")
        return "?".join([place, "&".join(left)] if left else [place]), cls(**own)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1_000_000:
        raise ConfigError(f"{name} in the database's URL must be a number, not negative")
    return number


class _Adapter(peewee.Psycopg3Adapter):  # type: ignore[misc]  # Peewee is not typed
    """Opens connections by what stands at their other end."""

    def connect(self, db: Postgres, **params: Any) -> Any:
        from ._pipeline import Pipeline

        connection = super().connect(db, **params)
        try:
            connection.autocommit = True
            connection.prepare_threshold = None
            db.behind_pooler = _is_pooler(connection)
            if not db.behind_pooler:
                # Times that come in UTC need not be moved there.
                settings = ["TimeZone = 'UTC'", *db.limits]
                connection.execute("; ".join(f"SET {each}" for each in settings))
            _read_cheaply(connection)
            connection.own_pipeline = Pipeline(connection, prepares=not db.behind_pooler)
        except BaseException:
            connection.close()
            raise
        return connection


def _read_cheaply(connection: Any) -> None:
    """Have ids read as text, as records hold them, and an empty JSON object without a parser."""
    from psycopg.types.json import set_json_loads
    from psycopg.types.string import TextLoader

    connection.adapters.register_loader("uuid", TextLoader)
    set_json_loads(_json_of, connection)


def _json_of(text: str | bytes) -> Any:
    return {} if text == b"{}" else json.loads(text)


def _is_pooler(connection: Any) -> bool:
    """Tell whether a pooler answers: it says a process number at the start that is no server's."""
    (answering,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    return bool(answering != connection.info.backend_pid)


class Postgres(PooledPostgresqlDatabase):  # type: ignore[misc]  # Peewee is not typed
    """A pool of connections to the server that *url* names.

    A statement is given up after ``statement_timeout`` seconds, and a transaction whose process
    hangs in the middle of it after as long, so that no lock is waited for for ever. On a connection
    of our own the session is told so, at no cost; behind a pooler each transaction is, in the
    message that begins it.

    Args:
        url: ``postgresql://user:password@host:port/name?options`` in libpq's form. Besides libpq's
            own, these options are known: ``pool_size``, ``pool_timeout`` (seconds to wait for a
            free connection) and ``statement_timeout`` (seconds; 0 leaves it to the server).
        pool_size: Connections that one process opens at the most, where the URL does not say.

    Raises:
        ConfigError: psycopg 3 is not installed or stands on an old libpq, or an option cannot be
            used.
    """

    psycopg3_adapter = _Adapter

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        if peewee.psycopg is None:
            raise ConfigError(
                'PostgreSQL needs the driver psycopg 3: pip install "derp_auth_lite[postgres]"'
            )
        if not peewee.psycopg.Pipeline.is_supported():
            raise ConfigError("psycopg needs libpq 14 or newer, as psycopg[binary] brings it")
        location, options = _Options.taken_from(url, pool_size=pool_size)
        _require_readable(location)
        milliseconds = int(options.statement_timeout * 1000)
        self.limits = [f"{name} = {milliseconds}" for name in _LIMITS] if milliseconds else []
        self.behind_pooler = False
        super().__init__(
            location,
            max_connections=options.pool_size,
            # Peewee takes 0 for ever.
            timeout=max(options.pool_timeout, 0.001),
            prefer_psycopg3=True,
            **_defaults_beside(location),
        )

    def _is_closed(self, conn: Any) -> bool:
        """Tell at check-out whether the server hung up meanwhile.

        An idle connection has nothing to read; one that has was closed by the server or got a
        notice of its end. Asking the socket costs microseconds where Peewee's ``SELECT 1`` costs a
        round trip.
        """
        conn.own_pipeline.kept.clear()  # of a call that was cut off
        usable = (
            not conn.closed
            and self._adapter.txn_status(conn) == self._adapter.txn_idle
            and not _readable(conn.fileno())
        )
        if not usable:
            self._close_raw(conn)  # the pool just drops it
        return not usable

    def begin(self, isolation_level: Any = None) -> None:
        """Begin a transaction with the next message, with limits of its own behind a pooler.

        One with an isolation level is the library's export, which has no limits.
        """
        if isolation_level:
            super().begin(isolation_level)
            return
        self._pipeline.keep("BEGIN")
        if self.behind_pooler:
            for limit in self.limits:
                self._pipeline.keep(f"SET LOCAL {limit}")

    def commit(self) -> None:
        """Commit, and with it do what was kept."""
        if self._pipeline.begins:
            self._send()  # what is lost before the commit is sent may be sent again
        self._pipeline.run("COMMIT")

    def rollback(self) -> None:
        """Roll back, and drop what was kept."""
        if is_lost(self):
            return
        begun = not self._pipeline.begins
        self._pipeline.kept.clear()
        if begun:
            self._pipeline.run("ROLLBACK")

    def cursor(self, named_cursor: Any = None) -> Any:
        """Return a cursor for what Peewee does by itself, such as a savepoint."""
        if self._pipeline.kept:
            self._send()
        return super().cursor(named_cursor)

    def keep(self, sql: str, parameters: list[Any]) -> None:
        """Run a statement that nobody waits for: with the next one, or with the commit."""
        self._log_query(sql, parameters)
        self._pipeline.keep(sql, parameters)

    def rows(
        self,
        sql: str,
        parameters: list[Any],
        *,
        remember: bool = False,  # noqa: ARG002  (means something to SQLite only)
    ) -> list[tuple[Any, ...]]:
        """Run a statement and return all its rows; raises the driver's errors.

        A server is asked each time, whatever *remember* says.
        """
        self.keep(sql, parameters)
        return self._send()

    @property
    def _pipeline(self) -> Pipeline:
        pipeline: Pipeline = self.connection().own_pipeline
        return pipeline

    def _send(self) -> list[tuple[Any, ...]]:
        """Send what was kept and return the rows of the last.

        The server may have hung up between check-out and the first message of a transaction: then
        nothing was done, and the message is sent over another connection.
        """
        for _ in range(SPARES if self._pipeline.begins else 0):
            kept = self._pipeline.kept
            try:
                return self._pipeline.flush()
            except failures():
                if not is_lost(self):
                    raise
            with self._pool_lock:  # nobody else takes the place that comes free
                self._close(self._state.conn, close_conn=True)
                self._state.conn = self._connect()
            self._pipeline.kept = kept
        return self._pipeline.flush()

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


def _require_readable(url: str) -> None:
    """Refuse a URL that libpq cannot read, without libpq's words: they repeat the password.

    Raises:
        ConfigError: A character of the password is not percent-encoded, or an option is unknown.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(url)
    except (ProgrammingError, ValueError):
        raise ConfigError(
            "The database's URL cannot be read: in user and password, all but letters and digits "
            "is percent-encoded, and its options are libpq's"
        ) from None


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


def lift_limits(database: peewee.Database) -> None:
    """Give the transaction at hand no limit, whatever its session has."""
    for limit in _LIMITS:
        database.execute_sql(f"SET LOCAL {limit} = 0")


def _defaults_beside(url: str) -> dict[str, int]:
    """Return what libpq is told beside what *url* says itself."""
    return {name: value for name, value in _LIBPQ_DEFAULTS.items() if f"{name}=" not in url}
