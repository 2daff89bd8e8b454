"""Signing in with a provider, and linking one."""

from __future__ import annotations

from flask import abort, make_response, redirect, request
from flask.typing import ResponseReturnValue

from ...exceptions import AuthError, InvalidCredentialsError
from ...models import AuthResult, IdentityInfo
from .._links import link
from .._next import safe_next
from ..state import state
from .account import me, signed_in_recently
from .blueprint import pages
from .show import attempt, back_to, go, next_page, show, status_of

__all__: list[str] = []

_COOKIE = "provider"


@pages.get("/with/<provider>")
def with_provider(provider: str) -> ResponseReturnValue:
    """Send the browser to a provider, to sign in."""
    _known(provider)
    start = state().native.start_oauth(provider, request=request)
    response = make_response(redirect(start.url, 303))
    state().set_short_cookie(response, _COOKIE, f"enter.{start.binding}.{next_page() or ''}")
    return response


@pages.post("/link/<provider>")
@signed_in_recently
def link_provider(provider: str) -> ResponseReturnValue:
    """Show the way to a provider, to link its account.

    A page and not a redirect: our policy lets forms end on this site only.
    """
    _known(provider)
    start = state().native.start_oauth(provider, user_id=me().id, request=request)
    response = show("to_provider.html", provider=provider, url=start.url)
    state().set_short_cookie(response, _COOKIE, f"link.{start.binding}.")
    return response


@pages.get("/with/<provider>/back")
def from_provider(provider: str) -> ResponseReturnValue:
    """Take a browser back from a provider."""
    _known(provider)
    purpose, _, rest = (state().short_cookie(_COOKIE) or "").partition(".")
    binding, _, wanted = rest.partition(".")
    code = request.args.get("code")
    if code is None:  # the person said no, or the provider did
        return _refused(InvalidCredentialsError("The provider did not sign you in"))
    if purpose == "link":
        identity, errors = attempt(lambda: _link(provider, code, binding))
        return go("account", done="linked") if identity else _refused(*errors.values())
    result, errors = attempt(lambda: _enter(provider, code, binding))
    if result is None:
        return _refused(*errors.values())
    if state().sign_in(result) is None:
        _ask_to_confirm(result)
        return go("check_mail", what="confirmation")
    return back_to(safe_next(wanted, state().settings.after_sign_in))


def _enter(provider: str, code: str, binding: str) -> AuthResult:
    return state().native.sign_in_with_oauth(
        provider,
        code,
        state=request.args.get("state"),
        iss=request.args.get("iss"),
        binding=binding,
        request=request,
    )


def _link(provider: str, code: str, binding: str) -> IdentityInfo:
    return state().native.link_identity(
        user_id=me().id,
        provider=provider,
        code=code,
        state=request.args.get("state"),
        iss=request.args.get("iss"),
        binding=binding,
        request=request,
    )


def _ask_to_confirm(result: AuthResult) -> None:
    state().native.resend_confirmation_email(
        email=result.user.email, confirmation_url=link("confirm"), request=request
    )


def _known(provider: str) -> None:
    if provider not in state().native.providers:
        abort(404)


def _refused(error: AuthError) -> ResponseReturnValue:
    return show("refused.html", status=status_of({"form": error}), error=error)
