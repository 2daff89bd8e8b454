"""Who is signed in: one session a request, read from a header or a cookie when first asked for."""

from __future__ import annotations

import ipaddress
import re
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import cast
from urllib.parse import quote, unquote

from flask import (
    Flask,
    Request,
    Response,
    after_this_request,
    current_app,
    has_request_context,
    request,
)
from werkzeug.local import LocalProxy

from .._request import bearer_token
from ..base import BaseAuthClient
from ..exceptions import ConfigError, OrgMemberNotFoundError, UserNotFoundError
from ..models import AuthResult, SessionInfo, UserInfo
from ..native_client import NativeAuthClient
from .settings import FlaskAuthSettings

__all__ = ["EXTENSION", "AuthState", "current_session", "current_user", "state"]

EXTENSION = "derp_auth_lite"
_FORM = "-form"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[0-9]{1,5})?")
_FORWARDED = frozenset(
    {
        "HTTP_FORWARDED",
        "HTTP_VIA",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_HOST",
        "HTTP_X_FORWARDED_PROTO",
    }
)


@dataclass
class _OfRequest:
    """What is known of a request's sender."""

    session: SessionInfo | None = None
    by_cookie: bool = False
    user: UserInfo | None = None
    user_known: bool = False
    new_cookie: tuple[str, datetime] | None = None
    signed_out: bool = False


@dataclass(frozen=True)
class AuthState:
    """What one application has: ``app.extensions["derp_auth_lite"]``.

    Args:
        client: Where accounts are kept.
    """

    client: BaseAuthClient
    settings: FlaskAuthSettings
    _key: str = field(default_factory=lambda: f"derp_auth_lite.{secrets.token_hex(8)}", repr=False)

    @property
    def native(self) -> NativeAuthClient:
        """The client, where it keeps accounts itself: cookies and pages need that.

        Raises:
            ConfigError: It is another backend.
        """
        if not isinstance(self.client, NativeAuthClient):
            raise ConfigError("Session cookies need accounts in the application's own database")
        return self.client

    def session(self) -> SessionInfo | None:
        """Return the session of the request at hand."""
        return self._known().session

    def is_by_cookie(self) -> bool:
        """Tell whether the session of the request at hand hangs on its cookie."""
        known = self._known()
        return known.session is not None and known.by_cookie

    def user(self) -> UserInfo | None:
        """Return the user of the request at hand."""
        known = self._known()
        if not known.user_known and known.session is not None:
            try:
                known.user = self.client.get_user(known.session.user_id)
            except UserNotFoundError:
                known.session = None  # deleted between the two reads
        known.user_known = True
        return known.user

    def sign_in(self, result: AuthResult) -> SessionInfo | None:
        """Give the browser the session of a sign-in; what it had before ends.

        Returns:
            The session; ``None`` where *result* has no tokens, as the address must be confirmed.
        """
        if result.tokens is None:
            return None
        client, known = self.native, self._known()
        before = known.session if known.by_cookie else None
        value = client.issue_session_cookie(result.tokens)
        session = client.authenticate_cookie(value)
        if before is not None and session is not None:
            session = self._replace(before, session)
        known.session = session
        known.by_cookie, known.user, known.user_known = True, result.user, True
        known.signed_out = False
        known.new_cookie = None if session is None else (value, session.expires_at)
        return session

    def sign_out(self) -> None:
        """End the session of the request at hand, and take the cookie from the browser."""
        known = self._known()
        if known.session is not None:
            self.client.sign_out(known.session.session_id)
        known.session = known.user = known.new_cookie = None
        known.signed_out = True

    def forget_session(self) -> None:
        """Take the sender of the request at hand for nobody, without a look at the database."""
        self._remember(_request(), _OfRequest())

    def is_recent(self, session: SessionInfo) -> bool:
        """Tell whether a session is young enough for what matters most."""
        return self.native.is_fresh(session, timedelta(minutes=self.settings.fresh_minutes))

    def form_secret(self) -> str | None:
        """Return the cookie that the forms of this browser are bound to, if it has one."""
        known = self._known()
        if known.session is not None and known.by_cookie:
            return known.new_cookie[0] if known.new_cookie else self.session_cookie()
        return self._cookie(self.cookie_name() + _FORM)

    def set_form_secret(self, response: Response, value: str) -> None:
        """Give the browser a cookie for the forms of somebody who is not signed in."""
        self._set_cookie(response, self.cookie_name() + _FORM, value, None)

    def cookie_name(self) -> str:
        """Return the name of the session's cookie for the request at hand."""
        name = self.settings.cookie_name
        return f"__Host-{name}" if self._secure() else name

    def session_cookie(self) -> str | None:
        """Return the value of the session's cookie, whether or not it is good."""
        return self._cookie(self.cookie_name())

    def set_short_cookie(self, response: Response, name: str, value: str) -> None:
        """Set another cookie of ours with the same care; it is gone when the browser closes."""
        self._set_cookie(
            response, f"{self.cookie_name()}-{name}", quote(value, safe="/?&=:+@"), None
        )

    def short_cookie(self, name: str) -> str | None:
        """Return the value of such a cookie."""
        value = self._cookie(f"{self.cookie_name()}-{name}")
        return None if value is None else unquote(value)

    def finish(self, response: Response) -> Response:
        """Set or take the cookie, as the request made it necessary."""
        known: _OfRequest = _request().environ[self._key]
        if known.new_cookie is not None:
            self._set_cookie(response, self.cookie_name(), *known.new_cookie)
        elif known.signed_out:
            self._delete_cookie(response, self.cookie_name())
        if known.new_cookie is not None or known.signed_out:
            response.headers["Cache-Control"] = "no-store"
        # Who reads the session answers differently for another one.
        if response.headers.getlist("Vary"):
            response.vary.add("Cookie")
        else:  # most often, and without parsing
            response.headers.add("Vary", "Cookie")
        return response

    def _cookie(self, name: str) -> str | None:
        header = _request().environ.get("HTTP_COOKIE")
        return None if header is None else cookie_in(header, name)

    def _replace(self, before: SessionInfo, session: SessionInfo) -> SessionInfo:
        """End the browser's earlier session; the same person's organization stays active."""
        self.client.sign_out(before.session_id)
        if before.user_id != session.user_id or before.org_id is None:
            return session
        try:
            self.client.set_active_org(session_id=session.session_id, org_id=before.org_id)
        except OrgMemberNotFoundError:
            return session
        return replace(session, org_id=before.org_id, org_role=before.org_role)

    def _known(self) -> _OfRequest:
        # Not in flask.g, which outlives a request inside an application context of a test.
        asked = _request()
        known: _OfRequest | None = asked.environ.get(self._key)
        if known is None:
            known = self._remember(asked, self._load(asked))
        return known

    def _remember(self, asked: Request, known: _OfRequest) -> _OfRequest:
        if self._key not in asked.environ:  # requests that ask for nobody pay nothing for it
            # Before it calls it, Flask looks whether it is async: at a method twice as long.
            after_this_request(lambda response: self.finish(response))  # noqa: PLW0108
        asked.environ[self._key] = known
        return known

    def _load(self, asked: Request) -> _OfRequest:
        if "HTTP_AUTHORIZATION" in asked.environ and bearer_token(asked) is not None:
            return _OfRequest(session=self.client.authenticate(asked))
        cookie = self.session_cookie()
        if cookie is None or not isinstance(self.client, NativeAuthClient):
            return _OfRequest()
        session = self.client.authenticate_cookie(cookie)
        return _OfRequest(session=session, by_cookie=True, signed_out=session is None)

    def _secure(self) -> bool:
        if self.settings.cookie_secure is not None:
            return self.settings.cookie_secure
        return not on_this_machine(_request())

    def _set_cookie(
        self, response: Response, name: str, value: str, expires: datetime | None
    ) -> None:
        response.set_cookie(
            name,
            value,
            expires=expires,
            path="/",
            secure=self._secure(),
            httponly=True,
            samesite="Lax",
        )

    def _delete_cookie(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._secure(), httponly=True, samesite="Lax")


