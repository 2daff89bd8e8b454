"""``init``, ``migrate``, ``purge`` and ``keys``: keeping a database in order."""

from __future__ import annotations

import click

from ._base import (
    USAGE,
    Command,
    Failure,
    Group,
    Operator,
    confirmed,
    pass_operator,
    yes_option,
)
from ._operator import NamedAccounts

__all__ = ["init", "keys", "migrate", "purge"]

pass_accounts = click.make_pass_decorator(NamedAccounts)


@click.command(cls=Command)
@pass_accounts
def init(accounts: NamedAccounts) -> None:
    """Make the tables of a new database.

    For a SQLite file that is all that lies beside it, too. Nothing that is there is changed.

    Example: derp-auth-lite --database app.db init
    """
    file = accounts.file
    if file is None:
        _bring_up_to_date(accounts)
        return
    was_there = file.is_file()
    accounts.open().disconnect()
    click.echo(f"{file} {'was there already' if was_there else 'is made'}")
    click.echo(f"Next: derp-auth-lite {accounts.options} users create EMAIL")


@click.command(cls=Command)
@pass_accounts
def migrate(accounts: NamedAccounts) -> None:
    """Bring the tables to this version.

    Opening the accounts does that, too.

    Example: derp-auth-lite --database postgresql://localhost/app migrate
    """
    _bring_up_to_date(accounts)


@click.command(cls=Command)
@pass_operator
def purge(operator: Operator) -> None:
    """Remove what has expired.

    That is sessions, old events and short-lived counts; sign-ins remove a few each time.

    Example: derp-auth-lite purge
    """
    with operator.client() as auth:
        click.echo(f"{auth.purge()} removed")


@click.group(cls=Group)
def keys() -> None:
    """Change the key that signs tokens.

    Example: derp-auth-lite --database app.db keys rotate
    """


@keys.command()
@click.option(
    "--keep",
    default=3,
    show_default=True,
    type=click.IntRange(0, 20),
    help="How many retired keys are known on. With 0, for a stolen key, everybody is signed out.",
)
@yes_option
@pass_accounts
def rotate(accounts: NamedAccounts, keep: int, yes: bool) -> None:
    """Sign with a new key from now on.

    Sessions go on, since retired keys are kept.
    Processes that run read the keys when they start: restart all of them afterwards, or those that
    were not will take the tokens of those that were for forged. Limits are counted anew, and links
    that were mailed go on working.

    Example: derp-auth-lite --database app.db keys rotate
    """
    from .._key_file import rotate as rotate_keys
    from .._local.events import Events

    path = accounts.key_file
    if path is None:
        raise Failure(
            "No file has the key: where the application sets it, make JWTConfig.secret a new one "
            "and put the old one into previous_secrets",
            USAGE,
        )
    confirmed("Change the signing key? All processes must be restarted afterwards.", yes)
    # Inside a transaction, so that of two rotations one waits for the other.
    with accounts.engine() as engine, engine.transaction():
        kept = rotate_keys(path, keep=keep)
        Events(engine).record("keys_rotated", details={"kept": kept})
    click.echo(f"New tokens are signed with a new key; {kept} retired kept. Restart all processes.")


def _bring_up_to_date(accounts: NamedAccounts) -> None:
    from .._migrations import migrate as run  # Peewee
    from .._migrations import pending

    with accounts.engine() as engine:
        names = pending(engine)
        run(engine)
    click.echo(f"Applied: {', '.join(names)}" if names else "The tables are up to date")
