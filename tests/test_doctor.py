"""What an operator is told: why a sign-in fails, and what is set up wrong."""

from __future__ import annotations

import os

import pytest

from derp_auth_lite import open_auth
from derp_auth_lite._migrations import pending
from derp_auth_lite.config import PasswordConfig, ThrottleConfig
from derp_auth_lite.exceptions import AuthBackendError, InvalidCredentialsError, RateLimitedError
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.orm import DatabaseEngine

from .support import PASSWORD, SECRET, Request, native_client

EMAIL = "ada@example.com"
URL = "https://app.example/reset"
SOUND = {
    "throttle": ThrottleConfig(),
    "password": PasswordConfig(hash_profile="owasp_minimum"),
    "jwt": {"secret": SECRET},
}


def codes(findings):
    return [finding.code for finding in findings]


class TestExplainSignIn:
    @pytest.fixture
    def auth(self, make_auth):
        return make_auth(enable_confirmation=True, throttle=ThrottleConfig())

    def test_an_account_in_order_may_sign_in(self, auth):
        auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
        (finding,) = auth.explain_sign_in("Ada@Example.com")
        assert (finding.code, finding.level) == ("may_sign_in", "info")

    def test_each_reason_is_named(self, auth):
        user = auth.create_user(email=EMAIL)
        auth.update_user(user_id=user.id, is_active=False)
        assert codes(auth.explain_sign_in(EMAIL)) == ["disabled", "no_password", "not_confirmed"]
        assert codes(auth.explain_sign_in("nobody@example.com")) == ["no_account"]
        assert codes(auth.explain_sign_in("no address")) == ["invalid_email"]

    def test_failures_are_told_and_from_a_hundred_on_they_refuse(self, auth):
        user = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
        auth._accounts.failed(user.id)
        (finding,) = auth.explain_sign_in(EMAIL)
        assert (finding.code, finding.level) == ("recent_failures", "warning")
        for _ in range(99):
            auth._accounts.failed(user.id)
        (finding,) = auth.explain_sign_in(EMAIL)
        assert (finding.code, finding.level) == ("failures_in_a_row", "error")

    def test_a_limit_is_told_with_its_end(self, auth):
        auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
        for number in range(51):
            with pytest.raises((InvalidCredentialsError, RateLimitedError)):
                auth.sign_in_with_password(EMAIL, "x", ip_address=f"192.0.2.{number}")
        (throttled,) = [f for f in auth.explain_sign_in(EMAIL) if f.code == "throttled"]
        assert "3600 s" in throttled.message

    def test_it_changes_nothing_and_shows_no_secret(self, auth):
        user = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
        before = auth._accounts.by_id(user.id)
        findings = auth.explain_sign_in(EMAIL)
        assert auth._accounts.by_id(user.id) == before
        assert before.password_hash not in repr(findings)


class TestDoctor:
    def test_a_sound_client_has_no_findings(self, make_auth):
        auth = make_auth(**SOUND)
        auth.sign_up(email=EMAIL, password=PASSWORD)
        assert auth.doctor() == []

    def test_what_open_auth_makes_is_sound(self, tmp_path):
        with open_auth(tmp_path / "app.db") as auth:
            assert auth.doctor() == []

    def test_settings_that_protect_little(self, make_auth):
        auth = make_auth(
            throttle=ThrottleConfig.off(),
            jwt={"secret": SECRET, "previous_secrets": ["ab" * 16]},
            enable_confirmation=True,
        )
        auth.set_email(None)
        assert codes(auth.doctor()) == ["weak_secret", "cheap_hashes", "no_limits", "no_mail"]

    @pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
    @pytest.mark.parametrize("suffix", ["", ".key", ".kv", ".mail"])
    def test_files_that_others_can_read(self, tmp_path, suffix):
        with open_auth(tmp_path / "app.db") as auth:
            (tmp_path / "app.db.mail").mkdir(mode=0o700, exist_ok=True)
            place = tmp_path / f"app.db{suffix}"
            place.chmod(place.stat().st_mode | 0o040)
            (finding,) = auth.doctor()
        assert finding.code == "readable_by_others"
        assert place.name in finding.message

    def test_a_clock_that_is_behind_what_was_written(self, make_auth, clock):
        auth = make_auth(**SOUND)
        auth.create_user(email=EMAIL)
        clock.advance(minutes=-5)
        assert auth.doctor() == []
        clock.advance(seconds=-1)
        assert codes(auth.doctor()) == ["clock_behind"]

    def test_mails_that_were_given_up_or_are_late(self, make_auth, clock):
        auth = make_auth(**SOUND)
        auth.request_password_recovery(email=EMAIL, recovery_url=URL)
        clock.advance(minutes=11)
        assert codes(auth.doctor()) == ["mail_waiting"]
        clock.advance(days=1)
        auth.deliver_mail()
        assert codes(auth.doctor()) == ["mail_undelivered"]

    def test_a_kv_store_that_cannot_be_written_or_is_not_there(self, make_auth, monkeypatch):
        auth = make_auth(**SOUND)

        def fail(*arguments, **keywords):
            raise AuthBackendError

        monkeypatch.setattr(auth._kv_client, "set", fail)
        assert codes(auth.doctor()) == ["kv_unwritable"]
        auth.set_kv(None)
        assert codes(auth.doctor()) == ["no_kv"]

    def test_it_leaves_nothing_in_the_kv_store(self, make_auth, clock):
        kv = MemoryKV(clock=clock)
        make_auth(kv=kv, **SOUND).doctor()
        assert list(kv.scan()) == []

    def test_proxies_that_are_trusted_and_not_there(self, make_auth):
        auth = make_auth(trusted_proxies=1, **SOUND)
        auth.sign_up(
            email=EMAIL,
            password=PASSWORD,
            request=Request(headers={"X-Forwarded-For": "192.0.2.1"}),
        )
        assert auth.doctor() == []
        auth.sign_in_with_password(EMAIL, PASSWORD, request=Request())
        assert codes(auth.doctor()) == ["proxies_trusted_without_need"]

    def test_a_schema_that_is_behind(self, new_postgres_url, tmp_path, clock):
        for place in (new_postgres_url, tmp_path / "new.db"):
            engine = DatabaseEngine(place, clock=clock)
            engine.connect()
            assert pending(engine) == ["0001_initial"]
            engine.disconnect()
            with native_client(place, clock, **SOUND) as auth:
                assert pending(auth._db) == []

    def test_findings_hold_no_secret(self, make_auth):
        auth = make_auth(jwt={"secret": "ab" * 16})
        assert "ab" * 16 not in repr(auth.doctor())
