"""Limits: what they stop, what they let through, and what they tell nobody."""

from __future__ import annotations

import threading

import pytest

from derp_auth_lite._local.events import Events
from derp_auth_lite._local.throttle import UNKNOWN_RANGE, Throttle, network_range
from derp_auth_lite._request import Caller
from derp_auth_lite.config import PasswordConfig, ThrottleConfig
from derp_auth_lite.exceptions import (
    AuthBackendError,
    AuthNotConnectedError,
    ConfigError,
    InvalidCredentialsError,
    InvalidTokenError,
    RateLimitedError,
)
from derp_auth_lite.kv.disk import DiskKV
from derp_auth_lite.kv.memory import MemoryKV

from .processes import EIGHT, together
from .support import PASSWORD, MovableClock, Request, native_client

EMAIL, STRANGER = "ada@example.com", "nobody@example.com"
HOME, ATTACKER = "192.0.2.1", "203.0.113.66"
URL = "https://app.example/reset"


@pytest.fixture
def kv(clock):
    return MemoryKV(clock=clock)


@pytest.fixture
def limited(make_auth, kv):
    """A client with the default limits; Ada has an account."""
    auth = make_auth(throttle=ThrottleConfig(), kv=kv, enable_magic_link=True)
    auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
    return auth


def guess(auth, email=EMAIL, password="a wrong password", address=ATTACKER):
    """Try to sign in; return the error's class, or None."""
    try:
        auth.sign_in_with_password(email, password, ip_address=address)
    except (InvalidCredentialsError, RateLimitedError) as error:
        return type(error)
    return None


def guesses(auth, count, email=EMAIL, addresses=(ATTACKER,)):
    return [guess(auth, email, address=addresses[n % len(addresses)]) for n in range(count)]


def crowd(count):
    return [f"198.51.{n // 250}.{n % 250 + 1}" for n in range(count)]


def reasons(auth):
    page = auth.list_events_by_cursor(limit=1000).data
    return [event.reason for event in page if event.action == "throttled"]


