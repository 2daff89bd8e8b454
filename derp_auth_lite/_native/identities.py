"""Identities: what providers call our users, and who comes in by one.

An identity is (provider, subject). An address links accounts only where the provider has verified
it and the account's own was proved; a first proof of a mailbox over an account that nobody had
proved drops what that account could be entered with (OpenID Connect Core, 5.7; RFC 9700).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._addresses import normalize_email
from .._records import IDENTITY_COLUMNS, USER_COLUMNS, UserRecord, identity_info
from .._statements import Bind, Statement
from .._tables import Identity, User
from .._values import is_storable
from ..exceptions import (
    EmailAlreadyExistsError,
    IdentityAlreadyExistsError,
    InvalidCredentialsError,
    InvalidEmailError,
    SignupDisabledError,
    UserDisabledError,
)
from ..models import IdentityInfo
from ..orm import DatabaseEngine
from .accounts import Accounts, new_stamp
from .sessions import Sessions

if TYPE_CHECKING:
    from ..providers import OAuthUserInfo

__all__ = ["Identities"]

# Both rows are locked: an owner who proves the mailbox at this moment ends what this sign-in began,
# or has taken the identity away before.
_USER_OF = Statement(
    lambda: (
        User.select(*USER_COLUMNS)
        .join(Identity, on=(Identity.user == User.id))
        .where(Identity.provider == Bind("provider"), Identity.subject == Bind("subject"))
    ),
    lock=True,
)
_BY_EMAIL = Statement(
    lambda: User.select(*USER_COLUMNS).where(User.email == Bind("email")), lock=True
)
_LIST = Statement(
    lambda: (
        Identity.select(*IDENTITY_COLUMNS)
        .where(Identity.user == Bind("user_id"))
        .order_by(Identity.created_at, Identity.provider, Identity.subject)
    ),
    repeatable=True,
)
_INSERT = Statement(
    lambda: (
        Identity.insert(
            {
                Identity.provider: Bind("provider"),
                Identity.subject: Bind("subject"),
                Identity.user: Bind("user_id"),
                Identity.email: Bind("email"),
                Identity.created_at: Bind("now"),
                Identity.last_sign_in_at: Bind("signed_in_at"),
            }
        )
        .on_conflict(conflict_target=[Identity.provider, Identity.subject], action="nothing")
        .returning(*IDENTITY_COLUMNS)
    )
)
_DELETE = Statement(
    lambda: (
        Identity.delete()
        .where(
            Identity.user == Bind("user_id"),
            Identity.provider == Bind("provider"),
            Identity.subject == Bind("subject"),
        )
        .returning(Identity.subject)
    )
)
_DELETE_ALL = Statement(
    lambda: Identity.delete().where(Identity.user == Bind("user_id")).returning(Identity.subject)
)
_USED = Statement(
    lambda: (
        Identity.update({Identity.last_sign_in_at: Bind("now"), Identity.email: Bind("email")})
        .where(Identity.provider == Bind("provider"), Identity.subject == Bind("subject"))
        .returning(Identity.subject)
    )
)
_SIGNED_IN = Statement(
    lambda: (
        User.update({User.last_sign_in_at: Bind("now")})
        .where(User.id == Bind("id"), User.is_active)
        .returning(*USER_COLUMNS)
    )
)
_PROVED = Statement(
    lambda: (
        User.update(
            {
                User.email_confirmed_at: Bind("now"),
                User.password_hash: None,
                User.token_stamp: Bind("new_stamp"),
                User.failed_sign_ins: 0,
                User.updated_at: Bind("now"),
            }
        )
        .where(User.id == Bind("id"))
        .returning(*USER_COLUMNS)
    )
)


class Identities:
    """The table ``auth_identities``, and the rules of linking."""

    def __init__(self, engine: DatabaseEngine, accounts: Accounts, sessions: Sessions) -> None:
        self._engine = engine
        self._accounts = accounts
        self._sessions = sessions

    def list(self, user_id: str) -> list[IdentityInfo]:
        """Return a user's identities, oldest first."""
        return [identity_info(row) for row in self._engine.fetch(_LIST, user_id=user_id)]

    def link(self, user_id: str, who: OAuthUserInfo) -> IdentityInfo:
        """Add an identity to a user.

        Raises:
            IdentityAlreadyExistsError: It is somebody's already.
        """
        row = self._insert(user_id, who, signed_in_at=None)
        if row is None:
            raise IdentityAlreadyExistsError
        return identity_info(row)

    def unlink(self, user_id: str, provider: str, subject: str) -> bool:
        """Take an identity from a user; ``False`` where it is not theirs."""
        if not (is_storable(provider) and is_storable(subject)):
            return False
        removed = self._engine.execute(_DELETE, user_id=user_id, provider=provider, subject=subject)
        return removed == 1

    def enter(self, who: OAuthUserInfo, *, may_join: bool) -> tuple[UserRecord, str]:
        """Return whom an identity stands for, and how; belongs inside a transaction.

        That they come in is for :meth:`signed_in` to note.

        The second value is ``known`` (the identity was linked before), ``linked`` (to an account
        with the same proved address), ``claimed`` (an account that nobody had proved, stripped of
        what it could be entered with) or ``joined`` (a new account).

        Args:
            may_join: Make an account where there is none.

        Raises:
            UserDisabledError: The account is disabled.
            SignupDisabledError: There is no account, and none may be made.
            InvalidCredentialsError: The provider vouches for no address that could be used.
        """
        row = self._engine.fetch_one(_USER_OF, provider=who.provider, subject=who.id)
        if row is not None:
            return self._again(UserRecord._make(row), who)
        email = _usable_address(who)
        row = self._engine.fetch_one(_BY_EMAIL, email=email)
        if row is None:
            return self._join(email, who, may_join=may_join), "joined"
        user = UserRecord._make(row)
        if not who.email_verified:
            # Anybody can type somebody's address into a provider that does not check it.
            raise InvalidCredentialsError(f"{who.provider} does not vouch for the email address")
        _require_active(user)
        return self._link_by_address(user, who)

    def signed_in(self, user: UserRecord) -> UserRecord:
        """Note that a user came in.

        Raises:
            UserDisabledError: The account was disabled meanwhile.
        """
        row = self._engine.fetch_one(_SIGNED_IN, id=str(user.id), now=self._engine.now)
        if row is None:
            raise UserDisabledError(user_id=str(user.id))
        return UserRecord._make(row)

    def _again(self, user: UserRecord, who: OAuthUserInfo) -> tuple[UserRecord, str]:
        _require_active(user)
        how = "known"
        if user.email_confirmed_at is None and who.email_verified and _address(who) == user.email:
            user, how = self._claim(user), "claimed"
            self._insert(str(user.id), who, signed_in_at=self._engine.now)
        self._engine.send(
            _USED,
            provider=who.provider,
            subject=who.id,
            now=self._engine.now,
            email=_address(who),
        )
        return user, how

    def _link_by_address(self, user: UserRecord, who: OAuthUserInfo) -> tuple[UserRecord, str]:
        how = "linked"
        if user.email_confirmed_at is None:
            user, how = self._claim(user), "claimed"
        self._add(user, who)
        return user, how

    def _join(self, email: str, who: OAuthUserInfo, *, may_join: bool) -> UserRecord:
        if not may_join:
            raise SignupDisabledError
        try:
            user = self._accounts.create(
                email,
                None,
                profile=_profile(who),
                confirmed_at=self._engine.now if who.email_verified else None,
            )
        except EmailAlreadyExistsError:
            # Somebody signed up with it at this moment; trying again finds that account.
            raise InvalidCredentialsError from None
        self._add(user, who)
        return user

    def _claim(self, user: UserRecord) -> UserRecord:
        """Prove the address, and drop what a squatter could have left behind."""
        user_id = str(user.id)
        self._sessions.end_all(user_id)
        self._engine.send(_DELETE_ALL, user_id=user_id)
        row = self._engine.fetch_one(
            _PROVED, id=user_id, now=self._engine.now, new_stamp=new_stamp()
        )
        assert row is not None
        return UserRecord._make(row)

    def _add(self, user: UserRecord, who: OAuthUserInfo) -> None:
        if self._insert(str(user.id), who, signed_in_at=self._engine.now) is None:
            # Another process linked it at this moment; trying again finds it linked.
            raise InvalidCredentialsError

    def _insert(self, user_id: str, who: OAuthUserInfo, *, signed_in_at: Any) -> Any:
        return self._engine.fetch_one(
            _INSERT,
            provider=who.provider,
            subject=who.id,
            user_id=user_id,
            email=_address(who),
            now=self._engine.now,
            signed_in_at=signed_in_at,
        )


def _require_active(user: UserRecord) -> None:
    if not user.is_active:
        raise UserDisabledError(user_id=str(user.id))


def _address(who: OAuthUserInfo) -> str | None:
    """Return the provider's address in its stored form, or ``None`` where it is none."""
    try:
        return normalize_email(who.email)
    except InvalidEmailError:
        return None


def _usable_address(who: OAuthUserInfo) -> str:
    address = _address(who)
    if address is None:
        raise InvalidCredentialsError(f"{who.provider} gave no email address that can be used")
    return address


def _profile(who: OAuthUserInfo) -> Mapping[str, Any]:
    return {"first_name": who.first_name, "last_name": who.last_name, "image_url": who.picture}
