"""Signing up, in and out."""

from __future__ import annotations

from flask import request
from flask.typing import ResponseReturnValue
from werkzeug.utils import redirect

from ...exceptions import SignupDisabledError
from .._sign_up import sign_up as make_account
from ..state import state
from .blueprint import pages
from .show import attempt, back_to, go, next_page, show, status_of

__all__: list[str] = []


@pages.route("/sign-up", methods=["GET", "POST"])
def sign_up() -> ResponseReturnValue:
    """Make an account. Where confirmation is on, a taken address gets the same answer."""
    auth, email = state(), request.form.get("email", "").strip()
    if not auth.native.config.enable_signup:
        return show("refused.html", status=403, error=SignupDisabledError())
    if request.method == "GET":
        return show("sign_up.html", email="", next=next_page())
    result, errors = attempt(
        lambda: make_account(email, request.form.get("password", ""), next_page=next_page())
    )
    if errors:
        status = status_of(errors)
        return show("sign_up.html", status=status, errors=errors, email=email, next=next_page())
    if result is not None and auth.sign_in(result):
        return back_to(auth.settings.after_sign_in)
    return go("check_mail", what="confirmation")


@pages.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """Begin a session with email and password; also for who must show anew who they are."""
    auth = state()
    user = auth.user()
    email = request.form.get("email", "" if user is None else user.email).strip()
    if request.method == "GET":
        return show("sign_in.html", email=email, next=next_page())
    result, errors = attempt(
        lambda: auth.native.sign_in_with_password(
            email, request.form.get("password", ""), request=request
        )
    )
    if result is None:
        status = status_of(errors)
        return show("sign_in.html", status=status, errors=errors, email=email, next=next_page())
    auth.sign_in(result)
    return back_to(auth.settings.after_sign_in)


@pages.route("/sign-out", methods=["GET", "POST"])
def sign_out() -> ResponseReturnValue:
    """End the session; a link to here shows a button, since images and scanners follow links."""
    if request.method == "GET":
        return show("sign_out.html")
    state().sign_out()
    return redirect(state().settings.after_sign_out, 303)
