"""What decides who is let in: decorators, `next`, other sites, forms and cookies."""

from __future__ import annotations

import pytest
from flask import Flask, jsonify
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite.flask import (
    FlaskAuth,
    current_session,
    current_user,
    fresh_login_required,
    login_required,
    org_required,
    roles_required,
)
from derp_auth_lite.flask._agents import in_words
from derp_auth_lite.flask._csrf import form_token, is_form_token
from derp_auth_lite.flask._next import safe_next
from derp_auth_lite.flask.testing import FlaskAuthClient

from .support import PASSWORD, MovableClock, native_client

EMAIL = "ada@example.com"
PAGE = {"Accept": "text/html"}


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def accounts(clock):
    client = native_client(":memory:", clock, enable_magic_link=True)
    yield client
    client.disconnect()


@pytest.fixture
def app(accounts):
    app = Flask("notes")
    app.test_client_class = FlaskAuthClient
    FlaskAuth(app, client=accounts)

    @app.route("/", methods=["GET", "POST"])
    @login_required
    def home():
        return f"Hello {current_user.email}"

    @app.get("/who")
    def who():
        return "nobody" if not current_user else current_session.role

    @app.get("/admin")
    @roles_required("admin", "boss")
    def admin():
        return "admin"

    @app.get("/team")
    @org_required()
    def team():
        return "team"

    @app.get("/team/owners")
    @org_required("owner")
    def owners():
        return "owners"

    @app.route("/money", methods=["GET", "POST"])
    @fresh_login_required(5)
    def money():
        return "money"

    @app.get("/api/me")
    @login_required
    def me():
        return jsonify(email=current_user.email)

    return app


@pytest.fixture
def client(app):
    return app.test_client()


# Who is let in


def test_a_browser_is_sent_to_sign_in_and_back(client):
    answer = client.get("/?a=1&b=%2F", headers=PAGE)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/auth/sign-in?next=/?a%3D1%26b%3D%252F"
    assert client.get(answer.headers["Location"]).status_code == 200


def test_a_form_that_was_sent_is_not_come_back_to(client):
    answer = client.post("/", headers=PAGE)
    assert answer.headers["Location"] == "/auth/sign-in"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/me", {}),
        ("/", {"Accept": "application/json"}),
        ("/", {"Accept": "*/*"}),
        ("/", {"Authorization": "Bearer x"}),
        ("/", {"Content-Type": "application/json"}),
        ("/", {"Sec-Fetch-Mode": "cors", "Accept": "text/html"}),
        ("/", {"Accept": "text/html;q=0.1, application/json"}),
    ],
)
def test_a_program_gets_401_as_json(client, path, headers):
    answer = client.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.json["error"]["code"] == "login_required"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_who_is_signed_in_is_let_in(client):
    client.sign_in(EMAIL)
    assert client.get("/").text == "Hello ada@example.com"
    assert client.get("/who").text == "default"
    client.sign_out()
    assert client.get("/who").text == "nobody"


def test_a_bearer_token_lets_in_too_and_a_cookie_does_not_stand_in_for_a_bad_one(client, accounts):
    tokens = accounts.sign_up(email=EMAIL, password=PASSWORD).tokens
    bearer = {"Authorization": f"Bearer {tokens.access_token}"}
    assert client.get("/api/me", headers=bearer).json == {"email": EMAIL}
    client.sign_in("bob@example.com")
    assert client.get("/api/me", headers={"Authorization": "Bearer x"}).status_code == 401


def test_roles_are_the_present_ones(client, accounts):
    user = client.sign_in(EMAIL, role="admin")
    assert client.get("/admin").text == "admin"
    accounts.update_user(user_id=user.id, role="default")
    assert client.get("/admin", headers=PAGE).status_code == 403
    refused = client.get("/admin", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "not_allowed")


def test_organizations_and_the_roles_in_them(client, accounts):
    user = client.sign_in(EMAIL)
    assert client.get("/team").status_code == 403
    org = accounts.create_org(name="North", slug="north", creator_id=user.id)
    (session,) = accounts.list_sessions(user_id=user.id)
    accounts.set_active_org(session_id=session.session_id, org_id=org.id)
    assert client.get("/team").text == "team"
    assert client.get("/team/owners").text == "owners"
    other = accounts.create_user(email="bob@example.com")
    accounts.add_org_member(org_id=org.id, user_id=other.id, role="owner")
    accounts.update_org_member(org_id=org.id, user_id=user.id, role="member")
    assert client.get("/team").text == "team"
    assert client.get("/team/owners").status_code == 403


def test_what_matters_most_asks_again_after_a_while(client, clock):
    client.sign_in(EMAIL)
    clock.advance(minutes=5)
    assert client.get("/money").text == "money"
    clock.advance(seconds=1)
    assert client.get("/money").headers["Location"] == "/auth/sign-in?next=/money"
    assert client.get("/").status_code == 200


def test_a_decorator_without_its_roles_is_a_mistake_that_is_told():
    for decorator in (roles_required, org_required, fresh_login_required):
        with pytest.raises(TypeError):
            decorator(lambda: "x")
    with pytest.raises(TypeError):
        roles_required()


def test_a_deleted_user_is_out_at_once(client, accounts):
    user = client.sign_in(EMAIL)
    accounts.delete_user(user.id)
    answer = client.get("/", headers=PAGE)
    assert answer.status_code == 303
    assert "auth=;" in answer.headers["Set-Cookie"]


