"""Organizations: those one belongs to, their members, and which one is active.

Who is no member is answered as if there was no such organization.
"""

from __future__ import annotations

from typing import Any

from ...exceptions import (
    InvalidCursorError,
    InvalidProfileError,
    InvalidTokenError,
    LastOwnerError,
    MemberAlreadyExistsError,
    OrgMemberNotFoundError,
    OrgNotFoundError,
    OrgSlugConflictError,
    RateLimitedError,
    UserNotFoundError,
)
from ...models import OrgInfo, OrgMemberInfo
from .._org_fields import OWNER, ROLES, slug_of
from .._refusals import NotAllowedError
from ..state import state
from .account import PAGE, my_session
from .fields import ADDRESS, Choice, Text
from .operation import Operations
from .records import Member, Organization, Page, Switched, Tokens, page_of, pick

__all__ = ["organizations"]

NAME = Text(note="Blanks around it are dropped.")
SLUG = Text(
    longest=63,
    pattern="^[a-z0-9-]+$",
    required=False,
    note="A short name, unique among all organizations.",
)
ROLE = Choice(words=ROLES)

organizations = Operations("Organizations", offered=lambda auth: auth.settings.orgs)


@organizations.add(
    "GET",
    "/organizations",
    query=PAGE,
    answers={200: Page[Organization]},
    errors=(InvalidCursorError,),
)
def list_organizations(*, limit: int, after: str | None) -> Page[Organization]:
    """List the organizations that one belongs to, the newest first."""
    client, user_id = state().native, my_session().user_id
    page = client.list_orgs_by_cursor(user_id=user_id, limit=limit, after=after)
    return page_of(page, lambda org: _shown(org, _membership(org.id)))


@organizations.add(
    "POST",
    "/organizations",
    body={"name": NAME, "slug": SLUG},
    answers={201: Organization},
    errors=(InvalidProfileError, OrgSlugConflictError),
)
def create_organization(*, name: str, slug: str | None = None) -> Organization:
    """Make an organization, whose owner one becomes; without a slug, one is made from the name."""
    org = state().native.create_org(
        name=name, slug=slug or slug_of(name), creator_id=my_session().user_id
    )
    return pick(Organization, org, role=OWNER)


@organizations.add(
    "GET",
    "/organizations/{org_id}",
    answers={200: Organization},
    errors=(OrgNotFoundError,),
)
def show_organization(*, org_id: str) -> Organization:
    """Show an organization to its members."""
    mine = _membership(org_id)
    return _shown(state().native.get_org(org_id=org_id), mine)


@organizations.add(
    "PATCH",
    "/organizations/{org_id}",
    body={"name": Text(required=False), "slug": SLUG},
    answers={200: Organization},
    errors=(OrgNotFoundError, NotAllowedError, InvalidProfileError, OrgSlugConflictError),
)
def change_organization(*, org_id: str, **changes: Any) -> Organization:
    """Change name or slug. An owner's."""
    mine = _ownership(org_id)
    return _shown(state().native.update_org(org_id=org_id, **changes), mine)


@organizations.add(
    "DELETE",
    "/organizations/{org_id}",
    answers={204: None},
    errors=(OrgNotFoundError, NotAllowedError),
)
def delete_organization(*, org_id: str) -> None:
    """Delete an organization with its memberships. An owner's."""
    _ownership(org_id)
    state().native.delete_org(org_id=org_id)


@organizations.add(
    "GET",
    "/organizations/{org_id}/members",
    query=PAGE,
    answers={200: Page[Member]},
    errors=(OrgNotFoundError, InvalidCursorError),
)
def list_members(*, org_id: str, limit: int, after: str | None) -> Page[Member]:
    """List the members of an organization, the oldest first."""
    _membership(org_id)
    page = state().native.list_org_members_by_cursor(org_id=org_id, limit=limit, after=after)
    return page_of(page, _member_or_none)


