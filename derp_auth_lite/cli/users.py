"""``users``: accounts, one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..models import UserInfo
from ._base import (
    Group,
    Operator,
    confirmed,
    find_user,
    json_option,
    new_password,
    pass_operator,
    yes_option,
)
from ._output import as_line, print_lines, print_pairs, print_table, to_the_minute

if TYPE_CHECKING:
    from ..native_client import NativeAuthClient

__all__ = ["users"]

_PAGE = 1000
_COLUMNS = ("email", "role", "state", "last sign-in", "created")

who_argument = click.argument("who", metavar="EMAIL|ID")
stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")


@click.group(cls=Group)
def users() -> None:
    """Look at accounts, make them, and change them.

    Example: derp-auth-lite --database app.db users list
    """


@users.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--offset", default=0, type=click.IntRange(0), help="How many to pass over.")
@click.option("--all", "everybody", is_flag=True, help="All of them.")
@json_option
@pass_operator
def list_users(operator: Operator, limit: int, offset: int, everybody: bool, as_json: bool) -> None:
    """List accounts, newest first.

    Example: derp-auth-lite users list --all --json | jq -r .email
    """
    with operator.client() as auth:
        found = _everybody(auth) if everybody else auth.list_users(limit=limit, offset=offset)
        if as_json:
            print_lines(found)
            return
        print_table(_COLUMNS, map(_row, found))
        count = auth.count_users()
    shown = count if everybody else min(limit, max(0, count - offset))
    click.echo(f"{shown} of {count}", err=True)


@users.command()
@who_argument
@json_option
@pass_operator
def show(operator: Operator, who: str, as_json: bool) -> None:
    """Show an account, its identities and organizations.

    Example: derp-auth-lite users show ada@example.com
    """
    with operator.client() as auth:
        user = find_user(auth, who)
        record = {
            **asdict(user),
            "identities": [f"{i.provider} {i.subject}" for i in auth.list_identities(user.id)],
            "organizations": [org.slug for org in auth.list_orgs(user_id=user.id)],
            "sessions": len(auth.list_sessions(user_id=user.id)),
        }
    if as_json:
        click.echo(as_line(record))
    else:
        print_pairs(record)


@users.command()
@click.argument("email")
@stdin_option
@click.option("--no-password", is_flag=True, help="It is entered by a link or a provider.")
@click.option("--confirmed", "vouched", is_flag=True, help="Vouch for the address.")
@click.option("--role", default="default", show_default=True, help="What views are guarded with.")
@click.option("--superuser", is_flag=True, help="A mark that the application reads.")
@click.option("--first-name")
@click.option("--last-name")
@click.option("--username")
@json_option
@pass_operator
def create(
    operator: Operator,
    email: str,
    password_stdin: bool,
    no_password: bool,
    vouched: bool,
    role: str,
    superuser: bool,
    first_name: str | None,
    last_name: str | None,
    username: str | None,
    as_json: bool,
) -> None:
    """Make an account; the password is asked for.

    Example: derp-auth-lite users create ada@example.com --confirmed --role admin
    """
    if no_password and password_stdin:
        raise click.UsageError("--no-password and --password-stdin exclude each other")
    password = None if no_password else new_password(password_stdin)
    with operator.client() as auth:
        user = auth.create_user(
            email=email,
            password=password,
            confirmed=vouched,
            role=role,
            is_superuser=superuser,
            first_name=first_name,
            last_name=last_name,
            username=username,
        )
    click.echo(as_line(user) if as_json else f"Made {user.email}, id {user.id}")


@users.command()
@who_argument
@click.option("--email", help="A new address; it is unconfirmed, and a notice goes to the old one.")
@click.option(
    "--superuser/--no-superuser", "is_superuser", default=None, help="A mark for the application."
)
@click.option("--first-name")
@click.option("--last-name")
@click.option("--username")
@pass_operator
def update(operator: Operator, /, who: str, **fields: str | bool | None) -> None:
    """Give an account another address, name or standing.

    Example: derp-auth-lite users update ada@example.com --email ada@example.org
    """
    changes: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if not changes:
        raise click.UsageError("Say what to change, such as --email")
    with operator.client() as auth:
        user = auth.update_user(user_id=find_user(auth, who).id, **changes)
    click.echo(f"{user.email} is updated")


@users.command("set-password")
@who_argument
@stdin_option
@pass_operator
def set_password(operator: Operator, who: str, password_stdin: bool) -> None:
    """Set a password.

    All sessions of the account end, and a notice is mailed.

    Example: pass show ada | derp-auth-lite users set-password ada@example.com --password-stdin
    """
    with operator.client() as auth:
        user = find_user(auth, who)
        auth.set_password(user_id=user.id, password=new_password(password_stdin))
    click.echo(f"{user.email} has a new password")


@users.command()
@who_argument
@pass_operator
def disable(operator: Operator, who: str) -> None:
    """Disable an account and end its sessions; nothing is lost.

    Example: derp-auth-lite users disable eve@example.com
    """
    with operator.client() as auth:
        user = auth.update_user(user_id=find_user(auth, who).id, is_active=False)
    click.echo(f"{user.email} is disabled")


@users.command()
@who_argument
@pass_operator
def enable(operator: Operator, who: str) -> None:
    """Let a disabled account sign in again.

    Example: derp-auth-lite users enable eve@example.com
    """
    with operator.client() as auth:
        user = auth.update_user(user_id=find_user(auth, who).id, is_active=True)
    click.echo(f"{user.email} is enabled")


@users.command()
@who_argument
@yes_option
@pass_operator
def delete(operator: Operator, who: str, yes: bool) -> None:
    """Delete an account.

    Its sessions, identities and memberships go with it.

    Example: derp-auth-lite users delete eve@example.com --yes
    """
    with operator.client() as auth:
        user = find_user(auth, who)
        confirmed(f"Delete {user.email} for good?", yes)
        auth.delete_user(user.id)
    click.echo(f"{user.email} is deleted")


@users.command("set-role")
@who_argument
@click.argument("role")
@pass_operator
def set_role(operator: Operator, who: str, role: str) -> None:
    """Give an account another role.

    It holds from the next request on.

    Example: derp-auth-lite users set-role ada@example.com admin
    """
    with operator.client() as auth:
        user = auth.update_user(user_id=find_user(auth, who).id, role=role)
    click.echo(f"{user.email} has the role {user.role}")


def _everybody(auth: NativeAuthClient) -> Iterator[UserInfo]:
    after: str | None = None
    for number in itertools.count():
        if number and after is None:
            return
        page = auth.list_users_by_cursor(limit=_PAGE, after=after)
        yield from page.data
        after = page.next_cursor


def _row(user: UserInfo) -> tuple[object, ...]:
    states = {
        "disabled": not user.is_active,
        "unconfirmed": user.email_confirmed_at is None,
        "superuser": user.is_superuser,
    }
    state = ", ".join(name for name, holds in states.items() if holds)
    return (
        user.email,
        user.role,
        state,
        to_the_minute(user.last_sign_in_at),
        to_the_minute(user.created_at),
    )
