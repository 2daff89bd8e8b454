"""The testing kit as an application's tests meet it."""

from __future__ import annotations

import configparser
import importlib
import os
import statistics
import threading
import time
import unittest
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from derp_auth_lite import (
    AuthBackendError,
    InvalidCredentialsError,
    JWTConfig,
    NativeAuthConfig,
    PasswordConfig,
    RateLimitedError,
    ThrottleConfig,
)
from derp_auth_lite.testing import (
    PASSWORD,
    FakeOAuth,
    MovableClock,
    Outbox,
    Request,
    auth_headers,
    make_user,
    open_test_auth,
    sign_in_as,
)

from .servers import postgres, redis_server

pytest_plugins = ["pytester"]

PLUGIN = "derp_auth_lite.testing.plugin"
URL = "http://localhost/confirm"


@pytest.fixture(scope="module", autouse=True)
def _all_imported():
    """Nothing is first imported in a run inside this process, which forgets what came with it."""
    with FakeOAuth() as fake, open_test_auth(oidc=[fake.config]) as auth:
        start = auth.start_oauth("fake")
        back = fake.consent(start.url)
        auth.sign_in_with_oauth("fake", back.code, state=back.state, iss=back.iss)


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test file the way an application does that has the library installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    checkout = Path(__file__).parent.parent
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(checkout), os.environ.get("PYTHONPATH", "")])
    )

    def run_file(content, *options, conftest="", subprocess=False):
        pytester.makeconftest(conftest)
        pytester.makepyfile(content)
        runner = pytester.runpytest_subprocess if subprocess else pytester.runpytest_inprocess
        return runner("-p", PLUGIN, "-p", "no:cacheprovider", *options)

    return run_file