class TestSignIn:
    @pytest.mark.parametrize("email", [EMAIL, STRANGER, "no address, at all", "a\ud800@b"])
    def test_one_place_gets_ten_tries_at_an_account_whether_or_not_it_exists(self, limited, email):
        outcomes = guesses(limited, 12, email)
        assert outcomes == [InvalidCredentialsError] * 10 + [RateLimitedError] * 2

    def test_the_right_password_is_refused_too_before_it_is_verified(self, limited):
        guesses(limited, 10)
        limited._password_check._hasher = None
        assert guess(limited, password=PASSWORD) is RateLimitedError

    def test_the_error_says_when_to_come_back_and_then_one_may(self, limited, clock):
        guesses(limited, 10)
        clock.advance(seconds=100)
        with pytest.raises(RateLimitedError) as refused:
            limited.sign_in_with_password(EMAIL, PASSWORD, ip_address=ATTACKER)
        assert refused.value.retry_after == 800
        clock.advance(seconds=800)
        assert guess(limited, password=PASSWORD) is None

    def test_who_guesses_locks_nobody_out_who_sits_elsewhere(self, limited):
        guesses(limited, 200)
        assert guess(limited, password=PASSWORD, address=HOME) is None

    def test_a_crowd_gets_fifty_tries_at_an_account(self, limited):
        outcomes = guesses(limited, 60, addresses=crowd(60))
        assert outcomes == [InvalidCredentialsError] * 50 + [RateLimitedError] * 10

    def test_a_crowd_does_not_lock_out_a_user_who_has_signed_in_from_there_before(self, limited):
        assert guess(limited, password=PASSWORD, address=HOME) is None
        guesses(limited, 60, addresses=crowd(60))
        assert guess(limited, password=PASSWORD, address="192.0.2.9") is RateLimitedError
        assert guess(limited, password=PASSWORD, address=HOME) is None

    def test_one_place_gets_a_hundred_failures_over_all_accounts(self, limited):
        outcomes = [guess(limited, f"user{n}@example.com") for n in range(102)]
        assert outcomes == [InvalidCredentialsError] * 100 + [RateLimitedError] * 2

    def test_a_guesser_in_the_office_does_not_lock_out_who_works_there(self, limited):
        limited.create_user(email="new@example.com", password=PASSWORD, confirmed=True)
        assert guess(limited, password=PASSWORD) is None
        for n in range(100):
            guess(limited, f"user{n}@example.com")
        assert guess(limited, password=PASSWORD) is None
        assert guess(limited, "new@example.com", PASSWORD) is RateLimitedError

    def test_a_success_clears_the_account_and_not_the_range(self, limited):
        guesses(limited, 9)
        assert guess(limited, password=PASSWORD) is None
        assert guesses(limited, 10) == [InvalidCredentialsError] * 10
        for n in range(81):
            guess(limited, f"user{n}@example.com")
        assert guess(limited, "last@example.com") is RateLimitedError

    def test_unknown_places_share_one_bucket_that_is_ten_times_as_big(self, limited):
        outcomes = [guess(limited, f"user{n}@example.com", address=None) for n in range(101)]
        assert set(outcomes) == {InvalidCredentialsError}
        assert guesses(limited, 51, addresses=[None])[-2:] == [
            InvalidCredentialsError,
            RateLimitedError,
        ]

    def test_the_present_password_of_a_session_begins_the_count_anew(self, limited):
        request = Request()
        request.remote_addr = ATTACKER
        assert guesses(limited, 9) == [InvalidCredentialsError] * 9
        limited.change_password(
            user_id=limited.find_user(EMAIL).id,
            current_password=PASSWORD,
            new_password="another long password",
            request=request,
        )
        assert guesses(limited, 9) == [InvalidCredentialsError] * 9

    def test_guessing_the_present_password_of_a_session_is_limited_too(self, limited):
        user = limited._accounts.by_email(EMAIL)
        request = Request()
        request.remote_addr = ATTACKER

        def change():
            limited.change_password(
                user_id=user.id,
                current_password="a wrong password",
                new_password="another long one",
                request=request,
            )

        for _ in range(10):
            with pytest.raises(InvalidCredentialsError):
                change()
        with pytest.raises(RateLimitedError):
            change()

    def test_forwarded_addresses_count_from_the_right_and_only_behind_trusted_proxies(
        self, make_auth, kv
    ):
        auth = make_auth(throttle=ThrottleConfig(), kv=kv, trusted_proxies=1)
        for n in range(11):
            request = Request(headers={"X-Forwarded-For": f"198.51.100.{n}, {ATTACKER}"})
            with pytest.raises((InvalidCredentialsError, RateLimitedError)) as refused:
                auth.sign_in_with_password(EMAIL, "wrong", request=request)
        assert refused.type is RateLimitedError

    def test_one_customers_ipv6_addresses_are_one_range(self, limited):
        addresses = [f"2001:db8:1:2:{n:x}::1" for n in range(20)]
        assert guesses(limited, 20, addresses=addresses)[10:] == [RateLimitedError] * 10
        assert guess(limited, address="2001:db8:1:3::1") is InvalidCredentialsError


class TestHundredInARow:
    @pytest.fixture
    def auth(self, make_auth, kv):
        limits = ThrottleConfig(
            sign_in_by_pair=(0, 1), sign_in_by_account=(0, 1), sign_in_by_range=(0, 1)
        )
        auth = make_auth(throttle=limits, kv=kv, enable_magic_link=True)
        auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
        return auth

    def test_after_a_hundred_the_right_password_looks_as_wrong_as_any(self, auth, kv):
        guesses(auth, 100)
        assert guess(auth, password=PASSWORD) is InvalidCredentialsError
        assert list(kv.scan(prefix=b"derp:auth:throttle:sign_in")) == []

    def test_at_ninety_nine_it_still_opens_and_the_count_begins_anew(self, auth):
        guesses(auth, 99)
        assert guess(auth, password=PASSWORD) is None
        guesses(auth, 99)
        assert guess(auth, password=PASSWORD) is None

    def test_a_disabled_account_is_not_told_from_a_wrong_password_by_then(self, auth):
        user = auth._accounts.by_email(EMAIL)
        auth.update_user(user_id=user.id, is_active=False)
        guesses(auth, 100)
        with pytest.raises(InvalidCredentialsError) as refused:
            auth.sign_in_with_password(EMAIL, PASSWORD)
        assert refused.type is InvalidCredentialsError

    def test_its_owner_comes_in_by_a_link_and_the_password_opens_again(self, auth):
        guesses(auth, 100)
        auth.sign_in_with_magic_link(email=EMAIL, magic_link_url=URL)
        auth.deliver_mail()
        assert auth.verify_magic_link(auth._email_client.sent[-1].token).tokens
        assert guess(auth, password=PASSWORD) is None

    def test_a_reset_begins_anew(self, auth):
        guesses(auth, 100)
        auth.request_password_recovery(email=EMAIL, recovery_url=URL)
        auth.deliver_mail()
        auth.reset_password(auth._email_client.sent[-1].token, "another long password")
        assert guess(auth, password="another long password") is None

    def test_a_sign_in_that_was_verified_before_the_hundredth_failure_comes_too_late(self, auth):
        user = auth._accounts.by_email(EMAIL)
        guesses(auth, 100)
        assert auth._accounts.signed_in(user, most_failures=100) is None
        assert auth._accounts.signed_in(user) is not None

    def test_nor_does_a_right_guess_among_many_that_run_at_once(self, auth, monkeypatch):
        user = auth._accounts.by_email(EMAIL)
        verify = auth._hasher.verify_or_dummy

        def slowly(*arguments):
            for _ in range(100):
                auth._accounts.failed(user.id)
            return verify(*arguments)

        monkeypatch.setattr(auth._hasher, "verify_or_dummy", slowly)
        assert guess(auth, password=PASSWORD) is InvalidCredentialsError
        assert auth.list_sessions() == []
        events = auth.list_events_by_cursor().data
        assert ("sign_in", "changed_meanwhile") in {(it.action, it.reason) for it in events}

    def test_a_hundred_is_the_most_that_can_be_configured(self):
        with pytest.raises(ConfigError, match="from 0 to 100"):
            ThrottleConfig(failures_in_a_row=101)


