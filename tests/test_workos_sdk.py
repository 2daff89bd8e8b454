"""The official SDK and this library against the same service: the same call for the same deed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import workos
from workos.organization_membership._resource import RoleSingle
from workos.user_management._resource import PasswordPlaintext

from derp_auth_lite.testing.workos import FakeWorkOS

from .support import PASSWORD, MovableClock
from .workos_support import ADA, PAGE, connected

AGENT = {"ip_address": "192.0.2.7", "user_agent": "Browser/1"}
CODE = "123456"


@pytest.fixture(scope="module")
def world():
    """One service; of each side a client; Ada, who has an organization; Bob, who has none."""
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(FakeWorkOS(clock=MovableClock()))
        ours = stack.enter_context(connected(service.config, service.clock))
        sdk = stack.enter_context(
            workos.WorkOSClient(
                api_key=service.api_key,
                client_id=service.client_id,
                base_url=service.url,
                max_retries=0,
            )
        )
        ada = ours.create_user(email=ADA, password=PASSWORD, confirmed=True)
        bob = ours.create_user(email="bob@example.com")
        org = ours.create_org(name="Engines", slug="engines", creator_id=ada.id)
        membership = service.environment.membership(org.id, ada.id)["id"]
        yield SimpleNamespace(**locals())


def users(w):
    return w.sdk.user_management


def orgs(w):
    return w.sdk.organizations


def members(w):
    return w.sdk.organization_membership


@dataclass(frozen=True)
class Deed:
    """What both sides do; *more* are calls of ours besides, and why they are made."""

    ours: Any
    theirs: Any
    more: tuple[str, ...] = ()
    why: str = ""


SIGNED_IN = ("GET /user_management/users/{}",)
WHY_SIGNED_IN = "answers to a sign-in lack the metadata, in which role and profile lie"
BY_SLUG = ("GET /organizations/external_id/engines",)
WHY_BY_SLUG = "the service changes an organization by its id alone"
READ = ("GET /user_management/users/{}",)
WHY_READ = "metadata is read and written whole, since nobody has shown whether it is merged"
FOUND = ("GET /user_management/organization_memberships",)
WHY_FOUND = "a membership is changed by an id that this interface does not know"
LAST_OWNER = "an organization keeps an owner, whom the service does not look after"

DEEDS = {
    "get_user": Deed(lambda w: w.ours.get_user(w.ada.id), lambda w: users(w).get_user(w.ada.id)),
    "find_user": Deed(
        lambda w: w.ours.find_user(ADA),
        lambda w: users(w).list_users(email=ADA, limit=1, order=None),
    ),
    "list_users": Deed(lambda w: w.ours.list_users(), lambda w: users(w).list_users(limit=100)),
    "list_users_by_cursor": Deed(
        lambda w: w.ours.list_users_by_cursor(limit=1), lambda w: users(w).list_users(limit=1)
    ),
    "the next page of users": Deed(
        lambda w: w.ours.list_users_by_cursor(limit=1, after=w.ours._lists.seal("users", "user_1")),
        lambda w: users(w).list_users(limit=1, after="user_1"),
    ),
    "create_user": Deed(
        lambda w: w.ours.create_user(
            email="new@example.com",
            password=PASSWORD,
            first_name="Ada",
            metadata={"plan": "free"},
        ),
        lambda w: users(w).create_user(
            email="new@example.com",
            password=PasswordPlaintext(PASSWORD),
            email_verified=False,
            first_name="Ada",
            metadata={"plan": "free"},
        ),
    ),
    "sign_up": Deed(
        lambda w: w.ours.sign_up(email="eve@example.com", password=PASSWORD, **AGENT),
        lambda w: (
            attempt(
                users(w).create_user,
                email="eve@example.com",
                password=PasswordPlaintext(PASSWORD),
            ),
            users(w).authenticate_with_password(
                email="eve@example.com", password=PASSWORD, **AGENT
            ),
        ),
        SIGNED_IN,
        WHY_SIGNED_IN,
    ),
    "update_user": Deed(
        lambda w: w.ours.update_user(user_id=w.bob.id, last_name="B"),
        lambda w: users(w).update_user(w.bob.id, last_name="B"),
        READ,
        WHY_READ,
    ),
    "update_user(email=)": Deed(
        lambda w: w.ours.update_user(user_id=w.bob.id, email="bo@example.com"),
        lambda w: users(w).update_user(w.bob.id, email="bo@example.com", email_verified=False),
        READ,
        WHY_READ,
    ),
    "set_password": Deed(
        lambda w: w.ours.set_password(user_id=w.bob.id, password=PASSWORD),
        lambda w: users(w).update_user(w.bob.id, password=PasswordPlaintext(PASSWORD)),
        ("GET /user_management/users/{}/sessions",),
        "sessions end with the old password",
    ),
    "delete_user": Deed(
        lambda w: w.ours.delete_user("user_1"),
        lambda w: users(w).delete_user("user_1"),
        FOUND,
        LAST_OWNER,
    ),
    "sign_in_with_password": Deed(
        lambda w: w.ours.sign_in_with_password(ADA, PASSWORD, **AGENT),
        lambda w: users(w).authenticate_with_password(email=ADA, password=PASSWORD, **AGENT),
        SIGNED_IN,
        WHY_SIGNED_IN,
    ),
    "sign_in_with_oauth": Deed(
        lambda w: w.ours.sign_in_with_oauth("google", "a code", **AGENT),
        lambda w: users(w).authenticate_with_code(code="a code", **AGENT),
    ),
    "refresh_token": Deed(
        lambda w: w.ours.refresh_token("a token"),
        lambda w: users(w).authenticate_with_refresh_token(refresh_token="a token"),
    ),
    "set_active_org": Deed(
        lambda w: w.ours.set_active_org(
            session_id="session_1", org_id=w.org.id, refresh_token="a token"
        ),
        lambda w: users(w).authenticate_with_refresh_token(
            refresh_token="a token", organization_id=w.org.id
        ),
    ),
    "sign_in_with_magic_link": Deed(
        lambda w: w.ours.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE),
        lambda w: users(w).create_magic_auth(email=ADA),
    ),
    "verify_magic_link": Deed(
        lambda w: w.ours.verify_magic_link(w.ours.magic_link_token(email=ADA, code=CODE), **AGENT),
        lambda w: users(w).authenticate_with_magic_auth(email=ADA, code=CODE, **AGENT),
        ("GET /user_management/users",),
        "who proves an address first drops what others set up over it",
    ),
    "request_password_recovery": Deed(
        lambda w: w.ours.request_password_recovery(email=ADA, recovery_url=PAGE),
        lambda w: users(w).reset_password(email=ADA),
    ),
    "reset_password": Deed(
        lambda w: w.ours.reset_password("a token", PASSWORD),
        lambda w: users(w).confirm_password_reset(token="a token", new_password=PASSWORD),
    ),
    "confirm_email": Deed(
        lambda w: w.ours.confirm_email(w.ours.confirmation_token(user_id=w.bob.id, code=CODE)),
        lambda w: users(w).verify_email(w.bob.id, code=CODE),
    ),
    "resend_confirmation_email": Deed(
        lambda w: w.ours.resend_confirmation_email(
            email="unproved@example.com", confirmation_url=PAGE
        ),
        lambda w: users(w).send_verification_email(
            w.service.environment.by_email("unproved@example.com")["id"]
        ),
        ("GET /user_management/users",),
        "this interface knows the address, the service wants the id",
    ),
    "complete_step(email verification)": Deed(
        lambda w: w.ours.complete_step("email_verification_required", "pending", code=CODE),
        lambda w: users(w).authenticate_with_email_verification(
            code=CODE, pending_authentication_token="pending"
        ),
    ),
    "complete_step(second factor)": Deed(
        lambda w: w.ours.complete_step("mfa_challenge", "pending", code=CODE, challenge_id="c1"),
        lambda w: users(w).authenticate_with_totp(
            code=CODE, pending_authentication_token="pending", authentication_challenge_id="c1"
        ),
    ),
    "complete_step(organization)": Deed(
        lambda w: w.ours.complete_step(
            "organization_selection_required", "pending", org_id=w.org.id
        ),
        lambda w: users(w).authenticate_with_organization_selection(
            pending_authentication_token="pending", organization_id=w.org.id
        ),
    ),
    "list_sessions": Deed(
        lambda w: w.ours.list_sessions(user_id=w.ada.id),
        lambda w: users(w).list_sessions(w.ada.id, limit=100),
    ),
    "sign_out": Deed(
        lambda w: w.ours.sign_out("session_1"),
        lambda w: users(w).revoke_session(session_id="session_1"),
    ),
    "create_org": Deed(
        lambda w: w.ours.create_org(
            name="New", slug="new", creator_id=w.ada.id, metadata={"plan": "free"}
        ),
        lambda w: (
            attempt(
                orgs(w).create_organization,
                name="New",
                external_id="new",
                metadata={"plan": "free"},
            ),
            members(w).create_organization_membership(
                user_id=w.ada.id,
                organization_id=w.ours.get_org(slug="new").id,
                role=RoleSingle("owner"),
            ),
        ),
        SIGNED_IN,
        "a creator who is nobody leaves no organization behind",
    ),
    "get_org": Deed(
        lambda w: w.ours.get_org(org_id=w.org.id), lambda w: orgs(w).get_organization(w.org.id)
    ),
    "get_org(slug=)": Deed(
        lambda w: w.ours.get_org(slug="engines"),
        lambda w: orgs(w).get_organization_by_external_id("engines"),
    ),
    "list_orgs": Deed(
        lambda w: w.ours.list_orgs(), lambda w: orgs(w).list_organizations(limit=100)
    ),
    "update_org": Deed(
        lambda w: w.ours.update_org(org_slug="engines", name="E", metadata={"plan": "free"}),
        lambda w: orgs(w).update_organization(w.org.id, name="E", metadata={"plan": "free"}),
        BY_SLUG,
        WHY_BY_SLUG,
    ),
    "delete_org": Deed(
        lambda w: w.ours.delete_org(org_id="org_1"),
        lambda w: orgs(w).delete_organization("org_1"),
    ),
    "add_org_member": Deed(
        lambda w: w.ours.add_org_member(org_id=w.org.id, user_id=w.bob.id, role="admin"),
        lambda w: members(w).create_organization_membership(
            user_id=w.bob.id, organization_id=w.org.id, role=RoleSingle("admin")
        ),
        SIGNED_IN,
        "an unknown user and an unknown organization are told apart",
    ),
    "update_org_member": Deed(
        lambda w: w.ours.update_org_member(org_id=w.org.id, user_id=w.ada.id, role="owner"),
        lambda w: members(w).update_organization_membership(w.membership, role=RoleSingle("owner")),
        FOUND,
        WHY_FOUND,
    ),
    "remove_org_member": Deed(
        lambda w: w.ours.remove_org_member(org_id=w.org.id, user_id=member_of(w).user_id),
        lambda w: members(w).delete_organization_membership(w.removed),
        FOUND,
        WHY_FOUND,
    ),
    "get_org_member": Deed(
        lambda w: w.ours.get_org_member(org_id=w.org.id, user_id=w.ada.id),
        lambda w: members(w).list_organization_memberships(
            organization_id=w.org.id, user_id=w.ada.id, limit=100
        ),
    ),
    "list_org_members": Deed(
        lambda w: w.ours.list_org_members(org_id=w.org.id),
        lambda w: members(w).list_organization_memberships(
            organization_id=w.org.id, limit=100, order="asc"
        ),
    ),
    "the keys": Deed(
        lambda w: w.ours._tokens._keys.key("unknown", "RS256"),
        lambda w: users(w).get_jwks(w.service.client_id),
    ),
}


def member_of(w):
    """Return a membership that the next call removes."""
    user = w.service.environment.add_user({"email": "gone@example.com"})
    row = w.service.environment.add_membership(
        {"organization_id": w.org.id, "user_id": user["id"], "role_slug": "member"}
    )
    w.removed = row["id"]
    return SimpleNamespace(user_id=user["id"])


def attempt(function, **arguments):
    """Call what may be refused: what was sent is what counts."""
    with contextlib.suppress(workos.WorkOSError):
        function(**arguments)


def recorded(world, function):
    """Return what a deed sent: method, path, query and body."""
    before = len(world.service.calls)
    with contextlib.suppress(Exception):
        function(world)
    return [(c.method, c.path, c.query, c.body) for c in world.service.calls[before:]]


def outline(call):
    """Return method and path, with ids left out."""
    parts = ["{}" if "_0" in part else part for part in call[1].split("/")]
    return f"{call[0]} {'/'.join(parts)}"


@pytest.mark.parametrize("name", DEEDS)
def test_both_send_the_same(world, name):
    if name == "resend_confirmation_email":
        world.service.environment.add_user({"email": "unproved@example.com"})
    deed = DEEDS[name]
    ours, theirs = recorded(world, deed.ours), recorded(world, deed.theirs)

    assert theirs, "the SDK sent nothing"
    if name == "create_org":  # what finds the organization for the SDK is ours
        theirs = [call for call in theirs if "external_id" not in call[1]]
        ours[-1][3]["organization_id"] = theirs[-1][3]["organization_id"]
    for call in theirs:
        assert call in ours
        ours.remove(call)
    assert tuple(map(outline, ours)) == deed.more
    assert bool(deed.why) == bool(deed.more)


def test_every_deed_of_the_sdk_that_both_have_is_compared(world):
    """What the SDK sends below these paths, and this library does too, is in the table."""
    paths = {outline(call) for deed in DEEDS.values() for call in recorded(world, deed.theirs)}
    assert len(paths) >= 22


@pytest.mark.parametrize("scopes", [None, ["repo", "user"]])
def test_both_send_browsers_to_the_same_page(world, scopes):
    more = {} if scopes is None else {"provider_scopes": scopes}
    theirs = users(world).get_authorization_url(
        redirect_uri=PAGE, provider="GoogleOAuth", state="a state", **more
    )
    ours = world.ours.get_oauth_authorization_url("google", "a state", scopes, PAGE)
    assert parts(ours) == parts(theirs)


def test_both_guard_a_code_alike(world):
    """PKCE: a challenge and its method in the URL, the verifier with the code."""
    theirs = users(world).get_authorization_url_with_pkce(redirect_uri=PAGE, provider="authkit")
    ours = world.ours.start_oauth("authkit", redirect_uri=PAGE)
    assert parts(ours.url)[1].keys() == parts(theirs["url"])[1].keys()
    verifier = theirs["code_verifier"]
    sent = recorded(
        world,
        lambda w: users(w).authenticate_with_code_pkce(code="x", code_verifier=verifier),
    )
    back = recorded(world, lambda w: w.ours.sign_in_with_oauth("authkit", "x", state=ours.state))
    assert sent[0][3].keys() == back[0][3].keys()
    assert len(sent[0][3]["code_verifier"]) == len(back[0][3]["code_verifier"]) == 43


def parts(url):
    split = urlsplit(url)
    return (split.scheme, split.netloc, split.path), dict(parse_qsl(split.query))
