"""What a view is guarded with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

from flask import current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue

from ..exceptions import AuthError
from ..models import SessionInfo
from ._answers import json_error, status_for, wants_json
from ._refusals import LoginRequiredError, NotAllowedError, SignInAgainError
from .state import state

__all__ = [
    "fresh_login_required",
    "guarded",
    "login_required",
    "org_required",
    "refuse",
    "roles_required",
]

P = ParamSpec("P")
R = TypeVar("R")

Check = Callable[[SessionInfo], AuthError | None]


def login_required(view: Callable[P, R]) -> Callable[P, R | ResponseReturnValue]:
    """Let in who is signed in.

    A program that is not gets 401 with JSON; a browser is sent to the page for signing in, and
    comes back afterwards.
    """
    return guarded(view, lambda _: None)


def roles_required(
    *roles: str,
) -> Callable[[Callable[P, R]], Callable[P, R | ResponseReturnValue]]:
    """Let in who has one of *roles*; others get 403.

    Raises:
        TypeError: No role is named, or the parentheses are missing.
    """
    _need_names(roles, "roles_required")

    def check(session: SessionInfo) -> AuthError | None:
        return None if state().client.is_authorized(session, *roles) else NotAllowedError()

    return lambda view: guarded(view, check)


def org_required(*roles: str) -> Callable[[Callable[P, R]], Callable[P, R | ResponseReturnValue]]:
    """Let in who has an organization active, with one of *roles* in it where any are named.

    Which organization it is, ``current_session.org_id`` says: read the organization's own data
    only.
    """
    if roles:
        _need_names(roles, "org_required")

    def check(session: SessionInfo) -> AuthError | None:
        in_org = session.org_id is not None and session.org_role is not None
        return None if in_org and (not roles or session.org_role in roles) else NotAllowedError()

    return lambda view: guarded(view, check)


def fresh_login_required(
    minutes: float,
) -> Callable[[Callable[P, R]], Callable[P, R | ResponseReturnValue]]:
    """Let in who signed in no longer ago than *minutes*; others sign in again.

    Needs the session cookie, or a backend that says when a session began.
    """
    if callable(minutes) or minutes <= 0:  # a view, where the parentheses were forgotten
        raise TypeError("fresh_login_required needs a number of minutes")

    def check(session: SessionInfo) -> AuthError | None:
        fresh = state().native.is_fresh(session, timedelta(minutes=minutes))
        return None if fresh else SignInAgainError()

    return lambda view: guarded(view, check)


def refuse(error: AuthError) -> ResponseReturnValue:
    """Answer who may not go on."""
    auth = state()
    if wants_json(request, auth.settings.api_prefixes):
        return json_error(error)
    if not auth.settings.pages:
        return error.message, status_for(error)
    if isinstance(error, LoginRequiredError):
        return redirect(url_for("auth.sign_in", next=_here()), 303)
    from .pages.show import show  # the pages import this module

    return show("refused.html", status=status_for(error), error=error)


def guarded(view: Callable[P, R], check: Check) -> Callable[P, R | ResponseReturnValue]:
    """Put a check of the session before *view*; what it returns is why the request is refused."""
    is_async = iscoroutinefunction(view)  # asked once: looking takes as long as a query

    @wraps(view)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R | ResponseReturnValue:
        session = state().session()
        error = LoginRequiredError() if session is None else check(session)
        if error is not None:
            return refuse(error)
        if is_async:
            result: R = current_app.ensure_sync(view)(*args, **kwargs)
            return result
        return view(*args, **kwargs)

    return wrapped


def _here() -> str | None:
    """Return where to come back to: a form that was sent cannot be sent again."""
    if request.method not in ("GET", "HEAD"):
        return None
    path = quote(request.script_root + request.path, safe="/:@!$&'()*+,;=~")
    query = request.query_string.decode("latin-1")
    return f"{path}?{query}" if query else path


def _need_names(roles: tuple[Any, ...], decorator: str) -> None:
    if not roles or not all(isinstance(role, str) for role in roles):
        raise TypeError(f"{decorator} needs the names of roles")
