"""The JSON API, as a program meets it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from derp_auth_lite._clock import utc_now
from derp_auth_lite.config import ThrottleConfig
from derp_auth_lite.exceptions import ConfigError
from derp_auth_lite.testing import (
    FakeOAuth,
    MovableClock,
    Outbox,
    make_user,
    open_test_auth,
)

from .api_program import BOB, EMAIL, OTHER, PASSWORD, Program, code_of


@pytest.fixture
def clock():
    return MovableClock(utc_now(), tick=timedelta(microseconds=1))


@pytest.fixture
def accounts(clock):
    with (
        FakeOAuth(clock=clock) as provider,
        open_test_auth(clock=clock, enable_magic_link=True, oidc=[provider.config]) as auth,
    ):
        auth.provider = provider
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


@pytest.fixture
def outbox(accounts):
    return Outbox(accounts)


# Signing up, in and out


def test_signing_up_gives_tokens_that_let_in(call):
    answer = call("POST", "/sign-up", email=EMAIL, password=PASSWORD, first_name="Ada")
    assert answer.status_code == 201
    assert answer.json["user"]["first_name"] == "Ada"
    assert "Set-Cookie" not in answer.headers
    call.headers = {"Authorization": f"Bearer {answer.json['tokens']['access_token']}"}
    assert call("GET", "/me").json["email"] == EMAIL


def test_signing_in_refreshing_and_signing_out(call, ada):
    tokens = call("POST", "/sign-in", email=EMAIL, password=PASSWORD).json["tokens"]
    fresh = call("POST", "/refresh", refresh_token=tokens["refresh_token"]).json
    assert fresh["refresh_token"] != tokens["refresh_token"]
    call.headers = {"Authorization": f"Bearer {fresh['access_token']}"}
    answer = call("POST", "/sign-out")
    assert (answer.status_code, answer.data) == (204, b"")
    assert code_of(call("GET", "/me")) == (401, "login_required")
    again = call("POST", "/refresh", refresh_token=fresh["refresh_token"])
    assert code_of(again) == (400, "invalid_token")


def test_a_browser_gets_a_cookie_instead_of_tokens(call, ada):
    answer = call("POST", "/sign-in", email=EMAIL, password=PASSWORD, cookie=True)
    assert answer.json["tokens"] is None
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert call("GET", "/me").json["id"] == ada.id
    call.client.delete("/auth/api/sessions/x")
    answer = call.client.post("/auth/api/sign-out", headers={"Origin": "http://localhost"})
    assert answer.status_code == 204
    assert call("GET", "/me").status_code == 401


def test_refused_sign_ins_say_why_only_after_the_right_password(call, accounts, ada):
    accounts.update_user(user_id=ada.id, is_active=False)
    wrong = call("POST", "/sign-in", email=EMAIL, password="wrong")
    assert code_of(wrong) == (401, "invalid_credentials")
    right = call("POST", "/sign-in", email=EMAIL, password=PASSWORD)
    assert code_of(right) == (403, "user_disabled")


def test_too_many_attempts_are_told_how_long_to_wait(clock):
    limits = ThrottleConfig(sign_in_by_pair=(2, 600))
    with open_test_auth(clock=clock, throttle=limits) as accounts:
        call = Program(accounts)
        answers = [call("POST", "/sign-in", email=EMAIL, password="x") for _ in range(3)]
    assert code_of(answers[-1]) == (429, "rate_limited")
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 600


# Links in mails


def test_a_confirmation_comes_by_mail_and_again(clock):
    with open_test_auth(clock=clock, enable_confirmation=True) as accounts:
        call, outbox = Program(accounts), Outbox(accounts)
        assert call("POST", "/sign-up", email=EMAIL, password=PASSWORD).status_code == 202
        refused = call("POST", "/sign-in", email=EMAIL, password=PASSWORD)
        assert code_of(refused) == (403, "email_not_confirmed")
        assert call("POST", "/confirmation", email=EMAIL).status_code == 202
        mail = outbox.last("confirmation")
        assert mail.link.startswith("http://localhost/auth/confirm?token=")
        assert call("POST", "/confirmation/redeem", token=mail.token).status_code == 204
        dead = call("POST", "/confirmation/redeem", token=mail.token)
        assert code_of(dead) == (400, "invalid_token")
        assert call("POST", "/sign-in", email=EMAIL, password=PASSWORD).status_code == 200


def test_a_forgotten_password_is_replaced(call, ada, outbox):
    mine = call.signed_in(ada)
    assert call("POST", "/recovery", email=EMAIL).status_code == 202
    token = outbox.last("recovery").token
    weak = call("POST", "/recovery/redeem", token=token, password="short")
    assert code_of(weak) == (400, "password_validation_error")
    assert call("POST", "/recovery/redeem", token=token, password=OTHER).status_code == 204
    assert mine("GET", "/me").status_code == 401
    assert call("POST", "/sign-in", email=EMAIL, password=OTHER).status_code == 200


def test_a_magic_link_signs_in_once(call, ada, outbox):
    assert call("POST", "/magic-link", email=EMAIL).status_code == 202
    token = outbox.last("magic_link").token
    assert call("POST", "/magic-link/redeem", token=token).json["user"]["id"] == ada.id
    assert code_of(call("POST", "/magic-link/redeem", token=token)) == (400, "invalid_token")


def test_links_can_lead_to_the_applications_own_pages(accounts, ada, outbox):
    links = {"reset_password": "/app/reset?a=1", "enter": "https://app.test/#/enter"}
    call = Program(accounts, AUTH_PAGES=False, AUTH_LINKS=links)
    call("POST", "/recovery", email=EMAIL)
    assert outbox.last("recovery").link.startswith("http://localhost/app/reset?a=1&token=")
    call("POST", "/magic-link", email=EMAIL)
    link = outbox.last("magic_link").link
    assert link.startswith("https://app.test/?token=")
    assert link.endswith("#/enter")
    assert call("POST", "/confirmation", email=EMAIL).status_code == 404, "no page, no link"


@pytest.mark.parametrize(
    "links", ["/x", {"other": "/x"}, {"enter": "x"}, {"enter": "javascript:x"}]
)
def test_links_that_lead_nowhere_are_told_at_the_start(accounts, links):
    with pytest.raises(ConfigError, match="AUTH_LINKS"):
        Program(accounts, AUTH_LINKS=links)


def test_an_api_that_must_confirm_addresses_needs_a_page_for_it(clock):
    with (
        open_test_auth(clock=clock, enable_confirmation=True) as accounts,
        pytest.raises(ConfigError, match="confirm, reset_password"),
    ):
        Program(accounts, AUTH_PAGES=False)


# The account


def test_a_profile_is_changed_in_the_parts_that_are_given(call, ada):
    me = call.signed_in(ada)
    me("PATCH", "/me", first_name="Ada", image_url="https://app.test/a.png")
    answer = me("PATCH", "/me", last_name="Lovelace", image_url=None)
    assert answer.json["first_name"] == "Ada"
    assert answer.json["last_name"] == "Lovelace"
    assert answer.json["image_url"] is None
    assert code_of(me("PATCH", "/me", image_url="javascript:x")) == (400, "invalid_request")


def test_a_password_is_changed_with_the_present_one_and_other_sessions_end(call, ada):
    me, elsewhere = call.signed_in(ada), call.signed_in(ada)
    wrong = me("POST", "/me/password", current_password="x", password=OTHER)
    assert code_of(wrong) == (403, "wrong_password")
    right = me("POST", "/me/password", current_password=PASSWORD, password=OTHER)
    assert right.status_code == 204
    assert me("GET", "/me").status_code == 200
    assert elsewhere("GET", "/me").status_code == 401


def test_an_address_is_changed_by_the_link_that_goes_there(call, ada, outbox, accounts):
    me = call.signed_in(ada)
    assert me("POST", "/me/email", email="new@example.com").status_code == 202
    assert call("POST", "/email/redeem", token=outbox.last("email_change").token).status_code == 204
    assert me("GET", "/me").json["email"] == "new@example.com"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/me/email", {"email": BOB}),
        ("POST", "/me/identities/unlink", {"provider": "fake", "subject": "x"}),
        ("POST", "/me/identities/fake/start", {}),
        ("DELETE", "/me", {}),
    ],
)
def test_what_matters_most_needs_a_recent_sign_in(call, ada, clock, method, path, body):
    tokens = call("POST", "/sign-in", email=EMAIL, password=PASSWORD).json["tokens"]
    clock.advance(minutes=16)
    fresh = call("POST", "/refresh", refresh_token=tokens["refresh_token"]).json
    call.headers = {"Authorization": f"Bearer {fresh['access_token']}"}
    assert code_of(call(method, path, **body)) == (401, "sign_in_again")
    again = call("POST", "/sign-in", email=EMAIL, password=PASSWORD).json["tokens"]
    call.headers = {"Authorization": f"Bearer {again['access_token']}"}
    assert call(method, path, **body).status_code != 401


def test_an_account_is_deleted(call, ada, accounts):
    me = call.signed_in(ada)
    org = me("POST", "/organizations", name="North").json
    assert code_of(me("DELETE", "/me")) == (409, "last_owner")
    me("DELETE", f"/organizations/{org['id']}")
    assert me("DELETE", "/me").status_code == 204
    assert me("GET", "/me").status_code == 401
    assert accounts.find_user(EMAIL) is None


# Sessions


def test_sessions_are_listed_page_by_page_and_ended(call, ada):
    first, me = call.signed_in(ada), call.signed_in(ada)
    page = me("GET", "/sessions", limit=1).json
    assert [session["current"] for session in page["data"]] == [True]
    assert page["has_more"] is True
    rest = me("GET", "/sessions", limit=1, after=page["next_cursor"]).json
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)
    assert me("GET", "/session").json["id"] == page["data"][0]["id"]
    assert me("DELETE", f"/sessions/{rest['data'][0]['id']}").status_code == 204
    assert first("GET", "/me").status_code == 401
    bad = me("GET", "/sessions", after="x" * 100)
    assert code_of(bad) == (400, "invalid_cursor")


def test_one_signs_out_everywhere_else(call, ada):
    others = [call.signed_in(ada) for _ in range(3)]
    me = call.signed_in(ada)
    assert me("POST", "/sessions/end-others").json == {"ended": 3}
    assert [other("GET", "/me").status_code for other in others] == [401] * 3
    assert me("GET", "/me").status_code == 200


# Providers


def finish(call, start, back, path="/providers/fake/finish", **changes):
    given = {"code": back.code, "state": back.state, "iss": back.iss, "binding": start["binding"]}
    return call("POST", path, **{**given, **changes})


def test_a_provider_signs_in(call, accounts):
    start = call("POST", "/providers/fake/start").json
    back = accounts.provider.consent(start["url"], email=EMAIL)
    answer = finish(call, start, back)
    assert answer.json["user"]["email"] == EMAIL
    assert code_of(finish(call, start, back)) == (401, "invalid_credentials")


def test_another_browser_cannot_finish_what_this_one_began(call, accounts):
    start = call("POST", "/providers/fake/start").json
    other = call("POST", "/providers/fake/start").json
    back = accounts.provider.consent(start["url"], email=EMAIL)
    answer = finish(call, start, back, binding=other["binding"])
    assert code_of(answer) == (401, "invalid_credentials")


def test_a_provider_that_does_not_vouch_for_the_address_has_it_confirmed(clock):
    with (
        FakeOAuth(clock=clock) as provider,
        open_test_auth(clock=clock, enable_confirmation=True, oidc=[provider.config]) as accounts,
    ):
        call = Program(accounts)
        start = call("POST", "/providers/fake/start").json
        back = provider.consent(start["url"], email=EMAIL, email_verified=False)
        assert finish(call, start, back).status_code == 202
        assert Outbox(accounts).last("confirmation").to == EMAIL


def test_a_provider_is_linked_and_removed(call, accounts, ada):
    me = call.signed_in(ada)
    start = me("POST", "/me/identities/fake/start").json
    back = accounts.provider.consent(start["url"], email="else@example.com")
    linked = finish(me, start, back, "/me/identities/fake/finish")
    assert linked.json["email"] == "else@example.com"
    (identity,) = me("GET", "/me/identities").json["data"]
    assert identity == linked.json
    of = {"provider": "fake", "subject": identity["subject"]}
    assert me("POST", "/me/identities/unlink", **of).status_code == 204
    assert code_of(me("POST", "/me/identities/unlink", **of)) == (404, "not_found")


def test_a_provider_that_is_not_configured_is_not_there(call):
    assert code_of(call("POST", "/providers/other/start")) == (404, "not_found")


# Organizations


def test_an_organization_is_made_shown_changed_and_deleted(call, ada):
    me = call.signed_in(ada)
    made = me("POST", "/organizations", name="North Wind & Co.")
    assert made.status_code == 201
    assert (made.json["slug"], made.json["role"]) == ("north-wind-co", "owner")
    path = f"/organizations/{made.json['id']}"
    assert me("GET", path).json == made.json
    assert me("GET", "/organizations").json["data"] == [made.json]
    again = me("POST", "/organizations", name="Other", slug="north-wind-co")
    assert code_of(again) == (409, "org_slug_conflict")
    assert code_of(me("POST", "/organizations", name="!")) == (400, "invalid_profile")
    assert me("PATCH", path, name="South").json["name"] == "South"
    assert me("DELETE", path).status_code == 204
    assert code_of(me("GET", path)) == (404, "org_not_found")


def test_members_come_get_roles_and_go(call, ada, bob):
    me, him = call.signed_in(ada), call.signed_in(bob)
    path = f"/organizations/{me('POST', '/organizations', name='North').json['id']}"
    added = me("POST", f"{path}/members", email=BOB)
    assert (added.status_code, added.json["role"]) == (201, "member")
    again = me("POST", f"{path}/members", email=BOB)
    assert code_of(again) == (409, "member_already_exists")
    unknown = me("POST", f"{path}/members", email="nobody@example.com")
    assert code_of(unknown) == (404, "user_not_found")
    members = him("GET", f"{path}/members").json["data"]
    assert [member["email"] for member in members] == [EMAIL, BOB]
    assert me("PATCH", f"{path}/members/{bob.id}", role="admin").json["role"] == "admin"
    assert him("GET", path).json["role"] == "admin"
    assert him("DELETE", f"{path}/members/{bob.id}").status_code == 204
    gone = me("DELETE", f"{path}/members/{bob.id}")
    assert code_of(gone) == (404, "org_member_not_found")


def test_the_last_owner_stays(call, ada):
    me = call.signed_in(ada)
    path = f"/organizations/{me('POST', '/organizations', name='North').json['id']}"
    step_down = me("PATCH", f"{path}/members/{ada.id}", role="member")
    assert code_of(step_down) == (409, "last_owner")
    assert code_of(me("DELETE", f"{path}/members/{ada.id}")) == (409, "last_owner")


def test_an_organization_is_made_the_active_one(call, ada):
    tokens = call("POST", "/sign-in", email=EMAIL, password=PASSWORD).json["tokens"]
    call.headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    org = call("POST", "/organizations", name="North").json["id"]
    switched = call("PUT", "/session/organization", organization_id=org).json
    assert switched == {"organization_id": org, "organization_role": "owner", "tokens": None}
    assert call("GET", "/session").json["organization_id"] == org
    refresh_token = tokens["refresh_token"]
    switched = call(
        "PUT", "/session/organization", organization_id=None, refresh_token=refresh_token
    ).json
    assert (switched["organization_id"], switched["tokens"]["refresh_token"]) == (
        None,
        refresh_token,
    )


def test_without_organizations_there_are_none_in_the_api(accounts, ada):
    me = Program(accounts, AUTH_ORGS=False).signed_in(ada)
    assert me("GET", "/organizations").status_code == 404
