"""The four kinds of records that are moved, and what a field of each may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ..._addresses import normalize_email
from ..._local.org_fields import as_member_role, org_changes
from ..._local.profiles import ADMIN_FIELDS, profile_changes
from ..._passwords import foreign
from ..._records import as_id, as_object
from ..._tables import Identity, Organization, OrgMember, User
from ..._values import as_text, is_storable
from ...exceptions import AuthError, TransferError
from ...orm import as_utc
from ...password import is_known_hash

__all__ = ["IDENTITY", "KINDS", "MEMBER", "ORG", "USER", "Kind", "Record", "checked"]

_MOST_FAILURES = 2**31 - 1
_LONGEST = 1024


@dataclass(frozen=True)
class Kind:
    """A kind of record.

    Args:
        fields: The columns by their names in a file.
        key: What tells one record from another.
        unique: A further field that no two records share.
        check: Returns the values of a file as they are stored.
    """

    name: str
    model: Any
    fields: Mapping[str, Any]
    key: tuple[str, ...]
    unique: str | None
    check: Callable[[Mapping[str, Any]], dict[str, Any]]

    def __hash__(self) -> int:
        return hash(self.name)

    def key_of(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the key of a record."""
        return tuple(str(values[name]) for name in self.key)

    def values_of(self, row: tuple[Any, ...]) -> dict[str, Any]:
        """Return a row of the table as a record's values, alike on both databases."""
        return {
            name: _READ.get(name, _as_it_is)(value) if value is not None else None
            for name, value in zip(self.fields, row, strict=True)
        }


class Record(NamedTuple):
    """What a file, or another system, says of one thing; *place* tells where."""

    kind: Kind
    values: dict[str, Any]
    place: str


def checked(kind: Kind, values: Mapping[str, Any], place: str) -> Record:
    """Return a record whose values can be stored.

    Raises:
        TransferError: One of them cannot, is missing, or is not known.
    """
    unknown = values.keys() - kind.fields.keys()
    missing = kind.fields.keys() - values.keys()
    if unknown or missing:
        what = "unknown" if unknown else "missing"
        name = min(map(str, unknown or missing))
        raise TransferError(f"{place}: {what} field {name[:40]!r} of a {kind.name}")
    try:
        return Record(kind, kind.check(values), place)
    except AuthError as error:
        raise TransferError(f"{place}: {error.message}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise TransferError(f"{place}: {error}") from error


def _user(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **profile_changes({name: values[name] for name in ADMIN_FIELDS}, ADMIN_FIELDS),
        "id": _id("id", values["id"]),
        "email": _address(values["email"]),
        "email_confirmed_at": _moment_or_none("email_confirmed_at", values),
        "password_hash": _hash(values["password_hash"]),
        "failed_sign_ins": _count(values["failed_sign_ins"]),
        "created_at": _moment("created_at", values["created_at"]),
        "updated_at": _moment("updated_at", values["updated_at"]),
        "last_sign_in_at": _moment_or_none("last_sign_in_at", values),
    }


def _identity(values: Mapping[str, Any]) -> dict[str, Any]:
    email = values["email"]
    return {
        "provider": as_text("provider", values["provider"], _LONGEST),
        "subject": as_text("subject", values["subject"], _LONGEST),
        "user_id": _id("user_id", values["user_id"]),
        "email": None if email is None else as_text("email", email, _LONGEST),
        "created_at": _moment("created_at", values["created_at"]),
        "last_sign_in_at": _moment_or_none("last_sign_in_at", values),
    }


def _org(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": _id("id", values["id"]),
        **org_changes({name: values[name] for name in ("name", "slug", "metadata")}),
        "created_at": _moment("created_at", values["created_at"]),
        "updated_at": _moment("updated_at", values["updated_at"]),
    }


def _member(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "org_id": _id("org_id", values["org_id"]),
        "user_id": _id("user_id", values["user_id"]),
        "role": as_member_role(values["role"]),
        "created_at": _moment("created_at", values["created_at"]),
        "updated_at": _moment("updated_at", values["updated_at"]),
    }


def _id(name: str, value: object) -> str:
    key = as_id(value) if isinstance(value, str) else None
    if key is None:
        raise ValueError(f"{name} is no UUID")
    return key


def _address(value: object) -> str:
    address = normalize_email(value)
    if address != value:
        raise ValueError("email is not in its stored form")
    return address


def _hash(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not is_storable(value) or not is_known_hash(value):
        raise ValueError("password_hash is of no known kind")
    foreign.require_package(value)
    return value


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_FAILURES:
        raise ValueError("failed_sign_ins is no count")
    return value


def _moment(name: str, value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{name} is no time with a zone")
    return moment.astimezone(UTC)


def _moment_or_none(name: str, values: Mapping[str, Any]) -> datetime | None:
    return None if values[name] is None else _moment(name, values[name])


def _as_it_is(value: Any) -> Any:
    return value


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("id", "user_id", "org_id"), str),
    **dict.fromkeys(("created_at", "updated_at", "email_confirmed_at", "last_sign_in_at"), as_utc),
    **dict.fromkeys(("is_active", "is_superuser"), bool),
    "metadata": as_object,
}

_USER_FIELDS = (
    "id email email_confirmed_at password_hash first_name last_name username image_url role "
    "is_active is_superuser metadata failed_sign_ins created_at updated_at last_sign_in_at"
)
USER = Kind(
    "user",
    User,
    {name: getattr(User, name) for name in _USER_FIELDS.split()},
    key=("id",),
    unique="email",
    check=_user,
)
IDENTITY = Kind(
    "identity",
    Identity,
    {
        "provider": Identity.provider,
        "subject": Identity.subject,
        "user_id": Identity.user,
        "email": Identity.email,
        "created_at": Identity.created_at,
        "last_sign_in_at": Identity.last_sign_in_at,
    },
    key=("provider", "subject"),
    unique=None,
    check=_identity,
)
ORG = Kind(
    "org",
    Organization,
    {
        name: getattr(Organization, name)
        for name in ("id", "name", "slug", "metadata", "created_at", "updated_at")
    },
    key=("id",),
    unique="slug",
    check=_org,
)
MEMBER = Kind(
    "member",
    OrgMember,
    {
        "org_id": OrgMember.org,
        "user_id": OrgMember.user_id,
        "role": OrgMember.role,
        "created_at": OrgMember.created_at,
        "updated_at": OrgMember.updated_at,
    },
    key=("org_id", "user_id"),
    unique=None,
    check=_member,
)
KINDS: tuple[Kind, ...] = (USER, IDENTITY, ORG, MEMBER)
"""In the order in which a file has them: what others refer to comes first."""
