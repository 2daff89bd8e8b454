"""Statements that Peewee builds once and that are then only run.

Building and compiling a query costs ten times what running it does, so a store keeps its queries as
module constants: built on first use, compiled once for each dialect, and bound to values by name.

    _BY_ID = Statement(lambda: Users.select(Users.email).where(Users.id == Bind("user_id")))
    row = engine.fetch_one(_BY_ID, user_id=user_id)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import peewee

__all__ = [
    "POSTGRESQL",
    "SQLITE",
    "Bind",
    "Free",
    "Statement",
    "from_microseconds",
    "to_microseconds",
]

SQLITE = "sqlite"
POSTGRESQL = "postgresql"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Return an aware time as whole microseconds since 1970, the form that SQLite keeps."""
    return (moment - _EPOCH) // _MICROSECOND


# What a request reads is what the one before read; converting takes seven times as long.
@lru_cache(maxsize=4096)
def from_microseconds(value: int) -> datetime:
    """Return the aware UTC time that *value* microseconds since 1970 stand for."""
    return _EPOCH + timedelta(0, 0, value)  # by position: half the time of a keyword


class Bind(peewee.Node):  # type: ignore[misc]  # Peewee is not typed
    """A value of a :class:`Statement` that is given by name when it runs."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __sql__(self, ctx: peewee.Context) -> peewee.Context:
        return ctx.value(self.name_in_values(), converter=False)

    def name_in_values(self) -> _Name:
        """Return the marker that stands for the value among the compiled parameters."""
        return _Name(self.name)


class _Name(str):
    """Tells a named value from a constant among the parameters of a compiled query."""


class Free(peewee.Node):  # type: ignore[misc]  # Peewee is not typed
    """A sub-select of rows that nobody else has locked, and that are then locked.

    For what can be done another time: it waits for nobody, so nobody deadlocks with it. On SQLite,
    which locks no rows, it is the query alone.
    """

    def __init__(self, query: peewee.Select) -> None:
        self._query = query

    def __sql__(self, ctx: peewee.Context) -> peewee.Context:
        locks_rows = ctx.state.for_update
        return ctx.sql(self._query.for_update(skip_locked=True) if locks_rows else self._query)


class Statement:
    """A query with named values.

    Args:
        build: Makes the Peewee query; called once for each dialect.
        lock: Lock the selected rows until the transaction ends, where the database locks rows.
        repeatable: The statement changes nothing, so it may be sent again over a new connection.
        remembered: It is run again and again with the same values, as every request does: a
            database that knows that nothing has changed since may give the same rows again.
    """

    def __init__(
        self,
        build: Callable[[], peewee.Query],
        *,
        lock: bool = False,
        repeatable: bool = False,
        remembered: bool = False,
    ) -> None:
        self._build = build
        self._lock = lock
        self.repeatable = repeatable
        self.remembered = remembered
        self._compiled: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {}

    def bind(
        self, database: peewee.Database, dialect: str, values: dict[str, Any]
    ) -> tuple[str, list[Any]]:
        """Return the SQL of *dialect* and its parameters; a missing name raises ``KeyError``."""
        compiled = self._compiled.get(dialect) or self._compile(database, dialect)
        sql, names, constants = compiled
        if constants:
            values = {**constants, **values}
        encoders = _ENCODERS[dialect]
        parameters = []
        for name in names:  # twice as fast as a comprehension where there are few
            value = values[name]
            kind = type(value)
            parameters.append(encoders[kind](value) if kind in encoders else value)
        return sql, parameters

    def _compile(
        self, database: peewee.Database, dialect: str
    ) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        query = self._build()
        if self._lock and dialect == POSTGRESQL:
            query = query.for_update()
        sql, parameters = database.get_sql_context().sql(query).query()
        constants = {
            f"{index}": value
            for index, value in enumerate(parameters)
            if not isinstance(value, _Name)
        }
        names = tuple(
            str(value) if isinstance(value, _Name) else f"{index}"
            for index, value in enumerate(parameters)
        )
        self._compiled[dialect] = (sql, names, constants)
        return sql, names, constants


# Made once: json.dumps would make it for each value.
_json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _jsonb(value: dict[str, Any]) -> Any:
    # The driver is an extra; whoever comes here has it.
    from psycopg.types.json import Jsonb

    return Jsonb(value)


_ENCODERS: dict[str, dict[type, Callable[[Any], Any]]] = {
    SQLITE: {datetime: to_microseconds, dict: _json_text, bool: int},
    POSTGRESQL: {dict: _jsonb},
}
