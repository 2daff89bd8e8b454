"""How a transaction begins: on SQLite with patience, on PostgreSQL on a connection that lives."""

from __future__ import annotations

from typing import Any

from ._failures import failures
from ._sqlite import patiently
from ._statements import SQLITE

__all__ = ["SPARES", "begin", "undo_begin"]

SPARES = 3
"""Connections that may have died before anything was done: a server cuts several of a pool."""


def begin(database: Any, dialect: str, *, owned: bool) -> Any:
    """Enter Peewee's transaction, or a savepoint inside the application's; return what to leave.

    Args:
        owned: The connection is ours, so that another may take its place.
    """

    def enter() -> Any:
        atomic = (
            database.atomic("IMMEDIATE")
            if dialect == SQLITE and not database.transaction_depth()
            else database.atomic()
        )
        atomic.__enter__()
        return atomic

    if dialect == SQLITE:
        return patiently(enter)
    from ._postgres import is_lost  # the driver is an extra

    for _ in range(SPARES if owned else 0):
        try:
            return enter()
        except failures():
            if not is_lost(database):
                raise
        # The server hung up between check-out and BEGIN: nothing was done, so begin elsewhere.
        database.close()
        database.connect()
    return enter()


def undo_begin(database: Any, dialect: str) -> None:
    """Leave no transaction open whose beginning was cut off, by Ctrl-C say.

    SQLite's connection stays in its thread: all that came later would be part of it, and lost.
    """
    if dialect == SQLITE and not database.transaction_depth():
        connection = database.connection()
        if connection.in_transaction:
            connection.rollback()
