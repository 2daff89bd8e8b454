"""WorkOS' JSON and this library's records: each mapping once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeGuard

from .._http import from_timestamp, is_timestamp, text_or_none, time_or_none
from .._local.org_fields import OWNER
from .._local.profiles import DEFAULT_ROLE
from ..exceptions import AuthBackendError, InvalidProfileError
from ..jwt import TokenPair
from ..models import OrgInfo, OrgMemberInfo, SessionInfo, UserInfo
from .metadata import as_text, pack, unpack

__all__ = [
    "USER_ROLE",
    "Member",
    "Roles",
    "access_claims_of",
    "is_live",
    "listed_session",
    "member_info",
    "org_info",
    "session_info",
    "token_pair",
    "user_fields",
    "user_info",
    "user_pairs",
]

_RESERVED = ("username", "image_url", "role", "is_active", "is_superuser")
"""Fields that WorkOS has no place for: they lie in its metadata, which no user can write."""

USER_ROLE = "user_role"
"""The claim of a JWT template that says a user's role."""

_DEFAULTS = {"role": DEFAULT_ROLE, "is_active": True, "is_superuser": False}

_time = partial(time_or_none, service="WorkOS")


def user_info(data: Mapping[str, Any]) -> UserInfo:
    """Return a user of the service.

    WorkOS says that an address is proved and not since when: the account's beginning stands for it.

    Raises:
        AuthBackendError: It is no user.
    """
    user_id, email = data.get("id"), data.get("email")
    if not (_is_text(user_id) and _is_text(email)):
        raise _strange("a user")
    pairs = unpack(data.get("metadata"))
    created_at = _time(data.get("created_at")) or datetime.fromtimestamp(0, UTC)
    return UserInfo(
        id=user_id,
        email=email,
        first_name=text_or_none(data.get("first_name")),
        last_name=text_or_none(data.get("last_name")),
        username=text_or_none(pairs.get("username")),
        image_url=text_or_none(pairs.get("image_url"))
        or text_or_none(data.get("profile_picture_url")),
        role=text_or_none(pairs.get("role")) or DEFAULT_ROLE,
        is_active=pairs.get("is_active") is not False,
        is_superuser=pairs.get("is_superuser") is True,
        email_confirmed_at=created_at if data.get("email_verified") is True else None,
        last_sign_in_at=_time(data.get("last_sign_in_at")),
        created_at=created_at,
        updated_at=_time(data.get("updated_at")) or created_at,
        metadata={key: value for key, value in pairs.items() if key not in _RESERVED},
    )


