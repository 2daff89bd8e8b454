"""What nobody gets the JSON API to do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from derp_auth_lite import ThrottleConfig
from derp_auth_lite.flask.testing import FlaskAuthClient
from derp_auth_lite.testing import Outbox, auth_headers, make_user, open_test_auth

from .api_program import BOB, EMAIL, OTHER, PASSWORD, Program, code_of


@pytest.fixture
def accounts():
    with open_test_auth(enable_magic_link=True) as auth:
        yield auth


@pytest.fixture
def call(accounts):
    return Program(accounts)


@pytest.fixture
def ada(accounts):
    return make_user(accounts, email=EMAIL)


@pytest.fixture
def bob(accounts):
    return make_user(accounts, email=BOB)


# Who has an account


def test_an_owner_of_an_organization_cannot_ask_for_addresses_without_end():
    limits = replace(ThrottleConfig.off(), lookup_by_user=(3, 3600))
    with open_test_auth(throttle=limits) as accounts:
        mine = Program(accounts).signed_in(make_user(accounts, email=EMAIL))
        make_user(accounts, email=BOB)
        org = mine("POST", "/organizations", name="North").json["id"]
        path = f"/organizations/{org}/members"
        for n in range(3):
            assert mine("POST", path, email=f"user{n}@example.com").status_code == 404
        for email in (BOB, "user4@example.com"):
            assert code_of(mine("POST", path, email=email)) == (429, "rate_limited")


# Other sites


def browser(call):
    """A browser that ada is signed in with."""
    client = FlaskAuthClient(call.client.application, call.client.response_wrapper)
    client.sign_in(EMAIL, password=PASSWORD)
    return client


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, False),
        ({"Content-Type": "text/plain"}, False),
        ({"Content-Type": "application/x-www-form-urlencoded"}, False),
        ({"Content-Type": "application/json"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "https://evil.test"}, False),
        ({"Origin": "https://evil.test", "Content-Type": "application/json"}, False),
        ({"Origin": "null", "Content-Type": "application/json"}, False),
        ({"Referer": "https://evil.test/", "Content-Type": "application/json"}, False),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/sign-out"), ("POST", "/sessions/end-others"), ("DELETE", "/me")],
)
def test_a_cookie_works_for_scripts_of_this_site_alone(call, ada, method, path, headers, allowed):
    answer = browser(call).open(f"/auth/api{path}", method=method, headers=headers)
    if allowed:
        assert answer.status_code in (200, 204)
    else:
        assert code_of(answer) == (403, "cross_site_request")


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up"])
def test_another_site_signs_nobody_in(call, ada, path):
    """Login CSRF: the browser has no session, and would get the attacker's."""
    answer = call.client.post(
        f"/auth/api{path}",
        json={"email": EMAIL, "password": PASSWORD, "cookie": True},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert code_of(answer) == (403, "cross_site_request")
    assert "Set-Cookie" not in answer.headers


def test_a_token_is_sent_by_no_other_site(call, accounts, ada):
    headers = {**auth_headers(accounts, ada), "Origin": "https://evil.test"}
    assert call.client.post("/auth/api/sign-out", headers=headers).status_code == 204


def test_a_cookie_does_not_stand_in_for_a_bad_token(call, ada):
    answer = browser(call).get("/auth/api/me", headers={"Authorization": "Bearer x"})
    assert code_of(answer) == (401, "login_required")


def test_no_header_lets_another_site_read_answers(call, ada):
    answer = browser(call).get("/auth/api/me", headers={"Origin": "https://evil.test"})
    assert not any(name.startswith("Access-Control") for name, _ in answer.headers)


# Somebody else's


@pytest.fixture
def matrix(call, ada, bob, accounts):
    """Ada's program, bob's program, and what is ada's."""
    mine, his = call.signed_in(ada), call.signed_in(bob)
    org = mine("POST", "/organizations", name="North").json
    return mine, his, {
        "org": org["id"],
        "session": mine("GET", "/session").json["id"],
        "ada": ada.id,
        "bob": bob.id,
    }  # fmt: skip


OF_MEMBERS = [
    ("GET", "/organizations/{org}", {}),
    ("GET", "/organizations/{org}/members", {}),
    ("PUT", "/session/organization", {"organization_id": "{org}"}),
]
OF_OWNERS = [
    ("PATCH", "/organizations/{org}", {"name": "Mine"}),
    ("DELETE", "/organizations/{org}", {}),
    ("POST", "/organizations/{org}/members", {"email": BOB}),
    ("PATCH", "/organizations/{org}/members/{ada}", {"role": "member"}),
    ("PATCH", "/organizations/{org}/members/{bob}", {"role": "owner"}),
    ("DELETE", "/organizations/{org}/members/{ada}", {}),
]


def send(program, names, method, path, body):
    filled = {name: value.format(**names) for name, value in body.items()}
    return program(method, path.format(**names), **filled)


@pytest.mark.parametrize(("method", "path", "body"), OF_MEMBERS + OF_OWNERS)
def test_an_organization_of_others_is_not_there(matrix, accounts, method, path, body):
    mine, his, names = matrix
    before = mine("GET", f"/organizations/{names['org']}").json
    nothing = send(his, {**names, "org": names["bob"]}, method, path, body)
    theirs = send(his, names, method, path, body)
    assert (theirs.status_code, theirs.data) == (nothing.status_code, nothing.data)
    assert code_of(theirs) == (404, "org_not_found")
    assert mine("GET", f"/organizations/{names['org']}").json == before
    assert his("GET", "/session").json["organization_id"] is None


@pytest.mark.parametrize("role", ["member", "admin"])
@pytest.mark.parametrize(("method", "path", "body"), OF_OWNERS)
def test_only_an_owner_changes_an_organization(matrix, accounts, role, method, path, body):
    _, his, names = matrix
    accounts.add_org_member(org_id=names["org"], user_id=names["bob"], role=role)
    assert code_of(send(his, names, method, path, body)) == (403, "not_allowed")
    assert accounts.get_org_member(org_id=names["org"], user_id=names["bob"]).role == role


@pytest.mark.parametrize(("method", "path", "body"), OF_MEMBERS)
def test_a_former_member_is_out_at_once(matrix, accounts, method, path, body):
    _, his, names = matrix
    accounts.add_org_member(org_id=names["org"], user_id=names["bob"])
    assert send(his, names, method, path, body).status_code == 200
    accounts.remove_org_member(org_id=names["org"], user_id=names["bob"])
    assert code_of(send(his, names, method, path, body)) == (404, "org_not_found")


def test_nobody_ends_or_sees_somebody_elses_session(matrix):
    mine, his, names = matrix
    answer = his("DELETE", f"/sessions/{names['session']}")
    assert code_of(answer) == (404, "not_found")
    assert mine("GET", "/me").status_code == 200
    his("POST", "/sessions/end-others")
    assert mine("GET", "/me").status_code == 200
    seen = his("GET", "/sessions").json["data"]
    assert names["session"] not in {session["id"] for session in seen}


def test_a_cursor_of_somebody_elses_list_is_refused(matrix, call, ada):
    mine, his, _ = matrix
    call.signed_in(ada)
    cursor = mine("GET", "/sessions", limit=1).json["next_cursor"]
    assert cursor is not None
    assert code_of(his("GET", "/sessions", after=cursor)) == (400, "invalid_cursor")


def test_an_access_token_does_not_become_a_refresh_token(matrix):
    """It lives for minutes; who steals one must not get what lives for weeks."""
    mine, his, names = matrix
    answer = mine("PUT", "/session/organization", organization_id=names["org"])
    assert answer.json["tokens"] is None
    other = his.accounts.sign_in_with_password(BOB, PASSWORD).tokens.refresh_token
    stolen = mine("PUT", "/session/organization", organization_id=None, refresh_token=other)
    assert code_of(stolen) == (400, "invalid_token")


def test_somebody_elses_identity_is_not_there(matrix):
    _, his, _ = matrix
    answer = his("POST", "/me/identities/unlink", provider="fake", subject="subject of ada")
    assert code_of(answer) == (404, "not_found")


# What a stranger may learn


@pytest.mark.parametrize("path", ["/recovery", "/magic-link", "/confirmation"])
def test_asking_for_a_mail_says_the_same_of_every_address(call, ada, path):
    known = call("POST", path, email=EMAIL)
    unknown = call("POST", path, email="nobody@example.com")
    assert (known.status_code, known.data, dict(known.headers)) == (
        unknown.status_code,
        unknown.data,
        dict(unknown.headers),
    )
    assert known.status_code == 202


def test_signing_up_says_the_same_of_every_address():
    with open_test_auth(enable_confirmation=True) as accounts:
        call, outbox = Program(accounts), Outbox(accounts)
        make_user(accounts, email=EMAIL)
        free = call("POST", "/sign-up", email=BOB, password=PASSWORD, cookie=True)
        taken = call("POST", "/sign-up", email=EMAIL, password=OTHER, cookie=True)
        assert (free.status_code, free.data, dict(free.headers)) == (
            taken.status_code,
            taken.data,
            dict(taken.headers),
        )
        assert free.status_code == 202
        assert outbox.last("account_exists").to == EMAIL
        assert outbox.last("confirmation").to == BOB


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com", "no address"])
def test_a_refused_sign_in_says_the_same_of_every_address(call, ada, email):
    answer = call("POST", "/sign-in", email=email, password="wrong")
    assert answer.json == {
        "error": {"code": "invalid_credentials", "message": "Invalid email or password"}
    }


@pytest.mark.parametrize("token", ["x", "a" * 43, "../x", "é"])
@pytest.mark.parametrize("path", ["/confirmation/redeem", "/magic-link/redeem", "/email/redeem"])
def test_a_made_up_token_is_worth_nothing(call, path, token):
    assert code_of(call("POST", path, token=token)) == (400, "invalid_token")


# What a request may set


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("role", "admin"),
        ("is_superuser", True),
        ("is_active", True),
        ("email_confirmed_at", "2026-01-01T00:00:00Z"),
        ("id", "00000000-0000-0000-0000-000000000000"),
        ("metadata", {"plan": "gold"}),
        ("password_hash", "x"),
        ("confirmed", True),
        ("user_id", "00000000-0000-0000-0000-000000000000"),
        ("request", {}),
        ("confirmation_url", "https://evil.test"),
    ],
)
def test_nobody_gives_themselves_rights(call, accounts, ada, field, value):
    made = call("POST", "/sign-up", email=BOB, password=PASSWORD, **{field: value})
    assert code_of(made) == (400, "invalid_request")
    assert made.json["error"]["field"] == field
    assert accounts.find_user(BOB) is None
    changed = call.signed_in(ada)("PATCH", "/me", **{field: value})
    assert code_of(changed) == (400, "invalid_request")
    assert accounts.get_user(ada.id) == ada


