"""The database of a client: SQLite or PostgreSQL, one engine in front of both.

Stores name the engine in every call and hand it :class:`~derp_auth_lite._statements.Statement`
objects; nothing is bound to a database for the whole process, so that two clients on two databases
in many threads never meet.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from threading import get_ident
from types import TracebackType
from typing import Any

import peewee

from ._begin import SPARES, begin, undo_begin
from ._clock import Clock, utc_now
from ._databases import dialect_of, is_lost_when_closed, open_database
from ._failures import Conflict, failures, translated
from ._fields import JSONField, UTCDateTimeField, as_utc
from ._sqlite import is_busy, patiently
from ._statements import POSTGRESQL, SQLITE, Statement
from .exceptions import AuthNotConnectedError

__all__ = ["Conflict", "DatabaseEngine", "JSONField", "UTCDateTimeField", "as_utc"]

_log = logging.getLogger(__name__)

_PATIENCE = 5.0


class DatabaseEngine:
    """Runs statements and transactions on one database.

    Args:
        database: A path or ``":memory:"`` (SQLite), a URL ``postgresql://…`` or ``sqlite:///path``,
            or a ``peewee.Database`` of the application. On the last, work that happens inside the
            application's own ``atomic()`` block commits or rolls back with it.
        clock: Where time comes from.
        pool_size: PostgreSQL connections of this process at the most.
    """

    def __init__(
        self,
        database: str | Path | peewee.Database,
        *,
        clock: Clock = utc_now,
        pool_size: int = 20,
    ) -> None:
        self.clock = clock
        self.owned = not isinstance(database, peewee.Database)
        # Peewee is not typed.
        self.database: Any = open_database(database, pool_size) if self.owned else database
        self.dialect = dialect_of(self.database)
        self._stays_open = self.dialect == SQLITE and (
            self.owned or is_lost_when_closed(self.database)
        )
        self._local = threading.local()
        self._connected = False
        self._busy: set[int] = set()
        self._inherited: list[Any] = []
        if self.owned:
            _engines.add(self)

    def __repr__(self) -> str:
        return f"<DatabaseEngine {self.dialect}>"

    @property
    def now(self) -> datetime:
        """The present moment by the engine's clock."""
        return self.clock()

    def connect(self) -> None:
        """Open the database.

        Raises:
            AuthBackendError: It cannot be opened.
        """
        with self.connection():
            self._connected = True

    def disconnect(self) -> None:
        """Close the connections that the engine opened; the application's own stay as they are.

        Calls of other threads are let finish first: to close a connection of SQLite in the middle
        of a call crashes the interpreter. One that takes longer than five seconds keeps all open.
        """
        self._connected = False
        if not self.owned:
            return
        with self._translated():
            if self._others_are_done():
                self.database.close_all()
            else:
                _log.warning("the database stays open: another thread is still working on it")
                self.database.close()

    def fetch(self, statement: Statement, /, **values: Any) -> list[tuple[Any, ...]]:
        """Run *statement* and return all its rows.

        Raises:
            Conflict: A unique or a foreign key did not hold.
            AuthBackendError: The database failed.
        """
        return self._fetch(statement, values)

    def fetch_one(self, statement: Statement, /, **values: Any) -> tuple[Any, ...] | None:
        """Run *statement* and return its first row, or ``None``."""
        rows = self._fetch(statement, values)
        return rows[0] if rows else None

    def execute(self, statement: Statement, /, **values: Any) -> int:
        """Run *statement*, which returns its rows, and tell how many it touched."""
        return len(self._fetch(statement, values))

    def send(self, statement: Statement, /, **values: Any) -> None:
        """Run *statement*, whose rows nobody waits for.

        In a transaction on PostgreSQL it is sent with the next statement that is waited for, or
        with the commit, which then raises its errors; else it runs at once.

        Raises:
            Conflict: A unique or a foreign key did not hold, where it ran at once.
            AuthBackendError: The database failed.
        """
        if self.owned and self.dialect == POSTGRESQL and getattr(self._local, "inside", False):
            with self._translated():
                self.database.keep(*statement.bind(self.database, self.dialect, values))
        else:
            self._fetch(statement, values)

    def _fetch(self, statement: Statement, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        begun = self._begin_work()
        try:
            sql, parameters = statement.bind(self.database, self.dialect, values)
            if self._stays_open or not self.database.is_closed():
                return self._run(sql, parameters, remember=statement.remembered)
            return self._run_alone(sql, parameters, statement.repeatable)
        except failures() as error:
            if self.dialect == SQLITE and is_busy(error) and not self.database.transaction_depth():
                return self._run_patiently(sql, parameters)
            raise translated(error) from error
        finally:
            if begun:
                self._busy.discard(get_ident())

    def transaction(self, *, own: bool = False) -> contextlib.AbstractContextManager[None]:
        """Do the block's work as one: all of it is kept, or nothing.

        A block inside another joins it. On SQLite the write lock is taken at once, so that what
        was read still holds when it is written.

        Args:
            own: Refuse to run inside a transaction of the application, whose later roll-back would
                undo a revocation.

        Raises:
            RuntimeError: *own* was asked for inside the application's transaction.
            Conflict: A unique or a foreign key did not hold.
            AuthBackendError: The database failed.
        """
        if not self._connected:
            raise AuthNotConnectedError
        if getattr(self._local, "inside", False):
            return _JOINED
        if own:
            self.refuse_foreign_transaction()
        return _Transaction(self)

    def _begin_work(self) -> bool:
        """Note that this thread is in a call; ``False`` where it is already.

        Raises:
            AuthNotConnectedError: The engine is not connected, or being disconnected.
        """
        thread = get_ident()
        if thread in self._busy:
            return False
        self._busy.add(thread)
        # Asked after the note is made, so that a disconnect misses no call.
        if not self._connected:
            self._busy.discard(thread)
            raise AuthNotConnectedError
        return True

    def _others_are_done(self) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while self._busy - {get_ident()}:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo the block alone when it fails, inside a transaction that goes on."""
        with self.transaction(), self._translated(), self.database.atomic():
            yield

    @contextlib.contextmanager
    def connection(self) -> Iterator[None]:
        """Hold one connection for all that the block does."""
        with self._translated(), self._connection():
            yield

    def refuse_foreign_transaction(self) -> None:
        """Raise ``RuntimeError`` inside a transaction of the application."""
        if self.in_foreign_transaction:
            raise RuntimeError(
                "this call revokes or redeems something and must not run inside the application's "
                "own transaction, whose roll-back would undo it"
            )

    @property
    def in_foreign_transaction(self) -> bool:
        """Whether this thread is inside a transaction that the application began."""
        return not getattr(self._local, "inside", False) and bool(
            not self.database.is_closed() and self.database.transaction_depth()
        )

    def lift_limits(self) -> None:
        """Let the transaction at hand take as long as it takes; SQLite limits none.

        For what waits for a person or another machine, and reads or writes whole tables.
        """
        if self.dialect == POSTGRESQL:
            from ._postgres import lift_limits

            lift_limits(self.database)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run *action* once the transaction at hand is committed; at once where there is none."""
        if self.database.is_closed() or not self.database.transaction_depth():
            action()
        else:
            self.database.after_commit(action)

    def _run(
        self, sql: str, parameters: list[Any], *, remember: bool = False
    ) -> list[tuple[Any, ...]]:
        if self.owned:
            rows: list[tuple[Any, ...]] = self.database.rows(sql, parameters, remember=remember)
            return rows
        cursor = self.database.execute_sql(sql, parameters)
        # An unfinished RETURNING would keep SQLite's write lock, so rows are always taken at once.
        return cursor.fetchall() if cursor.description is not None else []

    def _run_patiently(self, sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
        """Run a statement that found SQLite locked, and so did nothing yet, until it is not."""
        with self.connection():
            return patiently(lambda: self._run(sql, parameters))

    def _run_alone(
        self, sql: str, parameters: list[Any], repeatable: bool
    ) -> list[tuple[Any, ...]]:
        """Run a statement on a connection that is taken and given back for it."""
        for _ in range(SPARES if repeatable and self.dialect == POSTGRESQL else 0):
            with self._connection():
                try:
                    return self._run(sql, parameters)
                except failures():
                    if not self._lost():
                        raise
        with self._connection():
            return self._run(sql, parameters)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[None]:
        """Hold a connection for the outermost operation.

        PostgreSQL's go back to the pool at its end, so that a thread that dies keeps none. Those of
        a SQLite file stay open in their thread, where opening costs more than most statements; but
        an application opens and closes its own.
        """
        if not self.database.is_closed():
            yield
            return
        self.database.connect()
        try:
            yield
        finally:
            if not self._stays_open:
                self.database.close()

    def _lost(self) -> bool:
        from ._postgres import is_lost

        return is_lost(self.database)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except failures() as error:
            raise translated(error) from error

    def _before_fork(self) -> None:
        """Close a SQLite file's connections: a child inherits none.

        SQLite counts a file's locks for each process. With a copy of that count a child believes to
        hold what it does not, and a parent that closes takes the child's log away.
        """
        is_file = self.dialect == SQLITE and not self.database.in_memory
        if is_file and get_ident() not in self._busy and self._others_are_done():
            self.database.close_connections()

    def _after_fork_in_child(self) -> None:
        # Closing an inherited connection would break the parent's, so it is only kept.
        self._inherited += self.database.abandon()
        self._local = threading.local()
        self._busy = set()


_JOINED: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


class _Transaction(contextlib.AbstractContextManager[None]):
    """The outermost transaction of a thread, on a connection that it holds for so long."""

    __slots__ = ("_atomic", "_connection", "_engine")

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        engine = self._engine
        engine._begin_work()
        try:
            self._connection = engine._connection()
            self._connection.__enter__()
            try:
                self._atomic = begin(engine.database, engine.dialect)
            except BaseException:
                undo_begin(engine.database, engine.dialect)
                self._connection.__exit__(None, None, None)
                raise
        except BaseException as error:
            engine._busy.discard(get_ident())
            if isinstance(error, failures()):
                raise translated(error) from error
            raise
        engine._local.inside = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine._local.inside = False
        try:
            try:
                self._atomic.__exit__(kind, error, trace)
            finally:
                self._connection.__exit__(None, None, None)
        except failures() as failure:
            # A connection that died cannot roll back either; what was first wrong is what counts.
            if error is None:
                raise translated(failure) from failure
            _log.warning("roll-back failed: %s", type(failure).__name__)
        finally:
            self._engine._busy.discard(get_ident())


_engines: weakref.WeakSet[DatabaseEngine] = weakref.WeakSet()


def _before_fork() -> None:
    for engine in list(_engines):
        engine._before_fork()


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        engine._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
