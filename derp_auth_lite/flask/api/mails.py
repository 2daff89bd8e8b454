"""Links that are mailed: asking for one, and what one is good for.

Who asks is told the same whether or not the address has an account.
"""

from __future__ import annotations

from flask import request

from ...exceptions import (
    EmailAlreadyExistsError,
    InvalidEmailError,
    InvalidTokenError,
    PasswordValidationError,
    RateLimitedError,
    SessionLimitError,
)
from .._links import has_link, link
from ..state import AuthState, state
from .enter import COOKIE, entered
from .fields import ADDRESS, PASSWORD, TOKEN
from .operation import Access, Operations
from .records import Entered

__all__ = ["links"]

links = Operations("Links in mails")
ASKING_ERRORS = (InvalidEmailError, RateLimitedError)
LINK_ERRORS = (InvalidTokenError, RateLimitedError)


def _has_confirmation(auth: AuthState) -> bool:
    return auth.native.sends_mail and has_link(auth.settings, "confirm")


def _has_recovery(auth: AuthState) -> bool:
    return auth.native.sends_mail and has_link(auth.settings, "reset_password")


def _has_magic_links(auth: AuthState) -> bool:
    on = auth.native.config.enable_magic_link and auth.native.sends_mail
    return on and has_link(auth.settings, "enter")


@links.add(
    "POST",
    "/confirmation",
    access=Access.ANYBODY,
    offered=_has_confirmation,
    body={"email": ADDRESS},
    answers={202: None},
    errors=ASKING_ERRORS,
)
def request_confirmation(*, email: str) -> None:
    """Mail another link that confirms an address."""
    state().native.resend_confirmation_email(
        email=email, confirmation_url=link("confirm"), request=request
    )


@links.add(
    "POST",
    "/confirmation/redeem",
    access=Access.ANYBODY,
    body={"token": TOKEN},
    answers={204: None},
    errors=LINK_ERRORS,
)
def confirm(*, token: str) -> None:
    """Take the address of a new account for proved. Call it on a click: scanners open links."""
    state().native.confirm_email(token, request=request)


@links.add(
    "POST",
    "/recovery",
    access=Access.ANYBODY,
    offered=_has_recovery,
    body={"email": ADDRESS},
    answers={202: None},
    errors=ASKING_ERRORS,
)
def request_recovery(*, email: str) -> None:
    """Mail a link for a new password, if the address has an account."""
    state().native.request_password_recovery(
        email=email, recovery_url=link("reset_password"), request=request
    )


@links.add(
    "POST",
    "/recovery/redeem",
    access=Access.ANYBODY,
    offered=_has_recovery,
    body={"token": TOKEN, "password": PASSWORD},
    answers={204: None},
    errors=(PasswordValidationError, *LINK_ERRORS),
)
def reset_password(*, token: str, password: str) -> None:
    """Set a new password. Every session of the account ends, and nobody is signed in."""
    state().native.reset_password(token, password, request=request)


@links.add(
    "POST",
    "/magic-link",
    access=Access.ANYBODY,
    offered=_has_magic_links,
    body={"email": ADDRESS},
    answers={202: None},
    errors=ASKING_ERRORS,
)
def request_magic_link(*, email: str) -> None:
    """Mail a link that signs in once."""
    state().native.sign_in_with_magic_link(
        email=email, magic_link_url=link("enter"), request=request
    )


@links.add(
    "POST",
    "/magic-link/redeem",
    access=Access.ANYBODY,
    offered=_has_magic_links,
    body={"token": TOKEN, "cookie": COOKIE},
    answers={200: Entered},
    errors=(SessionLimitError, *LINK_ERRORS),
)
def enter_with_link(*, token: str, cookie: bool) -> Entered:
    """Begin a session. Call it on a click: scanners open links."""
    return entered(state().native.verify_magic_link(token, request=request), cookie)


@links.add(
    "POST",
    "/email/redeem",
    access=Access.ANYBODY,
    body={"token": TOKEN},
    answers={204: None},
    errors=(EmailAlreadyExistsError, *LINK_ERRORS),
)
def confirm_new_email(*, token: str) -> None:
    """Give an account the address that the link was mailed to."""
    state().native.confirm_email_change(token, request=request)