@organizations.add(
    "POST",
    "/organizations/{org_id}/members",
    body={"email": ADDRESS, "role": Choice(words=ROLES, required=False, default="member")},
    answers={201: Member},
    errors=(
        OrgNotFoundError,
        NotAllowedError,
        UserNotFoundError,
        MemberAlreadyExistsError,
        RateLimitedError,
    ),
)
def add_member(*, org_id: str, email: str, role: str) -> Member:
    """Make somebody with an account a member. An owner's."""
    _ownership(org_id)
    user = state().native.find_user(email, asked_by=my_session().user_id)
    if user is None:
        raise UserNotFoundError
    return _member(state().native.add_org_member(org_id=org_id, user_id=user.id, role=role))


@organizations.add(
    "PATCH",
    "/organizations/{org_id}/members/{user_id}",
    body={"role": ROLE},
    answers={200: Member},
    errors=(OrgNotFoundError, NotAllowedError, OrgMemberNotFoundError, LastOwnerError),
)
def change_member(*, org_id: str, user_id: str, role: str) -> Member:
    """Give a member another role. An owner's."""
    _ownership(org_id)
    return _member(state().native.update_org_member(org_id=org_id, user_id=user_id, role=role))


@organizations.add(
    "DELETE",
    "/organizations/{org_id}/members/{user_id}",
    answers={204: None},
    errors=(OrgNotFoundError, NotAllowedError, OrgMemberNotFoundError, LastOwnerError),
)
def remove_member(*, org_id: str, user_id: str) -> None:
    """End a membership: an owner anybody's, everybody their own."""
    if _membership(org_id).user_id != user_id:
        _ownership(org_id)
    if not state().native.remove_org_member(org_id=org_id, user_id=user_id):
        raise OrgMemberNotFoundError


@organizations.add(
    "PUT",
    "/session/organization",
    body={
        "organization_id": Text(nullable=True, note="`null`: none."),
        "refresh_token": Text(
            longest=1024,
            required=False,
            default=None,
            nullable=True,
            note="The session's present one; the answer then has tokens that name the "
            "organization.",
        ),
    },
    answers={200: Switched},
    errors=(OrgNotFoundError, InvalidTokenError),
)
def switch_organization(*, organization_id: str | None, refresh_token: str | None) -> Switched:
    """Make an organization the active one of the session that asks.

    Tokens are for who has the refresh token already: an access token alone must not become one that
    lives longer.
    """
    session_id = my_session().session_id
    try:
        pair = state().native.set_active_org(
            session_id=session_id, org_id=organization_id, refresh_token=refresh_token
        )
    except OrgMemberNotFoundError as error:
        raise OrgNotFoundError from error
    mine = None if organization_id is None else _membership(organization_id)
    return Switched(
        organization_id=None if mine is None else mine.org_id,
        organization_role=None if mine is None else mine.role,
        tokens=None if refresh_token is None else pick(Tokens, pair),
    )


def _membership(org_id: str) -> OrgMemberInfo:
    """Return one's own membership of an organization.

    Raises:
        OrgNotFoundError: There is none, or there is no such organization.
    """
    try:
        return state().native.get_org_member(org_id=org_id, user_id=my_session().user_id)
    except OrgMemberNotFoundError as error:
        raise OrgNotFoundError from error


def _ownership(org_id: str) -> OrgMemberInfo:
    mine = _membership(org_id)
    if mine.role != OWNER:
        raise NotAllowedError
    return mine


def _shown(org: OrgInfo, mine: OrgMemberInfo) -> Organization:
    return pick(Organization, org, role=mine.role)


def _member(info: OrgMemberInfo) -> Member:
    user = state().native.get_user(info.user_id)
    return pick(
        Member, info, email=user.email, first_name=user.first_name, last_name=user.last_name
    )


def _member_or_none(info: OrgMemberInfo) -> Member | None:
    try:
        return _member(info)
    except UserNotFoundError:  # deleted a moment ago
        return None
