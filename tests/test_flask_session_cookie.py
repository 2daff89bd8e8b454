"""Session cookies of the native client, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from derp_auth_lite.exceptions import InvalidEmailError, InvalidTokenError
from derp_auth_lite.jwt import TokenPair

from .support import PASSWORD

EMAIL = "ada@example.com"


@pytest.fixture
def tokens(auth):
    return auth.sign_up(email=EMAIL, password=PASSWORD).tokens


def test_a_cookie_stands_for_its_session(auth, tokens, clock):
    session = auth.authenticate_cookie(auth.issue_session_cookie(tokens))
    assert session.user_id == auth.find_user(EMAIL).id
    assert session.expires_at == clock.now + timedelta(days=30)


def test_a_cookie_dies_with_its_session(auth, tokens):
    cookie = auth.issue_session_cookie(tokens)
    auth.sign_out(auth.authenticate_cookie(cookie).session_id)
    assert auth.authenticate_cookie(cookie) is None


def test_a_cookie_of_a_disabled_user_is_worth_nothing(auth, tokens):
    cookie = auth.issue_session_cookie(tokens)
    auth.update_user(user_id=auth.find_user(EMAIL).id, is_active=False)
    assert auth.authenticate_cookie(cookie) is None


@pytest.mark.parametrize("value", [None, "", "x", "é" * 82, 7, b"x", "A" * 82, "\ud800"])
def test_what_is_no_cookie_is_nobody(auth, value):
    assert auth.authenticate_cookie(value) is None


def test_no_other_token_is_a_cookie_and_a_cookie_is_no_other_token(auth, tokens):
    cookie = auth.issue_session_cookie(tokens)
    assert auth.authenticate_cookie(tokens.refresh_token) is None
    assert auth.authenticate_cookie(tokens.access_token) is None
    with pytest.raises(InvalidTokenError):
        auth.refresh_token(cookie)


def test_a_changed_cookie_is_worth_nothing(auth, tokens):
    cookie = auth.issue_session_cookie(tokens)
    for place in range(0, len(cookie), 5):
        other = "A" if cookie[place] != "A" else "B"
        assert auth.authenticate_cookie(cookie[:place] + other + cookie[place + 1 :]) is None


def test_a_cookie_needs_tokens_of_this_client(auth, clock):
    foreign = TokenPair(access_token="a", refresh_token="b", expires_in=1, expires_at=clock.now)
    with pytest.raises(InvalidTokenError):
        auth.issue_session_cookie(foreign)


def test_being_used_puts_the_idle_limit_off_but_never_the_end(auth, tokens, clock):
    cookie = auth.issue_session_cookie(tokens)
    for _ in range(9):
        clock.advance(days=3)
        assert auth.authenticate_cookie(cookie) is not None
    clock.advance(days=4)
    assert auth.authenticate_cookie(cookie) is None


def test_a_session_that_is_not_used_ends(auth, tokens, clock):
    cookie = auth.issue_session_cookie(tokens)
    clock.advance(days=7)
    assert auth.authenticate_cookie(cookie) is None


def test_the_idle_limit_is_written_once_a_minute_at_the_most(auth, tokens, clock):
    cookie = auth.issue_session_cookie(tokens)
    session = auth.authenticate_cookie(cookie)

    def active_until():
        return auth._sessions.by_id(session.session_id).active_until

    first = active_until()
    clock.advance(seconds=59)
    auth.authenticate_cookie(cookie)
    assert active_until() == first
    clock.advance(seconds=1)
    auth.authenticate_cookie(cookie)
    assert active_until() != first


def test_a_session_that_ends_soon_anyway_is_read_and_not_written(auth, tokens, clock, monkeypatch):
    cookie = auth.issue_session_cookie(tokens)
    for _ in range(5):
        clock.advance(days=5)
        assert auth.authenticate_cookie(cookie) is not None
    written = []
    fetch = auth._db.fetch
    monkeypatch.setattr(auth._db, "fetch", lambda *a, **k: written.append(a) or fetch(*a, **k))
    clock.advance(days=4)
    assert auth.authenticate_cookie(cookie) is not None
    assert written == []


def test_a_session_is_fresh_for_as_long_as_is_asked(auth, tokens, clock):
    cookie = auth.issue_session_cookie(tokens)
    clock.advance(minutes=10)
    session = auth.authenticate_cookie(cookie)
    assert auth.is_fresh(session, timedelta(minutes=10))
    clock.advance(seconds=1)
    assert not auth.is_fresh(session, timedelta(minutes=10))
    clock.advance(hours=-1)
    assert not auth.is_fresh(session, timedelta(minutes=10)), "it began in the future"


def test_the_owner_of_a_taken_address_is_told_and_can_set_a_new_password(auth):
    auth.sign_up(email=EMAIL, password=PASSWORD)
    auth.notify_account_exists(email=EMAIL, recovery_url="https://app.test/reset")
    auth.deliver_mail()
    (mail,) = auth.email_client.sent
    assert (mail.to, mail.kind) == (EMAIL, "account_exists")
    assert auth.reset_password(mail.token, "another good password").email == EMAIL


def test_nobody_is_told_of_an_address_without_an_account(auth):
    auth.notify_account_exists(email=EMAIL, recovery_url="https://app.test/reset")
    auth.deliver_mail()
    assert auth.email_client.sent == []
    with pytest.raises(InvalidEmailError):
        auth.notify_account_exists(email="x", recovery_url="https://app.test/reset")


def test_a_user_is_found_by_address_in_any_case(auth, tokens):
    assert auth.find_user("ADA@Example.com").email == EMAIL
    assert auth.find_user("bob@example.com") is None
    assert auth.find_user("no address") is None


def test_a_client_tells_its_settings_and_what_it_can_do(auth):
    assert auth.config.enable_confirmation is False
    assert auth.providers == []
    assert auth.sends_mail is True
    auth.set_email(None)
    assert auth.sends_mail is False