class TestFixtures:
    def test_a_user_signs_in_and_is_known_by_the_headers(self, run):
        outcome = run("""
            from derp_auth_lite.testing import PASSWORD, Request

            def test_it(auth, auth_user, make_user, auth_headers):
                assert auth.sign_in_with_password(auth_user.email, PASSWORD).user.id == auth_user.id
                admin = make_user(email="root@localhost", role="admin")
                session = auth.authenticate(Request(auth_headers(admin)))
                assert (session.user_id, session.role) == (admin.id, "admin")
        """)
        outcome.assert_outcomes(passed=1)

    def test_links_of_mails_are_at_hand(self, run):
        outcome = run("""
            import pytest

            URL = "http://localhost/confirm"

            @pytest.mark.parametrize("auth_settings", [{"enable_confirmation": True}])
            def test_it(auth, outbox):
                auth.sign_up(
                    email="ada@example.com", password="correct horse battery", confirmation_url=URL
                )
                mail = outbox.last("confirmation")
                assert mail.link.startswith(URL)
                assert mail.link in mail.text
                assert auth.confirm_email(mail.token).email == mail.to == "ada@example.com"
        """)
        outcome.assert_outcomes(passed=1)

    def test_the_clock_moves_both_ways(self, run):
        outcome = run("""
            from derp_auth_lite.testing import Request

            def test_it(auth, auth_user, auth_headers, auth_clock):
                request = Request(auth_headers(auth_user))
                auth_clock.advance(minutes=15)
                assert auth.authenticate(request) is None
                auth_clock.advance(minutes=-1)
                assert auth.authenticate(request) is not None
        """)
        outcome.assert_outcomes(passed=1)

    def test_no_test_sees_what_another_left(self, run):
        outcome = run("""
            import pytest

            @pytest.mark.parametrize("number", range(5))
            def test_it(number, auth, outbox):
                auth.sign_up(email="ada@example.com", password="correct horse battery")
                assert auth.count_users() == 1
                assert not outbox.all()
        """)
        outcome.assert_outcomes(passed=5)

    @pytest.mark.parametrize("service", ["fake_supabase", "fake_workos"])
    def test_a_hosted_service_is_at_hand(self, run, service):
        outcome = run(
            f"""
            import pytest
            from derp_auth_lite import open_auth
            from derp_auth_lite.testing import Request
            from derp_auth_lite.testing.contract import BackendContract

            class TestPart(BackendContract):
                @pytest.fixture
                def auth(self, {service}, auth_clock):
                    config = {service}.config
                    with open_auth(":memory:", config=config, clock=auth_clock) as client:
                        yield client

                def test_it(self, auth):
                    tokens = self.join(auth).tokens
                    request = Request({{"Authorization": "Bearer " + tokens.access_token}})
                    assert auth.authenticate(request).user_id == auth.list_users()[0].id
        """,
            "-k",
            "test_it or signed_up or refresh_token_gets",
        )
        outcome.assert_outcomes(passed=3, deselected=outcome.parseoutcomes()["deselected"])

    def test_they_work_in_parallel_processes(self, run):
        test = """
            import pytest

            @pytest.mark.parametrize("number", range(20))
            def test_it(number, auth, make_user):
                make_user(email="ada@example.com")
                assert auth.count_users() == 1
        """
        run(test, "-p", "xdist", "-n", "2", subprocess=True).assert_outcomes(passed=20)

    def test_the_fixtures_of_an_application_go_before(self, run):
        own = """
            import pytest

            @pytest.fixture
            def auth():
                return "the application's"
        """
        outcome = run(
            """
            def test_it(auth):
                assert auth == "the application's"
            """,
            conftest=own,
        )
        outcome.assert_outcomes(passed=1)

    def test_nothing_is_opened_on_the_network(self, run):
        refusing = """
            import socket

            import pytest

            @pytest.fixture(autouse=True)
            def no_network(monkeypatch):
                def refuse(*args, **kwargs):
                    raise AssertionError("a socket was opened")

                for name in ("socket", "create_connection", "getaddrinfo"):
                    monkeypatch.setattr(socket, name, refuse)
        """
        test = """
            import pytest
            from derp_auth_lite import InvalidCredentialsError

            settings = {"enable_confirmation": True, "enable_magic_link": True}
            URL = "http://localhost/link"

            @pytest.mark.parametrize("auth_settings", [settings])
            def test_it(auth, auth_user, auth_headers, outbox):
                auth.sign_up(
                    email="ada@example.com", password="correct horse battery", confirmation_url=URL
                )
                auth.confirm_email(outbox.last("confirmation", to="ada@example.com").token)
                with pytest.raises(InvalidCredentialsError):
                    auth.sign_in_with_password("ada@example.com", "wrong")
                auth.sign_in_with_magic_link(email=auth_user.email, magic_link_url=URL)
                auth.verify_magic_link(outbox.last("magic_link").token)
                auth_headers(auth_user)
                auth.purge()
        """
        run(test, conftest=refusing).assert_outcomes(passed=1)

    def test_a_provider_is_known_to_the_client_of_the_test(self, run):
        outcome = run("""
            def test_it(auth, fake_oauth):
                start = auth.start_oauth("fake")
                back = fake_oauth.consent(start.url, email="ada@example.com", given_name="Ada")
                user = auth.sign_in_with_oauth(
                    "fake", back.code, state=back.state, iss=back.iss
                ).user
                assert (user.email, user.first_name) == ("ada@example.com", "Ada")
        """)
        outcome.assert_outcomes(passed=1)

    def test_postgresql_and_redis_are_used_where_variables_name_them(
        self, run, postgres_server, monkeypatch
    ):
        monkeypatch.setenv("DERP_AUTH_LITE_TEST_POSTGRES", postgres_server)
        with redis_server.running_redis() as url:
            monkeypatch.setenv("DERP_AUTH_LITE_TEST_REDIS", url)
            outcome = run("""
                import pytest

                @pytest.mark.parametrize("name", ["auth_postgres", "auth_postgres", "auth_redis"])
                def test_it(name, request):
                    auth = request.getfixturevalue(name)
                    auth.sign_up(email="ada@example.com", password="correct horse battery")
                    assert auth.count_users() == 1
            """)
        outcome.assert_outcomes(passed=3)
        with postgres.psycopg.connect(postgres_server) as connection:
            left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'auth\\_test\\_%'"
            assert connection.execute(left).fetchone() == (0,)

    def test_without_servers_such_tests_are_skipped_and_say_why(self, run, monkeypatch):
        monkeypatch.delenv("DERP_AUTH_LITE_TEST_POSTGRES", raising=False)
        monkeypatch.delenv("DERP_AUTH_LITE_TEST_REDIS", raising=False)
        outcome = run(
            """
            def test_postgresql(auth_postgres): ...
            def test_redis(auth_redis): ...
            """,
            "-rs",
        )
        outcome.assert_outcomes(skipped=2)
        outcome.stdout.fnmatch_lines(["*DERP_AUTH_LITE_TEST_POSTGRES names no server"])


