"""Sessions: one row each, no token in it; ending one is deleting its row."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import peewee

from .._records import SESSION_COLUMNS, SessionRecord, as_id, new_id
from .._request import UNKNOWN, Caller
from .._statements import Bind, Free, Statement
from .._tables import OrgMember, Session, User
from ..orm import DatabaseEngine, as_utc

__all__ = ["GRACE", "Sessions"]

GRACE = timedelta(seconds=10)
"""How long the refresh token before the present one is answered with the present one again.

A client that lost the answer, or two tabs that refresh at once, come back with it. The figure is
that of Supabase Auth's reuse interval.
"""

_SKEW = timedelta(seconds=1)
_TOUCH_STEP = timedelta(minutes=1)
_ALL = 2**31 - 1


def _with_roles() -> tuple[Any, ...]:
    """Return the columns of a :class:`SessionRecord` for a select that joins its user."""
    return (*SESSION_COLUMNS, User.role, User.is_active, OrgMember.role)


def _select() -> Any:
    return (
        Session.select(*_with_roles())
        .join(User, on=(User.id == Session.user))
        .join(
            OrgMember,
            peewee.JOIN.LEFT_OUTER,
            on=((OrgMember.org == Session.org_id) & (OrgMember.user_id == Session.user)),
        )
    )


def _returning() -> tuple[Any, ...]:
    """Return the same columns for a RETURNING clause, which knows no joins."""
    role = User.select(User.role).where(User.id == Session.user)
    is_active = User.select(User.is_active).where(User.id == Session.user)
    org_role = OrgMember.select(OrgMember.role).where(
        (OrgMember.org == Session.org_id) & (OrgMember.user_id == Session.user)
    )
    return (*SESSION_COLUMNS, role, is_active, org_role)


def _page(*conditions: Any) -> Any:
    position = peewee.Tuple(Session.created_at, Session.id)
    after = peewee.Tuple(Bind("after_time"), Bind("after_id"))
    return (
        _select()
        .where(Session.active_until > Bind("now"), *conditions)
        .order_by(Session.created_at.desc(), Session.id.desc())
        .where(position < after)
        .limit(Bind("limit"))
        .offset(Bind("offset"))
    )


def _of_active_user() -> Any:
    return peewee.fn.EXISTS(
        User.select(peewee.SQL("1")).where(User.id == Session.user, User.is_active)
    )


def _locked(*conditions: Any) -> Statement:
    """Return a statement that locks sessions in the order of their ids.

    Whoever ends or changes several does this first: else two who do might wait for each other.
    """
    return Statement(
        lambda: Session.select(Session.id).where(*conditions).order_by(Session.id), lock=True
    )


def _forget_org(*conditions: Any) -> Any:
    return (
        Session.update({Session.org_id: None})
        .where(Session.org_id == Bind("org_id"), *conditions)
        .returning(Session.id)
    )


def _ends_at() -> Any:
    """Return the earlier of the absolute end and the idle limit."""
    return peewee.Case(
        None, [(Session.expires_at < Bind("idle_end"), Session.expires_at)], Bind("idle_end")
    )


_INSERT = Statement(
    lambda: Session.insert(
        {
            Session.id: Bind("id"),
            Session.user: Bind("user_id"),
            Session.refresh_counter: 0,
            Session.refreshed_at: Bind("now"),
            Session.active_until: Bind("active_until"),
            Session.expires_at: Bind("expires_at"),
            Session.org_id: None,
            Session.user_agent: Bind("user_agent"),
            Session.ip_address: Bind("ip_address"),
            Session.created_at: Bind("now"),
        }
    ).returning(Session.id)
)
_BY_ID = Statement(
    lambda: _select().where(Session.id == Bind("id")), repeatable=True, remembered=True
)
_ROTATE = Statement(
    lambda: (
        Session.update(
            {
                Session.refresh_counter: Session.refresh_counter + 1,
                Session.refreshed_at: Bind("now"),
                Session.active_until: _ends_at(),
            }
        )
        .where(
            Session.id == Bind("id"),
            Session.refresh_counter == Bind("counter"),
            Session.active_until > Bind("now"),
            _of_active_user(),
        )
        .returning(*_returning())
    )
)
_TOUCH = Statement(
    lambda: (
        Session.update({Session.active_until: _ends_at()})
        .where(Session.id == Bind("id"), Session.active_until > Bind("now"), _of_active_user())
        .returning(Session.id)
    )
)
_SET_ORG = Statement(
    lambda: (
        Session.update({Session.org_id: Bind("org_id")})
        .where(Session.id == Bind("id"), Session.active_until > Bind("now"), _of_active_user())
        .returning(*_returning())
    )
)
_LOCK_OF_USER = _locked(Session.user == Bind("user_id"))
_LOCK_OF_ORG = _locked(Session.org_id == Bind("org_id"))
_FORGET_ORG = Statement(_forget_org)
_FORGET_ORG_OF_USER = Statement(lambda: _forget_org(Session.user == Bind("user_id")))
_LIST = Statement(_page, repeatable=True)
_LIST_OF_USER = Statement(lambda: _page(Session.user == Bind("user_id")), repeatable=True)
_END = Statement(
    lambda: Session.delete().where(Session.id == Bind("id")).returning(Session.user_id)
)
_END_ALL = Statement(
    lambda: Session.delete().where(Session.user == Bind("user_id")).returning(Session.id)
)
_END_OTHERS = Statement(
    lambda: (
        Session.delete()
        .where(Session.user == Bind("user_id"), Session.id != Bind("keep"))
        .returning(Session.id)
    )
)

_BEYOND = Statement(
    lambda: (
        Session.select(Session.id)
        .where(Session.user == Bind("user_id"), Session.active_until > Bind("now"))
        .order_by(Session.created_at.desc(), Session.id.desc())
        .limit(Bind("limit"))
        .offset(Bind("keep"))
    )
)


def _purge() -> Any:
    expired = Session.alias("expired")
    return (
        Session.delete()
        .where(
            Session.id.in_(
                Free(
                    expired.select(expired.id)
                    .where(expired.active_until <= Bind("now"))
                    .limit(Bind("limit"))
                )
            )
        )
        .returning(Session.id)
    )


_PURGE = Statement(_purge)


class Sessions:
    """The table ``auth_sessions``.

    Args:
        lifetime: Absolute life of a session; never slides.
        idle: Life of a session that is not refreshed.
    """

    def __init__(
        self,
        engine: DatabaseEngine,
        *,
        lifetime: timedelta = timedelta(days=30),
        idle: timedelta = timedelta(days=7),
    ) -> None:
        self._engine = engine
        self._lifetime = lifetime
        self._idle = idle

    def open(self, user_id: str, user_role: str, caller: Caller = UNKNOWN) -> SessionRecord:
        """Begin a session of an active user."""
        now = self._engine.now
        session = SessionRecord(
            id=new_id(),
            user_id=user_id,
            refresh_counter=0,
            refreshed_at=now,
            active_until=now + min(self._idle, self._lifetime),
            expires_at=now + self._lifetime,
            org_id=None,
            user_agent=caller.user_agent,
            ip_address=caller.ip_address,
            created_at=now,
            user_role=user_role,
            user_is_active=True,
            org_role=None,
        )
        self._engine.send(_INSERT, now=now, **session._asdict())
        return session

    def check(self, session_id: str) -> SessionRecord | None:
        """Return a session that lives, of a user who is active; else ``None``."""
        session = self.by_id(session_id)
        if session is None or not session.user_is_active:
            return None
        return session if as_utc(session.active_until) > self._engine.now else None

    def by_id(self, session_id: str) -> SessionRecord | None:
        """Return a session whatever its state, or ``None``."""
        key = as_id(session_id)
        row = None if key is None else self._engine.fetch_one(_BY_ID, id=key)
        return None if row is None else SessionRecord._make(row)

    def rotate(self, session_id: str, counter: int) -> SessionRecord | None:
        """Move a session on from *counter*; of many callers at once exactly one is answered."""
        now = self._engine.now
        row = self._engine.fetch_one(
            _ROTATE, id=session_id, counter=counter, now=now, idle_end=now + self._idle
        )
        return None if row is None else SessionRecord._make(row)

    def repeated(self, session_id: str, counter: int) -> SessionRecord | None:
        """Return the session if *counter* is the one before its present one, within the grace."""
        session = self.check(session_id)
        if session is None or counter + 1 != session.refresh_counter:
            return None
        elapsed = self._engine.now - as_utc(session.refreshed_at)
        # Two machines' clocks differ a little: the other one may be ahead.
        return session if -_SKEW <= elapsed <= GRACE else None

    def used(self, session_id: str) -> SessionRecord | None:
        """Return a session as :meth:`check` does, and put its idle limit off.

        That is written at most once a minute, and never goes past the session's end. It is one
        method because every request of a browser comes through here.

        Args:
            session_id: As a cookie gave it, which has none but ids that we made.
        """
        row = self._engine.fetch_one(_BY_ID, id=session_id)
        if row is None:
            return None
        session = SessionRecord._make(row)
        if not session.user_is_active:
            return None
        now = self._engine.now
        active_until = as_utc(session.active_until)
        if active_until <= now:
            return None
        idle_end = now + self._idle
        if idle_end - active_until >= _TOUCH_STEP:
            end = min(idle_end, as_utc(session.expires_at))
            if end - active_until >= _TOUCH_STEP:
                self._engine.fetch(_TOUCH, id=session.id, now=now, idle_end=idle_end)
        return session

    def set_org(self, session_id: str, org_id: str | None) -> SessionRecord | None:
        """Give a living session of an active user an organization; ``None`` if it is over.

        Whoever asks holds the membership, and sees by the session's ``org_role`` that there is one.
        """
        row = self._engine.fetch_one(_SET_ORG, id=session_id, org_id=org_id, now=self._engine.now)
        return None if row is None else SessionRecord._make(row)

    def forget_org(self, org_id: str, user_id: str | None = None) -> None:
        """Take an organization out of the sessions that have it: a user's, or everybody's."""
        lock, forget = (
            (_LOCK_OF_ORG, _FORGET_ORG) if user_id is None else (_LOCK_OF_USER, _FORGET_ORG_OF_USER)
        )
        with self._engine.transaction():
            self._engine.send(lock, org_id=org_id, user_id=user_id)
            self._engine.send(forget, org_id=org_id, user_id=user_id)

    def list(
        self,
        user_id: str | None,
        *,
        limit: int,
        offset: int = 0,
        after: tuple[datetime, str],
    ) -> list[SessionRecord]:
        """Return living sessions, newest first, of one user or of all."""
        rows = self._engine.fetch(
            _LIST if user_id is None else _LIST_OF_USER,
            user_id=user_id,
            now=self._engine.now,
            after_time=after[0],
            after_id=after[1],
            limit=limit,
            offset=offset,
        )
        return [SessionRecord._make(row) for row in rows]

    def end(self, session_id: str) -> str | None:
        """End one session; return whose it was, or ``None`` where there was none."""
        row = self._engine.fetch_one(_END, id=session_id)
        return None if row is None else str(row[0])

    def end_all(self, user_id: str, *, keep: object = None) -> int:
        """End a user's sessions, all but *keep*; return how many.

        Whoever calls it holds the user's row, so that none begins meanwhile: it would be ended
        without having been locked in its turn.
        """
        kept = as_id(keep)
        with self._engine.transaction():
            self._engine.send(_LOCK_OF_USER, user_id=user_id)
            if kept is None:
                return self._engine.execute(_END_ALL, user_id=user_id)
            return self._engine.execute(_END_OTHERS, user_id=user_id, keep=kept)

    def beyond(self, user_id: str, keep: int) -> tuple[str, ...]:
        """Return the ids of a user's living sessions but for the newest *keep*.

        Whoever acts on it holds the user's row, so that two sign-ins do not count at once.
        """
        rows = self._engine.fetch(
            _BEYOND, user_id=user_id, keep=keep, limit=_ALL, now=self._engine.now
        )
        return tuple(str(row[0]) for row in rows)

    def purge(self, limit: int) -> int:
        """Remove at most *limit* sessions that are over; return how many."""
        return self._engine.execute(_PURGE, now=self._engine.now, limit=limit)
