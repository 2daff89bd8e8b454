"""The command line as a whole: its options, and where each command is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from . import version
from ._base import Group
from ._operator import NamedAccounts
from .keeping import init, keys, migrate, purge
from .orgs import orgs
from .outbox import outbox
from .records import doctor, events, explain
from .sessions import sessions
from .transfer import export, import_
from .users import users

__all__ = ["main", "root"]

PROGRAM = "derp-auth-lite"


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(version())
        ctx.exit()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--database",
    envvar="DERP_AUTH_LITE_DATABASE",
    metavar="URL",
    help="A SQLite file, or postgresql://…",
)
@click.option(
    "--config",
    envvar="DERP_AUTH_LITE_CONFIG",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A derp.toml with the application's settings.",
)
@click.option(
    "--kv",
    envvar="DERP_AUTH_LITE_KV",
    metavar="URL",
    help="The application's KV store, where it is no folder beside the file.",
)
@click.option("--verbose", is_flag=True, help="Show the log, with the causes of failures.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def root(
    ctx: click.Context, database: str | None, config: Path | None, kv: str | None, verbose: bool
) -> None:
    """User accounts and sessions, without a server.

    The accounts of a PostgreSQL server need their secret in DERP_AUTH_LITE_SECRET.

    Ends with: 0 done; 1 refused, or something is wrong; 2 not understood, or a setting is;
    3 there is no such user, organization, session or mail; 4 the database is not available.

    Example: derp-auth-lite --database app.db users create ada@example.com
    """
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    else:
        # Or a failure would be two lines: the log's, and the command's own.
        logging.getLogger("derp_auth_lite").addHandler(logging.NullHandler())
    ctx.obj = NamedAccounts(database, config, kv)


@root.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="A new or empty folder for the database.  [default: ./derp-auth-lite-tour]",
)
@click.pass_context
def tour(ctx: click.Context, folder: Path | None) -> None:
    """Show the life of an account on a database in a new folder.

    Example: derp-auth-lite tour
    """
    # The tour opens a client, which --help need not wait for.
    from .tour import take

    ctx.exit(take(folder))


for command in (
    init,
    users,
    sessions,
    orgs,
    events,
    outbox,
    keys,
    doctor,
    explain,
    purge,
    migrate,
    export,
    import_,
):
    root.add_command(command)


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    try:
        root.main(args=list(arguments), prog_name=PROGRAM)
    except SystemExit as ended:
        code = ended.code
    return code if isinstance(code, int) else 1
