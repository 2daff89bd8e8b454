"""How a transaction begins: on SQLite with patience, on PostgreSQL with its first statement."""

from __future__ import annotations

from typing import Any

from ._sqlite import patiently
from ._statements import SQLITE

__all__ = ["SPARES", "begin", "undo_begin"]

SPARES = 3
"""Connections that may have died before anything was done: a server cuts several of a pool."""


def begin(database: Any, dialect: str) -> Any:
    """Enter Peewee's transaction, or a savepoint inside the application's; return what to leave."""

    def enter() -> Any:
        atomic = (
            database.atomic("IMMEDIATE")
            if dialect == SQLITE and not database.transaction_depth()
            else database.atomic()
        )
        atomic.__enter__()
        return atomic

    return patiently(enter) if dialect == SQLITE else enter()


def undo_begin(database: Any, dialect: str) -> None:
    """Leave no transaction open whose beginning was cut off, by Ctrl-C say.

    SQLite's connection stays in its thread: all that came later would be part of it, and lost.
    """
    if dialect == SQLITE and not database.transaction_depth():
        connection = database.connection()
        if connection.in_transaction:
            connection.rollback()
