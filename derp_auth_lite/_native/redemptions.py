"""What a one-time token does to its account: one statement each, of which one caller wins.

Every statement asks for the account as the token knew it (id, address, token stamp) and sets a new
stamp. So of many redeemers at once one gets a row, in all processes and whatever the KV store says,
and with it everything dies that was outstanding for the account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import peewee

from .._records import USER_COLUMNS, UserRecord
from .._statements import Bind, Statement
from .._tables import Identity, User
from ..exceptions import EmailAlreadyExistsError
from ..orm import Conflict, DatabaseEngine
from .accounts import Accounts, new_stamp
from .one_time import Claim
from .sessions import Sessions

__all__ = ["Redemptions"]


def _as_claimed() -> tuple[Any, ...]:
    return (
        User.id == Bind("id"),
        User.email == Bind("claimed_email"),
        User.token_stamp == Bind("stamp"),
        User.is_active,
    )


def _redeem(changes: Mapping[peewee.Field, Any]) -> Any:
    """Return the statement that spends a token; *changes* is what else it does."""
    spent = {User.token_stamp: Bind("new_stamp"), User.updated_at: Bind("now"), **changes}
    return User.update(spent).where(*_as_claimed()).returning(*USER_COLUMNS)


def _proved() -> Any:
    return peewee.fn.COALESCE(User.email_confirmed_at, Bind("now"))


# Locked, so that what it says of the account still holds when the token is spent.
_BEFORE = Statement(
    lambda: User.select(User.email_confirmed_at, User.password_hash).where(*_as_claimed()),
    lock=True,
)
_CONFIRM = Statement(lambda: _redeem({User.email_confirmed_at: _proved()}))
_RESET = Statement(
    lambda: _redeem(
        {
            User.email_confirmed_at: _proved(),
            User.password_hash: Bind("password_hash"),
            User.failed_sign_ins: 0,
        }
    )
)
_ENTER = Statement(
    lambda: _redeem(
        {
            User.email_confirmed_at: _proved(),
            User.password_hash: Bind("password_hash"),
            User.last_sign_in_at: Bind("now"),
            User.failed_sign_ins: 0,
        }
    )
)
_MOVE = Statement(
    lambda: _redeem({User.email: Bind("new_email"), User.email_confirmed_at: Bind("now")})
)
_DROP_IDENTITIES = Statement(
    lambda: Identity.delete().where(Identity.user == Bind("id")).returning(Identity.subject)
)


class Redemptions:
    """Spends one-time tokens; each method belongs inside a transaction.

    A method returns ``None`` where the account is not any more what the token knew: it was spent,
    the address or the password changed, the user was disabled or deleted.
    """

    def __init__(self, engine: DatabaseEngine, accounts: Accounts, sessions: Sessions) -> None:
        self._engine = engine
        self._accounts = accounts
        self._sessions = sessions

    def confirm(self, claim: Claim) -> UserRecord | None:
        """Take the address for proved; password, sessions and identities stay."""
        return self._spend(_CONFIRM, claim)

    def reset(self, claim: Claim, password_hash: str) -> UserRecord | None:
        """Set a password, end all sessions, and take the address for proved."""
        before = self._before(claim)
        user = self._spend(_RESET, claim, password_hash=password_hash)
        if before is not None and user is not None:
            self._sessions.end_all(str(user.id))
            self._drop_what_a_squatter_left(user, before)
        return user

    def enter(self, claim: Claim) -> UserRecord | None:
        """Note a sign-in, and take the address for proved; a new address gets its account.

        An account whose address nobody had proved may have been made by somebody else: what they
        could still get in with is dropped.
        """
        if claim.user_id is None:
            return self._join(claim)
        before = self._before(claim)
        if before is None:
            return None
        confirmed_at, password_hash = before
        kept = None if confirmed_at is None else password_hash
        user = self._spend(_ENTER, claim, password_hash=kept)
        if user is not None:
            self._drop_what_a_squatter_left(user, before)
        return user

    def move(self, claim: Claim) -> UserRecord | None:
        """Replace the address by the one that the token proves.

        Raises:
            EmailAlreadyExistsError: Another account has the new address; nothing was changed.
        """
        assert claim.new_email is not None
        try:
            with self._engine.savepoint():
                return self._spend(_MOVE, claim, new_email=claim.new_email)
        except Conflict:
            raise EmailAlreadyExistsError(claim.new_email) from None

    def _join(self, claim: Claim) -> UserRecord | None:
        now = self._engine.now
        try:
            return self._accounts.create(claim.email, None, confirmed_at=now, signed_in_at=now)
        except EmailAlreadyExistsError:
            return None

    def _before(self, claim: Claim) -> tuple[Any, ...] | None:
        return self._engine.fetch_one(
            _BEFORE, id=claim.user_id, claimed_email=claim.email, stamp=claim.stamp
        )

    def _spend(self, statement: Statement, claim: Claim, **values: Any) -> UserRecord | None:
        row = self._engine.fetch_one(
            statement,
            id=claim.user_id,
            claimed_email=claim.email,
            stamp=claim.stamp,
            new_stamp=new_stamp(),
            now=self._engine.now,
            **values,
        )
        return None if row is None else UserRecord._make(row)

    def _drop_what_a_squatter_left(self, user: UserRecord, before: tuple[Any, ...]) -> None:
        """End sessions and identities of an account whose address was unproved until now."""
        confirmed_at, _ = before
        if confirmed_at is None:
            self._sessions.end_all(str(user.id))
            self._engine.send(_DROP_IDENTITIES, id=str(user.id))
