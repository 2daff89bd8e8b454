"""An administrator sets a password: what that ends, what it leaves, and what it is refused for."""

from __future__ import annotations

import uuid

import pytest

from derp_auth_lite._native.new_passwords import NewPasswords
from derp_auth_lite.config import PasswordConfig, ThrottleConfig
from derp_auth_lite.exceptions import (
    InvalidCredentialsError,
    InvalidTokenError,
    PasswordValidationError,
    UserNotFoundError,
)
from derp_auth_lite.orm import DatabaseEngine

from .support import PASSWORD, Request

EMAIL = "ada@example.com"
NEW = "a wholly other set of words"
PAGE = "https://notes.example.com/reset"


@pytest.fixture
def ada(auth):
    """A user with a session."""
    return auth.sign_up(email=EMAIL, password=PASSWORD, first_name="Ada")


def actions(auth):
    return [event.action for event in auth.list_events_by_cursor(limit=100).data]


def test_the_new_password_signs_in_and_the_old_one_does_not(auth, ada):
    assert auth.set_password(user_id=ada.user.id, password=NEW).email == EMAIL
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_password(EMAIL, PASSWORD)
    assert auth.sign_in_with_password(EMAIL, NEW).tokens is not None


def test_an_account_without_a_password_gets_one(auth):
    user = auth.create_user(email=EMAIL)
    auth.set_password(user_id=uuid.UUID(user.id), password=NEW)
    assert auth.sign_in_with_password(EMAIL, NEW)


def test_every_session_of_the_user_ends_and_nobody_elses(auth, ada):
    other = auth.sign_up(email="eve@example.com", password=PASSWORD)
    auth.set_password(user_id=ada.user.id, password=NEW)
    assert auth.authenticate(Request(ada.tokens.access_token)) is None
    assert auth.authenticate(Request(other.tokens.access_token)) is not None
    with pytest.raises(InvalidTokenError):
        auth.refresh_token(ada.tokens.refresh_token)


def test_a_link_that_was_mailed_before_dies(auth, ada):
    auth.request_password_recovery(email=EMAIL, recovery_url=PAGE)
    auth.deliver_mail()
    token = auth.email_client.sent[-1].token
    auth.set_password(user_id=ada.user.id, password=NEW)
    with pytest.raises(InvalidTokenError):
        auth.reset_password(token, PASSWORD)


def test_a_notice_is_mailed_and_the_act_is_on_record(auth, ada, clock):
    clock.advance(seconds=1)
    auth.set_password(user_id=ada.user.id, password=NEW)
    auth.deliver_mail()
    (notice,) = auth.email_client.sent
    assert (notice.to, notice.kind) == (EMAIL, "password_changed")
    (event, *_) = auth.list_events_by_cursor(limit=1).data
    assert (event.action, event.outcome, event.user_id) == ("password_set", "success", ada.user.id)


def test_wrong_passwords_are_counted_anew(make_auth):
    auth = make_auth(throttle=ThrottleConfig(failures_in_a_row=2))
    user = auth.sign_up(email=EMAIL, password=PASSWORD).user
    for _ in range(2):
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(EMAIL, "wrong")
    auth.set_password(user_id=user.id, password=NEW)
    assert auth.sign_in_with_password(EMAIL, NEW)


@pytest.mark.parametrize("weak", ["short", "password1", EMAIL, "ada"])
def test_a_password_against_the_policy_leaves_everything_as_it_was(make_auth, weak):
    auth = make_auth(password=PasswordConfig(min_length=8, hash_profile="cheapest"))
    ada = auth.sign_up(email=EMAIL, password=PASSWORD)
    before = auth.get_user(ada.user.id)
    with pytest.raises(PasswordValidationError):
        auth.set_password(user_id=ada.user.id, password=weak)
    assert auth.get_user(ada.user.id) == before
    assert auth.authenticate(Request(ada.tokens.access_token)) is not None
    assert "password_set" not in actions(auth)
    assert auth.deliver_mail() == 0
    assert auth.sign_in_with_password(EMAIL, PASSWORD)


@pytest.mark.parametrize("user_id", [str(uuid.UUID(int=7)), "nobody", ""])
def test_an_unknown_user_is_not_found(auth, user_id):
    with pytest.raises(UserNotFoundError):
        auth.set_password(user_id=user_id, password=NEW)


def test_an_account_that_changes_meanwhile_keeps_the_change(auth, ada, monkeypatch):
    """A reset that lands between the reading of the account and the writing wins."""
    new_hash = NewPasswords.hash

    def slowly(self, *arguments):
        monkeypatch.setattr(NewPasswords, "hash", new_hash)
        auth.set_password(user_id=ada.user.id, password=NEW)
        return new_hash(self, *arguments)

    monkeypatch.setattr(NewPasswords, "hash", slowly)
    with pytest.raises(InvalidCredentialsError, match="changed meanwhile"):
        auth.set_password(user_id=ada.user.id, password="what came too late")
    assert auth.sign_in_with_password(EMAIL, NEW)


def test_it_refuses_to_run_inside_the_applications_transaction(auth, ada):
    engine: DatabaseEngine = auth._db
    with engine.connection(), engine.database.atomic(), pytest.raises(RuntimeError):
        auth.set_password(user_id=ada.user.id, password=NEW)
    assert auth.sign_in_with_password(EMAIL, PASSWORD)
