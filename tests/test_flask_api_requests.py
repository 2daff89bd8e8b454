"""Requests to the JSON API that are not as they should be: each gets its answer, none a 500."""

from __future__ import annotations

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from derp_auth_lite.exceptions import AuthBackendError, AuthError
from derp_auth_lite.flask._answers import STATUS
from derp_auth_lite.testing import auth_headers, make_user, open_test_auth

from .api_program import EMAIL, PASSWORD, Program, code_of


@pytest.fixture
def accounts():
    with open_test_auth() as auth:
        yield auth


@pytest.fixture
def call(accounts):
    return Program(accounts)


@pytest.fixture
def ada(accounts):
    return make_user(accounts, email=EMAIL)


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"", (400, "invalid_request")),
        (b"{", (400, "invalid_request")),
        (b"[]", (400, "invalid_request")),
        (b"null", (400, "invalid_request")),
        (b'"x"', (400, "invalid_request")),
        (b"\xff", (400, "invalid_request")),
        (b"\xef\xbb\xbf{}", (400, "invalid_request")),
        (b"NaN", (400, "invalid_request")),
        (b"[" * 20_000, (400, "invalid_request")),
        (b'{"email": ' + b"9" * 5000 + b"}", (400, "invalid_request")),
        (b'{"email": "a@example.com"}', (400, "invalid_request")),
        (b'{"email": "a@example.com", "password": 7}', (400, "invalid_request")),
        (b'{"email": "a@example.com", "password": null}', (400, "invalid_request")),
        (b'{"email": "a@example.com", "password": ""}', (400, "invalid_request")),
        (b'{"email": "a@example.com", "password": "\\u0000"}', (400, "invalid_request")),
        (b'{"email": "a@example.com", "password": "\\ud800"}', (400, "invalid_request")),
        (b'{"email": "\\ud800", "password": "x"}', (400, "invalid_request")),
        (b'{"email": "a@example.com", "password": "x", "\\ud800": 1}', (400, "invalid_request")),
        (b'{"email": "a", "password": "x", "password": "y"}', (400, "invalid_request")),
        (b'{"email": "a", "password": "x", "cookie": 1}', (400, "invalid_request")),
        (b'{"email": "a", "password": "' + b"x" * 40_000 + b'"}', (413, "too_large")),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_used_is_refused(call, body, refusal):
    answer = call.client.post("/auth/api/sign-in", data=body, content_type="application/json")
    assert code_of(answer) == refusal
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_body_of_another_type_is_refused(call):
    answer = call.client.post("/auth/api/sign-in", data={"email": EMAIL, "password": PASSWORD})
    assert code_of(answer) == (415, "unsupported_media_type")


def test_a_body_that_hides_its_length_is_refused_too(call):
    path, kind = "/auth/api/sign-in", "application/json"
    environ = EnvironBuilder(path, method="POST", content_type=kind).get_environ()
    environ |= {"wsgi.input": _Endless(), "wsgi.input_terminated": True}
    assert run_wsgi_app(call.client.application, environ)[1] == "413 REQUEST ENTITY TOO LARGE"


class _Endless:
    def read(self, size=-1):
        assert size >= 0, "all of it was asked for"
        return b" " * size


def test_the_applications_own_limit_is_told_in_the_same_way(accounts):
    call = Program(accounts, MAX_CONTENT_LENGTH=10)
    answer = call("POST", "/sign-in", email=EMAIL, password=PASSWORD)
    assert code_of(answer) == (413, "too_large")


@pytest.mark.parametrize(
    "query",
    [
        "limit=x", "limit=0", "limit=101", "limit=-1", "limit=1&limit=2", "limit=", "limit=%D9%A1",
        "other=1", "after=%00", "after=",
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_used_is_refused(call, ada, query):
    answer = call.signed_in(ada).client.get(
        f"/auth/api/sessions?{query}", headers=auth_headers(call.accounts, ada)
    )
    assert code_of(answer) == (400, "invalid_request")


@pytest.mark.parametrize(
    "path", ["/", "/other", "/me/", "/organizations/", "/organizations/a/b/c", "/organizations/%00"]
)
def test_what_is_not_there_is_404_as_json(call, ada, path):
    assert call.signed_in(ada)("GET", path).status_code == 404
    assert call.signed_in(ada)("GET", path).is_json


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "TRACE"])
def test_a_method_that_is_not_there_is_405(call, method):
    answer = call(method, "/sign-in")
    assert code_of(answer) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


def test_a_head_is_a_get_without_a_body(call, ada):
    answer = call.signed_in(ada)("HEAD", "/me")
    assert (answer.status_code, answer.data) == (200, b"")
    assert code_of(call.signed_in(ada)("POST", "/openapi.json")) == (405, "method_not_allowed")


def test_a_backend_that_is_down_is_503(call, accounts, ada, caplog):
    me = call.signed_in(ada)
    accounts.disconnect()
    assert code_of(me("GET", "/me")) == (503, "auth_not_connected")
    assert "accounts are not available" in caplog.text


def test_every_status_belongs_to_an_error():
    """The table has no code that nothing raises."""

    def codes(kind):
        return {kind.code}.union(*map(codes, kind.__subclasses__()))

    assert set(STATUS) <= codes(AuthError)
    assert STATUS[AuthBackendError.code] == 503
