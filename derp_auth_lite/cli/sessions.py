"""``sessions``: who is signed in."""

from __future__ import annotations

import click

from ..models import EventInfo, SessionInfo
from ._base import (
    NOT_FOUND,
    Addresses,
    Failure,
    Group,
    Operator,
    confirmed,
    find_user,
    json_option,
    pass_operator,
    yes_option,
)
from ._output import print_lines, print_table, to_the_minute

__all__ = ["sessions"]


@click.group(cls=Group)
def sessions() -> None:
    """Look at sessions, and end them.

    Example: derp-auth-lite --database app.db sessions list
    """


@sessions.command("list")
@click.argument("who", metavar="[EMAIL|ID]", required=False)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many.")
@json_option
@pass_operator
def list_sessions(operator: Operator, who: str | None, limit: int, as_json: bool) -> None:
    """List living sessions, newest first: of one user, or of all.

    Example: derp-auth-lite sessions list ada@example.com
    """
    with operator.client() as auth:
        user_id = None if who is None else find_user(auth, who).id
        found = auth.list_sessions(user_id=user_id, limit=limit)
        if as_json:
            print_lines(found)
            return
        addresses = Addresses(auth)
        rows = [_row(session, addresses) for session in found]
    print_table(("id", "user", "began", "ends", "ip", "agent"), rows)


@sessions.command()
@click.argument("session_id", required=False)
@click.option("--user", "who", metavar="EMAIL|ID", help="All sessions of this user.")
@yes_option
@pass_operator
def revoke(operator: Operator, session_id: str | None, who: str | None, yes: bool) -> None:
    """End a session, or all of a user.

    That holds from the next request on.

    Example: derp-auth-lite sessions revoke --user ada@example.com --yes
    """
    if (session_id is None) == (who is None):
        raise click.UsageError("Give a session's id, or --user")
    with operator.client() as auth:
        if who is not None:
            user = find_user(auth, who)
            count = len(auth.list_sessions(user_id=user.id))
            confirmed(f"End all sessions of {user.email} ({count})?", yes)
            auth.sign_out_all(user.id)
            click.echo(f"{user.email} is signed out everywhere")
            return
        assert session_id is not None
        confirmed(f"End session {session_id}?", yes)
        ended: list[EventInfo] = []
        auth.subscribe(ended.append)
        auth.sign_out(session_id)
        if not ended:
            raise Failure("There is no such session", NOT_FOUND)
    click.echo("The session has ended")


def _row(session: SessionInfo, addresses: Addresses) -> tuple[object, ...]:
    about = session.metadata
    return (
        session.session_id,
        addresses.of(session.user_id),
        to_the_minute(about["created_at"]),
        to_the_minute(session.expires_at),
        about["ip_address"],
        about["user_agent"],
    )
