"""New sessions, within the number that a user may have."""

from __future__ import annotations

from .._local.events import Events
from .._local.housekeeping import Housekeeping
from .._records import SessionRecord, UserRecord
from .._request import Caller
from ..config import NativeAuthConfig
from ..exceptions import SessionLimitError
from .accounts import Accounts
from .sessions import Sessions

__all__ = ["NewSessions"]


class NewSessions:
    """Opens sessions."""

    def __init__(
        self,
        config: NativeAuthConfig,
        accounts: Accounts,
        sessions: Sessions,
        events: Events,
        housekeeping: Housekeeping,
    ) -> None:
        self._config = config
        self._accounts = accounts
        self._sessions = sessions
        self._events = events
        self._housekeeping = housekeeping

    def open(self, user: UserRecord, caller: Caller) -> SessionRecord:
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
