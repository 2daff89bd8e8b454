"""Signing up, in and out, with a password or a provider."""

from __future__ import annotations

from typing import Any

from flask import request

from ...exceptions import (
    EmailAlreadyExistsError,
    EmailNotConfirmedError,
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidProfileError,
    InvalidTokenError,
    PasswordValidationError,
    RateLimitedError,
    SessionLimitError,
    SignupDisabledError,
    UserDisabledError,
)
from ...models import AuthResult
from ...native_client import NativeAuthClient
from .._links import link
from .._refusals import NotFoundError
from .._sign_up import sign_up as make_account
from ..state import AuthState, state
from .fields import ADDRESS, PASSWORD, Flag, Text
from .operation import Access, Operations
from .records import Entered, Start, Tokens, User, pick

__all__ = ["COOKIE", "PROFILE", "entered", "entering", "known_provider", "providers"]

COOKIE = Flag(
    required=False,
    default=False,
    note="Give the browser the session's cookie, and no tokens: scripts then cannot read what "
    "the session hangs on.",
)
CODE = {
    "code": Text(longest=4096, note="From the provider's answer, like `state` and `iss`."),
    "state": Text(longest=1024),
    "iss": Text(longest=2048, required=False, default=None, nullable=True),
    "binding": Text(longest=1024, note="From the answer that the sign-in began with."),
}
_NAME = Text(shortest=0, required=False, nullable=True)
PROFILE = {
    "first_name": _NAME,
    "last_name": _NAME,
    "username": _NAME,
    "image_url": Text(
        longest=2048, required=False, nullable=True, form="uri", pattern=r"^https?://[!-~]+$"
    ),
}
"""What people say about themselves. Roles, and the application's ``metadata``, are not theirs."""

ENTRY_ERRORS = (
    InvalidCredentialsError,
    EmailNotConfirmedError,
    UserDisabledError,
    SessionLimitError,
    RateLimitedError,
)

entering = Operations("Signing up, in and out")
providers = Operations("Providers", offered=lambda auth: bool(auth.native.providers))


def client_at_hand() -> NativeAuthClient:
    """Return the client of the application at hand, where ``state`` is a field of the request."""
    return state().native


def entered(result: AuthResult, cookie: bool) -> Entered:
    """Answer a sign-in, with the cookie where it was asked for."""
    assert result.tokens is not None
    if cookie:
        state().sign_in(result)
    tokens = None if cookie else pick(Tokens, result.tokens)
    return Entered(user=pick(User, result.user), tokens=tokens)


def may_sign_up(auth: AuthState) -> bool:
    """Tell whether people make accounts themselves."""
    return auth.native.config.enable_signup


@entering.add(
    "POST",
    "/sign-up",
    access=Access.ANYBODY,
    offered=may_sign_up,
    body={"email": ADDRESS, "password": PASSWORD, **PROFILE, "cookie": COOKIE},
    answers={201: Entered, 202: None},
    errors=(
        InvalidEmailError,
        PasswordValidationError,
        InvalidProfileError,
        EmailAlreadyExistsError,
        RateLimitedError,
    ),
)
def sign_up(*, email: str, password: str, cookie: bool, **profile: Any) -> Entered | None:
    """Make an account.

    Where addresses must be confirmed, the answer is 202, whether or not the address is taken: what
    comes next stands in the mail.
    """
    result = make_account(email, password, **profile)
    return None if result is None else entered(result, cookie)


@entering.add(
    "POST",
    "/sign-in",
    access=Access.ANYBODY,
    body={"email": ADDRESS, "password": PASSWORD, "cookie": COOKIE},
    answers={200: Entered},
    errors=ENTRY_ERRORS,
)
def sign_in(*, email: str, password: str, cookie: bool) -> Entered:
    """Begin a session."""
    result = state().native.sign_in_with_password(email, password, request=request)
    return entered(result, cookie)


@entering.add(
    "POST",
    "/refresh",
    access=Access.ANYBODY,
    body={"refresh_token": Text(longest=1024)},
    answers={200: Tokens},
    errors=(InvalidTokenError,),
)
def refresh(*, refresh_token: str) -> Tokens:
    """Exchange a refresh token for the next pair of tokens; it is spent by that.

    One that was spent before ends the session: somebody else may have it.
    """
    return pick(Tokens, state().native.refresh_token(refresh_token, request=request))


@entering.add("POST", "/sign-out", answers={204: None})
def sign_out() -> None:
    """End the session that asks. Its tokens and its cookie are refused from then on."""
    state().sign_out()


@providers.add(
    "POST",
    "/providers/{provider}/start",
    access=Access.ANYBODY,
    answers={200: Start},
    errors=(NotFoundError, RateLimitedError),
)
def start_provider(*, provider: str) -> Start:
    """Begin a sign-in at a provider; it is to be finished within ten minutes."""
    return pick(Start, state().native.start_oauth(known_provider(provider), request=request))


@providers.add(
    "POST",
    "/providers/{provider}/finish",
    access=Access.ANYBODY,
    body={**CODE, "cookie": COOKIE},
    answers={200: Entered, 202: None},
    errors=(NotFoundError, SignupDisabledError, *ENTRY_ERRORS),
)
def finish_provider(
    *, provider: str, code: str, state: str, iss: str | None, binding: str, cookie: bool
) -> Entered | None:
    """Finish a sign-in at a provider; who comes for the first time gets an account.

    The answer is 202 where the provider does not vouch for the address, which must then be
    confirmed: a mail is on its way.
    """
    client = client_at_hand()
    result = client.sign_in_with_oauth(
        known_provider(provider),
        code,
        state=state,
        iss=iss,
        binding=binding,
        request=request,
    )
    if result.tokens is not None:
        return entered(result, cookie)
    client.resend_confirmation_email(
        email=result.user.email, confirmation_url=link("confirm"), request=request
    )
    return None


def known_provider(name: str) -> str:
    """Return the name of a provider that is configured.

    Raises:
        NotFoundError: It is not.
    """
    if name not in client_at_hand().providers:
        raise NotFoundError
    return name
