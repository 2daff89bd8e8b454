"""Accounts: the table ``auth_users``, read and written by statements that each do one thing."""

from __future__ import annotations

import builtins
import functools
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import peewee

from .._local.profiles import DEFAULT_ROLE
from .._pages import FROM_NEWEST
from .._records import PUBLIC_USER_COLUMNS, USER_COLUMNS, UserRecord, new_id, user_info
from .._statements import Bind, Statement
from .._tables import Identity, User
from ..exceptions import EmailAlreadyExistsError
from ..models import UserInfo
from ..orm import Conflict, DatabaseEngine

__all__ = ["Accounts", "new_stamp"]

_NEVER = 2**31 - 1


def _page(columns: tuple[Any, ...]) -> Any:
    position = peewee.Tuple(User.created_at, User.id)
    return (
        User.select(*columns)
        .where(position < peewee.Tuple(Bind("after_time"), Bind("after_id")))
        .order_by(User.created_at.desc(), User.id.desc())
        .limit(Bind("limit"))
        .offset(Bind("offset"))
    )


_BY_ID = Statement(lambda: User.select(*USER_COLUMNS).where(User.id == Bind("id")), repeatable=True)
_INFO = Statement(
    lambda: User.select(*PUBLIC_USER_COLUMNS).where(User.id == Bind("id")),
    repeatable=True,
    remembered=True,
)
_BY_EMAIL = Statement(
    lambda: User.select(*USER_COLUMNS).where(User.email == Bind("email")), repeatable=True
)
_HOLD = Statement(lambda: User.select(User.id).where(User.id == Bind("id")), lock=True)
_HOLD_UNCHANGED = Statement(
    lambda: User.select(User.id).where(
        User.id == Bind("id"), User.token_stamp == Bind("stamp"), User.is_active
    ),
    lock=True,
)
_COUNT = Statement(lambda: User.select(peewee.fn.COUNT(User.id)), repeatable=True)
_LIST = Statement(lambda: _page(USER_COLUMNS), repeatable=True)
_INFOS = Statement(lambda: _page(PUBLIC_USER_COLUMNS), repeatable=True)
_INSERT = Statement(
    lambda: (
        User.insert({column: Bind(column.name) for column in USER_COLUMNS})
        .on_conflict(conflict_target=[User.email], action="nothing")
        .returning(*USER_COLUMNS)
    )
)
_DELETE = Statement(lambda: User.delete().where(User.id == Bind("id")).returning(User.id))
_DELETE_IDENTITIES = Statement(
    lambda: Identity.delete().where(Identity.user == Bind("id")).returning(Identity.subject)
)
_SIGNED_IN = Statement(
    lambda: (
        User.update(
            {
                User.last_sign_in_at: Bind("now"),
                User.failed_sign_ins: 0,
                User.first_name: peewee.fn.COALESCE(User.first_name, Bind("first_name")),
                User.last_name: peewee.fn.COALESCE(User.last_name, Bind("last_name")),
                User.password_hash: Bind("password_hash"),
            }
        )
        .where(
            User.id == Bind("id"),
            User.is_active,
            User.password_hash == Bind("verified_hash"),
            User.failed_sign_ins < Bind("most_failures"),
        )
        .returning(*USER_COLUMNS)
    )
)
_FAILED = Statement(
    lambda: (
        User.update({User.failed_sign_ins: User.failed_sign_ins + 1})
        .where(User.id == Bind("id"))
        .returning(User.failed_sign_ins)
    )
)
_SET_PASSWORD = Statement(
    lambda: (
        User.update(
            {
                User.password_hash: Bind("password_hash"),
                User.token_stamp: Bind("new_stamp"),
                User.failed_sign_ins: 0,
                User.updated_at: Bind("now"),
            }
        )
        .where(
            User.id == Bind("id"),
            User.token_stamp == Bind("stamp"),
            User.is_active == Bind("is_active"),
        )
        .returning(*USER_COLUMNS)
    )
)


@functools.cache
def _update(columns: frozenset[str]) -> Statement:
    """Return the statement that sets just *columns*; there are few such sets in a program."""

    def build() -> peewee.Query:
        values = {getattr(User, name): Bind(name) for name in sorted(columns)}
        if "email" in columns:
            # An address that really changes is unproved, and what was mailed for the old one dies.
            kept = User.email == Bind("email")
            values[User.email_confirmed_at] = peewee.Case(None, [(kept, User.email_confirmed_at)])
            values[User.token_stamp] = peewee.Case(
                None, [(kept, User.token_stamp)], Bind("new_stamp")
            )
        return User.update(values).where(User.id == Bind("key")).returning(*USER_COLUMNS)

    return Statement(build)


def new_stamp() -> str:
    """Return a new token stamp: 16 random bytes in hexadecimal."""
    return secrets.token_hex(16)


