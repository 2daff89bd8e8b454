"""``outbox``: mails that could not be delivered."""

from __future__ import annotations

from dataclasses import asdict

import click

from ._base import NOT_FOUND, Failure, Group, Operator, json_option, pass_operator
from ._output import as_line, print_lines, print_pairs, print_table

__all__ = ["outbox"]


@click.group(cls=Group)
def outbox() -> None:
    """Look at mails that were given up, and try them once more.

    Example: derp-auth-lite --database app.db outbox list
    """


@outbox.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many.")
@json_option
@pass_operator
def list_mails(operator: Operator, limit: int, as_json: bool) -> None:
    """List mails that were given up, newest first.

    Example: derp-auth-lite outbox list
    """
    with operator.client() as auth:
        found = auth.list_undelivered_mail(limit=limit)
    if as_json:
        print_lines(found)
        return
    rows = ((m.id, m.kind, m.email, m.attempts, m.failed_at, m.reason) for m in found)
    print_table(("id", "kind", "to", "attempts", "given up", "reason"), rows)


@outbox.command()
@click.argument("mail_id")
@json_option
@pass_operator
def show(operator: Operator, mail_id: str, as_json: bool) -> None:
    """Show a mail that was given up.

    What it says is written only when it is sent.

    Example: derp-auth-lite outbox show 0d2c6d3e-0000-4000-8000-5d3f1a2b3c4d
    """
    with operator.client() as auth:
        mails = [mail for mail in auth.list_undelivered_mail() if mail.id == mail_id]
    if not mails:
        raise Failure("There is no such mail", NOT_FOUND)
    if as_json:
        click.echo(as_line(mails[0]))
    else:
        print_pairs(asdict(mails[0]))


@outbox.command()
@click.argument("mail_id", required=False)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@pass_operator
def retry(operator: Operator, mail_id: str | None, everything: bool) -> None:
    """Put a mail back.

    The application sends it, with a fresh link.

    Example: derp-auth-lite outbox retry --all
    """
    if (mail_id is None) != everything:
        raise click.UsageError("Give a mail's id, or --all")
    with operator.client() as auth:
        ids = [mail.id for mail in auth.list_undelivered_mail()] if everything else [mail_id]
        count = sum(auth.retry_mail(each) for each in ids if each is not None)
    if not count and not everything:
        raise Failure("There is no such mail", NOT_FOUND)
    click.echo(f"{count} to be sent")