def user_fields(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the checked fields that WorkOS has itself; an empty name is none."""
    names = ("first_name", "last_name")
    return {name: changes[name] or "" for name in names if name in changes}


def user_pairs(changes: Mapping[str, Any], present: Mapping[str, str]) -> dict[str, str] | None:
    """Return the user's metadata after *changes*; ``None`` where they do not touch it.

    Args:
        present: What the metadata holds now, as it lies there.

    Raises:
        InvalidProfileError: A key is a field of its own, or more is given than WorkOS keeps.
    """
    fields = {name: changes[name] for name in _RESERVED if name in changes}
    if not fields and "metadata" not in changes:
        return None
    kept = {name: text for name, text in present.items() if text}
    if "metadata" in changes:
        taken = sorted(changes["metadata"].keys() & set(_RESERVED))
        if taken:
            raise InvalidProfileError(f"metadata cannot hold {taken[0]}, which is a field")
        own = {name: text for name, text in kept.items() if name in _RESERVED}
        kept = {**own, **pack(changes["metadata"])}
    for name, value in fields.items():
        if value == _DEFAULTS.get(name) or value in (None, ""):
            kept.pop(name, None)
        else:
            kept[name] = as_text(name, value)
    return kept


def token_pair(data: Mapping[str, Any], claims: Mapping[str, Any], now: datetime) -> TokenPair:
    """Return the tokens of an answer.

    Args:
        claims: Of the access token; the service says nowhere else when it ends.

    Raises:
        AuthBackendError: There are none.
    """
    access, refresh, ends = data.get("access_token"), data.get("refresh_token"), claims.get("exp")
    if not (_is_text(access) and _is_text(refresh) and is_timestamp(ends)):
        raise _strange("tokens")
    expires_at = from_timestamp(ends)
    return TokenPair(
        access_token=access,
        refresh_token=refresh,
        expires_in=max(0, int((expires_at - now) / timedelta(seconds=1))),
        expires_at=expires_at,
    )


class Roles(NamedTuple):
    """What owners of an organization are called there: ``owner``, or another role."""

    owner: str

    def here(self, role: str) -> str:
        """Return the name that a role of the service has here."""
        return OWNER if role == self.owner else role

    def there(self, role: str) -> str:
        """Return the name that a role has at the service.

        Raises:
            InvalidProfileError: The service means owners by it.
        """
        if role == OWNER:
            return self.owner
        if role == self.owner:
            raise InvalidProfileError(f"the role {role} stands for owners, see WorkOSConfig")
        return role


def session_info(claims: Mapping[str, Any], roles: Roles) -> SessionInfo:
    """Return the session of verified claims."""
    org_id, org_role = text_or_none(claims.get("org_id")), text_or_none(claims.get("role"))
    begun, actor = claims.get("iat"), claims.get("act")
    metadata: dict[str, Any] = {"created_at": from_timestamp(begun)} if is_timestamp(begun) else {}
    if isinstance(actor, dict):
        metadata["impersonator"] = actor.get("sub")
    return SessionInfo(
        user_id=claims["sub"],
        session_id=claims["sid"],
        role=text_or_none(claims.get(USER_ROLE)) or DEFAULT_ROLE,
        expires_at=from_timestamp(claims["exp"]),
        metadata=metadata,
        org_id=org_id,
        org_role=roles.here(org_role) if org_id and org_role else None,
    )


def access_claims_of(claims: Mapping[str, Any]) -> bool:
    """Tell whether verified claims are those of an access token."""
    return _is_text(claims.get("sid")) and _is_text(claims.get("sub"))


def is_live(data: Mapping[str, Any]) -> bool:
    """Tell whether a listed session goes on; the emulator knows no other and says nothing."""
    return bool(data.get("status", "active") == "active")


def listed_session(data: Mapping[str, Any]) -> SessionInfo:
    """Return a session of a list; its user's role is not told there.

    Raises:
        AuthBackendError: It is no session.
    """
    session_id, user_id = data.get("id"), data.get("user_id")
    if not (_is_text(session_id) and _is_text(user_id)):
        raise _strange("a session")
    return SessionInfo(
        user_id=user_id,
        session_id=session_id,
        role=DEFAULT_ROLE,
        expires_at=_time(data.get("expires_at")) or datetime.max.replace(tzinfo=UTC),
        metadata={
            "user_agent": text_or_none(data.get("user_agent")),
            "ip_address": text_or_none(data.get("ip_address")),
            "created_at": _time(data.get("created_at")),
        },
        org_id=text_or_none(data.get("organization_id")),
    )


def org_info(data: Mapping[str, Any]) -> OrgInfo:
    """Return an organization; one that was not made here may have no slug, and has its id for one.

    Raises:
        AuthBackendError: It is no organization.
    """
    org_id, name = data.get("id"), data.get("name")
    if not (_is_text(org_id) and _is_text(name)):
        raise _strange("an organization")
    created_at = _time(data.get("created_at")) or datetime.fromtimestamp(0, UTC)
    return OrgInfo(
        id=org_id,
        name=name,
        slug=text_or_none(data.get("external_id")) or org_id,
        metadata=unpack(data.get("metadata")),
        created_at=created_at,
        updated_at=_time(data.get("updated_at")) or created_at,
    )


class Member(NamedTuple):
    """A membership with the id that the service changes it by."""

    id: str
    info: OrgMemberInfo

    @property
    def is_owner(self) -> bool:
        """Whether the organization is the member's, too."""
        return self.info.role == OWNER


def member_info(data: Mapping[str, Any], roles: Roles) -> Member:
    """Return a membership.

    Raises:
        AuthBackendError: It is none.
    """
    key, org_id, user_id = map(data.get, ("id", "organization_id", "user_id"))
    if not (_is_text(key) and _is_text(org_id) and _is_text(user_id)):
        raise _strange("a membership")
    role = data.get("role")
    created_at = _time(data.get("created_at")) or datetime.fromtimestamp(0, UTC)
    info = OrgMemberInfo(
        org_id=org_id,
        user_id=user_id,
        role=roles.here(text_or_none(role.get("slug")) or "") if isinstance(role, dict) else "",
        created_at=created_at,
        updated_at=_time(data.get("updated_at")) or created_at,
    )
    return Member(key, info)


def _strange(what: str) -> AuthBackendError:
    return AuthBackendError(f"WorkOS answered with something other than {what}")


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value != ""
