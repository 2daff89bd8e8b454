"""Rows as stores pass them on, and the one mapper from each to its public record."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ._tables import Identity, Organization, OrgMember, Session, User
from .models import IdentityInfo, OrgInfo, OrgMemberInfo, SessionInfo, UserInfo
from .orm import as_utc

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "IDENTITY_COLUMNS",
    "MEMBER_COLUMNS",
    "ORG_COLUMNS",
    "PUBLIC_USER_COLUMNS",
    "SESSION_COLUMNS",
    "USER_COLUMNS",
    "MemberRecord",
    "OrgRecord",
    "SessionRecord",
    "UserRecord",
    "as_id",
    "as_object",
    "identity_info",
    "new_id",
    "user_info",
]

T = TypeVar("T", bound="DataclassInstance")

# Most ids come back as they were given out, and parsing one costs as much as looking it up.
_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def new_id() -> str:
    """Return a random id (version 4, RFC 9562)."""
    return str(uuid.uuid4())


def as_id(value: object) -> str | None:
    """Return *value* as the text of a UUID, or ``None`` where it is none: then nothing has it."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if not isinstance(value, str) or len(value) > 45:
        return None
    if _CANONICAL(value) is not None:
        return value
    try:
        return str(uuid.UUID(value))
    except ValueError:
        return None


def as_object(value: str | dict[str, Any]) -> dict[str, Any]:
    """Return a stored JSON object: text on SQLite, a dictionary on PostgreSQL."""
    if isinstance(value, str):
        return {} if value == "{}" else json.loads(value)
    return value


def _as_utc_or_none(value: int | datetime | None) -> datetime | None:
    return None if value is None else as_utc(value)


def _maker(record: type[T]) -> Callable[..., T]:
    """Return a function that makes a frozen *record* of all its fields' values, in their order.

    It sets the slots themselves, which takes a third less time than ``__init__``: that goes through
    ``object.__setattr__`` for each field.
    """
    new = object.__new__
    setters = [vars(record)[field.name].__set__ for field in fields(record)]

    def make(*values: Any) -> T:
        made = new(record)
        for set_slot, value in zip(setters, values, strict=True):
            set_slot(made, value)
        return made

    return make


_make_user_info = _maker(UserInfo)

PUBLIC_USER_COLUMNS = (
    User.id,
    User.email,
    User.first_name,
    User.last_name,
    User.username,
    User.image_url,
    User.role,
    User.is_active,
    User.is_superuser,
    User.email_confirmed_at,
    User.last_sign_in_at,
    User.created_at,
    User.updated_at,
    User.metadata,
)


def user_info(row: tuple[Any, ...]) -> UserInfo:
    """Return the public record of a row of :data:`PUBLIC_USER_COLUMNS`."""
    key, *texts, active, superuser, confirmed_at, signed_in_at, made_at, changed_at, metadata = row
    return _make_user_info(
        str(key),
        *texts,
        bool(active),
        bool(superuser),
        None if confirmed_at is None else as_utc(confirmed_at),
        None if signed_in_at is None else as_utc(signed_in_at),
        as_utc(made_at),
        as_utc(changed_at),
        as_object(metadata),
    )


USER_COLUMNS = (
    *PUBLIC_USER_COLUMNS,
    User.password_hash,
    User.token_stamp,
    User.failed_sign_ins,
)


class UserRecord(NamedTuple):
    """A row of ``auth_users`` in the order of :data:`USER_COLUMNS`, values as the driver gave."""

    id: Any
    email: str
    first_name: str | None
    last_name: str | None
    username: str | None
    image_url: str | None
    role: str
    is_active: Any
    is_superuser: Any
    email_confirmed_at: Any
    last_sign_in_at: Any
    created_at: Any
    updated_at: Any
    metadata: Any
    password_hash: str | None
    token_stamp: str
    failed_sign_ins: int

    def __repr__(self) -> str:
        return f"<UserRecord {self.id}>"

    def info(self) -> UserInfo:
        """Return the public record."""
        return user_info(self[: len(PUBLIC_USER_COLUMNS)])


SESSION_COLUMNS = (
    Session.id,
    Session.user_id,
    Session.refresh_counter,
    Session.refreshed_at,
    Session.active_until,
    Session.expires_at,
    Session.org_id,
    Session.user_agent,
    Session.ip_address,
    Session.created_at,
)


class SessionRecord(NamedTuple):
    """A session with its user's present role and its membership's: what tokens are made from."""

    id: Any
    user_id: Any
    refresh_counter: int
    refreshed_at: Any
    active_until: Any
    expires_at: Any
    org_id: Any
    user_agent: str | None
    ip_address: str | None
    created_at: Any
    user_role: str
    user_is_active: Any
    org_role: str | None

    def info(self, expires_at: datetime | None = None) -> SessionInfo:
        """Return the public record, ending at *expires_at* or with the session itself."""
        in_org = self.org_role is not None
        return SessionInfo(
            user_id=str(self.user_id),
            session_id=str(self.id),
            role=self.user_role,
            expires_at=as_utc(self.expires_at) if expires_at is None else expires_at,
            metadata={
                "user_agent": self.user_agent,
                "ip_address": self.ip_address,
                "created_at": as_utc(self.created_at),
            },
            org_id=str(self.org_id) if in_org else None,
            org_role=self.org_role,
        )


IDENTITY_COLUMNS = (
    Identity.provider,
    Identity.subject,
    Identity.user_id,
    Identity.email,
    Identity.created_at,
    Identity.last_sign_in_at,
)


def identity_info(row: tuple[Any, ...]) -> IdentityInfo:
    """Return the public record of a row of :data:`IDENTITY_COLUMNS`."""
    provider, subject, user_id, email, created_at, last_sign_in_at = row
    return IdentityInfo(
        provider=provider,
        subject=subject,
        user_id=str(user_id),
        email=email,
        created_at=as_utc(created_at),
        last_sign_in_at=_as_utc_or_none(last_sign_in_at),
    )


ORG_COLUMNS = (
    Organization.id,
    Organization.name,
    Organization.slug,
    Organization.metadata,
    Organization.created_at,
    Organization.updated_at,
)


class OrgRecord(NamedTuple):
    """A row of ``auth_organizations`` in the order of :data:`ORG_COLUMNS`."""

    id: Any
    name: str
    slug: str
    metadata: Any
    created_at: Any
    updated_at: Any

    def info(self) -> OrgInfo:
        """Return the public record."""
        return OrgInfo(
            id=str(self.id),
            name=self.name,
            slug=self.slug,
            metadata=as_object(self.metadata),
            created_at=as_utc(self.created_at),
            updated_at=as_utc(self.updated_at),
        )


MEMBER_COLUMNS = (
    OrgMember.org_id,
    OrgMember.user_id,
    OrgMember.role,
    OrgMember.created_at,
    OrgMember.updated_at,
)


class MemberRecord(NamedTuple):
    """A row of ``auth_org_members`` in the order of :data:`MEMBER_COLUMNS`."""

    org_id: Any
    user_id: Any
    role: str
    created_at: Any
    updated_at: Any

    def info(self) -> OrgMemberInfo:
        """Return the public record."""
        return OrgMemberInfo(
            org_id=str(self.org_id),
            user_id=str(self.user_id),
            role=self.role,
            created_at=as_utc(self.created_at),
            updated_at=as_utc(self.updated_at),
        )
