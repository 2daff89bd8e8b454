"""Letting in who has proved to be the user, in one transaction: all of it happens, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .._local.events import Events
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
from .identities import Identities
from .mail import MAGIC_LINK
from .new_sessions import NewSessions
from .one_time import Claim
from .redemptions import Redemptions
from .refusals import Refusals

if TYPE_CHECKING:
    from ..providers import OAuthUserInfo

__all__ = ["SignIn", "SignIns"]

_REASONS: dict[type[AuthError], str] = {
    SessionLimitError: "session_limit",
    SignupDisabledError: "sign_up_disabled",
    UserDisabledError: "disabled",
    InvalidCredentialsError: "not_linked",
}
"""Why somebody who proved to be the user was not let in, as events call it."""


class SignIn(NamedTuple):
    """Who came in, and the session; none while the address must first be confirmed."""

    user: UserRecord
    session: SessionRecord | None


class SignIns:
    """Notes sign-ins and opens their sessions; writes down who was not let in.

    Every method raises SessionLimitError where the user has as many sessions as may be.
    """

    def __init__(
        self,
        config: NativeAuthConfig,
        engine: DatabaseEngine,
        accounts: Accounts,
        identities: Identities,
        redemptions: Redemptions,
        new_sessions: NewSessions,
        events: Events,
        refusals: Refusals,
    ) -> None:
        self._config = config
        self._engine = engine
        self._accounts = accounts
        self._identities = identities
        self._redemptions = redemptions
        self._new_sessions = new_sessions
        self._events = events
        self._refusals = refusals

    def by_password(
        self, user: UserRecord, renewed_hash: str | None, names: Mapping[str, Any], caller: Caller
    ) -> SignIn:
        """Let in a user whose password was verified.

        Args:
            names: Filled in where the profile has none.

        Raises:
            InvalidCredentialsError: The account changed since it was read.
        """
        most = self._config.throttle.failures_in_a_row or None
        session = None
        with self._transaction(caller):
            current = self._accounts.signed_in(
                user, renewed_hash=renewed_hash, most_failures=most, **names
            )
            if current is not None:
                session = self._open(current, caller)
        if current is None:
            self._refusals.record("sign_in", "changed_meanwhile", caller, user_id=user.id)
            raise InvalidCredentialsError
        return SignIn(current, session)

    def by_magic_link(self, claim: Claim, caller: Caller) -> SignIn | None:
        """Let in who presents a link, or make their account; ``None`` where it is of no use."""
        with self._transaction(caller):
            user = self._redemptions.enter(claim) if self._may_enter(claim) else None
            if user is None:
                return None
            about = {"method": MAGIC_LINK, "new_user": claim.user_id is None}
            return SignIn(user, self._open(user, caller, about))

    def by_identity(self, who: OAuthUserInfo, caller: Caller) -> SignIn:
        """Let in whom a provider vouches for, or make their account.

        Raises:
            InvalidCredentialsError: The provider vouches for no address that could be used.
            SignupDisabledError: There is no account, and none may be made.
            UserDisabledError: The account is disabled.
        """
        with self._transaction(caller):
            user, how = self._identities.enter(who, may_join=self._config.enable_signup)
            about = {"provider": who.provider, "identity": how}
            if self._config.enable_confirmation and user.email_confirmed_at is None:
                self._events.record("sign_up", user_id=user.id, caller=caller, details=about)
                return SignIn(user, None)
            user = self._identities.signed_in(user)
            return SignIn(user, self._open(user, caller, about))

    def _may_enter(self, claim: Claim) -> bool:
        is_known = claim.user_id is not None
        return self._config.enable_magic_link and (is_known or self._config.enable_signup)

    def _open(
        self, user: UserRecord, caller: Caller, details: dict[str, Any] | None = None
    ) -> SessionRecord:
        session = self._new_sessions.open(user, caller)
        self._events.record(
            "sign_in", user_id=user.id, session_id=session.id, caller=caller, details=details
        )
        return session

    @contextlib.contextmanager
    def _transaction(self, caller: Caller) -> Iterator[None]:
        """Do the block as one; where it refuses somebody, nothing stays of it but a record."""
        try:
            with self._engine.transaction(own=True):
                yield
        except tuple(_REASONS) as error:
            reason = next(_REASONS[kind] for kind in _REASONS if isinstance(error, kind))
            user_id = getattr(error, "user_id", None)
            self._refusals.record("sign_in", reason, caller, user_id=user_id)
            raise
