"""The blueprint, and what holds for each of its requests."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from ...exceptions import InvalidTokenError
from .._csrf import FIELD, is_form_token
from .._refusals import LoginRequiredError, NotAllowedError
from ..decorators import refuse
from ..state import state
from .show import show

__all__ = ["pages"]

pages = Blueprint(
    "auth", "derp_auth_lite.flask", template_folder="templates", static_folder="static"
)


@pages.before_request
def _check_form() -> ResponseReturnValue | None:
    if request.method != "POST":
        return None
    if is_form_token(request.form.get(FIELD), state().form_secret()):
        return None
    return show(
        "refused.html", status=403, error=NotAllowedError("Send the form again", "old_form")
    )


@pages.errorhandler(InvalidTokenError)
def _ended_meanwhile(_: InvalidTokenError) -> ResponseReturnValue:
    """Ask who it is: the session ended after it was looked up (links say so themselves)."""
    state().forget_session()
    return refuse(LoginRequiredError())