class TestWhatElseIsLimited:
    def test_sign_ups_by_range_before_anything_is_hashed(self, limited):
        def join(n):
            limited.sign_up(email=f"u{n}@example.com", password=PASSWORD, ip_address=ATTACKER)

        for n in range(30):
            join(n)
        limited._new_passwords._hasher = None
        with pytest.raises(RateLimitedError):
            join(30)

    def test_one_time_tokens_that_are_none_by_range(self, limited):
        request = Request()
        request.remote_addr = ATTACKER
        for _ in range(100):
            with pytest.raises(InvalidTokenError):
                limited.confirm_email("x" * 43, request=request)
        with pytest.raises(RateLimitedError):
            limited.reset_password("x" * 43, "another long password", request=request)
        with pytest.raises(InvalidTokenError):
            limited.confirm_email("x" * 43)

    def test_a_token_that_was_spent_counts_like_one_that_is_none(self, make_auth, kv):
        auth = make_auth(throttle=ThrottleConfig(token_by_range=(1, 3600)), kv=kv)
        user = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
        auth.request_password_recovery(email=EMAIL, recovery_url=URL)
        auth.deliver_mail()
        token = auth._email_client.sent[-1].token
        auth.set_password(user_id=user.id, password="another long password")
        request = Request()
        request.remote_addr = ATTACKER
        for error in (InvalidTokenError, RateLimitedError):
            with pytest.raises(error):
                auth.reset_password(token, "a third long password", request=request)

    @pytest.mark.parametrize("email", [EMAIL, STRANGER])
    def test_mails_to_an_address_one_a_minute_five_an_hour_and_nobody_is_told(
        self, limited, clock, email
    ):
        queued = []
        for _ in range(8):
            for _ in range(2):
                assert limited.request_password_recovery(email=email, recovery_url=URL) is None
            queued.append(limited._outbox.next_due() is not None)
            limited.deliver_mail()
            clock.advance(minutes=1)
        assert queued == [True] * 5 + [False] * 3

    def test_junk_of_one_kind_does_not_use_up_the_mails_of_another(self, limited, clock):
        for _ in range(6):
            limited.sign_in_with_magic_link(email=EMAIL, magic_link_url=URL)
            clock.advance(seconds=61)
        assert limited.deliver_mail() == 5
        limited.request_password_recovery(email=EMAIL, recovery_url=URL)
        assert limited.deliver_mail() == 1

    def test_mails_by_the_range_that_asks(self, limited):
        request = Request()
        request.remote_addr = ATTACKER
        with pytest.raises(RateLimitedError):
            for n in range(31):
                limited.request_password_recovery(
                    email=f"user{n}@example.com", recovery_url=URL, request=request
                )
        assert n == 30

    def test_addresses_that_a_user_asks_for_whether_or_not_they_have_an_account(self, limited):
        ada = limited.find_user(EMAIL)
        for n in range(30):
            assert limited.find_user(f"user{n}@example.com", asked_by=ada.id) is None
        for email in (EMAIL, "user31@example.com"):
            with pytest.raises(RateLimitedError):
                limited.find_user(email, asked_by=ada.id)
        assert limited.find_user(EMAIL, asked_by="00000000-0000-4000-8000-000000000000") == ada
        assert limited.find_user(EMAIL) == ada
        assert reasons(limited) == ["lookup_by_user"]
        events = limited.list_events_by_cursor(user_id=ada.id, limit=9).data
        assert {event.action for event in events} == {"user_created", "throttled"}

    def test_bad_tokens_of_a_range_are_written_down_until_they_are_too_many(self, make_auth, kv):
        auth = make_auth(throttle=ThrottleConfig(events_by_range=(5, 3600)), kv=kv)
        request = Request()
        request.remote_addr = ATTACKER
        for _ in range(9):
            with pytest.raises(InvalidTokenError):
                auth.confirm_email("x" * 43, request=request)
        assert [event.reason for event in auth.list_events_by_cursor().data] == [
            "unknown_token"
        ] * 5

    def test_failures_of_a_range_are_written_down_until_they_are_too_many(self, make_auth, kv):
        limits = ThrottleConfig(events_by_range=(5, 3600))
        auth = make_auth(throttle=limits, kv=kv)
        for n in range(9):
            guess(auth, f"user{n}@example.com")
        assert len(auth.list_events_by_cursor(limit=100).data) == 5


