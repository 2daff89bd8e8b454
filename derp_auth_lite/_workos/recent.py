"""What ended or changed here lately, so that access tokens made before it are not believed.

An access token is verified without a call and lives for minutes after its session was ended. These
notes close that gap. They can only take away: whoever writes the KV store lets nobody in by them.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from .._clock import Clock
from .._statements import from_microseconds, to_microseconds
from ..kv.base import KVClient

__all__ = ["Recent"]

_KEPT = timedelta(hours=25)
"""Longer than an access token can be set to live."""

_SKEW = timedelta(seconds=60)


class Recent:
    """Keeps notes; without a KV store there are none."""

    def __init__(self, kv: KVClient | None, clock: Clock) -> None:
        self._kv = kv
        self._clock = clock

    def session_ended(self, session_id: str) -> None:
        """Refuse access tokens of a session."""
        self._note("session", session_id)

    def user_ended(self, user_id: str) -> None:
        """Refuse access tokens of a user who was disabled or deleted."""
        self._note("user", user_id)

    def user_back(self, user_id: str) -> None:
        """Believe access tokens of a user again."""
        if self._kv is not None:
            self._kv.delete(_key("user", user_id))

    def end_sessions(self, user_id: str) -> None:
        """Note that a user's sessions of now are to end; :meth:`sessions_ended` takes it back."""
        self._note("sessions", user_id)

    def sessions_ended(self, user_id: str) -> None:
        """Note that they have ended."""
        if self._kv is not None:
            self._kv.delete(_key("sessions", user_id))

    def sessions_to_end(self, user_id: str) -> datetime | None:
        """Return the moment whose sessions of a user are still to end, if the service missed it."""
        note = None if self._kv is None else self._kv.get(_key("sessions", user_id))
        return None if note is None else _moment(note)

    def owe_password(self, user_id: str) -> None:
        """Note that an address is being proved beneath a password that somebody else may have set.

        The note stays until :meth:`paid_password`.
        """
        if self._kv is not None:
            self._kv.set(_key("password", user_id), b"1")

    def owes_password(self, user_id: str) -> bool:
        """Tell whether that password may still be there."""
        return self._kv is not None and self._kv.exists(_key("password", user_id))

    def paid_password(self, user_id: str) -> None:
        """Note that another one has taken its place, or that nothing was proved."""
        if self._kv is not None:
            self._kv.delete(_key("password", user_id))

    def org_changed(self, org_id: str, user_id: str = "") -> None:
        """Ask the service for the memberships of an organization, or of one user in it."""
        self._note("org", org_id, user_id)

    def is_over(self, session_id: str, user_id: str) -> bool:
        """Tell whether a session, or its user, has ended."""
        if self._kv is None:
            return False
        keys = [_key("session", session_id), _key("user", user_id)]
        return any(self._kv.exists(key) for key in keys)

    def may_be_stale(self, org_id: str, user_id: str, since: datetime) -> bool:
        """Tell whether a membership may have changed after a token was made."""
        if self._kv is None:
            return False
        notes = [self._kv.get(_key("org", org_id, whose)) for whose in ("", user_id)]
        return any(since <= _moment(note) + _SKEW for note in notes if note is not None)

    def _note(self, *names: str) -> None:
        if self._kv is not None:
            moment = str(to_microseconds(self._clock())).encode()
            self._kv.set(_key(*names), moment, ttl=_KEPT.total_seconds())


def _key(*names: str) -> bytes:
    named = "\n".join(names).encode("utf-8", "surrogatepass")
    return b"derp:auth:workos:recent:" + hashlib.sha256(named).hexdigest().encode()


def _moment(note: bytes) -> datetime:
    """Return when a note was made; one that cannot be read was made just now."""
    try:
        return from_microseconds(int(note))
    except (ValueError, OverflowError):
        return datetime.max.replace(tzinfo=from_microseconds(0).tzinfo) - _SKEW
