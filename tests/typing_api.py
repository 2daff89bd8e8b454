"""Uses the public interface as a typed program would; mypy reads it, nothing runs it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, assert_type

from derp_auth_lite.base import BaseAuthClient
from derp_auth_lite.config import (
    AuthConfig,
    Config,
    GoogleOAuthConfig,
    JWTConfig,
    NativeAuthConfig,
    OIDCConfig,
    SupabaseConfig,
    WorkOSConfig,
)
from derp_auth_lite.exceptions import (
    AuthError,
    AuthStepRequiredError,
    LastOwnerError,
    RateLimitedError,
)
from derp_auth_lite.factory import open_auth
from derp_auth_lite.models import (
    AuthProvider,
    AuthRequest,
    AuthResult,
    CursorResult,
    OrgInfo,
    OrgMemberInfo,
    SessionInfo,
    TokenPair,
    UserInfo,
)
from derp_auth_lite.native_client import NativeAuthClient
from derp_auth_lite.supabase_client import SupabaseAuthClient
from derp_auth_lite.workos_client import WorkOSAuthClient


@dataclass(frozen=True)
class Request:
    """A request of an application's own: a frozen one will do."""

    headers: Mapping[str, str] = field(default_factory=dict)


def accounts(auth: BaseAuthClient, user_id: uuid.UUID) -> None:
    """Ids are texts or UUIDs, and records come back."""
    assert_type(auth.get_user(user_id), UserInfo)
    assert_type(auth.get_user(str(user_id)).email_confirmed_at, datetime | None)
    assert_type(auth.list_users(limit=10, offset=0), list[UserInfo])
    assert_type(auth.update_user(user_id=user_id, email="a@b.example", role="admin"), UserInfo)
    assert_type(auth.delete_user(user_id), bool)
    assert_type(auth.count_users(), int)
    assert_type(auth.list_users_by_cursor(after=None), CursorResult[UserInfo])
    assert_type(auth.list_users_by_cursor().data, list[UserInfo])


def sessions(client: BaseAuthClient) -> None:
    """A with block keeps the client's type; a result's tokens may be missing."""
    with client as auth:
        assert_type(auth, BaseAuthClient)
        result = auth.sign_up(email="a@b.example", password="x", request=Request(), first_name="A")
        assert_type(result, AuthResult)
        assert_type(result.tokens, TokenPair | None)
        pair = auth.refresh_token("r", request=Request())
        assert_type(pair.expires_at, datetime)
        session = auth.authenticate(Request(headers={"Authorization": "Bearer x"}))
        if session is not None:
            assert_type(session, SessionInfo)
            assert_type(auth.is_authorized(session, "admin", "editor"), bool)
            auth.sign_out(session.session_id)
        auth.sign_in_with_oauth(AuthProvider.GOOGLE, "code")
        assert_type(auth.get_oauth_authorization_url("okta", "state", ["openid"]), str)
        assert_type(auth.list_sessions_by_cursor(user_id="u"), CursorResult[Any])


def organizations(auth: BaseAuthClient, session: SessionInfo) -> None:
    """Organizations are named by id or by slug; a resource may have none."""
    org = auth.create_org(name="Acme", slug="acme", creator_id=session.user_id)
    assert_type(org, OrgInfo)
    assert_type(auth.get_org(slug="acme").metadata, dict[str, Any])
    assert_type(auth.add_org_member(org_id=org.id, user_id="u"), OrgMemberInfo)
    assert_type(auth.set_active_org(session_id=session.session_id, org_id=None), TokenPair)
    assert_type(auth.is_org_authorized(session, uuid.UUID(org.id), "owner"), bool)
    auth.assert_same_org(session, session.org_id)


def errors(error: AuthError) -> None:
    """Errors carry typed data."""
    assert_type(error.code, str)
    if isinstance(error, RateLimitedError):
        assert_type(error.retry_after, float)
    if isinstance(error, LastOwnerError):
        assert_type(error.orgs, tuple[str, ...])


def settings(secret: str) -> Config:
    """Lists may be given where settings hold several values."""
    native = NativeAuthConfig(
        jwt=JWTConfig(secret=secret, algorithm="HS512", previous_secrets=[secret]),
        google_oauth=GoogleOAuthConfig(
            client_id="i", client_secret=secret, redirect_uri="https://a.example", scopes=["openid"]
        ),
        oidc=[
            OIDCConfig(
                name="okta",
                issuer="https://okta.example",
                client_id="i",
                client_secret=secret,
                redirect_uri="https://a.example",
            )
        ],
    )
    auth = AuthConfig(native=native)
    assert_type(auth.backend, NativeAuthConfig | SupabaseConfig | WorkOSConfig)
    assert_type(Config.load(), Config)
    return Config(auth=auth)


def hosted(workos: WorkOSConfig, supabase: SupabaseConfig) -> None:
    """The configuration of a service says which client it opens."""
    assert_type(open_auth(), NativeAuthClient)
    assert_type(open_auth(config=supabase), SupabaseAuthClient)
    auth = open_auth(config=workos)
    assert_type(auth, WorkOSAuthClient)
    try:
        auth.sign_in_with_password("a@b.example", "x")
    except AuthStepRequiredError as step:
        assert_type(auth.complete_step(step.code, step.pending_token, code="1"), AuthResult)


def requests() -> AuthRequest:
    """Any object with headers is a request."""
    return Request()


def mistakes(auth: BaseAuthClient, session: SessionInfo) -> None:
    """What is wrong is found by the type checker: an ignore that is not needed is an error."""
    auth.get_user(7)  # type: ignore[arg-type]
    auth.sign_up("a@b.example", "x")  # type: ignore[call-arg]
    auth.authenticate(object())  # type: ignore[arg-type]
    auth.is_authorized(None, "admin")  # type: ignore[arg-type]
    JWTConfig(secret="x" * 32, algorithm="RS256")  # type: ignore[arg-type]
    session.role = "admin"  # type: ignore[misc]
