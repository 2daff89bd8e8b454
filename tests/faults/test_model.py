"""A small model of users, sessions and one-time tokens, and the library beside it.

Time moves both ways. What the model says must be so is asserted; where it says nothing (a clock
that is behind a token's beginning), either answer is right, but what has ended never lives again.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from derp_auth_lite.exceptions import (
    EmailAlreadyExistsError,
    InvalidCredentialsError,
    InvalidTokenError,
    UserDisabledError,
)

from ..servers import postgres
from ..support import MovableClock, Request, native_client
from . import invariants, rounds

EMAILS = [f"user{number}@example.com" for number in range(3)]
PASSWORDS = ["correct horse battery staple", "a quite different password"]
IDLE, LIFE, ACCESS = timedelta(days=7), timedelta(days=30), timedelta(minutes=15)
GRACE, SKEW = timedelta(seconds=10), timedelta(seconds=1)
URL = "https://app.example/reset"


@dataclasses.dataclass
class User:
    id: str
    password: str
    active: bool = True
    owns: str | None = None


@dataclasses.dataclass
class Session:
    id: str
    email: str
    access: str
    refresh: list
    issued: datetime
    refreshed: datetime
    until: datetime
    end: datetime
    ended: bool = False


class Machine(RuleBasedStateMachine):
    """What users, intruders and clocks may do, in any order."""

    database = ":memory:"
    sessions = Bundle("sessions")
    links = Bundle("links")

    @initialize()
    def begin(self):
        self.clock = MovableClock()
        if self.database.startswith("postgresql"):
            postgres.empty(self.database)
        self.auth = native_client(self.database, self.clock)
        self.auth.connect()
        self.users: dict[str, User] = {}
        self.all_sessions: list[Session] = []
        self.orgs = 0

    def teardown(self):
        if hasattr(self, "auth"):
            self.auth.disconnect()

    @rule(seconds=st.sampled_from([0.5, 1, 9, 11, 3600, 86_400 * 6, 86_400 * 365, -1, -3600]))
    def time_moves(self, seconds):
        self.clock.advance(seconds=seconds)

    @rule(email=st.sampled_from(EMAILS), password=st.sampled_from(PASSWORDS), target=sessions)
    def sign_up(self, email, password):
        if email in self.users:
            with pytest.raises(EmailAlreadyExistsError):
                self.auth.sign_up(email=email, password=password)
            return multiple()
        result = self.auth.sign_up(email=email, password=password)
        self.users[email] = User(result.user.id, password)
        return self._opened(email, result.tokens)

    @rule(email=st.sampled_from(EMAILS), password=st.sampled_from(PASSWORDS), target=sessions)
    def sign_in(self, email, password):
        user = self.users.get(email)
        if user is None or user.password != password or not user.active:
            right = user is not None and user.password == password
            with pytest.raises(UserDisabledError if right else InvalidCredentialsError):
                self.auth.sign_in_with_password(email, password)
            return multiple()
        return self._opened(email, self.auth.sign_in_with_password(email, password).tokens)

    @rule(session=sessions, back=st.integers(0, 2))
    def refresh(self, session, back):
        back = min(back, len(session.refresh) - 1)
        token = session.refresh[-1 - back]
        elapsed = self.clock.now - session.refreshed
        in_grace = back == 1 and -SKEW <= elapsed <= GRACE
        if not self._lives(session) or not (back == 0 or in_grace):
            with pytest.raises(InvalidTokenError):
                self.auth.refresh_token(token)
            session.ended = True
            return
        pair = self.auth.refresh_token(token)
        if back == 0:
            session.refreshed = self.clock.now
            session.until = min(self.clock.now + IDLE, session.end)
            session.refresh.append(pair.refresh_token)
        assert pair.refresh_token == session.refresh[-1]
        assert self.auth.authenticate(Request(pair.access_token)) is not None

    @rule(session=sessions)
    def sign_out(self, session):
        self.auth.sign_out(session.id)
        session.ended = True

    @rule(session=sessions)
    def sign_out_elsewhere(self, session):
        if not self._lives(session):
            with pytest.raises(InvalidTokenError):
                self.auth.revoke_other_sessions(session.id)
            return
        self.auth.revoke_other_sessions(session.id)
        self._end_all(session.email, keep=session)

    @rule(email=st.sampled_from(EMAILS))
    def sign_out_all(self, email):
        if email in self.users:
            self.auth.sign_out_all(self.users[email].id)
            self._end_all(email)

    @rule(email=st.sampled_from(EMAILS), password=st.sampled_from(PASSWORDS))
    def change_password(self, email, password):
        user = self.users.get(email)
        if user is None or user.password == password:
            return
        words = {"current_password": user.password, "new_password": password}
        if not user.active:
            with pytest.raises(UserDisabledError):
                self.auth.change_password(user_id=user.id, **words)
            return
        self.auth.change_password(user_id=user.id, **words)
        user.password = password
        self._end_all(email)

    @rule(email=st.sampled_from(EMAILS), active=st.booleans())
    def enable_or_disable(self, email, active):
        if email in self.users:
            self.auth.update_user(user_id=self.users[email].id, is_active=active)
            self.users[email].active = active
            if not active:
                self._end_all(email)

    @rule(email=st.sampled_from(EMAILS))
    def delete_user(self, email):
        user = self.users.pop(email, None)
        if user is not None:
            if user.owns is not None:
                self.auth.delete_org(org_id=user.owns)
            assert self.auth.delete_user(user.id)
            self._end_all(email)

    @rule(email=st.sampled_from(EMAILS))
    def own_an_organization(self, email):
        user = self.users.get(email)
        if user is not None and user.owns is None:
            self.orgs += 1
            slug = f"org{self.orgs}"
            user.owns = self.auth.create_org(name="Acme", slug=slug, creator_id=user.id).id

    @rule(email=st.sampled_from(EMAILS), target=links)
    def ask_for_a_reset(self, email):
        links = self._mailed(email)
        user = self.users.get(email)
        assert len(links) == (user is not None and user.active)
        return multiple(*links)

    @rule(link=links, password=st.sampled_from(PASSWORDS))
    def try_to_reset(self, link, password):
        email, user_id, made, token = link
        try:
            self.auth.reset_password(token, password)
        except InvalidTokenError:
            return
        assert self.clock.now < made + timedelta(hours=1)
        user = self.users[email]
        assert user.active
        assert user.id == user_id
        user.password = password
        self._end_all(email)
        with pytest.raises(InvalidTokenError):
            self.auth.reset_password(token, password)

    @rule(email=st.sampled_from(EMAILS), password=st.sampled_from(PASSWORDS))
    def reset_at_once(self, email, password):
        user = self.users.get(email)
        if user is None or not user.active:
            return
        ((*_, token),) = self._mailed(email)
        self.auth.reset_password(token, password)
        user.password = password
        self._end_all(email)

    @invariant()
    def sessions_live_as_the_model_says(self):
        for session in getattr(self, "all_sessions", []):
            found = self.auth.authenticate(Request(session.access))
            if not self._lives(session) or self.clock.now >= session.issued + ACCESS:
                assert found is None
            elif self.clock.now >= session.issued:
                assert found is not None
                assert found.session_id == session.id

    @invariant()
    def users_are_the_models(self):
        if hasattr(self, "auth"):
            assert {user.email for user in self.auth.list_users()} == set(self.users)

    def _mailed(self, email):
        before = len(self.auth._email_client.sent)
        self.auth.request_password_recovery(email=email, recovery_url=URL)
        self.auth.deliver_mail()
        sent = [mail for mail in self.auth._email_client.sent[before:] if mail.kind == "recovery"]
        return [(email, self.users[email].id, self.clock.now, mail.token) for mail in sent]

    def _opened(self, email, tokens):
        found = self.auth.authenticate(Request(tokens.access_token))
        now = self.clock.now
        # Sign-ins clear some of what is over: clear all, so that a clock set back finds none of it.
        self.auth.purge()
        for session in self.all_sessions:
            session.ended |= now >= session.until
        session = Session(
            found.session_id,
            email,
            tokens.access_token,
            [tokens.refresh_token],
            issued=now,
            refreshed=now,
            until=now + IDLE,
            end=now + LIFE,
        )
        self.all_sessions.append(session)
        return session

    def _lives(self, session):
        return not session.ended and self.clock.now < session.until

    def _end_all(self, email, keep=None):
        for session in self.all_sessions:
            if session.email == email and session is not keep:
                session.ended = True


def run(database, count):
    machine = type("Run", (Machine,), {"database": database})
    limits = settings(
        max_examples=count,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=limits)


def test_on_sqlite_the_library_does_what_the_model_says(report):
    count = rounds(25, 1000)
    run(":memory:", count)
    report("state machine of 40 steps", "sqlite", count)


def test_on_postgresql_the_library_does_what_the_model_says(postgres_url, report):
    count = rounds(8, 300)
    with native_client(postgres_url, MovableClock()) as auth:
        invariants.check(auth)
    run(postgres_url, count)
    report("state machine of 40 steps", "postgresql", count)
