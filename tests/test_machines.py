"""Four processes on one PostgreSQL and one Redis behave as one: a few seconds, or a full minute.

``DERP_AUTH_LITE_TEST_FAULTS=full`` asks for the minute.
"""

from __future__ import annotations

import functools
import time
from collections import Counter

import pytest

from derp_auth_lite._clock import utc_now
from derp_auth_lite.config import ThrottleConfig
from derp_auth_lite.exceptions import (
    AuthError,
    InvalidCredentialsError,
    InvalidTokenError,
    RateLimitedError,
)
from derp_auth_lite.kv.redis import RedisKV
from derp_auth_lite.testing.outbox import Outbox

from .faults import FULL
from .processes import crew, together
from .servers.redis_server import running_redis
from .support import PASSWORD, Request, native_client

FOUR = 4
SECONDS = 60 if FULL else 3
PAGE = "https://notes.example.com/reset"
# A minute of this is more than one range may do; wrong passwords are limited as by default.
LIMITS = ThrottleConfig(
    mail_by_address_burst=(0, 60),
    mail_by_address=(0, 3600),
    mail_by_range=(0, 3600),
    token_by_range=(0, 900),
)


def client(database, kv_url):
    """Return a client as an application has it: limits on, the system's clock."""
    return native_client(
        database, utc_now, kv=RedisKV(kv_url), throttle=LIMITS, enable_magic_link=True
    )


@functools.cache
def of_this_process(database, kv_url):
    """Return the one client that this process has for all that it is asked to do."""
    auth = client(database, kv_url)
    auth.connect()
    return auth


def act(places, name, *arguments):
    """Call a method when the others do; return what it returned, or the name of its error."""
    auth = of_this_process(*places)
    together()
    try:
        return getattr(auth, name)(*arguments)
    except AuthError as error:
        return type(error).__name__


def sign_in_from(places, email, password, address):
    """Sign in from an address of the network when the others do."""
    auth = of_this_process(*places)
    together()
    try:
        return auth.sign_in_with_password(email, password, ip_address=address)
    except AuthError as error:
        return type(error).__name__


@pytest.fixture(scope="module")
def four():
    with crew(FOUR) as started:
        yield started


@pytest.fixture
def places(postgres_url):
    with running_redis() as kv_url:
        yield postgres_url, kv_url


class Machines:
    """Four processes, and an onlooker who checks what they may and may not have done."""

    def __init__(self, auth, four, places):
        self.auth, self.four, self.places = auth, four, places
        self.outbox = Outbox(auth)
        self.done = Counter()

    def all_do(self, *calls):
        """Have each process make one call at the same moment; one call is made by all."""
        calls = calls if len(calls) == FOUR else calls * FOUR
        self.done[calls[0][0]] += FOUR
        return self.four.run(act, [(self.places, *call) for call in calls])

    def session_of(self, tokens):
        return self.auth.authenticate(Request(tokens.access_token))

    def sign_in_everywhere(self, email):
        """What one process gives out, every other takes."""
        results = self.all_do(("sign_in_with_password", email, PASSWORD))
        requests = [Request(result.tokens.access_token) for result in results]
        seen = self.all_do(*[("authenticate", request) for request in requests[1:] + requests[:1]])
        assert {session.user_id for session in seen} == {results[0].user.id}
        assert len({session.session_id for session in seen}) == FOUR
        return [result.tokens for result in results]

    def refresh_at_once(self, tokens):
        """Of four at once one rotates, and the others are answered with the same."""
        pairs = self.all_do(("refresh_token", tokens.refresh_token))
        assert len({pair.refresh_token for pair in pairs}) == 1
        assert pairs[0].refresh_token != tokens.refresh_token
        _, before = self.auth._refresh_tokens.read(tokens.refresh_token)
        assert self.auth._refresh_tokens.read(pairs[0].refresh_token)[1] == before + 1
        return pairs[0]

    def sign_out_against_refresh(self, tokens):
        """A session that was signed out lives nowhere, whatever raced with it."""
        session_id = self.session_of(tokens).session_id
        refresh, sign_out = ("refresh_token", tokens.refresh_token), ("sign_out", session_id)
        answers = self.all_do(refresh, sign_out, refresh, sign_out)
        pairs = [answer for answer in answers[::2] if answer != InvalidTokenError.__name__]
        for pair in [tokens, *pairs]:
            assert self.all_do(("authenticate", Request(pair.access_token))) == [None] * FOUR
            refused = self.all_do(("refresh_token", pair.refresh_token))
            assert refused == [InvalidTokenError.__name__] * FOUR

    def redeem_at_once(self, email):
        """Of four who present one link exactly one gets in."""
        self.outbox.clear()
        self.auth.sign_in_with_magic_link(email=email, magic_link_url=PAGE)
        token = self.outbox.last("magic_link").token
        answers = self.all_do(("verify_magic_link", token))
        assert answers.count(InvalidTokenError.__name__) == FOUR - 1

    def reset_ends_everything(self, email, tokens):
        """After a reset in one process no session from before lives in another."""
        self.outbox.clear()
        self.auth.request_password_recovery(email=email, recovery_url=PAGE)
        token = self.outbox.last("recovery").token
        answers = self.all_do(("reset_password", token, PASSWORD))
        assert answers.count(InvalidTokenError.__name__) == FOUR - 1
        for pair in tokens:
            assert self.all_do(("authenticate", Request(pair.access_token))) == [None] * FOUR

    def disable_at_once(self, email):
        """Who is disabled is out everywhere with the next request."""
        tokens = self.sign_in_everywhere(email)
        user_id = self.session_of(tokens[0]).user_id
        self.auth.update_user(user_id=user_id, is_active=False)
        for pair in tokens:
            assert self.all_do(("authenticate", Request(pair.access_token))) == [None] * FOUR
        self.auth.update_user(user_id=user_id, is_active=True)


def test_four_processes_on_one_postgresql_and_one_redis_hold_what_one_holds(four, places):
    with client(*places) as auth:
        machines = Machines(auth, four, places)
        ends, number = time.monotonic() + SECONDS, 0
        while time.monotonic() < ends:
            email = f"user{number % 20}@example.com"
            if number < 20:
                auth.create_user(email=email, password=PASSWORD, confirmed=True)
            tokens = machines.sign_in_everywhere(email)
            tokens[0] = machines.refresh_at_once(tokens[0])
            machines.sign_out_against_refresh(tokens[0])
            machines.redeem_at_once(email)
            machines.reset_ends_everything(email, tokens[1:])
            machines.disable_at_once(email)
            number += 1
    assert number > 0
    print(f"\n{number} rounds:", dict(machines.done))


def test_a_limit_counts_the_attempts_of_all_processes_together(four, places):
    """Ten attempts at one account from one range: the eleventh is refused, wherever it is made."""
    with client(*places) as auth:
        auth.create_user(email="ada@example.com", password=PASSWORD, confirmed=True)
        answers = Counter()
        for _ in range(4):
            arguments = [(places, "ada@example.com", "a wrong password", "192.0.2.1")] * FOUR
            answers.update(four.run(sign_in_from, arguments))
    assert answers == {InvalidCredentialsError.__name__: 10, RateLimitedError.__name__: 6}
