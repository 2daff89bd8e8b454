"""Columns that PostgreSQL and SQLite keep in different ways: moments and JSON."""

from __future__ import annotations

from datetime import UTC, datetime

import peewee

from ._statements import from_microseconds

__all__ = ["JSONField", "UTCDateTimeField", "as_utc"]


class UTCDateTimeField(peewee.Field):  # type: ignore[misc]  # Peewee is not typed
    """A moment in UTC: integer microseconds on SQLite, ``timestamptz`` on PostgreSQL.

    Peewee's own field makes ``timestamp without time zone`` and reads back naive times.
    """

    def ddl_datatype(self, ctx: peewee.Context) -> peewee.SQL:
        """Return the column type of the dialect at hand."""
        return peewee.SQL("TIMESTAMPTZ" if _is_postgresql(ctx) else "INTEGER")


class JSONField(peewee.Field):  # type: ignore[misc]  # Peewee is not typed
    """A JSON object: text on SQLite, ``jsonb`` on PostgreSQL."""

    def ddl_datatype(self, ctx: peewee.Context) -> peewee.SQL:
        """Return the column type of the dialect at hand."""
        return peewee.SQL("JSONB" if _is_postgresql(ctx) else "TEXT")


def _is_postgresql(ctx: peewee.Context) -> bool:
    return bool(ctx.state.field_types.get("UUID") == "UUID")


def as_utc(value: int | datetime) -> datetime:
    """Return a stored moment as an aware time in UTC."""
    if isinstance(value, int):
        return from_microseconds(value)
    return value if value.tzinfo is UTC else value.astimezone(UTC)
