"""A program that calls the JSON API of an application."""

from __future__ import annotations

from flask import Flask

from derp_auth_lite.flask import FlaskAuth
from derp_auth_lite.testing import auth_headers

EMAIL = "ada@example.com"
BOB = "bob@example.com"
PASSWORD = "correct horse battery staple"
OTHER = "another good password"


class Program:
    """Calls the API of an application, with or without a token."""

    def __init__(self, accounts, **config):
        app = Flask("notes")
        app.config.update({"AUTH_API": True, **config})
        FlaskAuth(app, client=accounts)
        self.accounts, self.client, self.headers = accounts, app.test_client(), {}

    def __call__(self, method, path, **body):
        return self.client.open(
            f"/auth/api{path}",
            method=method,
            json=body if method != "GET" and body else None,
            query_string=body if method == "GET" else None,
            headers=self.headers,
        )

    def signed_in(self, user):
        """The same application, called by somebody's program."""
        other = object.__new__(Program)
        other.accounts, other.client = self.accounts, self.client
        other.headers = auth_headers(self.accounts, user)
        return other


def code_of(answer):
    """Return status and code of a refusal."""
    return answer.status_code, answer.json["error"]["code"]
