"""Organizations, their members, and the one that a session has active."""

from __future__ import annotations

from typing import Any

import pytest

from ...exceptions import (
    InvalidTokenError,
    LastOwnerError,
    MemberAlreadyExistsError,
    OrgMemberNotFoundError,
    OrgMismatchError,
    OrgNotFoundError,
    OrgSlugConflictError,
    UserNotFoundError,
)
from ...models import OrgInfo, TokenPair
from .hooks import Hooks

__all__ = ["OrgContract"]


class OrgContract(Hooks):
    """Organizations."""

    def found(self, auth: Any, user_id: str, slug: str = "engines") -> OrgInfo:
        """Make an organization."""
        org: OrgInfo = auth.create_org(name="Analytical Engines", slug=slug, creator_id=user_id)
        return org

    def enter(self, auth: Any, tokens: TokenPair | None, org_id: str | None) -> TokenPair:
        """Make an organization the session's own."""
        session = self.session(auth, tokens)
        pair: TokenPair = auth.set_active_org(
            session_id=session.session_id,
            org_id=org_id,
            refresh_token=tokens and tokens.refresh_token,
        )
        return pair

    def test_an_organization_has_a_slug_and_an_owner(self, auth: Any) -> None:
        ada = self.join(auth).user
        org = auth.create_org(
            name="Analytical Engines", slug="engines", creator_id=ada.id, metadata={"plan": "free"}
        )
        assert auth.get_org(org_id=org.id) == auth.get_org(slug="engines") == org
        assert (org.name, org.slug, org.metadata) == (
            "Analytical Engines",
            "engines",
            {"plan": "free"},
        )
        assert auth.get_org_member(slug="engines", user_id=ada.id).role == "owner"
        with pytest.raises(OrgSlugConflictError):
            self.found(auth, ada.id)
        with pytest.raises(UserNotFoundError):
            self.found(auth, self.unknown_id(), "other")

    def test_an_organization_is_named_in_one_way(self, auth: Any) -> None:
        org = self.found(auth, self.join(auth).user.id)
        for which in ({}, {"org_id": org.id, "slug": "engines"}):
            with pytest.raises(ValueError, match="exactly one"):
                auth.get_org(**which)
            with pytest.raises(ValueError, match="exactly one"):
                auth.delete_org(**which)
            with pytest.raises(ValueError, match="exactly one"):
                auth.list_org_members(**which)

    def test_an_organization_changes(self, auth: Any) -> None:
        ada = self.join(auth).user
        org = self.found(auth, ada.id)
        self.found(auth, ada.id, "taken")
        changed = auth.update_org(org_slug="engines", name="Engines", slug="machines")
        assert (changed.id, changed.name, changed.slug) == (org.id, "Engines", "machines")
        with pytest.raises(OrgNotFoundError):
            auth.get_org(slug="engines")
        with pytest.raises(OrgSlugConflictError):
            auth.update_org(org_id=org.id, slug="taken")

    def test_a_deleted_organization_is_gone_with_its_members(self, auth: Any) -> None:
        ada = self.join(auth).user
        org = self.found(auth, ada.id)
        assert auth.delete_org(org_id=org.id) is True
        assert auth.delete_org(org_id=org.id) is False
        assert auth.delete_org(slug="engines") is False
        assert auth.list_orgs(user_id=ada.id) == []
        assert self.found(auth, ada.id).id != org.id

    def test_an_unknown_organization_is_not_found(self, auth: Any) -> None:
        ada = self.join(auth).user
        for org_id in (self.unknown_id(), *self.BAD_IDS):
            with pytest.raises(OrgNotFoundError):
                auth.get_org(org_id=org_id)
            with pytest.raises(OrgNotFoundError):
                auth.update_org(org_id=org_id, name="x")
            with pytest.raises(OrgNotFoundError):
                auth.add_org_member(org_id=org_id, user_id=ada.id)
            with pytest.raises(OrgNotFoundError):
                auth.list_org_members(org_id=org_id)
            assert auth.delete_org(org_id=org_id) is False
            assert auth.remove_org_member(org_id=org_id, user_id=ada.id) is False

    def test_organizations_are_listed_by_member(self, auth: Any, auth_clock: Any) -> None:
        ada, bob = self.join(auth).user, self.join(auth, "bob").user
        self.found(auth, ada.id, "first")
        auth_clock.advance(seconds=1)
        self.found(auth, ada.id, "second")
        auth_clock.advance(seconds=1)
        self.found(auth, bob.id, "third")
        assert [org.slug for org in auth.list_orgs()] == ["third", "second", "first"]
        assert [org.slug for org in auth.list_orgs(limit=1, offset=1)] == ["second"]
        assert [org.slug for org in auth.list_orgs(user_id=ada.id)] == ["second", "first"]
        assert auth.list_orgs(user_id=self.unknown_id()) == []
        with self.offered("list_orgs_by_cursor"):
            page = auth.list_orgs_by_cursor(limit=2)
            rest = auth.list_orgs_by_cursor(limit=2, after=page.next_cursor)
            assert [org.slug for org in (*page.data, *rest.data)] == ["third", "second", "first"]
            assert (page.has_more, rest.has_more) == (True, False)

    def test_members_come_change_and_go(self, auth: Any, auth_clock: Any) -> None:
        ada, bob = self.join(auth).user, self.join(auth, "bob").user
        org = self.found(auth, ada.id)
        auth_clock.advance(seconds=1)
        assert auth.add_org_member(org_id=org.id, user_id=bob.id).role == "member"
        with pytest.raises(MemberAlreadyExistsError):
            auth.add_org_member(slug="engines", user_id=bob.id)
        with pytest.raises(UserNotFoundError):
            auth.add_org_member(org_id=org.id, user_id=self.unknown_id())
        assert [m.user_id for m in auth.list_org_members(org_id=org.id)] == [ada.id, bob.id]
        changed = auth.update_org_member(slug="engines", user_id=bob.id, role="admin")
        assert (changed.org_id, changed.user_id, changed.role) == (org.id, bob.id, "admin")
        assert auth.get_org_member(org_id=org.id, user_id=bob.id).role == "admin"
        assert auth.remove_org_member(org_id=org.id, user_id=bob.id) is True
        assert auth.remove_org_member(org_id=org.id, user_id=bob.id) is False
        with pytest.raises(OrgMemberNotFoundError):
            auth.get_org_member(org_id=org.id, user_id=bob.id)
        with pytest.raises(OrgMemberNotFoundError):
            auth.update_org_member(org_id=org.id, user_id=bob.id, role="admin")

    def test_a_list_of_members_goes_on_by_cursor(self, auth: Any, auth_clock: Any) -> None:
        ada, bob = self.join(auth).user, self.join(auth, "bob").user
        org = self.found(auth, ada.id)
        auth_clock.advance(seconds=1)
        auth.add_org_member(org_id=org.id, user_id=bob.id)
        with self.offered("list_org_members_by_cursor"):
            page = auth.list_org_members_by_cursor(org_id=org.id, limit=1)
            rest = auth.list_org_members_by_cursor(org_id=org.id, limit=1, after=page.next_cursor)
            assert [m.user_id for m in (*page.data, *rest.data)] == [ada.id, bob.id]
            assert (page.has_more, rest.has_more) == (True, False)

    def test_an_organization_keeps_an_owner(self, auth: Any) -> None:
        ada, bob = self.join(auth).user, self.join(auth, "bob").user
        org = self.found(auth, ada.id)
        auth.add_org_member(org_id=org.id, user_id=bob.id)
        with pytest.raises(LastOwnerError):
            auth.remove_org_member(org_id=org.id, user_id=ada.id)
        with pytest.raises(LastOwnerError):
            auth.update_org_member(org_id=org.id, user_id=ada.id, role="member")
        with pytest.raises(LastOwnerError) as caught:
            auth.delete_user(ada.id)
        assert list(caught.value.orgs) == [org.id]
        assert auth.get_user(ada.id).id == ada.id
        auth.update_org_member(org_id=org.id, user_id=bob.id, role="owner")
        assert auth.remove_org_member(org_id=org.id, user_id=ada.id) is True

    def test_a_deleted_user_is_a_member_of_nothing(self, auth: Any) -> None:
        ada, bob = self.join(auth).user, self.join(auth, "bob").user
        org = self.found(auth, ada.id)
        auth.add_org_member(org_id=org.id, user_id=bob.id)
        assert auth.delete_user(bob.id) is True
        assert [m.user_id for m in auth.list_org_members(org_id=org.id)] == [ada.id]

    def test_a_session_has_an_organization_active(self, auth: Any) -> None:
        result = self.join(auth)
        org = self.found(auth, result.user.id)
        with self.offered("set_active_org"):
            tokens = self.enter(auth, result.tokens, org.id)
            session = self.session(auth, tokens)
            assert (session.org_id, session.org_role) == (org.id, "owner")
            assert auth.is_org_authorized(session, org.id, "owner")
            assert not auth.is_org_authorized(session, org.id, "member")
            auth.assert_same_org(session, org.id)
            with pytest.raises(OrgMismatchError):
                auth.assert_same_org(session, self.unknown_id())
            kept = auth.refresh_token(tokens.refresh_token)
            assert self.session(auth, kept).org_id == org.id
            left = self.session(auth, self.enter(auth, kept, None))
            assert (left.org_id, left.org_role) == (None, None)

    def test_who_is_no_member_enters_no_organization(self, auth: Any) -> None:
        org = self.found(auth, self.join(auth).user.id)
        bob = self.join(auth, "bob")
        with self.offered("set_active_org"):
            with pytest.raises(OrgMemberNotFoundError):
                self.enter(auth, bob.tokens, org.id)
            assert self.session(auth, bob.tokens).org_id is None

    def test_a_removed_member_loses_the_organization(self, auth: Any) -> None:
        org = self.found(auth, self.join(auth).user.id)
        bob = self.join(auth, "bob")
        auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        with self.offered("set_active_org"):
            tokens = self.enter(auth, bob.tokens, org.id)
            auth.update_org_member(org_id=org.id, user_id=bob.user.id, role="admin")
            assert self.session(auth, tokens).org_role == "admin"
            auth.remove_org_member(org_id=org.id, user_id=bob.user.id)
            session = self.session(auth, tokens)
            assert (session.org_id, session.org_role) == (None, None)

    def test_a_session_that_has_ended_enters_no_organization(self, auth: Any) -> None:
        result = self.join(auth)
        org = self.found(auth, result.user.id)
        session = self.session(auth, result.tokens)
        with self.offered("set_active_org"):
            auth.sign_out_all(session.user_id)
            with pytest.raises(InvalidTokenError):
                auth.set_active_org(
                    session_id=session.session_id,
                    org_id=org.id,
                    refresh_token=result.tokens and result.tokens.refresh_token,
                )
