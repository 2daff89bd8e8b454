"""``orgs``: organizations and who belongs to them."""

from __future__ import annotations

from dataclasses import asdict

import click

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
from ._output import as_line, print_lines, print_pairs, print_table, to_the_minute

__all__ = ["orgs"]

slug_argument = click.argument("slug")


@click.group(cls=Group)
def orgs() -> None:
    """Look at organizations, and change who belongs to them.

    Example: derp-auth-lite --database app.db orgs list
    """


@orgs.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--user", "who", metavar="EMAIL|ID", help="Those of this user.")
@json_option
@pass_operator
def list_orgs(operator: Operator, limit: int, who: str | None, as_json: bool) -> None:
    """List organizations, newest first.

    Example: derp-auth-lite orgs list --user ada@example.com
    """
    with operator.client() as auth:
        user_id = None if who is None else find_user(auth, who).id
        found = auth.list_orgs(user_id=user_id, limit=limit)
    if as_json:
        print_lines(found)
    else:
        rows = ((org.slug, org.name, to_the_minute(org.created_at)) for org in found)
        print_table(("slug", "name", "created"), rows)


@orgs.command()
@slug_argument
@json_option
@pass_operator
def show(operator: Operator, slug: str, as_json: bool) -> None:
    """Show an organization.

    Example: derp-auth-lite orgs show engines
    """
    with operator.client() as auth:
        org = auth.get_org(slug=slug)
        members = auth.list_org_members(slug=slug)
    record = {**asdict(org), "members": len(members)}
    if as_json:
        click.echo(as_line(record))
    else:
        print_pairs(record)


@orgs.command()
@slug_argument
@json_option
@pass_operator
def members(operator: Operator, slug: str, as_json: bool) -> None:
    """List the members of an organization, oldest first.

    Example: derp-auth-lite orgs members engines
    """
    with operator.client() as auth:
        found = auth.list_org_members(slug=slug)
        if as_json:
            print_lines(found)
            return
        addresses = Addresses(auth)
        rows = [
            (addresses.of(member.user_id), member.role, to_the_minute(member.created_at))
            for member in found
        ]
    print_table(("email", "role", "since"), rows)


@orgs.command()
@slug_argument
@click.argument("who", metavar="EMAIL|ID")
@click.option("--role", default="member", show_default=True)
@pass_operator
def add(operator: Operator, slug: str, who: str, role: str) -> None:
    """Make a user a member.

    Example: derp-auth-lite orgs add engines charles@example.com --role admin
    """
    with operator.client() as auth:
        user = find_user(auth, who)
        auth.add_org_member(slug=slug, user_id=user.id, role=role)
    click.echo(f"{user.email} belongs to {slug} as {role}")


@orgs.command()
@slug_argument
@click.argument("who", metavar="EMAIL|ID")
@yes_option
@pass_operator
def remove(operator: Operator, slug: str, who: str, yes: bool) -> None:
    """End a membership; the last owner of an organization stays.

    Example: derp-auth-lite orgs remove engines charles@example.com --yes
    """
    with operator.client() as auth:
        user = find_user(auth, who)
        confirmed(f"Take {user.email} out of {slug}?", yes)
        if not auth.remove_org_member(slug=slug, user_id=user.id):
            raise Failure("The user is no member of such an organization", NOT_FOUND)
    click.echo(f"{user.email} belongs to {slug} no more")
