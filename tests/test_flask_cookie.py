"""The cookie of a browser's session: what it is like, and which one is believed."""

from __future__ import annotations

import pytest
from flask import Flask, Response
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import parse_cookie

from derp_auth_lite.flask import (
    FlaskAuth,
    current_session,
    current_user,
    login_required,
    org_required,
)
from derp_auth_lite.flask._csrf import form_token
from derp_auth_lite.flask.state import cookie_in, state
from derp_auth_lite.flask.testing import FlaskAuthClient

from .support import PASSWORD, MovableClock, native_client

EMAIL = "ada@example.com"
PAGE = {"Accept": "text/html"}


@pytest.fixture
def accounts():
    client = native_client(":memory:", MovableClock())
    yield client
    client.disconnect()


@pytest.fixture
def app(accounts):
    app = Flask("notes")
    app.test_client_class = FlaskAuthClient
    FlaskAuth(app, client=accounts)
    app.get("/")(login_required(lambda: current_user.email))
    app.get("/who", endpoint="who")(lambda: current_session.role if current_user else "nobody")
    app.get("/team/owners", endpoint="owners")(org_required("owner")(lambda: "owners"))
    return app


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.mark.parametrize(
    ("base_url", "headers", "secure"),
    [
        ("https://app.test", {}, True),
        ("http://app.test", {}, True),
        ("https://localhost", {}, True),
        ("http://localhost:5000", {"X-Forwarded-For": "203.0.113.1"}, True),
        ("http://localhost:5000", {}, False),
        ("http://127.0.0.1:5000", {}, False),
        ("http://[::1]:5000", {}, False),
        ("http://[::1]", {}, False),
        ("http://notes.localhost", {}, False),
    ],
)
def test_the_cookie_is_secure_but_for_a_browser_on_this_machine(
    app, accounts, base_url, headers, secure
):
    accounts.create_user(email=EMAIL, password=PASSWORD)
    client = app.test_client()
    first = client.get("/auth/sign-in", base_url=base_url, headers=headers)
    cookie = first.headers["Set-Cookie"]
    assert cookie.startswith("__Host-auth-form=" if secure else "auth-form=")
    assert ("Secure" in cookie) == secure
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie


def test_what_a_view_says_of_caches_stays_beside_ours(app, client):
    @app.get("/greeting")
    def greeting():
        language = {"Vary": "Accept-Language"}
        return ("nobody" if not current_user else current_user.email), language

    vary = client.get("/greeting").headers.getlist("Vary")
    assert vary == ["Accept-Language, Cookie"]


@pytest.mark.parametrize(
    ("base_url", "name", "status"),
    [
        ("https://app.test", "__Host-auth", 200),
        ("https://app.test", "auth", 303),
        ("http://localhost", "auth", 200),
        ("http://localhost", "__Host-auth", 303),
    ],
)
def test_only_the_cookie_that_no_other_host_can_set_is_believed(
    app, accounts, base_url, name, status
):
    """A neighbour below the same domain can set one without the prefix (RFC 6265bis, 4.1.3)."""
    tokens = accounts.sign_up(email=EMAIL, password=PASSWORD).tokens
    cookie = accounts.issue_session_cookie(tokens)
    client = app.test_client(use_cookies=False)
    headers = {**PAGE, "Cookie": f"a=b; {name}={cookie}; auth-form=x"}
    assert client.get("/", base_url=base_url, headers=headers).status_code == status