def test_pytest_finds_the_plugin_by_its_entry_point():
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")
    name, _, module = setup["options.entry_points"]["pytest11"].strip().partition(" = ")
    assert (name, module) == ("derp_auth_lite", PLUGIN)
    assert importlib.import_module(module).auth


class TestOpenTestAuth:
    @pytest.mark.timing
    def test_it_opens_and_closes_in_less_than_five_milliseconds(self):
        with open_test_auth():
            pass
        times = []
        for _ in range(30):
            begun = time.thread_time()
            with open_test_auth() as auth:
                make_user(auth)
            times.append(time.thread_time() - begun)
        assert statistics.median(times) < 0.005

    def test_it_leaves_no_file_and_no_thread(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        before = threading.active_count()
        with open_test_auth(enable_confirmation=True) as auth:
            auth.sign_up(email="ada@example.com", password=PASSWORD, confirmation_url=URL)
            assert len(Outbox(auth)) == 1
            assert threading.active_count() == before
        assert not list(tmp_path.iterdir())

    def test_limits_are_off_unless_asked_for(self):
        def guess(auth):
            for _ in range(12):
                with pytest.raises(InvalidCredentialsError):
                    auth.sign_in_with_password("ada@example.com", "wrong", ip_address="192.0.2.1")

        with open_test_auth() as auth:
            guess(auth)
        with open_test_auth(throttle=ThrottleConfig(sign_in_by_pair=(12, 60))) as auth:
            guess(auth)
            with pytest.raises(RateLimitedError):
                guess(auth)

    def test_the_settings_of_an_application_are_kept_but_for_cost_and_limits(self):
        own = NativeAuthConfig(
            jwt=JWTConfig(secret="an application's own secret, of course", issuer="app"),
            password=PasswordConfig(min_length=20),
        )
        with open_test_auth(config=own, enable_signup=False) as auth:
            assert auth.config.jwt == own.jwt
            assert auth.config.password.min_length == 20
            assert auth.config.password.hash_profile == "cheapest"
            assert auth.config.throttle == ThrottleConfig.off()
            assert auth.config.enable_confirmation
            assert not auth.config.enable_signup

    def test_users_made_later_come_first_though_the_clock_stands(self):
        with open_test_auth() as auth:
            made = [make_user(auth).id for _ in range(20)]
            assert [user.id for user in auth.list_users()] == made[::-1]

    def test_somebody_without_a_password_can_be_signed_in(self):
        with open_test_auth() as auth:
            user = make_user(auth, password=None)
            cookie = auth.issue_session_cookie(sign_in_as(auth, user))
            assert auth.authenticate_cookie(cookie).user_id == user.id

    def test_a_disabled_user_s_headers_open_nothing(self):
        with open_test_auth() as auth:
            user = make_user(auth, is_active=False)
            assert auth.authenticate(Request(auth_headers(auth, user))) is None


class TestWithUnittest(unittest.TestCase):
    def setUp(self):
        self.auth = self.enterContext(open_test_auth())

    def test_the_context_manager_serves_a_test_case(self):
        assert make_user(self.auth, email="ada@example.com").email == "ada@example.com"


class TestOutbox:
    def test_a_mail_that_was_not_sent_is_named_with_those_that_were(self):
        with open_test_auth() as auth:
            user = make_user(auth)
            auth.request_password_recovery(email=user.email, recovery_url=URL)
            with pytest.raises(AssertionError, match=f"magic_link; sent: recovery to {user.email}"):
                Outbox(auth).last("magic_link")

    def test_what_was_cleared_is_not_seen_again(self):
        with open_test_auth() as auth:
            outbox = Outbox(auth)
            first, second = make_user(auth), make_user(auth)
            auth.request_password_recovery(email=first.email, recovery_url=URL)
            outbox.clear()
            assert outbox.all() == []
            auth.request_password_recovery(email=second.email, recovery_url=URL)
            assert [mail.to for mail in outbox.all("recovery", to=second.email)] == [second.email]


class TestMovableClock:
    def test_it_stands_until_it_is_moved(self):
        clock = MovableClock()
        assert clock() == clock() == datetime(2026, 1, 1, 12, tzinfo=UTC)
        clock.advance(days=-1, hours=1)
        assert clock() == datetime(2025, 12, 31, 13, tzinfo=UTC)

    def test_it_may_tick_with_each_look(self):
        clock = MovableClock(tick=timedelta(seconds=1))
        assert clock() < clock()


@pytest.fixture(scope="module", params=["RS256", "ES256"])
def provider(request):
    with FakeOAuth(algorithm=request.param, redirect_uri="http://localhost/back?a=b") as fake:
        yield fake


@pytest.fixture
def client(provider):
    provider.broken, provider.delay = False, 0.0
    with open_test_auth(oidc=[provider.config]) as auth:
        yield auth


class TestFakeOAuth:
    def finish(self, client, back, start):
        return client.sign_in_with_oauth(
            "fake", back.code, state=back.state, iss=back.iss, binding=start.binding
        )

    def test_who_consents_is_signed_in(self, client, provider):
        start = client.start_oauth("fake")
        back = provider.consent(start.url, email="ada@example.com")
        assert back.url.startswith("http://localhost/back?a=b&code=")
        result = self.finish(client, back, start)
        assert result.user.email_confirmed_at is not None
        assert client.list_identities(result.user.id)[0].subject == "subject of ada@example.com"

    def test_a_code_serves_once(self, client, provider):
        start, other = client.start_oauth("fake"), client.start_oauth("fake")
        back = provider.consent(start.url)
        self.finish(client, back, start)
        with pytest.raises(InvalidCredentialsError):
            client.sign_in_with_oauth("fake", back.code, state=other.state, iss=back.iss)

    def test_the_code_of_one_sign_in_does_not_serve_another(self, client, provider):
        """The provider checks PKCE, so that a code that was planted is not taken."""
        start, other = client.start_oauth("fake"), client.start_oauth("fake")
        stolen = provider.consent(other.url)
        with pytest.raises(InvalidCredentialsError):
            client.sign_in_with_oauth("fake", stolen.code, state=start.state, iss=stolen.iss)

    def test_who_declines_brings_an_error_and_no_code(self, client, provider):
        start = client.start_oauth("fake")
        back = provider.deny(start.url)
        assert (back.error, back.code, back.state) == ("access_denied", None, start.state)

    def test_an_address_that_is_not_verified_links_to_nobody(self, client, provider):
        make_user(client, email="ada@example.com")
        start = client.start_oauth("fake")
        back = provider.consent(start.url, email="ada@example.com", email_verified=False)
        with pytest.raises(InvalidCredentialsError):
            self.finish(client, back, start)

    def test_a_broken_provider_is_a_backend_error(self, client, provider):
        start = client.start_oauth("fake")
        back = provider.consent(start.url)
        provider.broken = True
        with pytest.raises(AuthBackendError):
            self.finish(client, back, start)

    def test_a_slow_provider_takes_its_time(self, client, provider):
        start = client.start_oauth("fake")
        back = provider.consent(start.url)
        provider.delay = 0.2
        begun = time.monotonic()
        self.finish(client, back, start)
        assert time.monotonic() - begun >= 0.2

    def test_a_browser_is_sent_back_at_once(self, client, provider):
        start = client.start_oauth("fake")
        provider.user = {"email": "bob@example.com"}
        answer = requests.get(start.url, allow_redirects=False, timeout=5)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("http://localhost/back?a=b&code=")
        provider.user = None
        answer = requests.get(start.url, allow_redirects=False, timeout=5)
        assert "error=access_denied" in answer.headers["Location"]

    def test_a_wrong_secret_is_refused(self, provider):
        import dataclasses

        wrong = dataclasses.replace(provider.config, client_secret="wrong")
        with open_test_auth(oidc=[wrong]) as client:
            start = client.start_oauth("fake")
            with pytest.raises(AuthBackendError):
                self.finish(client, provider.consent(start.url), start)
