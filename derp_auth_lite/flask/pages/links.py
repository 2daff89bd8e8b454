"""Links from mails: each shows a button, and only pressing it spends the token.

Mail scanners open links, and so do previews; they press no buttons.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import abort, request
from flask.typing import ResponseReturnValue

from ...exceptions import AuthError, PasswordValidationError
from ..state import state
from .blueprint import pages
from .show import attempt, back_to, go, next_page, show, status_of

__all__: list[str] = []

T = TypeVar("T")


@pages.route("/confirm", methods=["GET", "POST"])
def confirm() -> ResponseReturnValue:
    """Take the address of a new account for proved."""
    if request.method == "GET":
        return _button("confirm.html")
    _, errors = _redeem(lambda token: state().native.confirm_email(token, request=request))
    return _dead(errors) if errors else go("sign_in", done="confirmed", next=next_page())


@pages.route("/enter", methods=["GET", "POST"])
def enter() -> ResponseReturnValue:
    """Sign in with a magic link."""
    auth = state()
    if not auth.native.config.enable_magic_link:
        abort(404)
    if request.method == "GET":
        return _button("enter.html")
    result, errors = _redeem(lambda token: auth.native.verify_magic_link(token, request=request))
    if result is None:
        return _dead(errors)
    auth.sign_in(result)
    return back_to(auth.settings.after_sign_in)


@pages.route("/confirm-new-email", methods=["GET", "POST"])
def confirm_new_email() -> ResponseReturnValue:
    """Give an account the address that the link was sent to."""
    auth = state()
    if request.method == "GET":
        return _button("confirm_new_email.html")
    _, errors = _redeem(lambda token: auth.native.confirm_email_change(token, request=request))
    if errors:
        return _dead(errors)
    place = "account" if auth.session() is not None else "sign_in"
    return go(place, done="email_changed")


@pages.route("/reset-password", methods=["GET", "POST"])
def reset_password() -> ResponseReturnValue:
    """Set a new password."""
    if request.method == "GET":
        return _button("reset_password.html")
    password = request.form.get("password", "")
    _, errors = _redeem(
        lambda token: state().native.reset_password(token, password, request=request)
    )
    if isinstance(errors.get("password"), PasswordValidationError):
        return _button("reset_password.html", errors)
    if errors:
        return _dead(errors)
    state().sign_out()  # the session at hand has ended with all others
    return go("sign_in", done="password_set")


def _button(template: str, errors: dict[str, AuthError] | None = None) -> ResponseReturnValue:
    return show(
        template,
        status=status_of(errors or {}),
        errors=errors,
        token=request.values.get("token", ""),
        next=next_page(),
        holds_token=True,
    )


def _redeem(spend: Callable[[str], T]) -> tuple[T | None, dict[str, AuthError]]:
    token = request.form.get("token", "")
    return attempt(lambda: spend(token))


def _dead(errors: dict[str, AuthError]) -> ResponseReturnValue:
    error = next(iter(errors.values()))
    return show("dead_link.html", status=status_of(errors), error=error, purpose=request.endpoint)