def cookie_in(header: str, name: str) -> str | None:
    """Return the first cookie of this name, whose value is one that needs no decoding.

    Werkzeug decodes all that a browser has for the site, which takes longer than a query does. Only
    blanks and tabs are passed over: a browser keeps the prefix ``__Host-`` from other hosts, but
    not a name that begins with another kind of space (U+00A0) and would become that here.
    """
    begin = f"{name}="
    for part in header.split(";"):
        pair = part.strip(" \t")
        if pair.startswith(begin):
            return pair[len(begin) :]
    return None


def on_this_machine(request: Request) -> bool:
    """Tell whether a browser asks over plain HTTP and a loopback address, with no proxy between."""
    environ = request.environ
    if environ.get("wsgi.url_scheme") != "http" or not _FORWARDED.isdisjoint(environ):
        return False
    return _names_this_machine(environ.get("HTTP_HOST") or request.host)


@lru_cache(maxsize=256)
def _names_this_machine(host: str) -> bool:
    found = _HOST.fullmatch(host.lower())
    if found is None:  # "localhost:80@evil.test" for one
        return False
    name = found[1].strip("[]")
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def is_loopback(address: str) -> bool:
    """Tell whether this is a loopback address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def state(app: Flask | None = None) -> AuthState:
    """Return what an application has; by default the one at hand.

    Raises:
        RuntimeError: The application has no FlaskAuth.
    """
    found = (app or current_app).extensions.get(EXTENSION)
    if not isinstance(found, AuthState):
        raise RuntimeError("The application has no accounts: call FlaskAuth(app) first")
    return found


def _request() -> Request:
    """Return the request at hand itself: going through the proxy each time is slow."""
    found: Request = request._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy has it
    return found


def _session() -> SessionInfo | None:
    return state().session() if has_request_context() else None


def _user() -> UserInfo | None:
    return state().user() if has_request_context() else None


# Not signed in, they stand for None: false, and equal to it.
current_session = cast("SessionInfo", LocalProxy(_session))
current_user = cast("UserInfo", LocalProxy(_user))
