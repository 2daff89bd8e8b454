"""The fake Supabase project as an application's tests meet it."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from derp_auth_lite import AuthBackendError, open_auth
from derp_auth_lite.testing import FakeSupabase, MovableClock
from derp_auth_lite.testing.contract import BackendContract, Hooks

from .supabase_support import ADA, PAGE, bearer, connected, join

STATE = "a state that nobody guesses"


@pytest.fixture
def project():
    with FakeSupabase(clock=MovableClock()) as project:
        yield project


@pytest.fixture
def auth(project):
    with connected(project.config, project.clock) as client:
        yield client


def opened(url):
    """Let a browser open a page; return where it is sent, and the query there."""
    answer = requests.get(url, allow_redirects=False, timeout=5)
    assert answer.status_code == 303
    target = answer.headers["Location"]
    return target, dict(parse_qsl(urlsplit(target).query))


def test_the_example_of_its_docstring_is_so():
    with FakeSupabase() as project, open_auth(":memory:", config=project.config) as auth:
        auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        back = project.follow(project.last_mail())
        assert auth.verify_magic_link(back.code, state=back.state).user.email == ADA


def test_a_browser_can_open_a_mails_link(auth, project):
    join(auth)
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    target, query = opened(project.last_mail().link)
    assert target.startswith(f"{PAGE}?state=")
    assert auth.verify_magic_link(query["code"], state=query["state"]).tokens


def test_a_link_without_a_challenge_brings_its_tokens_where_no_server_looks(auth, project):
    join(auth)
    auth.set_kv(None)
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    target, query = opened(project.last_mail().link)
    assert query == {}
    assert target.startswith(f"{PAGE}#access_token=")


def test_a_browser_can_open_a_providers_page(auth, project):
    project.user = {"email": "bob@example.com", "full_name": "Bob"}
    _, query = opened(auth.get_oauth_authorization_url("google", STATE))
    result = auth.sign_in_with_oauth("google", query["code"], state=query["state"])
    assert result.user.email == "bob@example.com"
    assert result.user.metadata["full_name"] == "Bob"
    project.user = None
    _, query = opened(auth.get_oauth_authorization_url("google", STATE))
    assert query == {"state": STATE, "error": "access_denied"}


def test_a_link_that_is_spent_is_an_error_in_a_browser_too(auth, project):
    join(auth)
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    link = project.last_mail().link
    opened(link)
    assert requests.get(link, allow_redirects=False, timeout=5).status_code == 403


def test_a_newer_link_ends_the_older_one_and_each_ends_in_an_hour(auth, project):
    join(auth)
    tokens = []
    for _ in range(2):
        auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        tokens.append(project.last_mail().token)
    verify = f"{project.url}/auth/v1/verify"
    headers = {"apikey": project.anon_key}

    def status(token):
        body = {"type": "email", "token_hash": token}
        return requests.post(verify, json=body, headers=headers, timeout=5).status_code

    assert status(tokens[0]) == 403
    project.clock.advance(hours=1)
    assert status(tokens[1]) == 403


def test_six_digits_will_do_with_their_address(auth, project):
    join(auth)
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    body = {"type": "email", "token": project.last_mail().code, "email": ADA}
    answer = requests.post(
        f"{project.url}/auth/v1/verify", json=body, headers={"apikey": project.anon_key}, timeout=5
    )
    assert answer.json()["user"]["email"] == ADA


def test_a_mail_that_is_not_there_is_a_clear_failure(auth, project):
    join(auth)
    auth.request_password_recovery(email=ADA, recovery_url=PAGE)
    with pytest.raises(AssertionError, match=r"no such mail; sent: .*ada@example\.com"):
        project.last_mail(to="bob@example.com")
    assert project.last_mail(to=ADA).token not in repr(project.mails)


def test_who_has_no_right_key_gets_nothing(project):
    url = f"{project.url}/auth/v1"
    assert requests.get(f"{url}/settings", timeout=5).status_code == 401
    for key in ("wrong", project.anon_key):
        answer = requests.get(f"{url}/admin/users", headers={"apikey": key}, timeout=5)
        assert answer.status_code in (401, 403)
    answer = requests.get(f"{url}/nothing", headers={"apikey": project.anon_key}, timeout=5)
    assert answer.status_code == 404


def test_what_fails_fails_as_often_and_where_it_was_told_to(auth, project):
    user = join(auth).user
    project.disturb(400, {"error_code": "bad"}, path="/token", times=2)
    assert auth.get_user(user.id) == user
    for _ in range(2):
        with pytest.raises(AuthBackendError):
            auth.refresh_token("x")
    project.disturb(delay=0.2)
    began = time.monotonic()
    assert auth.get_user(user.id) == user
    assert time.monotonic() - began >= 0.2


def test_a_secret_is_needed_for_what_it_signs():
    with pytest.raises(ValueError, match="legacy secret"):
        FakeSupabase(alg="HS256", legacy_secret=False)


def test_reuse_of_a_refresh_token_is_the_services(auth, project):
    """Within ten seconds, or of the direct parent, no error; else the session ends."""
    first = join(auth).tokens
    second = auth.refresh_token(first.refresh_token)
    third = auth.refresh_token(second.refresh_token)
    assert auth.refresh_token(first.refresh_token).refresh_token == third.refresh_token
    project.clock.advance(minutes=1)
    assert auth.refresh_token(second.refresh_token).refresh_token == third.refresh_token
    assert auth.authenticate(bearer(third))


class TestHooksHaveToBeFilledIn(Hooks):
    CANNOT = {"swim": "sinks"}  # noqa: RUF012 - as a third party writes it

    def test_what_is_not_offered_must_say_why(self):
        with self.offered("swim"):
            raise NotImplementedError("it sinks: take a boat")
        with pytest.raises(AssertionError), self.offered("swim"):
            raise NotImplementedError("no")
        with pytest.raises(BaseException, match="DID NOT RAISE"), self.offered("swim"):
            pass
        with pytest.raises(NotImplementedError), self.offered("walk"):
            raise NotImplementedError("not promised")

    def test_without_them_nothing_can_be_tested(self):
        for hook in ("mails_to", "mailed", "enter_by_provider"):
            with pytest.raises(NotImplementedError):
                getattr(self, hook)(None, ADA)


def test_the_contract_is_not_collected_by_itself():
    assert not BackendContract.__name__.startswith("Test")
    assert len([name for name in dir(BackendContract) if name.startswith("test_")]) > 45
