"""Which database a path, a URL or a Peewee object stands for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import peewee

from ._sqlite import SQLite
from ._statements import POSTGRESQL, SQLITE
from .exceptions import ConfigError

__all__ = ["dialect_of", "is_lost_when_closed", "open_database"]


def open_database(database: str | Path, pool_size: int) -> peewee.Database:
    """Return the database that a path or a URL names; nothing is opened yet.

    Raises:
        ConfigError: The URL is of another kind, or the driver is missing.
    """
    text = os.fspath(database)
    if text.startswith(("postgres://", "postgresql://")):
        from ._postgres import Postgres  # the driver is an extra and costs 100 ms

        return Postgres(text, pool_size=pool_size)
    if text.startswith("sqlite:///"):
        text = text.removeprefix("sqlite:///") or ":memory:"
    elif "://" in text:
        raise ConfigError(
            f"database URLs begin with sqlite:/// or postgresql://, not {text.split('://')[0]!r}"
        )
    return SQLite(text)


def is_lost_when_closed(database: Any) -> bool:
    """Tell whether a SQLite database of the application lives in its connection alone."""
    return str(database.database) in ("", ":memory:") or "mode=memory" in str(database.database)


def dialect_of(database: peewee.Database) -> str:
    """Return the name of the database's dialect.

    Raises:
        ConfigError: It is neither SQLite nor PostgreSQL.
    """
    if isinstance(database, peewee.SqliteDatabase):
        return SQLITE
    if isinstance(database, peewee.PostgresqlDatabase):
        return POSTGRESQL
    raise ConfigError(
        f"{type(database).__name__} is not supported: use SqliteDatabase or PostgresqlDatabase"
    )
