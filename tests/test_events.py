"""The record of what happened: complete, append-only, readable, and told to subscribers."""

from __future__ import annotations

import logging

import peewee
import pytest

from derp_auth_lite.exceptions import (
    AuthBackendError,
    InvalidCredentialsError,
    InvalidCursorError,
    InvalidTokenError,
)
from derp_auth_lite.models import EventInfo

from .support import PASSWORD, Request, native_client

EMAIL, NEW_EMAIL = "ada@example.com", "countess@example.com"
NEW_PASSWORD = "another long password"
URL = "https://app.example/page"


def actions(auth, user_id=None):
    page = auth.list_events_by_cursor(user_id=user_id, limit=1000).data
    return [(event.action, event.outcome, event.reason) for event in reversed(page)]


def token(auth):
    auth.deliver_mail()
    return auth._email_client.sent[-1].token


def a_life(auth):
    """Do what an account can live through; each act one event."""
    user = auth.sign_up(email=EMAIL, password=PASSWORD, confirmation_url=URL).user
    auth.confirm_email(token(auth))
    tokens = auth.sign_in_with_password(EMAIL, PASSWORD).tokens
    session = auth.authenticate(Request(tokens.access_token))
    auth.change_password(
        user_id=user.id, current_password=PASSWORD, new_password=NEW_PASSWORD,
        session_id=session.session_id,
    )  # fmt: skip
    org = auth.create_org(name="Acme", slug="acme", creator_id=user.id)
    bob = auth.create_user(email="bob@example.com")
    auth.add_org_member(org_id=org.id, user_id=bob.id, role="member")
    auth.update_org_member(org_id=org.id, user_id=bob.id, role="admin")
    auth.set_active_org(session_id=session.session_id, org_id=org.id)
    auth.remove_org_member(org_id=org.id, user_id=bob.id)
    auth.request_email_change(user_id=user.id, new_email=NEW_EMAIL, confirm_url=URL)
    auth.confirm_email_change(token(auth))
    auth.sign_out(session.session_id)
    auth.request_password_recovery(email=NEW_EMAIL, recovery_url=URL)
    auth.reset_password(token(auth), PASSWORD)
    auth.sign_in_with_magic_link(email=NEW_EMAIL, magic_link_url=URL)
    auth.verify_magic_link(token(auth))
    auth.sign_out_all(user.id)
    auth.update_user(user_id=user.id, role="admin")
    auth.delete_org(org_id=org.id)
    auth.delete_user(user.id)
    return user


LIFE = [
    "sign_up", "confirm_email", "sign_in", "password_change", "org_created", "user_created",
    "member_added", "member_role_changed", "active_org_changed", "member_removed",
    "email_change_requested", "email_change", "sign_out", "recovery_requested", "password_reset",
    "magic_link_requested", "sign_in", "sign_out_all", "user_updated", "org_deleted",
    "user_deleted",
]  # fmt: skip


@pytest.fixture
def full(make_auth):
    """A client on which everything is on."""
    return make_auth(enable_confirmation=True, enable_magic_link=True)


class Ticking:
    """A clock that moves on with every look, so that events have an order."""

    def __init__(self, clock):
        self._clock = clock

    def __call__(self):
        self._clock.advance(microseconds=1)
        return self._clock()


@pytest.fixture
def ticking(database, clock):
    """Like `full`, with a clock that never stands."""
    settings = {"enable_confirmation": True, "enable_magic_link": True}
    with native_client(database, Ticking(clock), **settings) as auth:
        yield auth


