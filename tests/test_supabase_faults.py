"""Supabase slow, broken, rotating its keys, or asked for what nobody may ask it."""

from __future__ import annotations

import logging
import uuid

import pytest

from derp_auth_lite.exceptions import (
    AuthBackendError,
    InvalidTokenError,
    OrgNotFoundError,
    RateLimitedError,
    UserNotFoundError,
)
from derp_auth_lite.testing import FakeSupabase, Request
from derp_auth_lite.testing.contract import BackendContract

from .supabase_support import ADA, PAGE, bearer, connected, join
from .support import PASSWORD, MovableClock


@pytest.fixture
def project():
    with FakeSupabase(clock=MovableClock()) as project:
        yield project


@pytest.fixture
def auth(project):
    with connected(project.config, project.clock, timeout=1.0) as client:
        yield client


def paths(project, end=""):
    return [call.path for call in project.calls if call.path.endswith(end)]


# Ids of strangers (row 34 of the bar)

BAD_IDS = [
    *BackendContract.BAD_IDS,
    "00000000-0000-0000-0000-00000000000/",
    None,
    7,
    b"x",
    "é" * 36,
]


@pytest.mark.parametrize("user_id", BAD_IDS, ids=repr)
def test_an_id_that_is_none_reaches_no_service(auth, project, user_id):
    project.calls.clear()
    with pytest.raises(UserNotFoundError):
        auth.get_user(user_id)
    with pytest.raises(UserNotFoundError):
        auth.update_user(user_id=user_id, first_name="Eve")
    with pytest.raises(UserNotFoundError):
        auth.create_org(name="Eve", slug="eve", creator_id=user_id)
    with pytest.raises(UserNotFoundError):
        auth.add_org_member(slug="eve", user_id=user_id)
    with pytest.raises(OrgNotFoundError):
        auth.get_org(org_id=user_id or "")
    with pytest.raises(InvalidTokenError):
        auth.set_active_org(session_id=user_id, org_id=None, refresh_token="refresh")
    assert auth.delete_user(user_id) is False
    assert auth.sign_out_all(user_id) is None
    assert auth.sign_out(user_id) is None
    assert project.calls == []


@pytest.mark.parametrize("token", ["", "\x00", "a\nb", "\ud800", "x" * 2000, None, 7], ids=repr)
def test_what_cannot_be_a_token_reaches_no_service(auth, project, token):
    project.calls.clear()
    for redeem in (auth.verify_magic_link, auth.confirm_email, auth.refresh_token):
        with pytest.raises(InvalidTokenError):
            redeem(token)
    with pytest.raises(InvalidTokenError):
        auth.reset_password(token, PASSWORD)
    assert project.calls == []


def test_an_id_may_be_written_in_any_way_that_a_uuid_may(auth, project):
    user = join(auth).user
    for written in (uuid.UUID(user.id), user.id.upper(), "{" + user.id + "}"):
        assert auth.get_user(written).id == user.id
        assert project.last_call().path.endswith(f"/admin/users/{user.id}")


# A service that fails

