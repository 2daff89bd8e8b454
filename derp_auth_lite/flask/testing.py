"""A test client that signs somebody in with one line."""

from __future__ import annotations

import re
import secrets
from typing import Any

from flask import request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ..models import UserInfo
from ._csrf import FIELD
from .state import state

__all__ = ["FlaskAuthClient"]

_TOKEN = re.compile(rf'name="{FIELD}" value="([0-9a-f]+)"')


class FlaskAuthClient(FlaskClient):
    """Set it as ``app.test_client_class``; then ``app.test_client()`` makes one.

    ::

        client = app.test_client()
        client.sign_in("ada@example.com", role="admin")
        assert client.get("/admin").status_code == 200

    Give the application ``AUTH_OPTIONS = {"password": PasswordConfig(hash_profile="cheapest")}``:
    signing in hashes a password, which is slow on purpose.
    """

    def sign_in(self, email: str, *, password: str | None = None, **profile: Any) -> UserInfo:
        """Sign in; who has no account gets one.

        Args:
            password: Of an account that there is already. Left out, there must be none.
            **profile: For a new account, as for ``create_user``: ``role``, ``first_name``, …

        Raises:
            EmailAlreadyExistsError: There is an account, and no password was given.
            InvalidCredentialsError: The password is not the account's.
        """
        with self.application.test_request_context():
            auth = state()
            if password is None:
                password = secrets.token_urlsafe(16)
                auth.native.create_user(email=email, password=password, confirmed=True, **profile)
            result = auth.native.sign_in_with_password(email, password)
            assert result.tokens is not None
            value = auth.native.issue_session_cookie(result.tokens)
            domain = request.host.split(":", 1)[0]
            self.set_cookie(auth.cookie_name(), value, domain=domain, httponly=True)
        return result.user

    def sign_out(self) -> None:
        """Sign out, and forget the session's cookie."""
        with self.application.test_request_context():
            name, domain = state().cookie_name(), request.host.split(":", 1)[0]
            cookie = self.get_cookie(name, domain=domain)
            session = cookie and state().native.authenticate_cookie(cookie.value)
            if session:
                state().native.sign_out(session.session_id)
            self.delete_cookie(name, domain=domain)

    def submit(self, path: str, *, to: str | None = None, **fields: Any) -> TestResponse:
        """Send a form of one of the pages, as a browser does: with the token that the page holds.

        Args:
            path: The page.
            to: Where its form goes, if not to the page itself.
        """
        found = _TOKEN.search(self.get(path).text)
        token = {} if found is None else {FIELD: found[1]}
        return self.post(to or path, data={**token, **fields})
