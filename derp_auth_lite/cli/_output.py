"""Records on the screen: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

__all__ = ["as_line", "harmless", "print_lines", "print_pairs", "print_table", "to_the_minute"]

# What a stranger typed must not steer an operator's terminal (OWASP ASVS 5.0, 16.4.1).
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_ANY_WIDTH = 100_000


def as_line(record: Any) -> str:
    """Return a record, or a mapping, as one line of JSON."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        record = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    return json.dumps(record, default=_plain)


def harmless(text: str) -> str:
    """Return a text with what would steer a terminal written out."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def to_the_minute(moment: datetime | None) -> str:
    """Return a time as it stands in tables, but for those where the second matters."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def print_lines(records: Iterable[Any]) -> None:
    """Print one JSON object a line."""
    for record in records:
        click.echo(as_line(record))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows below headings; where a terminal is too narrow for that, one after another.

    Nothing is cut and no cell is folded, so that what stands there can be copied.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table  # 40 ms that a program which wants JSON need not wait for

    kept = list(rows)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in kept:
        table.add_row(*map(_cell, row))
    is_screen = sys.stdout.isatty()
    console = Console(file=sys.stdout, force_terminal=is_screen, highlight=False)
    options = console.options.update(width=_ANY_WIDTH)
    needed = console.measure(table, options=options).maximum
    if not is_screen:
        console.width = needed
    if needed > console.width:
        _print_blocks(columns, kept)
    else:
        console.print(table)


def print_pairs(record: Mapping[str, Any]) -> None:
    """Print a record, one field a line; empty ones are left out."""
    width = max(map(len, record))
    for name, value in record.items():
        if value not in (None, {}, [], ""):
            click.echo(f"{name:<{width}}  {_shown(value)}")


def _print_blocks(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    for number, row in enumerate(rows):
        if number:
            click.echo()
        print_pairs(dict(zip(columns, row, strict=True)))


def _cell(value: Any) -> Any:
    from rich.text import Text  # plain text, so that brackets are no markup

    return Text(_shown(value))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, Mapping | list):
        value = json.dumps(value, default=_plain)
    return harmless(str(value))


def _plain(value: Any) -> Any:
    """Return what JSON has no type for as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)
