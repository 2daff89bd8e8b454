"""How many sessions a user may have, ending the others, and what needs a recent sign-in."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from derp_auth_lite.exceptions import ConfigError, InvalidTokenError, SessionLimitError

from .processes import EIGHT, together
from .support import PASSWORD, MovableClock, Request, native_client

EMAIL = "ada@example.com"
URL = "https://app.example/enter"


def sign_in(auth):
    tokens = auth.sign_in_with_password(EMAIL, PASSWORD).tokens
    return auth.authenticate(Request(tokens.access_token))


def events(auth, action):
    page = auth.list_events_by_cursor(limit=1000).data
    return [event for event in page if event.action == action]


def ids(auth):
    return {session.session_id for session in auth.list_sessions()}


class TestLimit:
    def test_by_default_there_is_none(self, auth):
        auth.create_user(email=EMAIL, password=PASSWORD)
        assert len({sign_in(auth).session_id for _ in range(20)} & ids(auth)) == 20

    def test_the_oldest_session_ends_and_that_is_an_event(self, make_auth, clock):
        auth = make_auth(max_sessions_per_user=2)
        auth.create_user(email=EMAIL, password=PASSWORD)
        sessions = []
        for _ in range(3):
            sessions.append(sign_in(auth))
            clock.advance(seconds=1)
        assert ids(auth) == {sessions[1].session_id, sessions[2].session_id}
        (event,) = events(auth, "session_ended")
        assert (event.reason, event.session_id) == ("session_limit", sessions[0].session_id)

    def test_or_the_new_one_is_refused_and_nothing_of_it_is_left_but_an_event(self, make_auth):
        auth = make_auth(max_sessions_per_user=2, session_limit_policy="refuse")
        user = auth.create_user(email=EMAIL, password=PASSWORD)
        before = {sign_in(auth).session_id for _ in range(2)}
        with pytest.raises(SessionLimitError) as refused:
            auth.sign_in_with_password(EMAIL, PASSWORD, first_name="Ada")
        assert refused.value.user_id == user.id
        assert ids(auth) == before
        assert auth.get_user(user.id).first_name is None
        (event,) = [it for it in events(auth, "sign_in") if it.outcome == "failure"]
        assert (event.reason, event.user_id) == ("session_limit", user.id)

    def test_a_magic_link_that_is_refused_is_not_spent(self, make_auth):
        auth = make_auth(
            max_sessions_per_user=1, session_limit_policy="refuse", enable_magic_link=True
        )
        auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
        session = sign_in(auth)
        auth.sign_in_with_magic_link(email=EMAIL, magic_link_url=URL)
        auth.deliver_mail()
        token = auth._email_client.sent[-1].token
        with pytest.raises(SessionLimitError):
            auth.verify_magic_link(token)
        auth.sign_out(session.session_id)
        assert auth.verify_magic_link(token).tokens

    def test_sessions_that_are_over_do_not_count(self, make_auth, clock):
        auth = make_auth(max_sessions_per_user=1, session_limit_policy="refuse")
        auth.create_user(email=EMAIL, password=PASSWORD)
        sign_in(auth)
        clock.advance(days=8)
        assert sign_in(auth)

    def test_another_users_sessions_do_not_count(self, make_auth):
        auth = make_auth(max_sessions_per_user=1, session_limit_policy="refuse")
        auth.create_user(email=EMAIL, password=PASSWORD)
        auth.sign_up(email="bob@example.com", password=PASSWORD)
        assert sign_in(auth)

    def test_it_must_leave_room_for_one(self, make_auth):
        with pytest.raises(ConfigError, match="max_sessions_per_user"):
            make_auth(max_sessions_per_user=0)


def sign_in_once(database, number):
    with native_client(database, MovableClock(), max_sessions_per_user=3) as auth:
        together()
        auth.sign_in_with_password(EMAIL, PASSWORD)


def test_eight_sign_ins_at_once_leave_as_many_sessions_as_may_be(auth, database, crew):
    auth.create_user(email=EMAIL, password=PASSWORD)
    crew.run(sign_in_once, [(database, number) for number in range(EIGHT)])
    assert len(auth.list_sessions()) == 3


class TestRevokeOthers:
    def test_it_ends_all_but_the_one_that_asks(self, auth):
        user = auth.create_user(email=EMAIL, password=PASSWORD)
        auth.sign_up(email="bob@example.com", password=PASSWORD)
        mine, *_ = [sign_in(auth) for _ in range(4)]
        assert auth.revoke_other_sessions(mine.session_id) == 3
        assert [it.session_id for it in auth.list_sessions(user_id=user.id)] == [mine.session_id]
        assert len(auth.list_sessions()) == 2
        (event,) = events(auth, "sign_out_others")
        assert (event.user_id, event.details) == (user.id, {"sessions": 3})
        assert auth.revoke_other_sessions(mine.session_id) == 0

    def test_a_session_that_has_ended_ends_no_others(self, auth):
        auth.create_user(email=EMAIL, password=PASSWORD)
        ended = sign_in(auth)
        auth.sign_out(ended.session_id)
        sign_in(auth)
        for session_id in (ended.session_id, "no id"):
            with pytest.raises(InvalidTokenError):
                auth.revoke_other_sessions(session_id)
        assert len(auth.list_sessions()) == 1


class TestRecentSignIn:
    def test_it_is_the_beginning_of_the_session_that_counts_and_not_its_refresh(self, auth, clock):
        auth.create_user(email=EMAIL, password=PASSWORD)
        tokens = auth.sign_in_with_password(EMAIL, PASSWORD).tokens
        clock.advance(minutes=10)
        tokens = auth.refresh_token(tokens.refresh_token)
        session = auth.authenticate(Request(tokens.access_token))
        assert not auth.requires_recent_sign_in(session, 10)
        clock.advance(microseconds=1)
        assert auth.requires_recent_sign_in(session, 10)
        assert not auth.requires_recent_sign_in(sign_in(auth), 10)

    def test_what_is_not_known_or_in_the_future_is_not_recent(self, auth, clock):
        auth.create_user(email=EMAIL, password=PASSWORD)
        session = sign_in(auth)
        unknown = dataclasses.replace(session, metadata={})
        later = {"created_at": clock.now + timedelta(minutes=5)}
        assert auth.requires_recent_sign_in(unknown, 10)
        assert auth.requires_recent_sign_in(dataclasses.replace(session, metadata=later), 10)

    @pytest.mark.parametrize("minutes", [0, -1, float("nan")])
    def test_minutes_are_more_than_none(self, auth, minutes):
        auth.create_user(email=EMAIL, password=PASSWORD)
        with pytest.raises(ValueError, match="minutes"):
            auth.requires_recent_sign_in(sign_in(auth), minutes)


def test_sessions_are_listed_with_agent_and_address(auth):
    auth.create_user(email=EMAIL, password=PASSWORD)
    auth.sign_in_with_password(EMAIL, PASSWORD, user_agent="Mosaic", ip_address="192.0.2.1")
    (session,) = auth.list_sessions()
    assert session.metadata["user_agent"] == "Mosaic"
    assert session.metadata["ip_address"] == "192.0.2.1"
