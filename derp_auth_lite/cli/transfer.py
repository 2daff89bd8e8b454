"""``export`` and ``import``: accounts as a file, and accounts from elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..exceptions import AuthBackendError
from ._base import USAGE, Command, Failure, confirmed, json_option, typed_hidden, yes_option
from ._operator import NamedAccounts
from ._output import as_line, harmless

if TYPE_CHECKING:
    from .._native.transfer import Options, Report
    from ..orm import DatabaseEngine

__all__ = ["export", "import_"]

_PATIENCE = 1.0
_DUMPS = ("django", "flask", "supabase")
_SOURCES = ("native", "derp", *_DUMPS)

pass_accounts = click.make_pass_decorator(NamedAccounts)


@click.command(cls=Command)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@yes_option
@pass_accounts
def export(accounts: NamedAccounts, file: Path, yes: bool) -> None:
    """Write all accounts to a file, or to - (stdout).

    Users with their password hashes, identities, organizations and members, as they are at one
    moment; sessions, events and mails stay. The file is readable by its owner alone. Keep it as you
    keep the database.

    Example: derp-auth-lite --database app.db export accounts.jsonl
    """
    from .._native.transfer import count_rows, export_lines  # Peewee

    with accounts.engine() as engine:
        if str(file) == "-":
            sys.stdout.writelines(export_lines(engine))
            _note_export(engine)
            return
        if file.exists():
            confirmed(f"Replace {file}?", yes)
        with _progress("Exporting", count_rows(engine)) as moved, _written_whole(file) as write:
            # The header and the last line are no records.
            records = -2
            for line in export_lines(engine):
                write(line.encode())
                records += 1
                moved(records)
        _note_export(engine, records)
    click.echo(f"{records} record{'s' * (records != 1)} in {file}")


@click.command("import", cls=Command)
@click.argument("source", metavar="FILE|URL")
@click.option(
    "--from",
    "system",
    type=click.Choice(_SOURCES),
    default="native",
    show_default=True,
    help="Who wrote the file: this library; derp (or its database's URL); Django's dumpdata; a "
    "Flask application's table of users, or Supabase's, as JSON or CSV.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be new and what would change.")
@click.option(
    "--existing",
    type=click.Choice(["refuse", "keep", "update"]),
    default="refuse",
    show_default=True,
    help="What to do where a record differs from what is here.",
)
@click.option("--confirmed", "vouched", is_flag=True, help="Vouch for all addresses.")
@click.option("--skip-unusable", is_flag=True, help="Leave users without an address out.")
@click.option(
    "--drop-unknown-hashes",
    is_flag=True,
    help="Without passwords where a hash is of no known kind.",
)
@click.option(
    "--flask-security",
    "double_hashed",
    is_flag=True,
    help="The passwords are Flask-Security's. Its SECURITY_PASSWORD_SALT is asked for, or in the "
    "environment, and kept with each hash until that is renewed.",
)
@json_option
@pass_accounts
def import_(
    accounts: NamedAccounts,
    source: str,
    system: str,
    dry_run: bool,
    existing: Any,
    vouched: bool,
    skip_unusable: bool,
    drop_unknown_hashes: bool,
    double_hashed: bool,
    as_json: bool,
) -> None:
    """Take accounts from a file: all of them, or none.

    Passwords go on working: a hash of another system is renewed at the first sign-in. On SQLite
    others wait with writing until it is done.

    Example: derp-auth-lite --database app.db import dump.json --from django --dry-run
    """
    from .._clock import utc_now
    from .._migrations import migrate
    from .._native.transfer import Options, load  # Peewee

    options = Options(
        now=utc_now(),
        confirmed=vouched,
        skip_unusable=skip_unusable,
        drop_unknown_hashes=drop_unknown_hashes,
        flask_security_salt=_salt(system) if double_hashed else None,
    )
    with accounts.engine() as engine, _opened(source, system, options) as (records, size, done):
        migrate(engine)
        with _progress("Importing", size) as moved:
            report = load(
                engine,
                records,
                existing=existing,
                dry_run=dry_run,
                progress=lambda: moved(done()),
            )
    if system in _DUMPS and not (any(report.numbers().values()) or options.skipped):
        raise Failure(f"{source} has no users in it that --from {system} knows")
    if as_json:
        numbers = {"dry_run": dry_run, **report.numbers(), "left_out": len(options.skipped)}
        click.echo(as_line({**numbers, "differences": report.differences}))
    else:
        _show(report, options, dry_run)


def _salt(system: str) -> str:
    if system != "flask":
        raise click.UsageError("--flask-security goes with --from flask")
    name = "SECURITY_PASSWORD_SALT"
    return os.environ.get(name) or typed_hidden(name, otherwise="put it into the environment")


@contextlib.contextmanager
def _opened(
    source: str, system: str, options: Options
) -> Iterator[tuple[Iterator[Any], int | None, Callable[[], int]]]:
    """Yield the records, how long the file is, and how far it has been read."""
    from .._native.transfer import read_derp_database, read_lines, read_source

    is_database = _is_database(source)
    if system == "derp" and ("://" in source or is_database):
        yield read_derp_database(source, options), None, lambda: 0
        return
    if "://" in source:
        raise Failure("Only --from derp reads a database; export the accounts to a file", USAGE)
    if is_database:
        raise Failure(f"{source} is a database; import reads what was exported from one", USAGE)
    if source == "-":
        yield _piped(system, sys.stdin.buffer), None, lambda: 0
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115  closed by the block below
    except OSError as error:
        raise Failure(f"{source} cannot be read: {error.strerror}", USAGE) from error
    with stream:
        if not stream.seekable():
            yield _piped(system, stream), None, lambda: 0
            return
        records = read_lines(stream) if system == "native" else read_source(system, stream, options)
        yield records, os.fstat(stream.fileno()).st_size, stream.tell


def _is_database(source: str) -> bool:
    """Tell whether a file is SQLite's (https://www.sqlite.org/fileformat.html, 1.3.1)."""
    path = Path(source)
    if not path.is_file():
        return False
    with contextlib.suppress(OSError), path.open("rb") as stream:
        return stream.read(16) == b"SQLite format 3\0"
    return False


