"""Limits in front of the hosted services, which see one caller where there are many."""

from __future__ import annotations

import dataclasses

import pytest

from derp_auth_lite.config import ThrottleConfig
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import (
    AuthStepRequiredError,
    InvalidCredentialsError,
    InvalidTokenError,
    RateLimitedError,
)
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.testing import FakeSupabase, FakeWorkOS

from . import supabase_support, workos_support
from .support import PASSWORD, Request

ADA, NOBODY, PAGE = "ada@example.com", "nobody@example.com", "https://app.test/page"
HOME, ATTACKER = "192.0.2.1", "203.0.113.66"
BACKENDS = {
    "supabase": (FakeSupabase, supabase_support.connected),
    "workos": (FakeWorkOS, workos_support.connected),
}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture
def service(backend, auth_clock):
    with BACKENDS[backend][0](clock=auth_clock) as service:
        yield service


@pytest.fixture
def opened(backend, service, auth_clock):
    """Return what opens a client with these limits; it is closed at the end of the test."""
    clients = []

    def open_(throttle=None, email=None, **settings):
        config = dataclasses.replace(
            service.config, throttle=throttle or ThrottleConfig(), **settings
        )
        manager = BACKENDS[backend][1](config, auth_clock, email=email)
        clients.append(manager)
        return manager.__enter__()

    yield open_
    for manager in clients:
        manager.__exit__(None, None, None)


@pytest.fixture
def workos(auth_clock):
    with FakeWorkOS(clock=auth_clock) as service:
        yield service


@pytest.fixture
def limited(workos, auth_clock):
    """A WorkOS client with the default limits; Ada has an account."""
    config = dataclasses.replace(workos.config, throttle=ThrottleConfig())
    with workos_support.connected(config, auth_clock) as auth:
        auth.sign_up(email=ADA, password=PASSWORD, ip_address=HOME)
        yield auth


def outcomes(act, count):
    """Do something again and again; return the classes of its errors."""
    found = []
    for number in range(count):
        try:
            act(number)
        except (InvalidCredentialsError, InvalidTokenError, RateLimitedError) as error:
            found.append(type(error))
        else:
            found.append(None)
    return found


def guess_codes(auth, count, email=ADA, address=ATTACKER):
    """Guess at the code of a magic link, from one place or from a new one each time."""

    def guess(number):
        token = auth.magic_link_token(email=email, code=f"wrong {number}")
        where = address or f"198.51.{number // 250}.{number % 250 + 1}"
        auth.verify_magic_link(token, ip_address=where)

    return outcomes(guess, count)


class TestCodes:
    """Six digits: the 300 guesses of an afternoon must not all reach the service."""

    @pytest.mark.parametrize("email", [ADA, NOBODY])
    def test_ten_guesses_of_three_hundred_reach_the_service(self, workos, limited, email):
        """For an address without an account there are just as many."""
        before = len(workos.calls)
        found = guess_codes(limited, 300, email)
        assert found == [InvalidTokenError] * 10 + [RateLimitedError] * 290
        asked = [call for call in workos.calls[before:] if call.path.endswith("/authenticate")]
        assert len(asked) == 10

    def test_a_crowd_gets_fifty_in_an_hour(self, limited):
        found = guess_codes(limited, 60, address=None)
        assert found == [InvalidTokenError] * 50 + [RateLimitedError] * 10

    def test_one_place_gets_a_hundred_whatever_the_address(self, limited):
        found = [guess_codes(limited, 1, f"{n}@example.com")[0] for n in range(102)]
        assert found == [InvalidTokenError] * 100 + [RateLimitedError] * 2

    def test_guesses_at_codes_leave_the_password_alone_and_the_other_way_round(self, limited):
        guess_codes(limited, 60, address=None)
        guess_codes(limited, 12, address=HOME)
        assert limited.sign_in_with_password(ADA, PASSWORD, ip_address=HOME).tokens
        assert limited.sign_in_with_password(ADA, PASSWORD, ip_address="192.0.2.9").tokens

    def test_the_limit_says_when_it_ends_and_ends_then(self, workos, limited, auth_clock):
        guess_codes(limited, 10)
        guess = limited.magic_link_token(email=ADA, code="000000")
        with pytest.raises(RateLimitedError) as caught:
            limited.verify_magic_link(guess, ip_address=ATTACKER)
        assert 0 < caught.value.retry_after <= 900
        auth_clock.advance(seconds=caught.value.retry_after + 1)
        limited.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        token = limited.magic_link_token(email=ADA, code=workos.last_mail().code)
        assert limited.verify_magic_link(token, ip_address=ATTACKER).tokens

    def test_a_right_code_clears_the_wrong_ones_before_it(self, workos, limited):
        for _ in range(3):
            guess_codes(limited, 9)
            limited.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
            token = limited.magic_link_token(email=ADA, code=workos.last_mail().code)
            assert limited.verify_magic_link(token, ip_address=ATTACKER).tokens

    def test_codes_that_prove_an_address_are_held_too(self, limited):
        token = limited.confirmation_token(user_id="user_1", code="000000")
        found = outcomes(lambda _: limited.confirm_email(token), 60)
        assert found == [InvalidTokenError] * 50 + [RateLimitedError] * 10

    def test_codes_of_a_second_factor_are_held_too(self, workos, limited):
        user = workos.environment.by_email(ADA)
        workos.grants.totp[user["id"]] = "123456"
        with pytest.raises(AuthStepRequiredError) as step:
            limited.sign_in_with_password(ADA, PASSWORD, ip_address=HOME)
        challenge = step.value.details["authentication_challenge"]["id"]

        def answer(code):
            return limited.complete_step(
                "mfa_challenge",
                step.value.pending_token,
                code=code,
                challenge_id=challenge,
                ip_address=HOME,
            )

        found = outcomes(lambda _: answer("000000"), 12)
        assert found == [InvalidTokenError] * 10 + [RateLimitedError] * 2


