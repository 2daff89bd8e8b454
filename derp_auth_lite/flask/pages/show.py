"""Rendering a page: what every template sees, and the headers that every page has."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import Response, make_response, redirect, render_template, request, url_for

from ...exceptions import AuthBackendError, AuthError, RateLimitedError
from .._answers import status_for
from .._csrf import FIELD, form_token
from .._next import safe_next
from ..state import state

__all__ = ["attempt", "back_to", "go", "next_page", "show", "status_of"]

T = TypeVar("T")

_FIELDS = {
    "email_already_exists": "email",
    "invalid_email": "email",
    "member_already_exists": "email",
    "org_slug_conflict": "slug",
    "password_validation_error": "password",
    "user_not_found": "email",
}
"""The field of a form that an error belongs to, by its code; else it is the form's."""


def show(
    template: str,
    *,
    status: int = 200,
    errors: Mapping[str, AuthError] | None = None,
    holds_token: bool = False,
    **context: Any,
) -> Response:
    """Render a template of ``templates/auth``.

    Args:
        errors: By the name of the field that each belongs to; ``form`` is for the whole form.
        holds_token: The page's address or a field holds a one-time token: no other site may learn
            it as a referrer.
    """
    auth = state()
    existing = auth.form_secret()
    secret = existing or secrets.token_urlsafe(32)
    body = render_template(
        f"auth/{template}",
        auth=auth.settings,
        client=auth.native,
        errors=errors or {},
        csrf_field=FIELD,
        csrf_token=form_token(secret),
        done=request.args.get("done"),
        **context,
    )
    response = make_response(body, status)
    if existing is None:
        auth.set_form_secret(response, secret)
    error = context.get("error") or next(iter((errors or {}).values()), None)
    if isinstance(error, RateLimitedError):
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = auth.settings.csp
    response.headers["Referrer-Policy"] = "no-referrer" if holds_token else "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    return response


def attempt(work: Callable[[], T]) -> tuple[T | None, dict[str, AuthError]]:
    """Do *work*; return its result, or its error under the field that it belongs to.

    Raises:
        AuthBackendError: As it was raised: no form can mend that.
    """
    try:
        return work(), {}
    except AuthBackendError:
        raise
    except AuthError as error:
        return None, {_FIELDS.get(error.code, "form"): error}


def status_of(errors: Mapping[str, AuthError]) -> int:
    """Return the status of a form that is shown again."""
    return next(map(status_for, errors.values()), 200)


def go(endpoint: str, **values: Any) -> Response:
    """Send the browser to another page of ours, after a form did its work."""
    return make_response(redirect(url_for(f"auth.{endpoint}", **values), 303))


def next_page() -> str | None:
    """Return the place of this site that was asked for, by the form or by the address."""
    return safe_next(request.values.get("next"), "") or None


def back_to(default: str) -> Response:
    """Send the browser where it wanted to go, or to *default*."""
    return make_response(redirect(next_page() or default, 303))