class Accounts:
    """The users of one database."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine

    def by_id(self, user_id: str | None) -> UserRecord | None:
        """Return the user with that id, or ``None``."""
        row = None if user_id is None else self._engine.fetch_one(_BY_ID, id=user_id)
        return None if row is None else UserRecord._make(row)

    def info(self, user_id: str) -> UserInfo | None:
        """Return the public record of the user with that id, or ``None``."""
        row = self._engine.fetch_one(_INFO, id=user_id)
        return None if row is None else user_info(row)

    def hold(self, user_id: str) -> bool:
        """Hold a user until the transaction ends; ``False`` if there is none.

        Nobody else deletes or changes the user meanwhile, or begins a session.
        """
        return self._engine.execute(_HOLD, id=user_id) == 1

    def hold_unchanged(self, user: UserRecord) -> bool:
        """Hold a user as :meth:`hold` does; ``False`` if what proves who they are has changed.

        That is if password or address changed, a link was used, or the account was disabled, since
        *user* was read.
        """
        return self._engine.execute(_HOLD_UNCHANGED, id=str(user.id), stamp=user.token_stamp) == 1

    def by_email(self, email: str | None) -> UserRecord | None:
        """Return the user with that normalised address, or ``None``."""
        row = None if email is None else self._engine.fetch_one(_BY_EMAIL, email=email)
        return None if row is None else UserRecord._make(row)

    def list(self, *, limit: int, offset: int = 0, after: tuple[datetime, str]) -> list[UserRecord]:
        """Return users, newest first."""
        rows = self._engine.fetch(
            _LIST, limit=limit, offset=offset, after_time=after[0], after_id=after[1]
        )
        return [UserRecord._make(row) for row in rows]

    def infos(self, *, limit: int, offset: int = 0) -> builtins.list[UserInfo]:
        """Return the public records of users, newest first."""
        after_time, after_id = FROM_NEWEST
        rows = self._engine.fetch(
            _INFOS, limit=limit, offset=offset, after_time=after_time, after_id=after_id
        )
        return [user_info(row) for row in rows]

    def count(self) -> int:
        """Return how many users there are."""
        row = self._engine.fetch_one(_COUNT)
        return int(row[0]) if row else 0

    def create(
        self,
        email: str,
        password_hash: str | None,
        *,
        profile: Mapping[str, Any] | None = None,
        confirmed_at: datetime | None = None,
        signed_in_at: datetime | None = None,
    ) -> UserRecord:
        """Add a user; *profile* holds checked columns, see ``profile_changes``.

        Raises:
            EmailAlreadyExistsError: Somebody has the address, or was faster.
        """
        now = self._engine.now
        values: dict[str, Any] = {
            "id": new_id(),
            "email": email,
            "first_name": None,
            "last_name": None,
            "username": None,
            "image_url": None,
            "metadata": {},
            "role": DEFAULT_ROLE,
            "is_active": True,
            "is_superuser": False,
            **(profile or {}),
            "email_confirmed_at": confirmed_at,
            "last_sign_in_at": signed_in_at,
            "created_at": now,
            "updated_at": now,
            "password_hash": password_hash,
            "token_stamp": new_stamp(),
            "failed_sign_ins": 0,
        }
        row = self._engine.fetch_one(_INSERT, **values)
        if row is None:
            raise EmailAlreadyExistsError(email)
        return UserRecord._make(row)

    def update(self, user_id: str, changes: Mapping[str, Any]) -> UserRecord | None:
        """Set columns of a user; ``None`` where there is no such user.

        A new ``email`` is unconfirmed, and takes another token stamp.

        Raises:
            EmailAlreadyExistsError: Somebody else has the new address.
        """
        values = {**changes, "updated_at": self._engine.now}
        statement = _update(frozenset(values))
        try:
            with self._engine.savepoint():
                row = self._engine.fetch_one(
                    statement, key=user_id, new_stamp=new_stamp(), **values
                )
        except Conflict:
            raise EmailAlreadyExistsError(str(changes.get("email"))) from None
        return None if row is None else UserRecord._make(row)

    def delete(self, user_id: str) -> bool:
        """Remove a user and their identities; ``False`` where there is none."""
        with self._engine.transaction():
            # The application's own SQLite database may not enforce foreign keys.
            self._engine.send(_DELETE_IDENTITIES, id=user_id)
            return self._engine.execute(_DELETE, id=user_id) == 1

    def signed_in(
        self,
        user: UserRecord,
        *,
        first_name: str | None = None,
        last_name: str | None = None,
        renewed_hash: str | None = None,
        most_failures: int | None = None,
    ) -> UserRecord | None:
        """Note a sign-in by password and fill in names that the profile lacks.

        Returns ``None`` if the account was disabled or its password changed since it was read, so
        that a sign-in with the old password cannot outrun a change; or if, by now, the sign-ins
        that failed in a row are *most_failures*, so that many at once get no further try.
        """
        row = self._engine.fetch_one(
            _SIGNED_IN,
            id=str(user.id),
            verified_hash=user.password_hash,
            password_hash=renewed_hash or user.password_hash,
            first_name=first_name,
            last_name=last_name,
            most_failures=_NEVER if most_failures is None else most_failures,
            now=self._engine.now,
        )
        return None if row is None else UserRecord._make(row)

    def failed(self, user_id: str) -> None:
        """Count one more wrong password in a row; a success or a new password begins anew."""
        self._engine.send(_FAILED, id=user_id)

    def set_password(self, user: UserRecord, password_hash: str) -> UserRecord | None:
        """Set a password and void all outstanding one-time tokens.

        Returns ``None`` if the account changed since it was read, or was disabled or enabled.
        """
        row = self._engine.fetch_one(
            _SET_PASSWORD,
            id=str(user.id),
            stamp=user.token_stamp,
            is_active=user.is_active,
            password_hash=password_hash,
            new_stamp=new_stamp(),
            now=self._engine.now,
        )
        return None if row is None else UserRecord._make(row)
