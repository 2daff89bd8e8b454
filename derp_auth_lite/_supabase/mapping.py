"""Supabase's JSON and this library's records: each mapping once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from .._http import from_timestamp, is_timestamp, text_or_none, time_or_none
from .._jwks import unverified_claims
from .._local.profiles import DEFAULT_ROLE
from .._records import as_id
from ..exceptions import AuthBackendError, InvalidProfileError
from ..models import SessionInfo, TokenPair, UserInfo

__all__ = [
    "RESERVED",
    "is_fake_user",
    "is_first_proof",
    "issued_at",
    "session_info",
    "session_of_token",
    "token_pair",
    "user_changes",
    "user_info",
]

_NAMES = ("first_name", "last_name", "username", "image_url")
RESERVED = frozenset(_NAMES)
"""Keys of ``user_metadata`` that are fields of their own here."""

_FOR_EVER = "876000h"  # a hundred years; the service knows no other way to say it
_SAME_STEP = timedelta(seconds=1)
_CODE_LIVES = timedelta(minutes=5)

_time = partial(time_or_none, service="Supabase")


def user_info(data: Mapping[str, Any], now: datetime) -> UserInfo:
    """Return a user of the service.

    Role and ``is_superuser`` are those of ``app_metadata``: ``user_metadata`` can be written by the
    user and grants nothing.

    Raises:
        AuthBackendError: It is no user.
    """
    own, app = _object(data.get("user_metadata")), _object(data.get("app_metadata"))
    user_id = as_id(data.get("id"))
    if user_id is None:
        raise AuthBackendError("Supabase answered with something other than a user")
    created_at = _time(data.get("created_at")) or datetime.fromtimestamp(0, UTC)
    banned_until = _time(data.get("banned_until"))
    return UserInfo(
        id=user_id,
        email=text_or_none(data.get("email")) or "",
        first_name=text_or_none(own.get("first_name")),
        last_name=text_or_none(own.get("last_name")),
        username=text_or_none(own.get("username")),
        image_url=text_or_none(own.get("image_url")) or text_or_none(own.get("avatar_url")),
        role=text_or_none(app.get("role")) or DEFAULT_ROLE,
        is_active=banned_until is None or banned_until <= now,
        is_superuser=app.get("is_superuser") is True,
        email_confirmed_at=_time(data.get("email_confirmed_at")),
        last_sign_in_at=_time(data.get("last_sign_in_at")),
        created_at=created_at,
        updated_at=_time(data.get("updated_at")) or created_at,
        metadata={key: value for key, value in own.items() if key not in RESERVED},
    )


def user_changes(
    changes: Mapping[str, Any], present: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return checked fields as the body of an administrator's call.

    Args:
        present: The user's present metadata; keys that are not in the new one are taken out.

    Raises:
        InvalidProfileError: A key of the metadata is a field of its own.
    """
    own: dict[str, Any] = {name: changes[name] for name in _NAMES if name in changes}
    if "metadata" in changes:
        taken = sorted(RESERVED & changes["metadata"].keys())
        if taken:
            raise InvalidProfileError(f"metadata cannot hold {taken[0]}, which is a field")
        own |= {**dict.fromkeys(present or ()), **changes["metadata"]}
    app = {name: changes[name] for name in ("role", "is_superuser") if name in changes}
    body: dict[str, Any] = {}
    if "email" in changes:
        body["email"] = changes["email"]
    if own:
        body["user_metadata"] = own
    if app:
        body["app_metadata"] = app
    if "is_active" in changes:
        body["ban_duration"] = "none" if changes["is_active"] else _FOR_EVER
    return body


def is_fake_user(data: Mapping[str, Any]) -> bool:
    """Tell whether an answer to a sign-up hides that the address has an account."""
    return data.get("identities") == [] and data.get("role") == ""


def is_first_proof(user: UserInfo, *, by_code: bool) -> bool:
    """Tell whether the sign-in that *user* has just come from was what proved the address.

    The service sets both times in one step; before a callback's code, which lives five minutes,
    comes back, some time passes. An address that was proved from the start was by somebody's word.
    """
    proved, entered = user.email_confirmed_at, user.last_sign_in_at
    if proved is None or entered is None or proved - user.created_at < _SAME_STEP:
        return False
    return entered - proved < (_CODE_LIVES if by_code else _SAME_STEP)


def token_pair(data: Mapping[str, Any], now: datetime) -> TokenPair:
    """Return the tokens of an answer.

    Raises:
        AuthBackendError: There are none.
    """
    access, refresh, lasts = map(data.get, ("access_token", "refresh_token", "expires_in"))
    if not (isinstance(access, str) and isinstance(refresh, str) and is_timestamp(lasts)):
        raise AuthBackendError("Supabase answered with something other than tokens")
    ends = data.get("expires_at")
    return TokenPair(
        access_token=access,
        refresh_token=refresh,
        expires_in=int(lasts),
        expires_at=from_timestamp(ends)
        if is_timestamp(ends)
        else now + timedelta(seconds=int(lasts)),
    )


def session_info(
    claims: Mapping[str, Any], user_id: str, session_id: str, org: tuple[str, str] | None
) -> SessionInfo:
    """Return the session of verified claims.

    Args:
        org: The active organization and the role in it.
    """
    role = text_or_none(_object(claims.get("app_metadata")).get("role"))
    begun = claims.get("iat")
    return SessionInfo(
        user_id=user_id,
        session_id=session_id,
        role=role or DEFAULT_ROLE,
        expires_at=from_timestamp(claims["exp"]),
        metadata={"created_at": from_timestamp(begun)} if is_timestamp(begun) else {},
        org_id=org and org[0],
        org_role=org and org[1],
    )


def issued_at(claims: Mapping[str, Any]) -> datetime:
    """Return when a token was made; one that does not say was long ago."""
    begun = claims.get("iat")
    return from_timestamp(begun if is_timestamp(begun) else 0)


def session_of_token(access_token: str) -> str | None:
    """Return the session that an access token names which the service has just sent."""
    return as_id(unverified_claims(access_token).get("session_id"))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