class TestRecord:
    def test_each_limit_that_is_passed_is_one_event_and_one_line_of_the_log(self, limited, caplog):
        guesses(limited, 30)
        assert reasons(limited) == ["sign_in_by_pair"]
        assert caplog.text.count("a limit was reached: sign_in_by_pair") == 1
        assert EMAIL not in caplog.text

    def test_a_range_that_is_closed_is_one_event(self, limited):
        for n in range(110):
            guess(limited, f"user{n}@example.com")
        assert reasons(limited) == ["sign_in_by_range"]

    def test_the_store_knows_no_address(self, limited, kv):
        guesses(limited, 3)
        guesses(limited, 3, STRANGER)
        limited.request_password_recovery(email=EMAIL, recovery_url=URL)
        dump = b"".join(key + (kv.get(key) or b"") for key in kv.scan())
        assert b"throttle" in dump
        assert b"example.com" not in dump
        assert b"ada" not in dump


class TestStore:
    def test_without_its_store_nobody_gets_in(self, limited, monkeypatch):
        def fail(*arguments, **keywords):
            raise AuthBackendError

        for name in ("incr", "get", "exists"):
            monkeypatch.setattr(limited._kv_client, name, fail)
        for act in (
            lambda: limited.sign_in_with_password(EMAIL, PASSWORD),
            lambda: limited.sign_up(email="new@example.com", password=PASSWORD),
            lambda: limited.request_password_recovery(email=EMAIL, recovery_url=URL),
        ):
            with pytest.raises(AuthBackendError):
                act()
        assert limited.list_sessions() == []

    def test_a_store_that_fails_after_the_sign_in_undoes_nothing(self, limited, monkeypatch):
        def fail(*arguments, **keywords):
            raise AuthBackendError

        monkeypatch.setattr(limited._kv_client, "delete_many", fail)
        assert limited.sign_in_with_password(EMAIL, PASSWORD).tokens

    def test_limits_need_a_store_and_none_are_needed_without_limits(self, make_auth):
        auth = make_auth(throttle=ThrottleConfig())
        auth.set_kv(None)
        with pytest.raises(AuthNotConnectedError, match=r"ThrottleConfig\.off"):
            auth.sign_in_with_password(EMAIL, PASSWORD)
        free = make_auth(throttle=ThrottleConfig.off())
        free.set_kv(None)
        assert guess(free) is InvalidCredentialsError

    def test_a_count_that_is_garbage_begins_anew(self, limited, kv):
        guess(limited)
        for key in kv.scan(prefix=b"derp:auth:throttle"):
            kv.set(key, b"garbage")
        assert guesses(limited, 11)[-2:] == [InvalidCredentialsError, RateLimitedError]

    def test_row_21_a_count_that_never_ends_ends_a_window_after_it_is_met(self, limited, kv, clock):
        guess(limited)
        for key in kv.scan(prefix=b"derp:auth:throttle:sign_in_by_pair"):
            kv.set(key, b"1000")
        clock.advance(days=1000)
        assert guess(limited, password=PASSWORD) is RateLimitedError
        clock.advance(seconds=900)
        assert guess(limited, password=PASSWORD) is None

    def test_a_clock_that_is_set_back_a_year_locks_nobody_out_for_a_year(self, limited, clock):
        clock.advance(days=365)
        guesses(limited, 11)
        clock.advance(days=-365)
        with pytest.raises(RateLimitedError) as refused:
            limited.sign_in_with_password(EMAIL, PASSWORD, ip_address=ATTACKER)
        assert refused.value.retry_after == 900
        clock.advance(seconds=900)
        assert guess(limited, password=PASSWORD) is None