DEEDS = {
    "sign_up": lambda auth: auth.sign_up(email="new@example.com", password=PASSWORD),
    "sign_in_with_password": lambda auth: auth.sign_in_with_password(ADA, PASSWORD),
    "sign_in_with_magic_link": lambda auth: auth.sign_in_with_magic_link(
        email=ADA, magic_link_url=PAGE
    ),
    "verify_magic_link": lambda auth: auth.verify_magic_link("a token"),
    "confirm_email": lambda auth: auth.confirm_email("a token"),
    "reset_password": lambda auth: auth.reset_password("a token", PASSWORD),
    "request_password_recovery": lambda auth: auth.request_password_recovery(
        email=ADA, recovery_url=PAGE
    ),
    "resend_confirmation_email": lambda auth: auth.resend_confirmation_email(
        email=ADA, confirmation_url=PAGE
    ),
    "refresh_token": lambda auth: auth.refresh_token("refresh"),
    "get_user": lambda auth: auth.get_user(auth.somebody),
    "update_user": lambda auth: auth.update_user(user_id=auth.somebody, first_name="A"),
    "delete_user": lambda auth: auth.delete_user(auth.somebody),
    "list_users": lambda auth: auth.list_users(),
    "count_users": lambda auth: auth.count_users(),
    "sign_out_all": lambda auth: auth.sign_out_all(auth.somebody),
    "create_org": lambda auth: auth.create_org(name="E", slug="e", creator_id=auth.somebody),
}
FAULTS = {
    "500": {"status": 500, "body": {"code": "unexpected_failure"}},
    "502 in HTML": {"status": 502, "body": "<html><h1>Bad Gateway</h1></html>"},
    "503": {"status": 503},
    "521": {"status": 521, "body": "Web server is down"},
    "302": {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
    "HTML for 200": {"status": 200, "body": "<html>hello</html>"},
    "a list for 200": {"status": 200, "body": []},
    "an empty object for 200": {"status": 200, "body": {}},
    "truncated": {"truncated": True},
    "lost": {"lost": True},
    "huge": {"status": 200, "body": b"[" + b"1," * (5 * 1024 * 1024)},
    "deep": {"status": 200, "body": b"[" * 200_000},
}
MAILS = {"request_password_recovery", "resend_confirmation_email", "sign_in_with_magic_link"}
TELLS_NOTHING = {
    "500": MAILS,
    "an empty object for 200": {*MAILS, "delete_user", "sign_out_all"},
    "a list for 200": {"delete_user", "sign_out_all"},
    "truncated": {"sign_out_all"},
}
"""Where an answer is empty, just its status tells; and mails fail for known addresses alone."""


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_is_a_failure_of_the_backend(auth, project, deed, fault):
    auth.somebody = join(auth).user.id
    auth._api.http._retries = 0  # they take time, and are another test's
    if deed == "delete_user":
        project.disturb(path=auth.somebody)  # whether there is one, is answered
    project.disturb(**FAULTS[fault], times=5)
    if deed in TELLS_NOTHING.get(fault, ()):
        DEEDS[deed](auth)
        return
    with pytest.raises(AuthBackendError):
        DEEDS[deed](auth)


@pytest.mark.parametrize("deed", ["sign_in_with_password", "get_user", "refresh_token"])
def test_a_service_that_does_not_answer_ends_the_call_in_time(auth, project, deed):
    auth.somebody = join(auth).user.id
    project.disturb(delay=3.0, times=3)
    with pytest.raises(AuthBackendError, match="in time"):
        DEEDS[deed](auth)


def test_reading_is_tried_again(auth, project):
    user = join(auth).user
    for status in (502, 503, 504, 520, 530):
        project.disturb(status)
        assert auth.get_user(user.id) == user
    project.disturb(429, headers={"Retry-After": "0"})
    assert auth.get_user(user.id) == user
    project.disturb(429, headers={"Retry-After": "3600"})
    with pytest.raises(RateLimitedError) as caught:
        auth.get_user(user.id)
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize(
    "deed",
    [name for name in DEEDS if name not in {"get_user", "list_users", "count_users", "create_org"}],
)
def test_doing_is_never_tried_again(auth, project, deed):
    auth.somebody = join(auth).user.id
    project.calls.clear()
    project.disturb(503, times=5)
    with pytest.raises(AuthBackendError):
        DEEDS[deed](auth)
    assert len([call for call in project.calls if call.method != "GET"]) <= 1


def test_a_lost_answer_to_a_refresh_is_had_by_asking_again(auth, project):
    tokens = join(auth).tokens
    project.disturb(lost=True, path="/token")
    with pytest.raises(AuthBackendError):
        auth.refresh_token(tokens.refresh_token)
    again = auth.refresh_token(tokens.refresh_token)
    assert (
        auth.authenticate(bearer(again)).session_id == auth.authenticate(bearer(tokens)).session_id
    )


def test_a_page_of_users_may_be_long_but_not_endless(auth, project):
    for number in range(20):
        auth.create_user(email=f"user{number}@example.com", metadata={"text": "x" * 60_000})
    assert len(auth.list_users()) == 20
    project.disturb(200, {"users": [], "more": "x" * 9_000_000})
    with pytest.raises(AuthBackendError, match="more than"):
        auth.list_users()


def test_two_refreshes_that_meet_are_one_call_more(auth, project):
    tokens = join(auth).tokens
    project.refuse(409, "conflict")
    project.calls.clear()
    assert auth.refresh_token(tokens.refresh_token)
    assert len(paths(project, "/token")) == 2
    project.refuse(409, "conflict")
    project.refuse(409, "conflict")
    with pytest.raises(AuthBackendError):
        auth.refresh_token(tokens.refresh_token)


def test_signing_out_holds_here_although_the_service_fails(auth, project):
    tokens = join(auth).tokens
    session = auth.authenticate(bearer(tokens))
    project.disturb(503)
    with pytest.raises(AuthBackendError):
        auth.sign_out(session.session_id)
    assert auth.authenticate(bearer(tokens)) is None
    assert project.sessions
    with pytest.raises(InvalidTokenError):
        auth.refresh_token(tokens.refresh_token)
    assert not project.sessions, "the refresh ended what the sign-out could not"


def test_a_reset_whose_answer_is_lost_has_ended_the_sessions_too(auth, project):
    tokens = join(auth).tokens
    auth.request_password_recovery(email=ADA, recovery_url=PAGE)
    token = project.last_mail().token
    project.disturb(lost=True, path="/user")
    with pytest.raises(AuthBackendError):
        auth.reset_password(token, "another good password")
    assert auth.sign_in_with_password(ADA, "another good password")
    assert auth.authenticate(bearer(tokens)) is None


def test_a_user_whom_the_service_cannot_delete_stays_and_can_be_deleted_again(auth, project):
    user = join(auth).user
    project.disturb(path=user.id)  # whether there is one, is answered
    project.disturb(500, path=user.id)
    with pytest.raises(AuthBackendError):
        auth.delete_user(user.id)
    assert auth.get_user(user.id)
    assert auth.delete_user(user.id) is True


# Keys of tokens


def test_tokens_are_verified_without_a_call_for_each(auth, project):
    tokens = join(auth).tokens
    for _ in range(20):
        assert auth.authenticate(bearer(tokens))
    assert len(paths(project, "jwks.json")) == 1


def test_a_rotated_key_is_fetched_when_it_is_met(auth, project):
    old = join(auth).tokens
    assert auth.authenticate(bearer(old))
    project.rotate_keys()
    project.clock.advance(minutes=2)
    new = auth.sign_in_with_password(ADA, PASSWORD).tokens
    assert auth.authenticate(bearer(new))
    assert auth.authenticate(bearer(old)) is None
    assert len(paths(project, "jwks.json")) == 2


def test_a_thousand_unknown_keys_cause_one_fetch(auth, project):
    tokens = join(auth).tokens
    assert auth.authenticate(bearer(tokens))
    project.clock.advance(minutes=2)
    with (
        FakeSupabase(clock=project.clock) as other,
        connected(other.config, project.clock) as there,
    ):
        strange = join(there).tokens.access_token
        for number in range(1000):
            other._signer.kid = f"strange-{number}"
            user_id, session_id = next(iter(other.users)), next(iter(other.sessions))
            assert (
                auth.authenticate(
                    Request({"Authorization": "Bearer " + other.sign(user_id, session_id)})
                )
                is None
            )
        assert strange
    assert len(paths(project, "jwks.json")) == 2
    assert auth.authenticate(bearer(tokens))


def test_keys_that_cannot_be_had_are_not_nobody(auth, project):
    """An application would sign everybody out."""
    tokens = join(auth).tokens
    for fault in ({"status": 404}, {"status": 200, "body": "<html>"}, {"truncated": True}):
        project.disturb(**fault, path="jwks.json", times=3)
        with pytest.raises(AuthBackendError):
            auth.authenticate(bearer(tokens))
        project._disturbances.clear()
        project.clock.advance(seconds=10)
    assert auth.authenticate(bearer(tokens))


def test_known_keys_go_on_while_new_ones_cannot_be_had(auth, project):
    tokens = join(auth).tokens
    assert auth.authenticate(bearer(tokens))
    project.clock.advance(minutes=20)
    project.disturb(503, path="jwks.json", times=99)
    assert auth.authenticate(bearer(tokens))


@pytest.mark.parametrize(("seconds", "good"), [(-59, True), (59, True), (-61, False)])
def test_clocks_may_differ_by_a_minute(project, seconds, good):
    """The service issues tokens by its clock; this side is behind (-) or before it."""
    ours = MovableClock()
    with connected(project.config, ours) as auth:
        tokens = join(auth).tokens
        ours.advance(seconds=seconds)
        assert (auth.authenticate(bearer(tokens)) is not None) is good
        ours.advance(seconds=-seconds + 3600 + 59)
        assert auth.authenticate(bearer(tokens))
        ours.advance(seconds=2)
        assert auth.authenticate(bearer(tokens)) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.test/auth/v1"},
        {"iss": None},
        {"aud": "anon"},
        {"aud": None},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": 1},
        {"sub": None},
        {"sub": "no uuid"},
        {"sub": 7},
        {"session_id": None},
        {"session_id": "no uuid"},
        {"session_id": ["x"]},
        {"nbf": 9_999_999_999},
        {"iat": 9_999_999_999},
    ],
    ids=repr,
)
@pytest.mark.parametrize("alg", ["ES256", "HS256"])
def test_a_token_that_says_something_else_is_nobody(claims, alg):
    with (
        FakeSupabase(clock=MovableClock(), alg=alg) as project,
        connected(project.config, project.clock) as auth,
    ):
        user = join(auth).user
        session_id = next(iter(project.sessions))
        good = project.sign(user.id, session_id)
        assert auth.authenticate(Request({"Authorization": f"Bearer {good}"}))
        bad = project.sign(user.id, session_id, **claims)
        assert auth.authenticate(Request({"Authorization": f"Bearer {bad}"})) is None


