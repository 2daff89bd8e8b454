"""Organizations: those one belongs to, their members, and which one is active."""

from __future__ import annotations

from flask import abort, request
from flask.typing import ResponseReturnValue

from ...exceptions import (
    AuthError,
    InvalidCursorError,
    OrgMemberNotFoundError,
    OrgNotFoundError,
    UserNotFoundError,
)
from ...models import CursorResult, OrgInfo, OrgMemberInfo, UserInfo
from .._org_fields import OWNER, ROLES, slug_of
from .._refusals import NotAllowedError
from ..decorators import login_required
from ..state import state
from .account import me, my_session
from .blueprint import pages
from .show import attempt, back_to, go, show, status_of

__all__: list[str] = []

_MOST = 100


@pages.route("/organizations", methods=["GET", "POST"])
@login_required
def organizations() -> ResponseReturnValue:
    """Show one's organizations, and make another."""
    _need_orgs()
    name, slug = (request.form.get(field, "").strip() for field in ("name", "slug"))
    if request.method == "GET":
        return _list()
    org, errors = attempt(
        lambda: state().native.create_org(name=name, slug=slug or slug_of(name), creator_id=me().id)
    )
    if org is None:
        return _list(errors, name, slug)
    state().native.set_active_org(session_id=my_session().session_id, org_id=org.id)
    return go("organization", slug=org.slug, done="org_made")


@pages.post("/organizations/switch")
@login_required
def switch_organization() -> ResponseReturnValue:
    """Make another organization the active one, or none."""
    _need_orgs()
    org_id = request.form.get("org_id") or None
    try:
        state().native.set_active_org(session_id=my_session().session_id, org_id=org_id)
    except OrgMemberNotFoundError:
        abort(404)
    return back_to(state().settings.url_prefix + "/organizations?done=switched")


@pages.get("/organizations/<slug>")
@login_required
def organization(slug: str) -> ResponseReturnValue:
    """Show an organization to its members."""
    return _one(*_mine(slug))


@pages.post("/organizations/<slug>/rename")
@login_required
def rename_organization(slug: str) -> ResponseReturnValue:
    """Give an organization another name."""
    org, mine = _owned(slug)
    name = request.form.get("name", "").strip()
    _, errors = attempt(lambda: state().native.update_org(org_id=org.id, name=name))
    if errors:
        return _one(org, mine, {"name": next(iter(errors.values()))})
    return go("organization", slug=slug, done="org_saved")


@pages.post("/organizations/<slug>/members")
@login_required
def add_member(slug: str) -> ResponseReturnValue:
    """Make somebody with an account a member."""
    org, mine = _owned(slug)
    email, role = request.form.get("email", "").strip(), _role()
    _, errors = attempt(lambda: _add(org, email, role))
    if errors:
        return _one(org, mine, errors, email)
    return go("organization", slug=slug, done="member_added")


@pages.post("/organizations/<slug>/members/<user_id>")
@login_required
def change_member(slug: str, user_id: str) -> ResponseReturnValue:
    """Give a member another role, or end the membership."""
    org, mine = _owned(slug)
    client = state().native
    if request.form.get("action") == "remove":
        _, errors = attempt(lambda: client.remove_org_member(org_id=org.id, user_id=user_id))
    else:
        role = _role()
        _, errors = attempt(
            lambda: client.update_org_member(org_id=org.id, user_id=user_id, role=role)
        )
    if errors:
        return _one(org, mine, errors)
    return _after_change(slug, user_id)


def _after_change(slug: str, user_id: str) -> ResponseReturnValue:
    if user_id == me().id:  # may have removed themselves
        return go("organizations", done="members_saved")
    return go("organization", slug=slug, done="members_saved")


@pages.post("/organizations/<slug>/leave")
@login_required
def leave_organization(slug: str) -> ResponseReturnValue:
    """End one's own membership."""
    org, mine = _mine(slug)
    _, errors = attempt(
        lambda: state().native.remove_org_member(org_id=org.id, user_id=mine.user_id)
    )
    return _one(org, mine, errors) if errors else go("organizations", done="org_left")


@pages.route("/organizations/<slug>/delete", methods=["GET", "POST"])
@login_required
def delete_organization(slug: str) -> ResponseReturnValue:
    """Delete an organization."""
    org, _ = _owned(slug)
    if request.method == "GET":
        return show("delete_organization.html", org=org)
    if request.form.get("sure") != "yes":
        return show("delete_organization.html", status=400, org=org, unsure=True)
    state().native.delete_org(org_id=org.id)
    return go("organizations", done="org_deleted")


def _need_orgs() -> None:
    if not state().settings.orgs:
        abort(404)


def _mine(slug: str) -> tuple[OrgInfo, OrgMemberInfo]:
    """Return an organization and one's membership; 404 to everybody else, as if there was none."""
    _need_orgs()
    client = state().native
    try:
        org = client.get_org(slug=slug)
        return org, client.get_org_member(org_id=org.id, user_id=me().id)
    except (OrgNotFoundError, OrgMemberNotFoundError):
        abort(404)


def _owned(slug: str) -> tuple[OrgInfo, OrgMemberInfo]:
    org, mine = _mine(slug)
    if mine.role != OWNER:
        abort(show("refused.html", status=403, error=NotAllowedError()))
    return org, mine


def _role() -> str:
    role = request.form.get("role", "")
    if role not in ROLES:
        abort(400)
    return role


def _add(org: OrgInfo, email: str, role: str) -> OrgMemberInfo:
    user = state().native.find_user(email, asked_by=me().id)
    if user is None:
        raise UserNotFoundError
    return state().native.add_org_member(org_id=org.id, user_id=user.id, role=role)


def _list(
    errors: dict[str, AuthError] | None = None, name: str = "", slug: str = ""
) -> ResponseReturnValue:
    return show(
        "organizations.html",
        status=status_of(errors or {}),
        errors=errors,
        orgs=state().native.list_orgs(user_id=me().id, limit=_MOST),
        active=my_session().org_id,
        name=name,
        slug=slug,
    )


def _one(
    org: OrgInfo,
    mine: OrgMemberInfo,
    errors: dict[str, AuthError] | None = None,
    email: str = "",
) -> ResponseReturnValue:
    page = _members(org)
    users = [(member, _user_or_none(member)) for member in page.data]
    return show(
        "organization.html",
        status=status_of(errors or {}),
        errors=errors,
        org=org,
        mine=mine,
        members=[(member, user) for member, user in users if user is not None],
        next_cursor=page.next_cursor,
        active=my_session().org_id,
        roles=ROLES,
        email=email,
    )


def _members(org: OrgInfo) -> CursorResult[OrgMemberInfo]:
    after = request.args.get("after") or None
    try:
        return state().native.list_org_members_by_cursor(org_id=org.id, limit=_MOST, after=after)
    except InvalidCursorError:
        abort(404)


def _user_or_none(member: OrgMemberInfo) -> UserInfo | None:
    try:
        return state().native.get_user(member.user_id)
    except UserNotFoundError:  # deleted a moment ago
        return None
