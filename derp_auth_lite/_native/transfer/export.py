"""Out: all accounts as JSON Lines, in pages, as they were at one moment."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import peewee

from ..._statements import SQLITE, Bind, Statement
from ...orm import DatabaseEngine
from .kinds import KINDS, Kind

__all__ = ["FORMAT", "VERSION", "count_rows", "export_lines"]

FORMAT = "derp_auth_lite.accounts"
VERSION = 1
_PAGE = 1000


def export_lines(engine: DatabaseEngine) -> Iterator[str]:
    """Yield the lines of a file: a header, then users, identities, organizations and members.

    The last line has the numbers, so that a file that was cut off is told from a whole one.
    Password hashes are in it. Sessions, events and mails are not, nor is what binds mailed links.

    Raises:
        AuthBackendError: The database failed.
    """
    yield _line({"format": FORMAT, "version": VERSION, "created_at": engine.now})
    counts = {}
    with _one_moment(engine):
        for kind in KINDS:
            counts[kind.name] = 0
            for row in _rows(engine, kind):
                counts[kind.name] += 1
                yield _line({"type": kind.name, **kind.values_of(row)})
    yield _line({"type": "end", **counts})


def count_rows(engine: DatabaseEngine) -> int:
    """Return how many records an export has."""
    return sum(int(engine.fetch(_count(kind))[0][0]) for kind in KINDS)


@contextlib.contextmanager
def _one_moment(engine: DatabaseEngine) -> Iterator[None]:
    """Read all pages from one state of the database, while others go on writing."""
    level = "DEFERRED" if engine.dialect == SQLITE else "REPEATABLE READ"
    with engine.connection(), engine.database.atomic(level):
        engine.lift_limits()  # who reads the lines may take their time
        yield


def _rows(engine: DatabaseEngine, kind: Kind) -> Iterator[tuple[Any, ...]]:
    place = [list(kind.fields).index(name) for name in kind.key]
    rows = engine.fetch(_first_page(kind))
    while rows:
        yield from rows
        last = {f"after_{number}": str(rows[-1][index]) for number, index in enumerate(place)}
        rows = engine.fetch(_next_page(kind), **last) if len(rows) == _PAGE else []


@functools.cache
def _count(kind: Kind) -> Statement:
    return Statement(lambda: kind.model.select(peewee.fn.COUNT(peewee.SQL("*"))))


@functools.cache
def _first_page(kind: Kind) -> Statement:
    return Statement(lambda: _page(kind))


@functools.cache
def _next_page(kind: Kind) -> Statement:
    def build() -> Any:
        after = (Bind(f"after_{number}") for number in range(len(kind.key)))
        return _page(kind).where(peewee.Tuple(*_key(kind)) > peewee.Tuple(*after))

    return Statement(build)


def _page(kind: Kind) -> Any:
    return kind.model.select(*kind.fields.values()).order_by(*_key(kind)).limit(_PAGE)


def _key(kind: Kind) -> list[Any]:
    return [kind.fields[name] for name in kind.key]


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, default=_text, separators=(",", ":")) + "\n"


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