class TestWhatIsRecorded:
    def test_every_act_of_an_accounts_life_is_one_event(self, ticking):
        user = a_life(ticking)
        assert [action for action, _, _ in actions(ticking)] == LIFE
        assert {outcome for _, outcome, _ in actions(ticking)} == {"success"}
        assert ("user_deleted", "success", None) in actions(ticking, user.id)

    def test_an_unknown_address_is_a_keyed_hash_since_people_type_passwords_there(self, auth):
        for typed in ("nobody@example.com", PASSWORD):
            with pytest.raises(InvalidCredentialsError):
                auth.sign_in_with_password(typed, "x")
        first, second = auth.list_events_by_cursor().data
        assert len(first.address_key) == len(second.address_key) == 64
        assert first.address_key != second.address_key
        assert PASSWORD not in repr((first, second))

    def test_a_known_one_is_the_user(self, auth, clock):
        user = auth.create_user(email=EMAIL, password=PASSWORD)
        clock.advance(seconds=1)
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(EMAIL, "x", ip_address="192.0.2.1", user_agent="Mosaic")
        event = auth.list_events_by_cursor(user_id=user.id).data[0]
        assert (event.action, event.outcome, event.reason) == (
            "sign_in", "failure", "wrong_password",
        )  # fmt: skip
        assert (event.ip_address, event.user_agent) == ("192.0.2.1", "Mosaic")
        assert event.address_key is None

    def test_a_refresh_token_that_comes_back_is_on_record(self, auth, clock):
        first = auth.sign_up(email=EMAIL, password=PASSWORD).tokens
        auth.refresh_token(first.refresh_token)
        clock.advance(minutes=1)
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(first.refresh_token)
        assert ("refresh", "failure", "token_reused") in actions(auth)


class TestList:
    def test_pages_are_newest_first_and_leave_nothing_out(self, auth, clock):
        for number in range(25):
            auth.create_user(email=f"user{number}@example.com")
            clock.advance(seconds=number % 2)
        seen, after = [], None
        while True:
            page = auth.list_events_by_cursor(limit=10, after=after)
            seen += page.data
            if not page.has_more:
                break
            after = page.next_cursor
        assert len({event.id for event in seen}) == 25
        times = [event.created_at for event in seen]
        assert times == sorted(times, reverse=True)

    def test_one_users_events_are_theirs_alone(self, auth):
        ada = auth.sign_up(email=EMAIL, password=PASSWORD).user
        auth.sign_up(email="bob@example.com", password=PASSWORD)
        (event,) = auth.list_events_by_cursor(user_id=ada.id).data
        assert event.user_id == ada.id
        assert auth.list_events_by_cursor(user_id="no id").data == []

    def test_a_cursor_of_another_list_is_refused(self, auth):
        ada = auth.create_user(email=EMAIL)
        auth.create_user(email="bob@example.com")
        after = auth.list_events_by_cursor(limit=1).next_cursor
        with pytest.raises(InvalidCursorError):
            auth.list_events_by_cursor(user_id=ada.id, after=after)


class TestRetention:
    def test_events_are_purged_when_they_are_too_old(self, make_auth, clock):
        auth = make_auth(event_retention_days=10)
        auth.create_user(email=EMAIL, password=PASSWORD)
        clock.advance(days=10)
        assert auth.purge() == 0
        clock.advance(microseconds=1)
        assert auth.purge() == 1
        assert actions(auth) == []

    def test_the_first_sign_in_of_sixteen_removes_some(self, auth, clock):
        for number in range(15):
            auth.create_user(email=f"user{number}@example.com", password=PASSWORD)
        for days in (91, 1):
            clock.advance(days=days)
            auth.sign_in_with_password("user0@example.com", PASSWORD)
            assert len(actions(auth)) == 1 + (days == 1)