def test_a_session_belongs_to_its_user_alone(auth, project):
    """A token of a second user for the first one's session is nobody's."""
    ada, bob = join(auth), join(auth, "bob@example.com")
    session_id = auth.authenticate(bearer(ada.tokens)).session_id
    forged = project.sign(bob.user.id, session_id)
    assert auth.authenticate(Request({"Authorization": f"Bearer {forged}"})) is None


# What is written down


@pytest.mark.parametrize("keys", ["new", "legacy"])
def test_no_secret_is_logged_or_shown(keys, caplog):
    with (
        FakeSupabase(clock=MovableClock(), keys=keys) as project,
        connected(project.config, project.clock) as auth,
        caplog.at_level(logging.DEBUG, logger="derp_auth_lite"),
    ):
        result = join(auth)
        tokens = auth.refresh_token(result.tokens.refresh_token)
        auth.request_password_recovery(email=ADA, recovery_url=PAGE)
        mail = project.last_mail()
        project.disturb(500, {"code": "x", "message": tokens.access_token})
        with pytest.raises(AuthBackendError) as caught:
            auth.reset_password(mail.token, "another good password")
        auth.reset_password(mail.token, "another good password")
        auth.sign_out_all(result.user.id)
        shown = "".join(
            map(repr, (auth, auth._api, auth._tokens, project.config, result, tokens, mail, caught))
        )
    secret = {
        project.service_role_key,
        project.config.jwt_secret,
        tokens.access_token,
        tokens.refresh_token,
        result.tokens.access_token,
        mail.token,
        PASSWORD,
        "another good password",
    }
    assert "Supabase: POST 127.0.0.1/auth/v1/verify -> 200" in caplog.text
    for text in secret:
        assert text not in caplog.text
        assert text not in shown
        assert text not in str(caught.value)