@pytest.mark.parametrize("blank", ["\xa0", "\x85", "\x1f"], ids=["nbsp", "nel", "us"])
@pytest.mark.parametrize(
    "name", [pytest.param("__Host-auth-form", id="form"), pytest.param("__Host-auth", id="session")]
)
def test_a_form_is_bound_to_no_cookie_whose_name_only_becomes_ours(app, accounts, blank, name):
    """Werkzeug before 3.1 drops such blanks; a browser has not looked at what follows them."""
    accounts.create_user(email=EMAIL, password=PASSWORD)
    client = app.test_client(use_cookies=False)
    secret = "of a neighbour's own choice"
    answer = client.post(
        "/auth/sign-in",
        base_url="https://app.test",
        data={"email": EMAIL, "password": PASSWORD, "csrf_token": form_token(secret)},
        headers={"Origin": "null"},
        environ_overrides={"HTTP_COOKIE": f"{blank}{name}={secret}"},
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("blank", ["\xa0", "\x85", "\x1f", ""], ids=["nbsp", "nel", "us", "none"])
def test_a_short_cookie_is_read_as_the_others_are(app, blank):
    """Else a neighbour could finish a sign-in at a provider that the browser did not begin."""
    value = 'enter.binding./a?b="c", d;%'
    with app.test_request_context("/", base_url="https://app.test"):
        response = Response()
        state(app).set_short_cookie(response, "provider", value)
    name, _, rest = response.headers["Set-Cookie"].partition("=")
    header = {"HTTP_COOKIE": f"{blank}{name}={rest.split(';')[0]}"}
    with app.test_request_context("/", base_url="https://app.test", environ_overrides=header):
        assert state(app).short_cookie("provider") == (None if blank else value)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("auth=x", "x"),
        ("a=b; auth=x; c=d", "x"),
        ("a=b;auth=x;c=d", "x"),
        ("auth=x; auth=y", "x"),
        ("auth=", ""),
        ("auth-form=y; auth=x", "x"),
        ("xauth=y; a=auth=x", None),
        ("AUTH=x", None),
        ("\xa0auth=y; \x85auth=y; \x1fauth=y; \tauth=x", "x"),
        ("auth", None),
        ("", None),
        (";;=;", None),
    ],
)
def test_one_cookie_is_found_among_all(header, value):
    assert cookie_in(header, "auth") == value


@given(st.dictionaries(st.from_regex(r"[A-Za-z_-]{1,8}", fullmatch=True),
                       st.from_regex(r"[A-Za-z0-9_-]{0,20}", fullmatch=True)))  # fmt: skip
def test_a_cookie_is_read_as_werkzeug_reads_it(cookies):
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    for name in [*cookies, "auth"]:
        assert cookie_in(header, name) == parse_cookie(header).get(name)


def test_every_sign_in_brings_a_new_cookie_and_ends_the_session_before(client, accounts):
    user = client.sign_in(EMAIL)
    before = client.get_cookie("auth").value
    accounts.create_user(email="bob@example.com", password=PASSWORD)
    answer = client.submit("/auth/sign-in", email="bob@example.com", password=PASSWORD)
    assert answer.status_code == 303
    assert client.get_cookie("auth").value != before
    assert accounts.authenticate_cookie(before) is None
    assert accounts.list_sessions(user_id=user.id) == []
    assert answer.headers["Cache-Control"] == "no-store"


def test_signing_in_again_keeps_the_organization(client, accounts):
    user = accounts.create_user(email=EMAIL, password=PASSWORD)
    client.sign_in(EMAIL, password=PASSWORD)
    org = accounts.create_org(name="North", slug="north", creator_id=user.id)
    (session,) = accounts.list_sessions(user_id=user.id)
    accounts.set_active_org(session_id=session.session_id, org_id=org.id)
    client.submit("/auth/sign-in", email=EMAIL, password=PASSWORD)
    assert client.get("/team/owners").text == "owners"
    assert len(accounts.list_sessions(user_id=user.id)) == 1


def test_signing_out_ends_the_session_and_takes_the_cookie(client, accounts):
    client.sign_in(EMAIL)
    before = client.get_cookie("auth").value
    assert client.get("/auth/sign-out").status_code == 200
    assert client.submit("/auth/sign-out").status_code == 303
    assert client.get_cookie("auth") is None
    assert accounts.authenticate_cookie(before) is None


def test_what_reads_the_session_is_not_shared_by_caches(client):
    assert "Cookie" in client.get("/who").headers["Vary"]
