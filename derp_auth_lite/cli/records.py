"""``events``, ``doctor`` and ``explain``: what happened, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..models import EventInfo, Finding
from ._base import REFUSED, Addresses, Command, Operator, find_user, json_option, pass_operator
from ._output import print_lines, print_table

__all__ = ["doctor", "events", "explain"]


@click.command(cls=Command)
@click.option("--user", "who", metavar="EMAIL|ID", help="Those of this user.")
@click.option("--limit", default=50, type=click.IntRange(1, 1000), show_default=True)
@json_option
@pass_operator
def events(operator: Operator, who: str | None, limit: int, as_json: bool) -> None:
    """List what happened, newest first.

    Example: derp-auth-lite events --user ada@example.com
    """
    with operator.client() as auth:
        user_id = None if who is None else find_user(auth, who).id
        found = auth.list_events_by_cursor(user_id=user_id, limit=limit).data
        if as_json:
            print_lines(found)
            return
        addresses = Addresses(auth)
        rows = [_row(event, addresses) for event in found]
    print_table(("when", "action", "outcome", "reason", "user", "ip", "details"), rows)


@click.command(cls=Command)
@json_option
@click.pass_context
@pass_operator
def doctor(operator: Operator, ctx: click.Context, as_json: bool) -> None:
    """Say what is set up wrong, or has gone wrong.

    Ends with 1 where that is an error. The settings that it looks at are those of --config.

    Example: derp-auth-lite --config derp.toml doctor
    """
    with operator.client() as auth:
        findings = auth.doctor()
    _print_findings(findings, as_json, "Nothing is wrong.")
    ctx.exit(_code(findings))


@click.command(cls=Command)
@click.argument("email")
@json_option
@click.pass_context
@pass_operator
def explain(operator: Operator, ctx: click.Context, email: str, as_json: bool) -> None:
    """Say why an address cannot sign in.

    Ends with 1 where it cannot. Limits are known where the application's KV store is: see --kv.

    Example: derp-auth-lite explain ada@example.com
    """
    with operator.client() as auth:
        findings = auth.explain_sign_in(email)
    _print_findings(findings, as_json)
    ctx.exit(_code(findings))


def _print_findings(findings: Sequence[Finding], as_json: bool, nothing: str = "") -> None:
    if as_json:
        print_lines(findings)
    elif not findings:
        click.echo(nothing)
    for finding in () if as_json else findings:
        click.echo(f"{finding.level}: {finding.message} [{finding.code}]")


def _code(findings: Sequence[Finding]) -> int:
    return REFUSED if any(finding.level == "error" for finding in findings) else 0


def _row(event: EventInfo, addresses: Addresses) -> tuple[object, ...]:
    return (
        event.created_at,
        event.action,
        event.outcome,
        event.reason,
        None if event.user_id is None else addresses.of(event.user_id),
        event.ip_address,
        event.details or None,
    )
