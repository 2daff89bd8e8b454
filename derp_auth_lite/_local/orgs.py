"""Organizations in the application's own database, for every backend that keeps them there."""

from __future__ import annotations

import abc
import functools
import operator
from typing import Any

from .._pages import FROM_NEWEST, FROM_OLDEST, Cursors, bounds, page_size
from .._records import MemberRecord, OrgRecord, as_id
from ..base import BaseAuthClient
from ..exceptions import (
    LastOwnerError,
    OrgMemberNotFoundError,
    OrgNotFoundError,
    UserNotFoundError,
)
from ..models import CursorResult, Id, OrgInfo, OrgMemberInfo
from ..orm import DatabaseEngine
from .events import Events
from .member_store import Members
from .org_fields import OWNER, as_member_role, as_slug, org_changes
from .org_store import Orgs

__all__ = ["LocalOrgAuthClient"]

Which = tuple[str | None, str | None]
"""The id of an organization, or its slug; neither where what was given can be none's."""


class LocalOrgAuthClient(BaseAuthClient):
    """Organizations and their members, whoever keeps the users.

    A backend sets ``_db``, ``_events`` and ``_cursors``, calls :meth:`_use_org_stores`, fills the
    hooks at the end of this class, and writes ``set_active_org``, since the sessions are its own.

    What changes an organization locks its row first, and a user's row before it: so the questions
    "who owns this?" and "is there such a user?" have one answer at a time, and nobody deadlocks.
    """

    _db: DatabaseEngine
    _events: Events
    _cursors: Cursors

    def _use_org_stores(self, db: DatabaseEngine) -> None:
        """Make the stores of organizations and members."""
        self._orgs = Orgs(db)
        self._members = Members(db)

    # Organizations

    def create_org(self, *, name: str, slug: str, creator_id: Id, **kwargs: Any) -> OrgInfo:
        """Make an organization, whose creator becomes its first owner.

        Args:
            name: 1 to 255 characters; blanks around it are dropped.
            slug: Unique; 1 to 63 lower-case letters, digits or hyphens.
            creator_id: Must come from an authenticated session, or from an administrator.
            **kwargs: ``metadata``, a JSON object.

        Raises:
            OrgSlugConflictError: The slug is taken.
            UserNotFoundError: There is no such creator.
            InvalidProfileError: Name, slug or metadata hold what cannot be kept.
        """
        fields = org_changes({"name": name, "slug": slug, **kwargs})
        creator = self._known_id(creator_id)
        self._require_user(creator)
        with self._db.transaction():
            self._hold_user(creator)
            org = self._orgs.create(fields)
            self._members.add(org, creator, OWNER)
            self._record("org_created", org.id, creator)
        return org.info()

    def get_org(self, *, org_id: Id | None = None, slug: str | None = None) -> OrgInfo:
        return _known(self._orgs.find(*_which(org_id, slug))).info()

    def update_org(
        self,
        *,
        org_id: Id | None = None,
        org_slug: str | None = None,
        name: str | None = None,
        slug: str | None = None,
        **kwargs: Any,
    ) -> OrgInfo:
        which = _which(org_id, org_slug, "org_slug")
        texts = {"name": name, "slug": slug}
        changes = org_changes({**{k: v for k, v in texts.items() if v is not None}, **kwargs})
        with self._db.transaction():
            found = _known(self._orgs.lock(*which))
            org = _known(self._orgs.update(found.id, changes))
            self._record("org_updated", org.id, fields=sorted(changes))
        return org.info()

    def delete_org(self, *, org_id: Id | None = None, slug: str | None = None) -> bool:
        which = _which(org_id, slug)
        with self._db.transaction():
            org = self._orgs.lock(*which)
            if org is None:
                return False
            self._members.remove_all(org.id)
            self._forget_active_org(str(org.id))
            self._orgs.delete(org.id)
            self._record("org_deleted", org.id, slug=org.slug)
        return True

    def list_orgs(
        self, *, user_id: Id | None = None, limit: int | None = None, offset: int | None = None
    ) -> list[OrgInfo]:
        orgs = self._orgs_of(user_id, **bounds(limit, offset), after=FROM_NEWEST)
        return [org.info() for org in orgs]

    def list_orgs_by_cursor(
        self, *, user_id: Id | None = None, limit: int = 10, after: str | None = None
    ) -> CursorResult[OrgInfo]:
        name = "orgs:*" if user_id is None else f"orgs:{as_id(user_id)}"
        fetch = functools.partial(self._orgs_of, user_id)
        return self._cursors.page(name, fetch, OrgRecord.info, limit=limit, after=after)

    # Members

    def add_org_member(
        self,
        *,
        org_id: Id | None = None,
        slug: str | None = None,
        user_id: Id,
        role: str = "member",
    ) -> OrgMemberInfo:
        """Make a user a member of an organization. An owner's call.

        Args:
            role: ``owner``, or what the application calls it; 1 to 50 characters.

        Raises:
            OrgNotFoundError: There is no such organization.
            UserNotFoundError: There is no such user.
            MemberAlreadyExistsError: The user is a member already.
            InvalidProfileError: The role cannot be kept.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        which, role = _which(org_id, slug), as_member_role(role)
        key = self._known_id(user_id)
        self._require_user(key)
        with self._db.transaction():
            self._hold_user(key)
            org = _known(self._orgs.lock(*which))
            member = self._members.add(org, key, role)
            self._record("member_added", org.id, key, role=role)
        return member.info()

    def update_org_member(
        self, *, org_id: Id | None = None, slug: str | None = None, user_id: Id, role: str
    ) -> OrgMemberInfo:
        """Give a member another role, which the next ``authenticate`` shows. An owner's call.

        Raises:
            OrgNotFoundError: There is no such organization.
            OrgMemberNotFoundError: The user is not a member.
            LastOwnerError: The organization would be left without an owner.
            InvalidProfileError: The role cannot be kept.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        which, key, role = _which(org_id, slug), as_id(user_id), as_member_role(role)
        with self._db.transaction():
            org = _known(self._orgs.lock(*which))
            member = _known_member(self._members.find(org.id, key))
            if role != OWNER:
                self._keep_an_owner(member)
            changed = _known_member(self._members.set_role(org.id, member.user_id, role))
            self._record("member_role_changed", org.id, member.user_id, role=role)
        return changed.info()

    def remove_org_member(
        self, *, org_id: Id | None = None, slug: str | None = None, user_id: Id
    ) -> bool:
        """End a membership; ``False`` if there is no such organization or member.

        An owner's call, or the member's own. Sessions of the user that had the organization active
        go on without one.

        Raises:
            LastOwnerError: The organization would be left without an owner.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        which, key = _which(org_id, slug), as_id(user_id)
        with self._db.transaction():
            org = self._orgs.lock(*which)
            member = org and self._members.find(org.id, key)
            if not member:
                return False
            self._keep_an_owner(member)
            self._members.remove(member.org_id, member.user_id)
            self._forget_active_org(str(member.org_id), str(member.user_id))
            self._record("member_removed", member.org_id, member.user_id)
        return True

    def get_org_member(
        self, *, org_id: Id | None = None, slug: str | None = None, user_id: Id
    ) -> OrgMemberInfo:
        org = _known(self._orgs.find(*_which(org_id, slug)))
        return _known_member(self._members.find(org.id, as_id(user_id))).info()

    def list_org_members(
        self,
        *,
        org_id: Id | None = None,
        slug: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[OrgMemberInfo]:
        which, page = _which(org_id, slug), bounds(limit, offset)
        org = _known(self._orgs.find(*which))
        return [member.info() for member in self._members.page(org.id, **page, after=FROM_OLDEST)]

    def list_org_members_by_cursor(
        self,
        *,
        org_id: Id | None = None,
        slug: str | None = None,
        limit: int = 10,
        after: str | None = None,
    ) -> CursorResult[OrgMemberInfo]:
        which, size = _which(org_id, slug), page_size(limit)
        org = _known(self._orgs.find(*which))
        return self._cursors.page(
            f"members:{org.id}",
            functools.partial(self._members.page, org.id),
            MemberRecord.info,
            limit=size,
            after=after,
            start=FROM_OLDEST,
            position=operator.attrgetter("created_at", "user_id"),
        )

    # What a backend calls

    def _known_id(self, user_id: Id) -> str:
        """Return the id of a user as text; ``UserNotFoundError`` where it cannot be one's."""
        key = as_id(user_id)
        if key is None:
            raise UserNotFoundError
        return key

    def _hold_member(self, org_id: Id, user_id: Id) -> str:
        """Return the id of an organization that the user is a member of.

        The membership then lasts until the transaction ends, and whoever ends it afterwards sees
        what the transaction did.

        Raises:
            OrgMemberNotFoundError: The user is not a member, or there is no such organization.
        """
        key = as_id(org_id)
        member = None if key is None else self._members.lock(key, as_id(user_id))
        return str(_known_member(member).org_id)

    def _leave_orgs(self, user_id: str) -> None:
        """End all memberships of a user, in the transaction that holds and deletes the user.

        The sessions are the backend's to end, afterwards.

        Raises:
            LastOwnerError: Organizations would be left without an owner; it names them.
        """
        self._orgs.lock_all_of(user_id)
        orphans = self._members.owned_alone(user_id)
        if orphans:
            raise LastOwnerError(orphans)
        for org_id in self._members.remove_all_of(user_id):
            self._record("member_removed", org_id, user_id)

    # What a backend fills in

    def _require_user(self, user_id: str) -> None:
        """Raise ``UserNotFoundError`` for an unknown user; called outside of transactions."""

    def _hold_user(self, user_id: str) -> None:
        """Keep a user from being deleted while the transaction lasts; ``UserNotFoundError``."""

    @abc.abstractmethod
    def _forget_active_org(self, org_id: str, user_id: str | None = None) -> None:
        """Take an organization out of all sessions that have it active, or just of a user's."""

    # Steps

    def _orgs_of(self, user_id: Id | None, **page: Any) -> list[OrgRecord]:
        key = as_id(user_id)
        return [] if key is None and user_id is not None else self._orgs.page(key, **page)

    def _keep_an_owner(self, member: MemberRecord) -> None:
        """Refuse what is about to happen to *member* if no other member owns the organization."""
        org_id = str(member.org_id)
        if member.role == OWNER and self._members.owned_alone(str(member.user_id), org_id):
            raise LastOwnerError([org_id])

    def _record(self, action: str, org_id: Any, user_id: Any = None, **details: Any) -> None:
        self._events.record(action, user_id=user_id, details={"org_id": str(org_id), **details})


def _which(org_id: Id | None, slug: str | None, slug_name: str = "slug") -> Which:
    """Check that one of the two is given, and return both in the form that stores take."""
    if (org_id is None) == (slug is None):
        raise ValueError(f"give exactly one of org_id and {slug_name}")
    return (as_id(org_id), None) if slug is None else (None, as_slug(slug))


def _known(org: OrgRecord | None) -> OrgRecord:
    if org is None:
        raise OrgNotFoundError
    return org


def _known_member(member: MemberRecord | None) -> MemberRecord:
    if member is None:
        raise OrgMemberNotFoundError
    return member
