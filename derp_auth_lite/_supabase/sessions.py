"""What is kept here of sessions at the service: whose they are, their organization, their end."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import peewee

from .._statements import Bind, Statement
from .._tables import OrgMember, RemoteSession
from ..orm import DatabaseEngine

__all__ = ["FORGOTTEN", "KEPT", "KnownSession", "RemoteSessions"]

KEPT = timedelta(days=8)
"""How long an ended session is remembered: no access token of the service lives longer."""

FORGOTTEN = timedelta(days=90)
"""After what time a living session without an organization is forgotten: its next request, if there
is one, makes it known again."""

_MARKS = uuid.UUID("0f4f2d2e-9a0b-5c57-8d0e-6d61726b7321")
_DEBTS = uuid.UUID("3b1c86a4-52f7-5e0d-9c21-64656274735f")


def _check() -> Any:
    return (
        RemoteSession.select(
            RemoteSession.user_id, RemoteSession.ended_at, RemoteSession.org_id, OrgMember.role
        )
        .join(
            OrgMember,
            peewee.JOIN.LEFT_OUTER,
            on=(
                (OrgMember.org == RemoteSession.org_id)
                & (OrgMember.user_id == RemoteSession.user_id)
            ),
        )
        .where(RemoteSession.id == Bind("id"))
    )


_CHECK = Statement(_check, repeatable=True)
_ADD = Statement(
    lambda: (
        RemoteSession.insert(
            {
                RemoteSession.id: Bind("id"),
                RemoteSession.user_id: Bind("user_id"),
                RemoteSession.created_at: Bind("now"),
            }
        )
        .on_conflict(conflict_target=[RemoteSession.id], action="nothing")
        .returning(RemoteSession.id)
    )
)
_SET_ORG = Statement(
    lambda: (
        RemoteSession.update({RemoteSession.org_id: Bind("org_id")})
        .where(
            RemoteSession.id == Bind("id"),
            RemoteSession.user_id == Bind("user_id"),
            RemoteSession.ended_at.is_null(),
        )
        .returning(RemoteSession.id)
    )
)


def _end(*conditions: Any) -> Any:
    return (
        RemoteSession.update({RemoteSession.ended_at: Bind("now")})
        .where(RemoteSession.ended_at.is_null(), *conditions)
        .returning(RemoteSession.id)
    )


_END = Statement(lambda: _end(RemoteSession.id == Bind("id")))
_END_ALL = Statement(lambda: _end(RemoteSession.user_id == Bind("user_id")))
_MARK = Statement(
    lambda: (
        RemoteSession.insert(
            {
                RemoteSession.id: Bind("id"),
                RemoteSession.user_id: Bind("user_id"),
                RemoteSession.created_at: Bind("now"),
                RemoteSession.ended_at: Bind("now"),
            }
        )
        .on_conflict(
            conflict_target=[RemoteSession.id], update={RemoteSession.ended_at: Bind("now")}
        )
        .returning(RemoteSession.id)
    )
)
_IS_OVER = Statement(
    lambda: RemoteSession.select(RemoteSession.id).where(
        RemoteSession.id == Bind("id"), RemoteSession.ended_at >= Bind("since")
    ),
    repeatable=True,
)


def _forget_org(*conditions: Any) -> Any:
    return (
        RemoteSession.update({RemoteSession.org_id: None})
        .where(RemoteSession.org_id == Bind("org_id"), *conditions)
        .returning(RemoteSession.id)
    )


_FORGET_ORG = Statement(_forget_org)
_FORGET_ORG_OF = Statement(lambda: _forget_org(RemoteSession.user_id == Bind("user_id")))
_OLD = RemoteSession.alias("old")
_PURGE = Statement(
    lambda: (
        RemoteSession.delete()
        .where(
            RemoteSession.id.in_(
                _OLD.select(_OLD.id)
                .where(
                    (_OLD.ended_at < Bind("ended_before"))
                    | (
                        _OLD.ended_at.is_null()
                        & _OLD.org_id.is_null()
                        & (_OLD.created_at < Bind("created_before"))
                    )
                )
                .limit(Bind("limit"))
            )
        )
        .returning(RemoteSession.id)
    )
)


class KnownSession(NamedTuple):
    """A session as it is known here; *org* is the active organization and the role in it."""

    user_id: str
    ended: bool
    org: tuple[str, str] | None


class RemoteSessions:
    """The table ``auth_remote_sessions``."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine

    def find(self, session_id: str) -> KnownSession | None:
        """Return what is known of a session, with the present membership; ``None``: nothing."""
        row = self._engine.fetch_one(_CHECK, id=session_id)
        if row is None:
            return None
        user_id, ended_at, org_id, role = row
        org = None if role is None else (str(org_id), str(role))
        return KnownSession(str(user_id), ended_at is not None, org)

    def note(self, session_id: str, user_id: str) -> None:
        """Write down whose a session is."""
        self._engine.execute(_ADD, id=session_id, user_id=user_id, now=self._engine.now)

    def set_org(self, session_id: str, user_id: str, org_id: str | None) -> bool:
        """Set a living session's organization; ``False`` where it has ended or is another's."""
        return self._engine.execute(_SET_ORG, id=session_id, user_id=user_id, org_id=org_id) == 1

    def end(self, session_id: str) -> None:
        """Refuse a session's access tokens from now on."""
        self._engine.execute(_END, id=session_id, now=self._engine.now)

    def end_all(self, user_id: str) -> None:
        """End every session of a user: those that are known here, and those that are not yet."""
        now = self._engine.now
        self._engine.execute(_END_ALL, user_id=user_id, now=now)
        self._engine.execute(_MARK, id=_mark_of(user_id), user_id=user_id, now=now)

    def is_over(self, user_id: str, since: datetime) -> bool:
        """Tell whether all sessions of a user were ended at *since* or later."""
        return self._engine.fetch_one(_IS_OVER, id=_mark_of(user_id), since=since) is not None

    def owe_password(self, user_id: str) -> None:
        """Note that an address was proved beneath a password that somebody else may have set."""
        debt = _debt_of(user_id)  # the row is nobody's, so that it ends with no session
        with self._engine.transaction():
            self.note(debt, debt)
            self.set_org(debt, debt, debt)  # what has an organization is not forgotten

    def keep_password(self, user_id: str) -> None:
        """Note that a confirmation has proved the address, which a link that follows does not."""
        if not self.owes_password(user_id):
            self.owe_password(user_id)
            self.paid_password(user_id)

    def owes_password(self, user_id: str) -> bool:
        """Tell whether that password may still be there."""
        debt = self.find(_debt_of(user_id))
        return debt is not None and not debt.ended

    def paid_password(self, user_id: str) -> None:
        """Note that another one has taken its place."""
        self.end(_debt_of(user_id))

    def forget_org(self, org_id: str, user_id: str | None = None) -> None:
        """Take an organization out of all sessions, or just of a user's."""
        if user_id is None:
            self._engine.execute(_FORGET_ORG, org_id=org_id)
        else:
            self._engine.execute(_FORGET_ORG_OF, org_id=org_id, user_id=user_id)

    def purge(self, limit: int) -> int:
        """Forget *limit* sessions at most that ended or were new long ago; return how many."""
        now = self._engine.now
        return self._engine.execute(
            _PURGE, ended_before=now - KEPT, created_before=now - FORGOTTEN, limit=limit
        )


def _debt_of(user_id: str) -> str:
    """Return the id of the row that stands for a user's password to be replaced."""
    return str(uuid.uuid5(_DEBTS, user_id))


def _mark_of(user_id: str) -> str:
    """Return the id of the row that stands for all sessions of a user."""
    return str(uuid.uuid5(_MARKS, user_id))
