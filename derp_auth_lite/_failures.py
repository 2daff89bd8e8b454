"""What a database can raise, and the typed error that leaves the library for it."""

from __future__ import annotations

import logging
import re
import sqlite3
import sys

import peewee

from .exceptions import AuthBackendError

__all__ = ["Conflict", "failures", "translated"]

_log = logging.getLogger(__name__)


class Conflict(Exception):  # an answer to a store, it never leaves the library
    """A unique key or a foreign key did not hold; stores turn it into the typed error."""


def failures() -> tuple[type[BaseException], ...]:
    """What a database and its driver can raise; Peewee wraps most of it, but no fetch."""
    drivers: tuple[type[BaseException], ...] = (sqlite3.Error, peewee.PeeweeException)
    if peewee.psycopg is not None:
        drivers += (peewee.psycopg.Error,)
    # The pool says by a ValueError that no connection came free in time.
    pool = _pool_errors()
    return drivers + pool + (OSError,)


def _drivers(name: str) -> tuple[type[BaseException], ...]:
    """Return the error of that name (PEP 249) of Peewee and of each driver that is there."""
    modules = filter(None, (peewee, sqlite3, peewee.psycopg))
    return tuple(getattr(module, name) for module in modules)


def _pool_errors() -> tuple[type[BaseException], ...]:
    module = sys.modules.get("playhouse.pool")
    return (module.MaxConnectionsExceeded,) if module is not None else ()


_REFUSED = "The database server refuses the user or the password"
_NO_TABLES = "The database lacks a table: connect() makes those of derp_auth_lite"
# Of a server's, where it speaks English; another language is the last sentence below.
_REASONS = (
    ("(password|peer|ident) authentication failed|role .* does not exist", _REFUSED),
    ("database .* does not exist", "The database server has no such database"),
    ("relation .* does not exist", _NO_TABLES),
    (
        "connection refused|could not translate host name|failed to resolve host|no such file",
        "The database server cannot be reached: does it run, and are host and port right?",
    ),
    ("too many clients|connection slots", "The database server takes no more connections"),
    ("unable to open database file", "The database file cannot be opened: check path and rights"),
    ("readonly", "The database is read-only: check the rights of the file and of its folder"),
    ("disk is full", "The disk is full"),
    ("disk i/o error", "The disk failed while the database was read or written"),
    ("not a database", "The file is not a SQLite database"),
    ("malformed", "The database file is damaged"),
    ("locked", "The database is busy: another program holds its lock"),
    ("busy", "The database is busy: another program holds its lock"),
    ("no such table", _NO_TABLES),
)


def translated(error: BaseException) -> Exception:
    """Return the typed error for what the database raised."""
    if isinstance(error, _drivers("IntegrityError")):
        return Conflict(str(error))
    text = " ".join(str(error).lower().split())
    # Data errors may quote a value that a user typed; those of the connection quote none.
    quiet = isinstance(error, _drivers("DataError") + _drivers("ProgrammingError"))
    _log.error("database failed: %s%s", type(error).__name__, "" if quiet else f": {text}")
    for sign, message in _REASONS:
        if re.search(sign, text):
            return AuthBackendError(message)
    return AuthBackendError("The database is not available")