def test_outside_of_a_request_nobody_is_signed_in(app):
    with app.app_context():
        assert not current_user
        assert not current_session


def test_one_request_does_not_remember_another_ones_user(app):
    """The application context of a test outlives its requests."""
    with app.app_context():
        one, other = app.test_client(), app.test_client()
        one.sign_in(EMAIL)
        assert one.get("/who").text == "default"
        assert other.get("/who").text == "nobody"


def test_a_backend_that_is_down_is_503_and_signs_nobody_out(client, accounts):
    client.sign_in(EMAIL)
    accounts.disconnect()

    page = client.get("/", headers=PAGE)
    assert page.status_code == 503
    assert "Not available right now" in page.text
    answer = client.get("/api/me")
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "auth_not_connected")
    assert "Set-Cookie" not in answer.headers


# Where to go next


@pytest.mark.parametrize("target", ["/", "/a", "/a/b?c=d&e=//f#g", "/a:b", "/%2F%2Fevil"])
def test_a_path_of_this_site_is_gone_to(target):
    assert safe_next(target, "/home") == target


@pytest.mark.parametrize(
    "target",
    [
        None, 7, "", "a", "//evil.test", "///evil.test", "/\\evil.test", "\\\\evil.test",
        "\\/evil.test", "https:evil.test", "https://evil.test", "http:///evil.test",
        "javascript:alert(1)", "/\t/evil.test", "\t//evil.test", " //evil.test", "/\n/evil.test",
        "/\r/evil.test", "\x00//evil.test", "/a b", "/a\\b", "/\u2028/evil", "/\ud800",
        "/" + "a" * 2048, "//[evil", "/a\x7f", "/\x85/evil",
    ],
)  # fmt: skip
def test_another_site_is_not_gone_to(target):
    assert safe_next(target, "/home") == "/home"


@given(st.text(max_size=30))
def test_what_is_gone_to_begins_with_one_slash(text):
    assert not safe_next(text, "/home").startswith(("//", "/\\"))


@pytest.mark.parametrize("target", ["//evil.test", "https:evil.test", "/\\evil.test"])
def test_signing_in_leads_to_no_other_site(client, accounts, target):
    """CVE-2023-49438."""
    accounts.create_user(email=EMAIL, password=PASSWORD)
    answer = client.submit("/auth/sign-in", email=EMAIL, password=PASSWORD, next=target)
    assert answer.headers["Location"] == "/"


# Requests that another site had the browser send


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "https://evil.test"}, 403),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Origin": "http://localhost.evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[evil"}, 403),
        ({"Referer": "http://localhost/a"}, 200),
        ({"Referer": "https://evil.test/localhost"}, 403),
        ({"Origin": "https://friend.test"}, 200),
    ],
)
def test_a_cookie_works_for_requests_of_this_site_alone(accounts, headers, status):
    app = Flask("notes")
    app.test_client_class = FlaskAuthClient
    app.config["AUTH_TRUSTED_ORIGINS"] = ["https://friend.test"]
    FlaskAuth(app, client=accounts)
    app.post("/")(login_required(lambda: "done"))
    client = app.test_client()
    client.sign_in(EMAIL)
    assert client.post("/", headers=headers).status_code == status


def test_other_sites_may_read_what_everybody_may(client):
    client.sign_in(EMAIL)
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_a_bearer_token_is_sent_by_no_other_site(client, accounts):
    tokens = accounts.sign_up(email=EMAIL, password=PASSWORD).tokens
    headers = {"Authorization": f"Bearer {tokens.access_token}", "Sec-Fetch-Site": "cross-site"}
    assert client.post("/", headers=headers).status_code == 200


def test_a_form_needs_the_token_of_its_browser(app, accounts):
    accounts.create_user(email=EMAIL, password=PASSWORD)
    mine, other = app.test_client(), app.test_client()
    fields = {"email": EMAIL, "password": PASSWORD}
    assert mine.post("/auth/sign-in", data=fields).status_code == 403
    mine.get("/auth/sign-in")
    assert mine.post("/auth/sign-in", data=fields).status_code == 403
    stolen = form_token(
        other.get("/auth/sign-in").headers["Set-Cookie"].split("=")[1].split(";")[0]
    )
    assert mine.post("/auth/sign-in", data={**fields, "csrf_token": stolen}).status_code == 403
    assert mine.submit("/auth/sign-in", **fields).status_code == 303


def test_a_form_token_says_nothing_of_the_cookie_and_fits_no_other():
    assert is_form_token(form_token("a"), "a")
    assert not is_form_token(form_token("a"), "b")
    assert not is_form_token(form_token("a"), None)
    assert not is_form_token(None, "a")
    assert not is_form_token("é", "a")


def test_a_page_without_referrer_can_still_send_its_form(client, accounts):
    """Such a page sends `Origin: null`; its token decides."""
    accounts.create_user(email=EMAIL, password=PASSWORD)
    client.get("/auth/sign-in")
    token = client.get("/auth/sign-in").text.split('csrf_token" value="')[1].split('"')[0]
    fields = {"email": EMAIL, "password": PASSWORD, "csrf_token": token}
    answer = client.post("/auth/sign-in", data=fields, headers={"Origin": "null"})
    assert answer.status_code == 303


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (None, None),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0",
            "Firefox · Linux",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge · Windows"),
        ("something else", "something else"),
        ("x" * 50, f"{'x' * 39}…"),
    ],
)
def test_agents_are_named_in_words(agent, words):
    assert in_words(agent) == words
