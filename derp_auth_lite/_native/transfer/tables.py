"""The tables of derp, read from their database."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee

from ..._statements import Bind, Statement
from ...exceptions import TransferError
from ...orm import DatabaseEngine
from .kinds import MEMBER, ORG, USER, Kind, Record
from .sources import Options, derp_records

__all__ = ["read_derp_database"]

_PAGE = 1000
_TABLES: tuple[tuple[Kind, str, tuple[str, ...]], ...] = (
    (
        USER,
        "users",
        (
            "id",
            "email",
            "email_confirmed_at",
            "encrypted_password",
            "first_name",
            "last_name",
            "username",
            "image_url",
            "provider",
            "is_active",
            "is_superuser",
            "role",
            "created_at",
            "updated_at",
            "last_sign_in_at",
        ),
    ),
    (ORG, "organizations", ("id", "name", "slug", "metadata", "created_at", "updated_at")),
    (MEMBER, "org_members", ("id", "org_id", "user_id", "role", "created_at", "updated_at")),
)


def read_derp_database(url: str, options: Options) -> Iterator[Record]:
    """Yield the records of a database of derp; nothing in it is changed.

    Args:
        url: ``postgresql://…``, or the path of a copy on SQLite.

    Raises:
        TransferError: A row cannot be kept; the message says which.
        AuthBackendError: The database cannot be opened, or has no such tables.
    """
    engine = DatabaseEngine(url if "://" in url else _read_only(url))
    engine.connect()
    try:
        yield from derp_records(_rows(engine), options)
    finally:
        engine.disconnect()
        if not engine.owned:
            engine.database.close()


def _read_only(path: str) -> peewee.Database:
    if not Path(path).is_file():
        raise TransferError(f"there is no database {path}")
    return peewee.SqliteDatabase(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)


def _rows(engine: DatabaseEngine) -> Iterator[tuple[Kind, str, dict[str, Any]]]:
    for kind, name, columns in _TABLES:
        after: str | None = None
        rows = engine.fetch(_page(name, columns, False))
        while rows:
            for row in rows:
                values = {
                    column: str(value) if column.endswith("id") else value
                    for column, value in zip(columns, row, strict=True)
                }
                after = values["id"]
                yield kind, f"{name} {after}", values
            rows = engine.fetch(_page(name, columns, True), after=after)


@functools.cache
def _page(name: str, columns: tuple[str, ...], is_next: bool) -> Statement:
    table = peewee.Table(name, columns)

    def build() -> Any:
        query = table.select(*(getattr(table, column) for column in columns))
        if is_next:
            query = query.where(table.id > Bind("after"))
        return query.order_by(table.id).limit(_PAGE)

    return Statement(build, repeatable=True)