def guess_often(database, folder, number):
    clock = MovableClock()
    kv = DiskKV(folder, clock=clock)
    with native_client(database, clock, kv=kv, throttle=ThrottleConfig()) as auth:
        together()
        return [guess(auth).__name__ for _ in range(5)]


def test_eight_processes_together_get_no_more_tries_than_one(auth, database, crew, tmp_path):
    """OWASP ASVS 5.0, 6.3.1: forty guesses at once, of which ten are answered."""
    auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
    arguments = [(database, str(tmp_path / "kv"), number) for number in range(EIGHT)]
    outcomes = [one for each in crew.run(guess_often, arguments) for one in each]
    assert outcomes.count("InvalidCredentialsError") == 10
    assert outcomes.count("RateLimitedError") == 30
    assert auth._accounts.by_email(EMAIL).failed_sign_ins == 10


def test_row_21_a_process_that_dies_at_any_step_of_a_count_leaves_no_lockout_for_ever(clock):
    """A counter and its lifetime are one call of the store: there is no step between."""
    calls = []

    class Dying(MemoryKV):
        def incr(self, key, *, ttl=None):
            calls.append(ttl)
            super().incr(key, ttl=ttl)
            raise KeyboardInterrupt

    kv = Dying(clock=clock)
    with native_client(":memory:", clock, kv=kv, throttle=ThrottleConfig()) as auth:
        for _ in range(200):
            with pytest.raises(KeyboardInterrupt):
                guess(auth)
        assert all(kv.ttl(key) is not None for key in kv.scan())
        clock.advance(hours=1)
        assert list(kv.scan()) == []
    assert set(calls) == {900.0}


def test_threads_that_guess_at_once_are_counted_one_by_one(limited, kv):
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(guess(limited))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(InvalidCredentialsError) == 10


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, UNKNOWN_RANGE),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
    ],
)
def test_a_range_is_one_ipv4_address_or_an_ipv6_64(address, expected):
    assert network_range(address) == expected


def test_a_throttle_that_is_off_touches_no_store(auth):
    throttle = Throttle(None, auth._keys, Events(auth._db), ThrottleConfig.off(), prefix="p")
    caller = Caller(ip_address=HOME)
    attempt = throttle.sign_in(EMAIL, caller)
    throttle.failed(attempt, caller)
    throttle.succeeded(attempt)
    throttle.sign_up(caller)
    throttle.token(caller)
    throttle.refused_token(caller)
    throttle.mail(caller)
    assert throttle.may_mail("recovery", EMAIL)
    assert throttle.may_note(caller)
    assert throttle.full(EMAIL) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("sign_in_by_pair", (-1, 1)), ("sign_up_by_range", (1, 0)), ("mail_by_range", (1, 10**7))],
)
def test_a_limit_is_a_number_and_its_seconds(name, value):
    with pytest.raises(ConfigError, match=name):
        ThrottleConfig(**{name: value})


def test_row_28_a_huge_or_strange_password_is_refused_as_any_wrong_one(make_auth, kv):
    auth = make_auth(kv=kv, password=PasswordConfig(hash_profile="cheapest"))
    auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
    for password in ("x" * 10_000_000, "", "\x00", "\ud800", PASSWORD + "\x00"):
        assert guess(auth, password=password) is InvalidCredentialsError


def test_the_notice_that_an_account_exists_is_never_refused(make_auth, clock):
    """A sign-up page asks for it for taken addresses alone: an error would tell them apart."""
    auth = make_auth(throttle=ThrottleConfig(mail_by_range=(1, 3600)))
    request = Request()
    request.remote_addr = "192.0.2.7"
    page = {"recovery_url": "https://app.example.com/reset", "request": request}
    for name in "abc":
        auth.notify_account_exists(email=f"{name}@example.com", **page)
    with pytest.raises(RateLimitedError):
        auth.request_password_recovery(email="d@example.com", **page)
