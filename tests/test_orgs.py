"""Organizations, members and the active organization, on SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid

import peewee
import psycopg
import pytest

from derp_auth_lite._statements import Statement
from derp_auth_lite._tables import Event, Organization, OrgMember, Session
from derp_auth_lite.exceptions import (
    AuthBackendError,
    InvalidCursorError,
    InvalidProfileError,
    InvalidTokenError,
    LastOwnerError,
    MemberAlreadyExistsError,
    OrgMemberNotFoundError,
    OrgMismatchError,
    OrgNotFoundError,
    OrgSlugConflictError,
    UserNotFoundError,
)
from derp_auth_lite.models import OrgInfo, OrgMemberInfo

from .support import PASSWORD, Request, native_client

NOBODY = "00000000-0000-4000-8000-000000000000"
LONG = "x" * 10_000

EVENTS = Statement(
    lambda: Event.select(Event.action, Event.user_id, Event.details).order_by(Event.created_at)
)
LEFT_OVER = Statement(
    lambda: OrgMember.select(OrgMember.user_id).where(
        OrgMember.org.not_in(Organization.select(Organization.id))
    )
)
ACTIVE_ORGS = Statement(lambda: Session.select(Session.org_id).where(Session.org_id.is_null(False)))


def sign_up(auth, name):
    return auth.sign_up(email=f"{name}@example.com", password=PASSWORD)


@pytest.fixture
def ada(auth):
    """Somebody who is signed in, and owns the organization."""
    return sign_up(auth, "ada")


@pytest.fixture
def bob(auth):
    """Somebody who is signed in, and belongs nowhere."""
    return sign_up(auth, "bob")


@pytest.fixture
def org(auth, ada):
    return auth.create_org(name="Acme", slug="acme", creator_id=ada.user.id)


def session_of(auth, tokens):
    return auth.authenticate(Request(tokens.access_token))


def switch(auth, person, org_id):
    session_id = session_of(auth, person.tokens).session_id
    return auth.set_active_org(session_id=session_id, org_id=org_id)


def place(auth, tokens):
    """Where the next request finds its sender: the organization, and the role in it."""
    session = session_of(auth, tokens)
    return session.org_id, session.org_role


def roles(auth, org):
    return {member.user_id: member.role for member in auth.list_org_members(org_id=org.id)}


class TestOrganizations:
    def test_a_new_organization_has_what_was_given_and_its_creator_as_owner(self, auth, ada, clock):
        org = auth.create_org(
            name="  Acme  Inc. ", slug="acme", creator_id=ada.user.id, metadata={"plan": "free"}
        )
        assert org == OrgInfo(
            id=org.id,
            name="Acme  Inc.",
            slug="acme",
            metadata={"plan": "free"},
            created_at=clock.now,
            updated_at=clock.now,
        )
        assert auth.list_org_members(org_id=org.id) == [
            OrgMemberInfo(
                org_id=org.id,
                user_id=ada.user.id,
                role="owner",
                created_at=clock.now,
                updated_at=clock.now,
            )
        ]

    def test_it_is_found_by_id_in_either_form_and_by_slug(self, auth, org):
        assert auth.get_org(org_id=org.id) == org
        assert auth.get_org(org_id=uuid.UUID(org.id)) == org
        assert auth.get_org(org_id=org.id.upper()) == org
        assert auth.get_org(slug="acme") == org
        for slug in ("other", "ACME", "acme\n", "", "\x00", "\ud800", LONG):
            with pytest.raises(OrgNotFoundError):
                auth.get_org(slug=slug)

    def test_what_is_changed_changes_and_the_rest_stays(self, auth, org, clock):
        clock.advance(hours=1)
        renamed = auth.update_org(org_id=org.id, name=" Acme 2 ")
        assert renamed.name == "Acme 2"
        assert (renamed.slug, renamed.metadata) == (org.slug, org.metadata)
        assert (renamed.created_at, renamed.updated_at) == (org.created_at, clock.now)
        moved = auth.update_org(org_slug="acme", slug="acme-2", metadata={"a": [1]})
        assert (moved.name, moved.slug, moved.metadata) == ("Acme 2", "acme-2", {"a": [1]})
        assert auth.get_org(slug="acme-2") == moved
        with pytest.raises(OrgNotFoundError):
            auth.get_org(slug="acme")

    def test_a_slug_is_taken_once(self, auth, ada, org):
        with pytest.raises(OrgSlugConflictError) as conflict:
            auth.create_org(name="Other", slug="acme", creator_id=ada.user.id)
        assert conflict.value.slug == "acme"
        other = auth.create_org(name="Other", slug="other", creator_id=ada.user.id)
        with pytest.raises(OrgSlugConflictError) as conflict:
            auth.update_org(org_id=other.id, name="New", slug="acme")
        assert conflict.value.slug == "acme"
        assert auth.get_org(org_id=other.id) == other
        assert auth.update_org(org_id=org.id, slug="acme").slug == "acme"

    def test_deleting_ends_its_memberships_and_frees_its_slug(self, auth, ada, bob, org):
        auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        assert auth.delete_org(slug="acme") is True
        assert auth.delete_org(slug="acme") is False
        assert auth.delete_org(org_id=org.id) is False
        assert auth.list_orgs() == auth.list_orgs(user_id=bob.user.id) == []
        assert auth._db.fetch(LEFT_OVER) == []
        assert auth.create_org(name="Acme", slug="acme", creator_id=bob.user.id).id != org.id

    def test_organizations_are_listed_newest_first_of_all_or_of_a_user(self, auth, ada, bob, clock):
        orgs = []
        for number in range(4):
            clock.advance(minutes=1)
            orgs.insert(0, auth.create_org(name="x", slug=f"o{number}", creator_id=ada.user.id))
        for org in (orgs[1], orgs[3], orgs[0]):
            clock.advance(minutes=1)
            auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        assert auth.list_orgs() == orgs
        assert auth.list_orgs(limit=2, offset=1) == orgs[1:3]
        # By the age of the organization, not of the membership.
        assert auth.list_orgs(user_id=bob.user.id) == [orgs[0], orgs[1], orgs[3]]
        assert auth.list_orgs(user_id=bob.user.id, limit=1, offset=1) == [orgs[1]]
        assert auth.list_orgs(user_id=NOBODY) == auth.list_orgs(user_id="nobody") == []


class TestMembers:
    def test_a_member_is_added_found_changed_and_removed(self, auth, bob, org, clock):
        clock.advance(minutes=1)
        added = auth.add_org_member(slug="acme", user_id=bob.user.id)
        assert added == OrgMemberInfo(
            org_id=org.id,
            user_id=bob.user.id,
            role="member",
            created_at=clock.now,
            updated_at=clock.now,
        )
        assert auth.get_org_member(org_id=org.id, user_id=uuid.UUID(bob.user.id)) == added
        clock.advance(minutes=1)
        changed = auth.update_org_member(slug="acme", user_id=bob.user.id, role="billing")
        assert (changed.role, changed.created_at) == ("billing", added.created_at)
        assert changed.updated_at == clock.now
        assert auth.get_org_member(slug="acme", user_id=bob.user.id) == changed
        assert auth.remove_org_member(slug="acme", user_id=bob.user.id) is True
        assert auth.remove_org_member(slug="acme", user_id=bob.user.id) is False
        with pytest.raises(OrgMemberNotFoundError):
            auth.get_org_member(slug="acme", user_id=bob.user.id)

    def test_members_are_listed_oldest_first(self, auth, ada, bob, org, clock):
        clock.advance(minutes=1)
        auth.add_org_member(slug="acme", user_id=bob.user.id)
        assert list(roles(auth, org)) == [ada.user.id, bob.user.id]
        (second,) = auth.list_org_members(slug="acme", limit=1, offset=1)
        assert second.user_id == bob.user.id

    def test_a_membership_exists_once(self, auth, bob, org):
        auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        with pytest.raises(MemberAlreadyExistsError):
            auth.add_org_member(org_id=org.id, user_id=bob.user.id, role="owner")
        assert roles(auth, org)[bob.user.id] == "member"

    def test_ownership_can_be_handed_over(self, auth, ada, bob, org):
        auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        auth.update_org_member(org_id=org.id, user_id=bob.user.id, role="owner")
        auth.update_org_member(org_id=org.id, user_id=ada.user.id, role="member")
        assert auth.remove_org_member(org_id=org.id, user_id=ada.user.id) is True
        assert roles(auth, org) == {bob.user.id: "owner"}

    def test_an_owner_may_be_named_owner_again(self, auth, ada, org):
        again = auth.update_org_member(org_id=org.id, user_id=ada.user.id, role="owner")
        assert again.role == "owner"

    def test_deleting_a_user_ends_their_memberships(self, auth, bob, org):
        auth.add_org_member(org_id=org.id, user_id=bob.user.id, role="owner")
        assert auth.delete_user(bob.user.id) is True
        assert bob.user.id not in roles(auth, org)
        assert auth.list_orgs(user_id=bob.user.id) == []


class TestActiveOrganization:
    def test_a_member_switches_and_only_then_has_an_organization(self, auth, ada, org):
        session = session_of(auth, ada.tokens)
        assert (session.org_id, session.org_role) == (None, None)
        tokens = switch(auth, ada, org.id)
        session = session_of(auth, tokens)
        assert (session.org_id, session.org_role) == (org.id, "owner")
        assert auth.is_org_authorized(session, org.id, "owner", "admin")
        assert not auth.is_org_authorized(session, org.id, "member")
        assert auth.is_same_org(session, uuid.UUID(org.id))
        auth.assert_same_org(session, org.id)
        with pytest.raises(OrgMismatchError):
            auth.assert_same_org(session, NOBODY)

    def test_the_token_itself_carries_organization_and_role(self, auth, make_auth, ada, org):
        stateless = make_auth(jwt={"verify": "stateless"})
        session = session_of(stateless, switch(auth, ada, org.id))
        assert (session.org_id, session.org_role) == (org.id, "owner")

    def test_the_refresh_token_is_the_present_one_and_is_not_spent(self, auth, ada, org):
        tokens = switch(auth, ada, org.id)
        assert tokens.refresh_token == ada.tokens.refresh_token
        rotated = auth.refresh_token(tokens.refresh_token)
        assert rotated.refresh_token != tokens.refresh_token
        assert switch(auth, ada, None).refresh_token == rotated.refresh_token

    def test_none_leaves_the_organization(self, auth, ada, org):
        switch(auth, ada, org.id)
        tokens = switch(auth, ada, None)
        assert place(auth, tokens) == (None, None)

    def test_each_session_has_an_organization_of_its_own(self, auth, ada, org):
        other = auth.sign_in_with_password("ada@example.com", PASSWORD)
        switch(auth, ada, org.id)
        assert place(auth, ada.tokens) == (org.id, "owner")
        assert place(auth, other.tokens) == (None, None)
        assert {session.org_id for session in auth.list_sessions()} == {None, org.id}

    def test_who_is_no_member_cannot_switch(self, auth, bob, org):
        for org_id in (org.id, NOBODY, "no uuid", "", 7):
            with pytest.raises(OrgMemberNotFoundError):
                switch(auth, bob, org_id)
        assert place(auth, bob.tokens) == (None, None)

    def test_a_refresh_token_that_is_given_must_be_the_sessions(self, auth, ada, bob, org):
        mine = session_of(auth, ada.tokens).session_id
        given = {"session_id": mine, "org_id": org.id}
        for token in (bob.tokens.refresh_token, "", "x", ada.tokens.access_token):
            with pytest.raises(InvalidTokenError):
                auth.set_active_org(**given, refresh_token=token)
        assert auth.set_active_org(**given, refresh_token=ada.tokens.refresh_token)

    def test_a_changed_role_shows_at_the_next_request(self, auth, bob, org):
        auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        tokens = switch(auth, bob, org.id)
        auth.update_org_member(org_id=org.id, user_id=bob.user.id, role="admin")
        assert place(auth, tokens) == (org.id, "admin")

    def test_a_membership_that_ended_is_gone_at_the_next_request_and_does_not_come_back(
        self, auth, bob, org
    ):
        auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        tokens = switch(auth, bob, org.id)
        auth.remove_org_member(org_id=org.id, user_id=bob.user.id)
        assert place(auth, tokens) == (None, None)
        auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        assert place(auth, tokens) == (None, None)

    def test_others_keep_it_when_one_membership_ends(self, auth, ada, bob, org):
        auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        tokens = switch(auth, ada, org.id)
        switch(auth, bob, org.id)
        auth.remove_org_member(org_id=org.id, user_id=bob.user.id)
        assert place(auth, tokens) == (org.id, "owner")

    def test_a_deleted_organization_is_taken_out_of_every_session(self, auth, ada, bob, org):
        other = auth.create_org(name="Other", slug="other", creator_id=bob.user.id)
        auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        second = auth.sign_in_with_password("bob@example.com", PASSWORD)
        switch(auth, ada, org.id)
        switch(auth, bob, org.id)
        switch(auth, second, other.id)
        auth.delete_org(org_id=org.id)
        assert place(auth, ada.tokens) == place(auth, bob.tokens) == (None, None)
        assert place(auth, second.tokens) == (other.id, "owner")
        assert [str(org_id) for (org_id,) in auth._db.fetch(ACTIVE_ORGS)] == [other.id]


# Mistakes of the async original, by their number in the table that the library was built against.


def test_row_13_a_session_that_is_over_or_disabled_cannot_switch(auth, ada, bob, org, clock):
    session_id = session_of(auth, ada.tokens).session_id
    auth.add_org_member(org_id=org.id, user_id=bob.user.id)
    bobs = session_of(auth, bob.tokens).session_id
    auth.update_user(user_id=bob.user.id, is_active=False)
    for dead in (bobs, NOBODY, "no uuid", None):
        for org_id in (org.id, None):
            with pytest.raises(InvalidTokenError):
                auth.set_active_org(session_id=dead, org_id=org_id)
    clock.advance(days=7, seconds=-1)
    auth.set_active_org(session_id=session_id, org_id=org.id)
    clock.advance(seconds=2)
    for org_id in (org.id, None):
        with pytest.raises(InvalidTokenError):
            auth.set_active_org(session_id=session_id, org_id=org_id)


def test_row_13_a_disabled_user_whose_session_outlived_it_cannot_switch(auth, ada, org):
    """Ending the sessions and asking who is active are two locks; each holds alone."""
    session_id = session_of(auth, ada.tokens).session_id
    auth._accounts.update(ada.user.id, {"is_active": False})
    with pytest.raises(InvalidTokenError):
        auth.set_active_org(session_id=session_id, org_id=org.id)
    assert auth._sessions.set_org(session_id, org.id) is None


def test_row_17_refresh_keeps_the_organization_and_its_present_role(auth, bob, org):
    auth.add_org_member(org_id=org.id, user_id=bob.user.id)
    tokens = switch(auth, bob, org.id)
    auth.update_org_member(org_id=org.id, user_id=bob.user.id, role="admin")
    tokens = auth.refresh_token(tokens.refresh_token)
    claims = auth._access_tokens.verify(tokens.access_token)
    assert (claims.org_id, claims.org_role) == (org.id, "admin")
    assert place(auth, tokens) == (org.id, "admin")
    again = auth.refresh_token(tokens.refresh_token)
    assert place(auth, again) == (org.id, "admin")


@pytest.mark.parametrize("end", ["remove_org_member", "delete_org"])
def test_row_17_refresh_drops_an_organization_that_the_user_left(auth, bob, org, end):
    auth.add_org_member(org_id=org.id, user_id=bob.user.id)
    tokens = switch(auth, bob, org.id)
    member = {"user_id": bob.user.id} if end == "remove_org_member" else {}
    getattr(auth, end)(org_id=org.id, **member)
    tokens = auth.refresh_token(tokens.refresh_token)
    claims = auth._access_tokens.verify(tokens.access_token)
    assert (claims.org_id, claims.org_role) == (None, None)


@pytest.mark.parametrize("others", [(), ("member", "admin")], ids=["alone", "with others"])
def test_row_24_the_last_owner_stays(auth, ada, org, others):
    for role in others:
        auth.add_org_member(
            org_id=org.id, user_id=sign_up(auth, f"{role}-of-acme").user.id, role=role
        )
    tokens = switch(auth, ada, org.id)
    for act in (
        lambda: auth.remove_org_member(org_id=org.id, user_id=ada.user.id),
        lambda: auth.update_org_member(org_id=org.id, user_id=ada.user.id, role="admin"),
        lambda: auth.update_org_member(org_id=org.id, user_id=ada.user.id, role="Owner"),
        lambda: auth.delete_user(ada.user.id),
    ):
        with pytest.raises(LastOwnerError) as refusal:
            act()
        assert refusal.value.orgs == (org.id,)
    assert roles(auth, org)[ada.user.id] == "owner"
    assert auth.get_user(ada.user.id)
    assert place(auth, tokens) == (org.id, "owner")
    auth.delete_org(org_id=org.id)
    assert auth.delete_user(ada.user.id) is True


def test_row_24_deleting_a_user_names_every_organization_that_would_have_no_owner(
    auth, ada, bob, org
):
    alone = [auth.create_org(name="x", slug=f"x{n}", creator_id=ada.user.id).id for n in range(3)]
    auth.add_org_member(org_id=alone[0], user_id=bob.user.id)
    auth.add_org_member(org_id=org.id, user_id=bob.user.id, role="owner")
    bobs = auth.create_org(name="Bob's", slug="bobs", creator_id=bob.user.id)
    auth.add_org_member(org_id=bobs.id, user_id=ada.user.id)
    with pytest.raises(LastOwnerError) as refusal:
        auth.delete_user(ada.user.id)
    assert sorted(refusal.value.orgs) == sorted(alone)
    assert len(auth.list_orgs(user_id=ada.user.id)) == 5


@contextlib.contextmanager
def missing(database, table):
    """Take a table away, so that the statement which needs it fails as a database does."""

    def rename(old, new):
        with contextlib.closing(
            psycopg.connect(database, autocommit=True)
            if database.startswith("postgres")
            else sqlite3.connect(database, isolation_level=None)
        ) as connection:
            connection.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename(table, "taken_away")
    try:
        yield
    finally:
        rename("taken_away", table)


def test_row_25_a_fault_after_the_first_step_leaves_no_organization(auth, ada, database):
    with missing(database, "auth_org_members"), pytest.raises(AuthBackendError):
        auth.create_org(name="Acme", slug="acme", creator_id=ada.user.id)
    assert auth.list_orgs() == []
    assert auth.create_org(name="Acme", slug="acme", creator_id=ada.user.id)


def test_row_25_an_act_and_its_event_are_kept_or_lost_together(auth, ada, bob, org, database):
    auth.add_org_member(org_id=org.id, user_id=bob.user.id)
    switch(auth, bob, org.id)
    bobs = session_of(auth, bob.tokens).session_id

    def state():
        return auth.list_orgs(), auth.list_org_members(org_id=org.id), auth.list_sessions()

    before = state()
    with missing(database, "auth_events"):
        for act in (
            lambda: auth.create_org(name="Other", slug="other", creator_id=ada.user.id),
            lambda: auth.update_org(org_id=org.id, name="Other"),
            lambda: auth.delete_org(org_id=org.id),
            lambda: auth.add_org_member(org_id=org.id, user_id=sign_up(auth, "cyd").user.id),
            lambda: auth.update_org_member(org_id=org.id, user_id=bob.user.id, role="admin"),
            lambda: auth.remove_org_member(org_id=org.id, user_id=bob.user.id),
            lambda: auth.set_active_org(session_id=bobs, org_id=None),
            lambda: auth.delete_user(bob.user.id),
        ):
            with pytest.raises(AuthBackendError):
                act()
    assert state() == before


def test_row_33_what_is_wrong_has_an_error_of_its_own(auth, ada, bob, org):
    """The original took every failure for a slug conflict, and let foreign keys speak."""
    auth.add_org_member(org_id=org.id, user_id=bob.user.id)
    for error, act in (
        (UserNotFoundError, lambda: auth.create_org(name="x", slug="x", creator_id=NOBODY)),
        (UserNotFoundError, lambda: auth.add_org_member(org_id=org.id, user_id=NOBODY)),
        (OrgNotFoundError, lambda: auth.add_org_member(org_id=NOBODY, user_id=bob.user.id)),
        (MemberAlreadyExistsError, lambda: auth.add_org_member(slug="acme", user_id=bob.user.id)),
        (
            OrgMemberNotFoundError,
            lambda: auth.update_org_member(slug="acme", user_id=NOBODY, role="x"),
        ),
        (TypeError, lambda: auth.create_org(name="x", slug="x", creator_id=ada.user.id, plan="x")),
        (TypeError, lambda: auth.update_org(org_id=org.id, plan="x")),
    ):
        with pytest.raises(error):
            act()
    assert auth.list_orgs() == [org]
    assert len(roles(auth, org)) == 2


BY_ID_OR_SLUG = (
    "get_org", "delete_org", "add_org_member", "update_org_member", "remove_org_member",
    "list_org_members", "get_org_member", "list_org_members_by_cursor", "update_org",
)  # fmt: skip
MORE = {
    "add_org_member": {"user_id": NOBODY},
    "update_org_member": {"user_id": NOBODY, "role": "x"},
    "remove_org_member": {"user_id": NOBODY},
    "get_org_member": {"user_id": NOBODY},
}
IDS = (NOBODY, uuid.UUID(NOBODY), "", "no uuid", "../x", "1", "\x00", LONG, "\ud800", 7, b"x")


class TestBadInput:
    @pytest.mark.parametrize("method", BY_ID_OR_SLUG)
    def test_exactly_one_of_id_and_slug_is_given(self, auth, org, method):
        slug = "org_slug" if method == "update_org" else "slug"
        for given in ({}, {"org_id": org.id, slug: "acme"}):
            with pytest.raises(ValueError, match=f"exactly one of org_id and {slug}"):
                getattr(auth, method)(**given, **MORE.get(method, {}))

    @pytest.mark.parametrize("org_id", IDS, ids=lambda value: repr(value)[:30])
    def test_an_id_that_nothing_has_is_not_found_whatever_it_is(self, auth, ada, org, org_id):
        more = {**MORE, "add_org_member": {"user_id": ada.user.id}}
        for method in BY_ID_OR_SLUG:
            call = getattr(auth, method)
            if method in {"delete_org", "remove_org_member"}:
                assert call(org_id=org_id, **more.get(method, {})) is False
            else:
                with pytest.raises(OrgNotFoundError):
                    call(org_id=org_id, **more.get(method, {}))
        assert auth.list_orgs() == [org]

    @pytest.mark.parametrize("user_id", [*IDS, None], ids=lambda value: repr(value)[:30])
    def test_an_id_that_nobody_has_is_not_found_whatever_it_is(self, auth, org, user_id):
        with pytest.raises(UserNotFoundError):
            auth.create_org(name="x", slug="x", creator_id=user_id)
        with pytest.raises(UserNotFoundError):
            auth.add_org_member(org_id=org.id, user_id=user_id)
        with pytest.raises(OrgMemberNotFoundError):
            auth.update_org_member(org_id=org.id, user_id=user_id, role="x")
        with pytest.raises(OrgMemberNotFoundError):
            auth.get_org_member(org_id=org.id, user_id=user_id)
        assert auth.remove_org_member(org_id=org.id, user_id=user_id) is False
        if user_id is not None:
            assert auth.list_orgs(user_id=user_id) == []
            page = auth.list_orgs_by_cursor(user_id=user_id)
            assert (page.data, page.has_more, page.next_cursor) == ([], False, None)
        assert auth.list_orgs() == [org]

    @pytest.mark.parametrize(
        ("error", "fields"),
        [
            (InvalidProfileError, {"slug": ""}),
            (InvalidProfileError, {"slug": "x" * 64}),
            (InvalidProfileError, {"slug": "Acme"}),
            (InvalidProfileError, {"slug": "a_b"}),
            (InvalidProfileError, {"slug": "a b"}),
            (InvalidProfileError, {"slug": "ab\n"}),
            (InvalidProfileError, {"slug": "\u00e9"}),
            (InvalidProfileError, {"slug": "a/../b"}),
            (InvalidProfileError, {"slug": "a\x00"}),
            (TypeError, {"slug": 7}),
            (TypeError, {"slug": b"acme"}),
            (InvalidProfileError, {"name": ""}),
            (InvalidProfileError, {"name": " \t\n"}),
            (InvalidProfileError, {"name": "x" * 256}),
            (InvalidProfileError, {"name": "a\x00"}),
            (InvalidProfileError, {"name": "\ud800"}),
            (TypeError, {"name": 7}),
            (TypeError, {"name": b"Acme"}),
            (TypeError, {"metadata": None}),
            (TypeError, {"metadata": []}),
            (TypeError, {"metadata": {"a": object()}}),
            (TypeError, {"metadata": {"a": float("inf")}}),
            (InvalidProfileError, {"metadata": {"a": "x" * 70_000}}),
            (InvalidProfileError, {"metadata": {"a\x00": 1}}),
            (InvalidProfileError, {"metadata": {"a": ["\udc00"]}}),
            (TypeError, {"id": NOBODY}),
            (TypeError, {"created_at": None}),
            (TypeError, {"owner": "x"}),
        ],
        ids=lambda value: repr(value)[:30],
    )
    def test_what_cannot_be_kept_is_refused_and_changes_nothing(
        self, auth, ada, org, error, fields
    ):
        with pytest.raises(error):
            auth.create_org(**{"name": "x", "slug": "x", "creator_id": ada.user.id, **fields})
        with pytest.raises(error):
            auth.update_org(org_id=org.id, **fields)
        assert auth.list_orgs() == [org]

    def test_none_is_no_name_and_no_slug_of_a_new_organization(self, auth, ada):
        for missing_field in ("name", "slug"):
            with pytest.raises(TypeError):
                auth.create_org(
                    **{"name": "x", "slug": "x", "creator_id": ada.user.id, missing_field: None}
                )

    def test_the_widest_values_are_kept(self, auth, ada):
        fields = {"name": "\U0001f600" * 255, "slug": "-0" * 31 + "z", "metadata": {"\u00e9": "\n"}}
        org = auth.create_org(creator_id=ada.user.id, **fields)
        assert auth.get_org(slug=fields["slug"]) == org
        assert {name: getattr(org, name) for name in fields} == fields

    @pytest.mark.parametrize(
        ("error", "role"),
        [
            (InvalidProfileError, ""),
            (InvalidProfileError, "  "),
            (InvalidProfileError, "x" * 51),
            (InvalidProfileError, "a\x00"),
            (InvalidProfileError, "\ud800"),
            (TypeError, None),
            (TypeError, 7),
        ],
        ids=lambda value: repr(value)[:30],
    )
    def test_a_role_that_cannot_be_kept_is_refused(self, auth, ada, bob, org, error, role):
        with pytest.raises(error):
            auth.add_org_member(org_id=org.id, user_id=bob.user.id, role=role)
        with pytest.raises(error):
            auth.update_org_member(org_id=org.id, user_id=ada.user.id, role=role)
        assert roles(auth, org) == {ada.user.id: "owner"}

    @pytest.mark.parametrize("value", [-1, 1.0, "1", True])
    def test_a_limit_or_offset_that_is_no_count_is_a_mistake_of_the_program(self, auth, org, value):
        for call in (
            lambda: auth.list_orgs(limit=value),
            lambda: auth.list_orgs(offset=value),
            lambda: auth.list_org_members(org_id=org.id, limit=value),
            lambda: auth.list_orgs_by_cursor(limit=value),
            lambda: auth.list_org_members_by_cursor(org_id=org.id, limit=value),
        ):
            with pytest.raises((TypeError, ValueError)):
                call()

    @pytest.mark.parametrize("cursor", ["", "x", LONG, "\ud800", 7, "A" * 75])
    def test_what_is_no_cursor_is_a_typed_error(self, auth, ada, org, cursor):
        for call in (
            lambda: auth.list_orgs_by_cursor(after=cursor),
            lambda: auth.list_orgs_by_cursor(user_id=ada.user.id, after=cursor),
            lambda: auth.list_orgs_by_cursor(user_id="nobody", after=cursor),
            lambda: auth.list_org_members_by_cursor(org_id=org.id, after=cursor),
        ):
            with pytest.raises(InvalidCursorError):
                call()


def test_what_happened_is_on_record(auth, ada, bob, clock):
    def act(call):
        clock.advance(seconds=1)
        return call()

    given = {"org_id": act(lambda: auth.create_org(name="x", slug="x", creator_id=ada.user.id)).id}
    act(lambda: auth.update_org(**given, name="y"))
    act(lambda: auth.add_org_member(**given, user_id=bob.user.id))
    act(lambda: auth.update_org_member(**given, user_id=bob.user.id, role="admin"))
    act(lambda: switch(auth, bob, given["org_id"]))
    act(lambda: auth.remove_org_member(**given, user_id=bob.user.id))
    act(lambda: auth.delete_org(**given))
    told = [
        (action, None if user_id is None else str(user_id))
        for action, user_id, details in auth._db.fetch(EVENTS)
        if given["org_id"] in str(details)
    ]
    assert told == [
        ("org_created", ada.user.id),
        ("org_updated", None),
        ("member_added", bob.user.id),
        ("member_role_changed", bob.user.id),
        ("active_org_changed", bob.user.id),
        ("member_removed", bob.user.id),
        ("org_deleted", None),
    ]


class TestApplicationsOwnTransaction:
    @pytest.fixture(params=["sqlite", "postgresql"])
    def application(self, request, tmp_path):
        """A database of the application, opened in its own way: foreign keys are not enforced."""
        if request.param == "sqlite":
            database = peewee.SqliteDatabase(tmp_path / "application.db")
        else:
            url = request.getfixturevalue("new_postgres_url")
            database = peewee.PostgresqlDatabase(url, prefer_psycopg3=True)
        yield database
        if not database.is_closed():
            database.close()

    @pytest.fixture
    def own(self, application, clock):
        with native_client(application, clock) as auth:
            yield auth

    def test_organizations_are_made_and_changed_with_the_applications_rows_or_not_at_all(
        self, own, application
    ):
        ada, bob = sign_up(own, "ada"), sign_up(own, "bob")
        kept = own.create_org(name="Kept", slug="kept", creator_id=ada.user.id)
        with pytest.raises(ZeroDivisionError), application.atomic():
            org = own.create_org(name="Acme", slug="acme", creator_id=ada.user.id)
            own.add_org_member(org_id=org.id, user_id=bob.user.id)
            for taken in ("kept", "acme"):
                with pytest.raises(OrgSlugConflictError):
                    own.create_org(name="x", slug=taken, creator_id=bob.user.id)
            with pytest.raises(OrgSlugConflictError):
                own.update_org(org_id=org.id, slug="kept")
            with pytest.raises(MemberAlreadyExistsError):
                own.add_org_member(org_id=org.id, user_id=bob.user.id)
            with pytest.raises(LastOwnerError):
                own.remove_org_member(org_id=org.id, user_id=ada.user.id)
            with pytest.raises(LastOwnerError):
                own.delete_user(ada.user.id)
            own.delete_org(org_id=kept.id)
            assert [each.slug for each in own.list_orgs()] == ["acme"]
            _ = 1 / 0
        assert own.list_orgs() == [kept]
        with application.atomic():
            own.delete_org(org_id=kept.id)
            own.create_org(name="Acme", slug="acme", creator_id=ada.user.id)
        assert [each.slug for each in own.list_orgs(user_id=ada.user.id)] == ["acme"]
        assert own._db.fetch(LEFT_OVER) == []

    def test_a_switch_that_is_refused_leaves_the_session_where_it_was(self, own, application):
        ada, bob = sign_up(own, "ada"), sign_up(own, "bob")
        mine = own.create_org(name="Mine", slug="mine", creator_id=ada.user.id)
        theirs = own.create_org(name="Theirs", slug="theirs", creator_id=bob.user.id)
        switch(own, ada, mine.id)
        for org_id in (theirs.id, NOBODY, "no uuid"):
            with pytest.raises(OrgMemberNotFoundError):
                switch(own, ada, org_id)
            with application.atomic(), pytest.raises(OrgMemberNotFoundError):
                switch(own, ada, org_id)
        assert [str(org_id) for (org_id,) in own._db.fetch(ACTIVE_ORGS)] == [mine.id]
