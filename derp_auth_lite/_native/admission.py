"""Letting in who has proved to be the user: a session, within what the settings allow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .._local.events import Events
from .._local.housekeeping import Housekeeping
from .._records import SessionRecord, UserRecord
from .._request import Caller
from ..config import NativeAuthConfig
from ..exceptions import (
    AuthError,
    InvalidCredentialsError,
    SessionLimitError,
    SignupDisabledError,
    UserDisabledError,
)
from ..orm import DatabaseEngine
from .accounts import Accounts
from .refusals import Refusals
from .sessions import Sessions

__all__ = ["Admission"]

_REASONS: dict[type[AuthError], str] = {
    SessionLimitError: "session_limit",
    SignupDisabledError: "sign_up_disabled",
    UserDisabledError: "disabled",
    InvalidCredentialsError: "not_linked",
}
"""Why somebody who proved to be the user was not let in, as events call it."""


class Admission:
    """Opens sessions, and writes down who was not let in."""

    def __init__(
        self,
        config: NativeAuthConfig,
        engine: DatabaseEngine,
        accounts: Accounts,
        sessions: Sessions,
        events: Events,
        refusals: Refusals,
        housekeeping: Housekeeping,
    ) -> None:
        self._config = config
        self._engine = engine
        self._accounts = accounts
        self._sessions = sessions
        self._events = events
        self._refusals = refusals
        self._housekeeping = housekeeping

    @contextlib.contextmanager
    def transaction(self, caller: Caller) -> Iterator[None]:
        """Do the block as one; where it refuses somebody, nothing stays of it but a record."""
        try:
            with self._engine.transaction(own=True):
                yield
        except tuple(_REASONS) as error:
            reason = next(_REASONS[kind] for kind in _REASONS if isinstance(error, kind))
            user_id = getattr(error, "user_id", None)
            self._refusals.record("sign_in", reason, caller, user_id=user_id)
            raise

    def open_session(self, user: UserRecord, caller: Caller) -> SessionRecord:
        """Begin a session of an active user; belongs inside a transaction.

        Raises:
            SessionLimitError: There are as many as may be, and the oldest do not give way.
        """
        self._housekeeping.after_sign_in()
        self._make_room(user)
        return self._sessions.open(str(user.id), user.role, caller)

    def _make_room(self, user: UserRecord) -> None:
        """Hold the number of sessions that a user may have."""
        most, key = self._config.max_sessions_per_user, str(user.id)
        if most is None:
            return
        self._accounts.hold(key)
        beyond = self._sessions.beyond(key, most - 1)
        if beyond and self._config.session_limit_policy == "refuse":
            raise SessionLimitError(key)
        for session_id in beyond:
            self._sessions.end(session_id)
            self._events.record(
                "session_ended", user_id=key, session_id=session_id, reason="session_limit"
            )