def _piped(system: str, stream: BinaryIO) -> Iterator[Any]:
    """Return the records of what can be read once, from its beginning to its end."""
    from .._native.transfer import read_lines

    if system != "native":
        raise Failure("The files of other systems cannot be read from a pipe: name a file", USAGE)
    return read_lines(stream)


def _note_export(engine: DatabaseEngine, records: int | None = None) -> None:
    """Put on record that hashes left the database, where that can be written to."""
    from .._local.events import Events

    with contextlib.suppress(AuthBackendError):
        Events(engine).record("accounts_exported", details={"records": records})


def _show(report: Report, options: Options, dry_run: bool) -> None:
    """Say what was done; what belongs together is on one line."""
    if dry_run:
        click.echo("Nothing was changed. This is what would be done:")
    kinds = ("user", "identity", "org", "member")
    states = ("new", "changed", "unchanged", "kept")
    for kind in kinds:
        numbers = {state: getattr(report, state).get(kind, 0) for state in states}
        if any(numbers.values()):
            click.echo(f"{kind:<9}" + ", ".join(f"{n} {s}" for s, n in numbers.items() if n))
    for line in report.differences:
        click.echo(f"differs: {harmless(line)}")
    if options.skipped:
        first = harmless(", ".join(options.skipped[:5]))
        click.echo(f"left out, without a usable address: {len(options.skipped)} ({first})")
    if not any(getattr(report, state) for state in states):
        click.echo("no records")


@contextlib.contextmanager
def _written_whole(file: Path) -> Iterator[Callable[[bytes], object]]:
    """Write a file aside and put it in place once it is whole, readable by its owner alone."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise AuthBackendError(f"{file} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream.write
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except OSError as error:
        raise AuthBackendError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def _progress(title: str, total: int | None) -> Iterator[Callable[[int], object]]:
    """Yield what is told how far the work is; a terminal shows it after a second."""
    if not sys.stderr.isatty():
        yield lambda _: None  # nobody is looking
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(title), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(title, total=total)
    started, shown = time.monotonic(), False

    def moved(done: int) -> None:
        nonlocal shown
        if not shown and time.monotonic() - started > _PATIENCE:
            bar.start()
            shown = True
        if shown:
            bar.update(task, completed=done)

    try:
        yield moved
    finally:
        if shown:
            bar.stop()