@pytest.mark.parametrize("role", ["emperor", "Owner", "", 1, None])
def test_a_member_gets_only_a_role_that_there_is(call, ada, bob, role):
    me = call.signed_in(ada)
    org = me("POST", "/organizations", name="North").json["id"]
    answer = me("POST", f"/organizations/{org}/members", email=BOB, role=role)
    assert code_of(answer) == (400, "invalid_request")


def test_no_mail_leads_where_a_request_says(call, ada):
    for path in ("/recovery", "/magic-link", "/confirmation"):
        answer = call("POST", path, email=EMAIL, url="https://evil.test")
        assert code_of(answer) == (400, "invalid_request")
    far = call.client.post(
        "/auth/api/recovery", json={"email": EMAIL}, base_url="https://evil.test"
    )
    assert code_of(far) == (503, "config_error")


# What is shown


@pytest.mark.parametrize(
    "host", ["localhost:80@evil.test", "[::1]:@evil.test", "localhost:1/evil.test", "127.0.0.1:x"]
)
def test_a_host_that_only_begins_like_this_machine_gets_no_mail_sent(call, ada, host):
    answer = call.client.post("/auth/api/recovery", json={"email": EMAIL}, headers={"Host": host})
    assert code_of(answer) == (503, "config_error")


def test_no_answer_holds_what_is_kept_secret(call, accounts, ada):
    accounts.update_user(user_id=ada.id, metadata={"note": "of the staff"})
    text = json.dumps(call.signed_in(ada)("GET", "/me").json)
    assert not any(word in text for word in ("hash", "argon2", "stamp", "of the staff", "super"))