class TestSubscribe:
    def test_a_subscriber_is_told_what_is_on_record(self, ticking):
        told = []
        ticking.subscribe(told.append)
        a_life(ticking)
        assert told == list(reversed(ticking.list_events_by_cursor(limit=100).data))
        assert all(isinstance(event, EventInfo) for event in told)

    def test_until_it_has_enough(self, auth):
        told = []
        unsubscribe = auth.subscribe(told.append)
        auth.create_user(email=EMAIL)
        unsubscribe()
        unsubscribe()
        auth.create_user(email="bob@example.com")
        assert len(told) == 1

    def test_it_sees_what_was_committed_and_may_call_the_client(self, auth):
        seen = []

        def look(event):
            if event.action == "sign_up":
                seen.append(auth.get_user(event.user_id).email)
                auth.update_user(user_id=event.user_id, metadata={"greeted": True})

        auth.subscribe(look)
        user = auth.sign_up(email=EMAIL, password=PASSWORD).user
        assert seen == [EMAIL]
        assert auth.get_user(user.id).metadata == {"greeted": True}

    def test_one_that_raises_changes_nothing_and_keeps_no_other_from_hearing(self, auth, caplog):
        told = []

        def fail(event):
            raise RuntimeError(f"secret of {event.user_id}")

        auth.subscribe(fail)
        auth.subscribe(told.append)
        user = auth.sign_up(email=EMAIL, password=PASSWORD).user
        assert auth.get_user(user.id)
        assert [event.action for event in told] == ["sign_up"]
        assert "a subscriber raised RuntimeError at the event sign_up" in caplog.text
        assert "secret of" not in caplog.text

    def test_what_is_rolled_back_is_told_to_nobody(self, auth, monkeypatch):
        told = []
        auth.subscribe(told.append)
        monkeypatch.setattr(auth._sessions, "open", _fail)
        with pytest.raises(AuthBackendError):
            auth.sign_up(email=EMAIL, password=PASSWORD)
        assert told == []
        auth.create_user(email=EMAIL)
        assert [event.action for event in told] == ["user_created"]

    def test_in_the_applications_own_transaction_it_is_told_after_the_commit(self, tmp_path, clock):
        database = peewee.SqliteDatabase(tmp_path / "app.db", pragmas={"foreign_keys": 1})
        told = []
        with native_client(database, clock) as auth:
            auth.subscribe(told.append)
            with database.atomic("IMMEDIATE"):
                auth.create_user(email=EMAIL)
                assert told == []
            assert len(told) == 1
            with pytest.raises(ZeroDivisionError), database.atomic("IMMEDIATE"):
                auth.create_user(email="bob@example.com")
                _ = 1 / 0
            assert len(told) == 1
        database.close()


def _fail(*arguments, **keywords):
    raise AuthBackendError


def test_a_whole_life_with_debug_logging_shows_no_secret_and_no_address(full, caplog, clock):
    """OWASP ASVS 5.0, 16.2.5."""
    secrets = [PASSWORD, NEW_PASSWORD, EMAIL, NEW_EMAIL, "bob@example.com"]
    full.subscribe(lambda event: None)
    with caplog.at_level(logging.DEBUG):
        a_life(full)
        full.sign_in_with_magic_link(email="eve@example.com", magic_link_url=URL)
        tokens = full.verify_magic_link(token(full)).tokens
        renewed = full.refresh_token(tokens.refresh_token)
        clock.advance(minutes=1)
        with pytest.raises(InvalidTokenError):
            full.refresh_token(tokens.refresh_token)
        for typed in ("eve@example.com", PASSWORD, "x\r\nevil: 1\x1b[31m"):
            with pytest.raises(InvalidCredentialsError):
                full.sign_in_with_password(typed, "a wrong password")
        full.explain_sign_in("eve@example.com")
        full.doctor()
    row = full._accounts.by_email("eve@example.com")
    secrets += ["eve@example.com", "a wrong password", row.token_stamp, full._config.jwt.secret]
    secrets += [mail.token for mail in full._email_client.sent if mail.token]
    for pair in (tokens, renewed):
        secrets += [pair.access_token, pair.refresh_token, pair.refresh_token[-20:]]
    assert len(caplog.records) > 100
    for secret in secrets:
        assert secret not in caplog.text, secret
    assert "$argon2" not in caplog.text
    assert "\x1b" not in caplog.text
    assert "evil: 1" not in caplog.text


def test_every_module_that_logs_has_a_logger_of_its_own_name():
    import importlib
    import pkgutil

    import derp_auth_lite

    for module in pkgutil.walk_packages(derp_auth_lite.__path__, "derp_auth_lite."):
        if any(part in module.name for part in (".flask", ".cli", ".desktop", "__main__", "0001")):
            continue
        log = getattr(importlib.import_module(module.name), "_log", None)
        assert log is None or log.name == module.name
