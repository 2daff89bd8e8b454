"""Bringing a database to the schema of this version, also when many processes start at once.

Peewee's runner records each script in ``auth_migrations`` but takes no lock: of 160 starts of eight
processes together 128 failed on SQLite. So the whole upgrade runs under one lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import peewee

from .._sqlite import patiently
from ..exceptions import SchemaTooNewError
from ..orm import DatabaseEngine

__all__ = ["migrate", "pending"]

_TABLE = "auth_migrations"
_FOLDER = Path(__file__).parent
_LOCK = 0x64657270  # one number for all versions, so that they wait for each other


def migrate(engine: DatabaseEngine) -> None:
    """Bring the engine's database to the newest schema; does nothing when it is there.

    Raises:
        SchemaTooNewError: A newer version of the library has been here.
        AuthBackendError: The database failed.
    """
    known = _known()
    with engine.connection():
        if _applied(engine.database) == known:
            return
        with _upgrade_lock(engine):
            unknown = set(_applied(engine.database)) - set(known)
            if unknown:
                raise SchemaTooNewError
            # Peewee's runner loads its schema tools, which an up-to-date database never needs.
            from playhouse.migrations import Runner

            Runner(engine.database, str(_FOLDER), table_name=_TABLE).up()


def pending(engine: DatabaseEngine) -> list[str]:
    """Return the names of the scripts that the engine's database has yet to see.

    Raises:
        AuthBackendError: The database failed.
    """
    with engine.connection():
        return sorted(set(_known()) - set(_applied(engine.database)))


def _known() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("[0-9]*.py"))


def _applied(database: peewee.Database) -> list[str]:
    # Another process may be switching the new file to WAL at this moment.
    return patiently(lambda: _read_applied(database))


def _read_applied(database: peewee.Database) -> list[str]:
    if not database.table_exists(_TABLE):
        return []
    query = f'SELECT name FROM "{_TABLE}" ORDER BY name'  # noqa: S608  a constant of this file
    rows = database.execute_sql(query).fetchall()
    return [name for (name,) in rows]


@contextlib.contextmanager
def _upgrade_lock(engine: DatabaseEngine) -> Iterator[None]:
    """Hold one transaction that keeps every other process from upgrading."""
    database = engine.database
    if isinstance(database, peewee.SqliteDatabase):
        # SQLite ignores the switch inside a transaction, and a rebuilt table would cascade.
        enforced = database.pragma("foreign_keys")
        database.pragma("foreign_keys", 0)
        try:
            with engine.transaction():
                yield
        finally:
            database.pragma("foreign_keys", enforced)
    else:
        with engine.transaction():
            # Neither another's upgrade nor an index of a large table keeps to a statement's limit.
            engine.lift_limits()
            database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            yield