def test_nothing_is_kept_by_caches(call, ada):
    me = call.signed_in(ada)
    for method, path in [("GET", "/me"), ("POST", "/sign-in"), ("GET", "/openapi.json"),
                         ("GET", "/other"), ("PUT", "/me"), ("POST", "/sign-out")]:  # fmt: skip
        answer = me(method, path)
        assert answer.headers["Cache-Control"] == "no-store", path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path


def test_the_api_is_there_for_who_asks_for_it(accounts):
    assert Program(accounts, AUTH_API=False).client.get("/auth/api/me").status_code == 404


def test_the_api_needs_no_pages(accounts, ada):
    bare = Program(accounts, AUTH_PAGES=False)
    assert bare.client.get("/auth/sign-in").status_code == 404
    assert bare("POST", "/sign-in", email=EMAIL, password=PASSWORD).status_code == 200
    assert code_of(bare("GET", "/me")) == (401, "login_required")
    assert bare("POST", "/recovery", email=EMAIL).status_code == 404, "its mail would lead nowhere"


def test_the_api_is_where_the_pages_are(accounts):
    moved = Program(accounts, AUTH_URL_PREFIX="/members")
    assert moved.client.get("/members/api/me").status_code == 401
    document = moved.client.get("/members/api/openapi.json").json
    assert document["servers"] == [{"url": "/members/api"}]
