"""The OpenAPI document is valid, and what it says is what happens: Schemathesis drives it."""

from __future__ import annotations

import contextlib

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable

from derp_auth_lite.flask import FlaskAuth
from derp_auth_lite.testing import FakeOAuth, auth_headers, make_user, open_test_auth

DOCUMENT = "/auth/api/openapi.json"
OPERATIONS = 36
EXAMPLES = 20

CHECKS = {
    # A schema cannot say which addresses, tokens and passwords are good.
    "positive_data_acceptance": {"enabled": False},
    # It does not see the header of who is signed in.
    "ignored_auth": {"enabled": False},
    "negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 409, 413, 415, 429]},
}


@pytest.fixture(scope="module")
def accounts():
    with (
        FakeOAuth() as provider,
        open_test_auth(
            enable_magic_link=True, enable_confirmation=True, oidc=[provider.config]
        ) as auth,
    ):
        yield auth


@pytest.fixture(scope="module")
def app(accounts):
    app = Flask("notes")
    app.config["AUTH_API"] = True
    FlaskAuth(app, client=accounts)
    return app


@pytest.fixture(scope="module")
def operations(app):
    # Slow to import, and of use here alone.
    import schemathesis
    from schemathesis.config import SchemathesisConfig

    config = SchemathesisConfig.from_dict({"checks": CHECKS})
    schema = schemathesis.openapi.from_wsgi(DOCUMENT, app, config=config)
    return [found.ok() for found in schema.get_all_operations()]


def test_the_document_is_valid_openapi(app):
    from openapi_spec_validator import OpenAPIV31SpecValidator, validate

    document = app.test_client().get(DOCUMENT).json
    assert document["openapi"] == "3.1.0"
    validate(document, cls=OpenAPIV31SpecValidator)


class Nobody:
    """Who sends requests without signing in."""

    headers = None

    def fill_in(self, in_path):
        """Leave made up values in the path."""


class Somebody:
    """A user with an organization, who names what is there."""

    def __init__(self, accounts):
        user = make_user(accounts)
        self.headers = auth_headers(accounts, user)
        org = accounts.create_org(name="North", slug=f"org-{user.id}", creator_id=user.id)
        (session,) = accounts.list_sessions(user_id=user.id)
        self.names = {
            "org_id": org.id,
            "user_id": user.id,
            "session_id": session.session_id,
            "provider": "fake",
        }

    def fill_in(self, in_path):
        in_path.update({name: self.names[name] for name in in_path})


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("who", ["nobody", "somebody"])
def test_every_operation_answers_as_the_document_says(accounts, operations, who, mode):
    """With requests of the schema and with others; never with an error of the server."""
    from schemathesis import GenerationMode

    seen = set()
    for operation in operations:

        @seed(1)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
        def run(case):
            person = Nobody() if who == "nobody" else Somebody(accounts)
            if mode == "positive":
                person.fill_in(case.path_parameters)
            response = case.call(headers=person.headers)
            case.validate_response(response)
            seen.add(response.json()["error"]["code"] if response.status_code >= 400 else "done")

        with contextlib.suppress(Unsatisfiable):  # no request could be wrong
            run()
    assert len(operations) == OPERATIONS
    assert ("login_required" in seen) == (who == "nobody")
    assert "done" in seen or who == "nobody"
    assert "invalid_request" in seen or mode == "positive"