class TestEachBackend:
    def test_guesses_at_a_password_end_and_the_owner_comes_in_from_home(self, opened):
        auth = opened()
        auth.sign_up(email=ADA, password=PASSWORD, ip_address=HOME)
        assert auth.sign_in_with_password(ADA, PASSWORD, ip_address=HOME)

        def guess(number):
            where = f"198.51.100.{number % 200 + 1}"
            auth.sign_in_with_password(ADA, "a wrong password", ip_address=where)

        found = outcomes(guess, 60)
        assert found == [InvalidCredentialsError] * 50 + [RateLimitedError] * 10
        assert auth.sign_in_with_password(ADA, PASSWORD, ip_address=HOME)

    def test_an_address_without_an_account_is_counted_alike(self, opened):
        auth = opened()
        auth.sign_up(email=ADA, password=PASSWORD, ip_address=HOME)
        found = [
            outcomes(lambda _, of=email: auth.sign_in_with_password(of, "x", ip_address=HOME), 12)
            for email in (ADA, NOBODY)
        ]
        assert found[0] == found[1] == [InvalidCredentialsError] * 10 + [RateLimitedError] * 2

    def test_tokens_that_are_none_end_by_range(self, opened, service, backend):
        auth = opened(ThrottleConfig(token_by_range=(5, 900)))

        def redeem(number):
            auth.reset_password(f"guess-{number}", PASSWORD)

        before = len(service.calls)
        assert outcomes(redeem, 52) == [InvalidTokenError] * 50 + [RateLimitedError] * 2
        assert len(service.calls) - before == 50

    def test_sign_ups_end_by_range(self, opened):
        auth = opened(ThrottleConfig(sign_up_by_range=(2, 900)))

        def join(number):
            auth.sign_up(email=f"{number}@example.com", password=PASSWORD, ip_address=HOME)

        assert outcomes(join, 4) == [None, None, RateLimitedError, RateLimitedError]

    def test_mails_of_this_library_to_one_address_come_once_a_minute(self, opened, auth_clock):
        email = EmailClient.in_memory(clock=auth_clock)
        auth = opened(email=email)
        auth.sign_up(email=ADA, password=PASSWORD)
        for seconds in (0, 30, 31):
            auth_clock.advance(seconds=seconds)
            for address in (ADA, NOBODY):
                auth.request_password_recovery(email=address, recovery_url=PAGE)
        auth.deliver_mail()
        assert len(email.sent) == 2
        with pytest.raises(ValueError, match="link"):
            auth.request_password_recovery(email=ADA, recovery_url="javascript:alert(1)")

    def test_who_asks_for_mails_is_told_where_that_ends(self, opened, auth_clock):
        auth = opened(ThrottleConfig(mail_by_range=(2, 900)))

        def ask(number):
            auth.request_password_recovery(
                email=f"{number}@example.com", recovery_url=PAGE, request=Request(None)
            )

        assert outcomes(ask, 22) == [None] * 20 + [RateLimitedError] * 2

    def test_a_proxy_of_ones_own_tells_who_calls(self, opened):
        auth = opened(ThrottleConfig(sign_up_by_range=(1, 900)), trusted_proxies=1)

        def join(number):
            request = Request(None)
            request.headers["X-Forwarded-For"] = f"192.0.2.{number}"
            auth.sign_up(email=f"{number}@example.com", password=PASSWORD, request=request)

        assert outcomes(join, 3) == [None] * 3

    def test_without_a_kv_store_there_are_no_limits(self, opened):
        auth = opened(ThrottleConfig(sign_up_by_range=(1, 900)))
        auth.set_kv(None)

        def join(number):
            auth.sign_up(email=f"{number}@example.com", password=PASSWORD, ip_address=HOME)

        assert outcomes(join, 3) == [None] * 3

    def test_the_store_holds_no_address(self, opened, auth_clock):
        auth = opened()
        kv = MemoryKV(clock=auth_clock)
        auth.set_kv(kv)
        kv.connect()
        auth.sign_up(email=ADA, password=PASSWORD, ip_address=HOME)
        outcomes(lambda _: auth.sign_in_with_password(ADA, "wrong", ip_address=HOME), 2)
        assert not any(b"ada@" in key for key in kv.scan())
