"""Whether a password opens an account: within limits, at the same cost whoever asks."""

from __future__ import annotations

from .._addresses import normalize_email
from .._local.events import FAILURE, Events
from .._local.throttle import Attempt, Throttle
from .._records import UserRecord, new_id
from .._request import Caller
from ..config import NativeAuthConfig
from ..exceptions import (
    EmailNotConfirmedError,
    InvalidCredentialsError,
    InvalidEmailError,
    UserDisabledError,
)
from ..orm import DatabaseEngine
from ..password import PasswordHasher
from .accounts import Accounts
from .refusals import Refusals

__all__ = ["PasswordCheck"]


class PasswordCheck:
    """Verifies passwords, counts the wrong ones, and writes them down."""

    def __init__(
        self,
        config: NativeAuthConfig,
        hasher: PasswordHasher,
        engine: DatabaseEngine,
        accounts: Accounts,
        events: Events,
        throttle: Throttle,
        refusals: Refusals,
    ) -> None:
        self._config = config
        self._hasher = hasher
        self._engine = engine
        self._accounts = accounts
        self._events = events
        self._throttle = throttle
        self._refusals = refusals

    def sign_in(self, email: str, password: str, caller: Caller) -> tuple[UserRecord, Attempt]:
        """Return the user whose password this is, and the attempt that was counted for it.

        It costs one hash whoever asks (OWASP ASVS 5.0, 6.3.8).

        Raises:
            InvalidCredentialsError: Email or password did not match.
            EmailNotConfirmedError: The password is right, the address not yet confirmed.
            UserDisabledError: The password is right, the account disabled.
            RateLimitedError: Too many attempts for this account, or from there.
        """
        try:
            address = normalize_email(email)
        except InvalidEmailError:
            address = None
        attempt = self._throttle.sign_in(address or str(email), caller)
        user = self._accounts.by_email(address)
        if not self._matches(user, password):
            self._failed(attempt, "sign_in", caller, user)
            raise InvalidCredentialsError
        assert user is not None
        self._require_active(user, "sign_in", caller)
        if self._config.enable_confirmation and user.email_confirmed_at is None:
            self._refusals.record("sign_in", "not_confirmed", caller, user_id=user.id)
            raise EmailNotConfirmedError
        return user, attempt

    def require(self, user: UserRecord, password: str, action: str, caller: Caller) -> None:
        """Ask a user who is signed in for the password, before *action*.

        Raises:
            InvalidCredentialsError: It is wrong.
            UserDisabledError: It is right, and the account disabled.
            RateLimitedError: Too many attempts for this account, or from there.
            RuntimeError: Called inside a transaction of the application.
        """
        self._engine.refuse_foreign_transaction()
        attempt = self._throttle.sign_in(user.email, caller)
        if not self._matches(user, password):
            self._failed(attempt, action, caller, user)
            raise InvalidCredentialsError("The current password is wrong")
        self._throttle.succeeded(attempt)
        self._require_active(user, action, caller)

    def renewed_hash(self, user: UserRecord, password: str) -> str | None:
        """Return a hash with the present parameters where the stored one has older ones."""
        if user.password_hash is None or not self._hasher.needs_rehash(user.password_hash):
            return None
        return self._hasher.hash(password)

    def _matches(self, user: UserRecord | None, password: str) -> bool:
        """Tell whether a password opens an account; costs one hash whatever the answer is.

        After too many failures in a row none does, and nothing tells the right one from others
        (NIST SP 800-63B-4, section 3.2.2).
        """
        is_right = self._hasher.verify_or_dummy(password, user and user.password_hash)
        most = self._config.throttle.failures_in_a_row
        return user is not None and is_right and not (most and user.failed_sign_ins >= most)

    def _require_active(self, user: UserRecord, action: str, caller: Caller) -> None:
        if not user.is_active:
            self._refusals.record(action, "disabled", caller, user_id=user.id)
            raise UserDisabledError

    def _failed(
        self, attempt: Attempt, action: str, caller: Caller, user: UserRecord | None
    ) -> None:
        """Count a wrong password, and write it down while the range may still be noted."""
        self._throttle.failed(attempt, caller)
        is_noted = self._throttle.may_note(caller)
        with self._engine.transaction(own=True):
            # Time would tell: for an unknown address the same is done to nobody, and what is not
            # noted is written all the same, and taken back.
            self._accounts.failed(str(user.id) if user else new_id())
            self._events.record(
                action,
                FAILURE,
                user_id=user and user.id,
                reason="wrong_password" if user else "unknown_address",
                address_hash=None if user else attempt.account,
                caller=caller,
                kept=is_noted,
            )
