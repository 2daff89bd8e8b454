"""``orgs``: organizations and who belongs to them."""

from __future__ import annotations

from dataclasses import asdict

import click

from ._base import (
    Addresses,
    Group,
    Operator,
    confirmed,
    find_user,
    json_option,
    pass_operator,
    yes_option,
)
from ._output import as_line, harmless, print_lines, print_pairs, print_table, to_the_minute

__all__ = ["orgs"]

slug_argument = click.argument("slug")


@click.group(cls=Group)
def orgs() -> None:
    """Look at organizations, make them, and change who belongs to them.

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
@click.option("--owner", required=True, metavar="EMAIL|ID", help="Its first owner.")
@click.option("--name", help="What people call it.  [default: the slug]")
@json_option
@pass_operator
def create(operator: Operator, slug: str, owner: str, name: str | None, as_json: bool) -> None:
    """Make an organization.

    A slug is of small letters, digits and hyphens.

    Example: derp-auth-lite orgs create engines --owner ada@example.com --name "Analytical Engines"
    """
    with operator.client() as auth:
        user = find_user(auth, owner)
        org = auth.create_org(name=name or slug, slug=slug, creator_id=user.id)
    click.echo(as_line(org) if as_json else f"Made {org.slug}, owned by {user.email}")


@orgs.command()
@slug_argument
@click.option("--name", help="What people call it from now on.")
@click.option("--slug", "new_slug", help="A new slug.")
@pass_operator
def update(operator: Operator, slug: str, name: str | None, new_slug: str | None) -> None:
    """Give an organization another name or slug.

    Example: derp-auth-lite orgs update engines --name "Difference Engines"
    """
    if name is None and new_slug is None:
        raise click.UsageError("Give --name or --slug")
    with operator.client() as auth:
        org = auth.update_org(org_slug=slug, name=name, slug=new_slug)
    click.echo(f"{org.slug} is called {harmless(org.name)}")


@orgs.command()
@slug_argument
@yes_option
@pass_operator
def delete(operator: Operator, slug: str, yes: bool) -> None:
    """Delete an organization; its members keep their accounts.

    Example: derp-auth-lite orgs delete engines --yes
    """
    with operator.client() as auth:
        count = len(auth.list_org_members(slug=slug))
        confirmed(f"Delete {slug} ({count} member{'s' * (count != 1)}) for good?", yes)
        auth.delete_org(slug=slug)
    click.echo(f"{slug} is deleted")


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
        member = auth.add_org_member(slug=slug, user_id=user.id, role=role)
    click.echo(f"{user.email} is {member.role} in {slug}")


@orgs.command("set-role")
@slug_argument
@click.argument("who", metavar="EMAIL|ID")
@click.argument("role")
@pass_operator
def set_role(operator: Operator, slug: str, who: str, role: str) -> None:
    """Give a member another role; one owner stays.

    Example: derp-auth-lite orgs set-role engines charles@example.com owner
    """
    with operator.client() as auth:
        user = find_user(auth, who)
        member = auth.update_org_member(slug=slug, user_id=user.id, role=role)
    click.echo(f"{user.email} is {member.role} in {slug}")


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
        auth.get_org_member(slug=slug, user_id=user.id)
        confirmed(f"Take {user.email} out of {slug}?", yes)
        auth.remove_org_member(slug=slug, user_id=user.id)
    click.echo(f"{user.email} belongs to {slug} no more")
