"""Who belongs to which organization, in which role: the table ``auth_org_members``."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import peewee

from .._pages import Position
from .._records import MEMBER_COLUMNS, MemberRecord, OrgRecord
from .._statements import Bind, Statement
from .._tables import OrgMember
from ..exceptions import MemberAlreadyExistsError
from ..orm import DatabaseEngine
from .org_fields import OWNER

__all__ = ["Members"]


def _this() -> Any:
    return (OrgMember.org == Bind("org_id")) & (OrgMember.user_id == Bind("user_id"))


def _select() -> Any:
    return OrgMember.select(*MEMBER_COLUMNS).where(_this())


def _list() -> Any:
    position = peewee.Tuple(OrgMember.created_at, OrgMember.user_id)
    after = peewee.Tuple(Bind("after_time"), Bind("after_id"))
    return (
        OrgMember.select(*MEMBER_COLUMNS)
        .where(OrgMember.org == Bind("org_id"), position > after)
        .order_by(OrgMember.created_at, OrgMember.user_id)
        .limit(Bind("limit"))
        .offset(Bind("offset"))
    )


def _owners(orgs: Any) -> Any:
    return (
        OrgMember.select(OrgMember.org, OrgMember.user_id)
        .where(OrgMember.role == OWNER, orgs)
        .order_by(OrgMember.org, OrgMember.user_id)
    )


def _owners_beside() -> Any:
    """Select the owners of every organization that a user owns."""
    own = OrgMember.alias("own")
    return _owners(
        OrgMember.org.in_(
            own.select(own.org).where(own.user_id == Bind("user_id"), own.role == OWNER)
        )
    )


_BY_KEY = Statement(_select, repeatable=True)
_LOCK = Statement(_select, lock=True)
_LIST = Statement(_list, repeatable=True)
# Locked although the organization is: in a transaction with an older snapshot, which the
# application may have begun, an owner who has changed meanwhile is then a failure, not an owner.
_OWNERS = Statement(lambda: _owners(OrgMember.org == Bind("org_id")), lock=True)
_OWNERS_BESIDE = Statement(_owners_beside, lock=True)
_INSERT = Statement(
    lambda: (
        OrgMember.insert(
            {
                OrgMember.org: Bind("org_id"),
                OrgMember.user_id: Bind("user_id"),
                OrgMember.role: Bind("role"),
                OrgMember.org_created_at: Bind("org_created_at"),
                OrgMember.created_at: Bind("now"),
                OrgMember.updated_at: Bind("now"),
            }
        )
        .on_conflict(conflict_target=[OrgMember.org, OrgMember.user_id], action="nothing")
        .returning(*MEMBER_COLUMNS)
    )
)
_SET_ROLE = Statement(
    lambda: (
        OrgMember.update({OrgMember.role: Bind("role"), OrgMember.updated_at: Bind("now")})
        .where(_this())
        .returning(*MEMBER_COLUMNS)
    )
)
_REMOVE = Statement(lambda: OrgMember.delete().where(_this()).returning(OrgMember.org))
_REMOVE_ALL = Statement(
    lambda: OrgMember.delete().where(OrgMember.org == Bind("org_id")).returning(OrgMember.user_id)
)
_REMOVE_ALL_OF = Statement(
    lambda: OrgMember.delete().where(OrgMember.user_id == Bind("user_id")).returning(OrgMember.org)
)


class Members:
    """The memberships of one database."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine

    def find(self, org_id: str, user_id: str | None) -> MemberRecord | None:
        """Return a membership, or ``None``."""
        return self._one(_BY_KEY, org_id, user_id)

    def lock(self, org_id: str, user_id: str | None) -> MemberRecord | None:
        """Find a membership, and keep it as it is until the transaction ends."""
        return self._one(_LOCK, org_id, user_id)

    def hold(self, org_id: str | None, user_id: str) -> None:
        """Keep a membership as it is until the transaction ends, if there is one."""
        self._engine.send(_LOCK, org_id=org_id, user_id=user_id)

    def page(
        self, org_id: str, *, limit: int, offset: int = 0, after: Position
    ) -> list[MemberRecord]:
        """Return the members of an organization, the oldest first."""
        rows = self._engine.fetch(
            _LIST,
            org_id=org_id,
            after_time=after[0],
            after_id=after[1],
            limit=limit,
            offset=offset,
        )
        return [MemberRecord._make(row) for row in rows]

    def owned_alone(self, user_id: str, org_id: str | None = None) -> list[str]:
        """Return the organizations that have this owner and no other: all such, or just *org_id*.

        The organizations must be locked, or the answer may be wrong when it comes.
        """
        rows = (
            self._engine.fetch(_OWNERS_BESIDE, user_id=user_id)
            if org_id is None
            else self._engine.fetch(_OWNERS, org_id=org_id)
        )
        pairs = [(str(org), str(owner)) for org, owner in rows]
        return [
            org
            for org, owners in groupby(pairs, key=lambda pair: pair[0])
            if list(owners) == [(org, user_id)]
        ]

    def add(self, org: OrgRecord, user_id: str, role: str) -> MemberRecord:
        """Make a user a member.

        Raises:
            MemberAlreadyExistsError: The user is a member already.
        """
        row = self._engine.fetch_one(
            _INSERT,
            org_id=org.id,
            user_id=user_id,
            role=role,
            org_created_at=org.created_at,
            now=self._engine.now,
        )
        if row is None:
            raise MemberAlreadyExistsError
        return MemberRecord._make(row)

    def set_role(self, org_id: str, user_id: str, role: str) -> MemberRecord | None:
        """Give a member another role; ``None`` where there is no such member."""
        row = self._engine.fetch_one(
            _SET_ROLE, org_id=org_id, user_id=user_id, role=role, now=self._engine.now
        )
        return None if row is None else MemberRecord._make(row)

    def remove(self, org_id: str, user_id: str) -> None:
        """End one membership."""
        self._engine.send(_REMOVE, org_id=org_id, user_id=user_id)

    def remove_all(self, org_id: str) -> None:
        """End all memberships of an organization."""
        self._engine.send(_REMOVE_ALL, org_id=org_id)

    def remove_all_of(self, user_id: str) -> list[str]:
        """End all memberships of a user; return the organizations."""
        return [str(row[0]) for row in self._engine.fetch(_REMOVE_ALL_OF, user_id=user_id)]

    def _one(self, statement: Statement, org_id: str, user_id: str | None) -> MemberRecord | None:
        if user_id is None:
            return None
        row = self._engine.fetch_one(statement, org_id=org_id, user_id=user_id)
        return None if row is None else MemberRecord._make(row)
