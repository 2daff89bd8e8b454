"""The records that every backend returns: frozen, keyword-only, free of secrets."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from .jwt import TokenPair

__all__ = [
    "AuthProvider",
    "AuthRequest",
    "AuthResult",
    "CursorResult",
    "EventInfo",
    "Finding",
    "Id",
    "IdentityInfo",
    "OAuthStart",
    "OrgInfo",
    "OrgMemberInfo",
    "SessionInfo",
    "TokenPair",
    "UndeliveredMail",
    "UserInfo",
]

Id = str | uuid.UUID
"""An id as callers may give it; records carry ids as strings."""

T = TypeVar("T")


class AuthProvider(enum.StrEnum):
    """How somebody signed in. A generic OpenID Connect provider has a name of its own."""

    EMAIL = "email"
    MAGIC_LINK = "magic_link"
    GOOGLE = "google"
    GITHUB = "github"


class Headers(Protocol):
    """A mapping of HTTP headers, or Werkzeug's, which is none but has ``get`` as well."""

    def get(self, name: str, /) -> str | None:
        """Return a header, or ``None``."""


@runtime_checkable
class AuthRequest(Protocol):
    """Any object that carries HTTP headers: a request of Flask, Django, Starlette, a test's own.

    Names of headers compare without regard to case, whatever the mapping does. The address of the
    sender is taken from ``.remote_addr`` (WSGI) or ``.client.host`` (ASGI) where there is one.
    """

    @property
    def headers(self) -> Headers:
        """The request's headers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UserInfo:
    """An account. Times are aware UTC.

    ``email_confirmed_at`` is empty until the address was proved: by a redeemed link, by a
    provider's verified claim, or by an administrator's word. ``metadata`` is a JSON object that the
    application may fill.
    """

    id: str
    email: str
    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None
    image_url: str | None = None
    role: str
    is_active: bool
    is_superuser: bool
    email_confirmed_at: datetime | None
    last_sign_in_at: datetime | None
    created_at: datetime
    updated_at: datetime
    metadata: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionInfo:
    """A signed-in session.

    From ``authenticate``: ``expires_at`` is the access token's end, and role, organization and
    membership are the present ones. From ``list_sessions``: ``expires_at`` is the session's own
    end. ``metadata`` holds ``user_agent``, ``ip_address`` and ``created_at`` where they are known.
    """

    user_id: str
    session_id: str
    role: str
    expires_at: datetime
    metadata: dict[str, Any]
    org_id: str | None = None
    org_role: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AuthResult:
    """What a sign-up or sign-in returns; ``tokens`` is ``None`` until the address is confirmed."""

    user: UserInfo
    tokens: TokenPair | None


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentityInfo:
    """An account at a provider that a user signs in with; ``subject`` is its id there."""

    provider: str
    subject: str
    user_id: str
    email: str | None
    created_at: datetime
    last_sign_in_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class OAuthStart:
    """A sign-in at a provider that has begun.

    Args:
        url: Where to send the browser.
        state: Comes back in the callback; ``sign_in_with_oauth`` takes it.
        binding: For a cookie of that browser (HttpOnly, Secure, SameSite=Lax); given back to
            ``sign_in_with_oauth`` it shows that the same browser came back.
    """

    url: str = field(repr=False)
    state: str = field(repr=False)
    binding: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class OrgInfo:
    """An organization; ``slug`` is its unique name in URLs."""

    id: str
    name: str
    slug: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class OrgMemberInfo:
    """A user's membership of an organization."""

    org_id: str
    user_id: str
    role: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class CursorResult(Generic[T]):
    """One page of a list; pass ``next_cursor`` as ``after=`` to get the next."""

    data: list[T] = field(default_factory=list)
    has_more: bool
    next_cursor: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventInfo:
    """What happened to an account, or was tried: ``outcome`` is ``success`` or ``failure``.

    ``reason`` says why something was refused, which who asked never learned. Of an address without
    an account there is only a keyed hash, in ``address_key``.
    """

    id: str
    user_id: str | None
    action: str
    outcome: str
    reason: str | None
    session_id: str | None
    address_key: str | None
    ip_address: str | None
    user_agent: str | None
    details: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check found; ``level`` is ``error``, ``warning`` or ``info``."""

    code: str
    level: Literal["error", "warning", "info"]
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UndeliveredMail:
    """A mail that was given up: ``reason`` says why, ``attempts`` how often it was tried."""

    id: str
    kind: str
    email: str
    attempts: int
    reason: str | None
    created_at: datetime
    failed_at: datetime
