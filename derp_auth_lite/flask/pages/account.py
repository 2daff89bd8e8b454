"""One's own account: profile, password, address, sessions, providers, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flask import abort, request
from flask.typing import ResponseReturnValue

from ...exceptions import AuthError, InvalidCredentialsError
from ...models import SessionInfo, UserInfo
from .._agents import in_words
from .._links import link
from .._refusals import SignInAgainError, WrongPasswordError
from ..decorators import guarded, login_required
from ..state import state
from .blueprint import pages
from .show import attempt, go, show, status_of

__all__ = ["me", "my_session", "signed_in_recently"]

P = ParamSpec("P")
R = TypeVar("R")
_MOST_SESSIONS = 100


def me() -> UserInfo:
    """Return who is signed in, in a view that is guarded."""
    user = state().user()
    if user is None:
        abort(401)
    return user


def my_session() -> SessionInfo:
    """Return the session at hand, in a view that is guarded."""
    session = state().session()
    if session is None:
        abort(401)
    return session


def signed_in_recently(view: Callable[P, R]) -> Callable[P, R | ResponseReturnValue]:
    """Guard what must not be done by who finds a browser open (OWASP ASVS 5.0, 7.5.1)."""

    def check(session: SessionInfo) -> AuthError | None:
        return None if state().is_recent(session) else SignInAgainError()

    return guarded(view, check)


@pages.get("/account")
@login_required
def account() -> ResponseReturnValue:
    """Show the account."""
    return _account()


def _account(errors: dict[str, AuthError] | None = None) -> ResponseReturnValue:
    client, user = state().native, me()
    identities = client.list_identities(user.id)
    linked = {identity.provider for identity in identities}
    return show(
        "account.html",
        status=status_of(errors or {}),
        errors=errors,
        user=user,
        sessions=client.list_sessions(user_id=user.id, limit=_MOST_SESSIONS),
        current=my_session().session_id,
        in_words=in_words,
        identities=identities,
        unlinked=[name for name in client.providers if name not in linked],
    )


@pages.post("/account/profile")
@login_required
def change_profile() -> ResponseReturnValue:
    """Change the names."""
    first, last = (request.form.get(name, "").strip() for name in ("first_name", "last_name"))
    _, errors = attempt(
        lambda: state().native.update_user(
            user_id=me().id, first_name=first or None, last_name=last or None
        )
    )
    return _account(errors) if errors else go("account", done="profile_saved")


@pages.route("/account/password", methods=["GET", "POST"])
@login_required
def change_password() -> ResponseReturnValue:
    """Set another password, with the present one."""
    if request.method == "GET":
        return show("change_password.html", user=me())
    _, errors = attempt(
        lambda: state().native.change_password(
            user_id=me().id,
            current_password=request.form.get("current_password", ""),
            new_password=request.form.get("password", ""),
            session_id=my_session().session_id,
            request=request,
        )
    )
    if errors:
        if isinstance(errors.get("form"), InvalidCredentialsError):
            errors = {"current_password": WrongPasswordError()}
        return show("change_password.html", status=status_of(errors), errors=errors, user=me())
    return go("account", done="password_changed")


@pages.route("/account/email", methods=["GET", "POST"])
@signed_in_recently
def change_email() -> ResponseReturnValue:
    """Ask for a link to a new address."""
    email = request.form.get("email", "").strip()
    if request.method == "GET":
        return show("change_email.html", email="", user=me())
    _, errors = attempt(
        lambda: state().native.request_email_change(
            user_id=me().id,
            new_email=email,
            confirm_url=link("confirm_new_email"),
            request=request,
        )
    )
    if errors:
        status = status_of(errors)
        return show("change_email.html", status=status, errors=errors, email=email, user=me())
    return go("check_mail", what="email_change")


@pages.post("/account/sessions/<session_id>/end")
@login_required
def end_session(session_id: str) -> ResponseReturnValue:
    """Sign out somewhere else."""
    mine = state().native.list_sessions(user_id=me().id, limit=_MOST_SESSIONS)
    if session_id not in {session.session_id for session in mine}:
        abort(404)
    state().native.sign_out(session_id)
    return go("account", done="session_ended")


@pages.post("/account/sessions/end-others")
@login_required
def end_other_sessions() -> ResponseReturnValue:
    """Sign out everywhere else."""
    state().native.revoke_other_sessions(my_session().session_id)
    return go("account", done="sessions_ended")


@pages.post("/account/unlink")
@signed_in_recently
def unlink() -> ResponseReturnValue:
    """Take a provider's account from one's own."""
    _, errors = attempt(
        lambda: state().native.unlink_identity(
            user_id=me().id,
            provider=request.form.get("provider", ""),
            subject=request.form.get("subject", ""),
            request=request,
        )
    )
    return _account(errors) if errors else go("account", done="unlinked")


@pages.route("/account/delete", methods=["GET", "POST"])
@signed_in_recently
def delete_account() -> ResponseReturnValue:
    """Delete one's own account."""
    if request.method == "GET":
        return show("delete_account.html", user=me())
    if request.form.get("sure") != "yes":
        return show("delete_account.html", status=400, user=me(), unsure=True)
    user = me()
    _, errors = attempt(lambda: state().native.delete_user(user.id))
    if errors:
        return show("delete_account.html", status=status_of(errors), errors=errors, user=user)
    state().sign_out()
    return go("sign_in", done="deleted")
