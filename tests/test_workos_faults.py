"""A service that is slow, broken, or lies; and its keys."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from derp_auth_lite._jwks import unverified_claims
from derp_auth_lite.config import WorkOSConfig
from derp_auth_lite.exceptions import (
    AuthBackendError,
    AuthError,
    InvalidTokenError,
    RateLimitedError,
)
from derp_auth_lite.testing.workos import FakeWorkOS

from .servers.faults import FAULTS
from .servers.loopback import LoopbackServer, free_port
from .servers.signing import b64, rsa_key, sign
from .support import PASSWORD, Request
from .workos_support import ADA, PAGE, connected


@pytest.fixture
def service(auth_clock):
    with FakeWorkOS(clock=auth_clock) as service:
        yield service


@pytest.fixture
def auth(service, auth_clock):
    with connected(service.config, auth_clock) as client:
        yield client


def look(auth, token):
    return auth.authenticate(Request(token))


def enter(auth):
    return auth.sign_up(email=ADA, password=PASSWORD)


@pytest.mark.parametrize(
    "end",
    [
        lambda auth, session: auth.sign_out(session.session_id),
        lambda auth, session: auth.update_user(user_id=session.user_id, is_active=False),
    ],
    ids=["sign_out", "disable"],
)
def test_a_session_whose_end_the_service_missed_gets_no_tokens_and_ends(auth, service, end):
    """Else it would authenticate again once the KV store's note of its end is over."""
    tokens = enter(auth).tokens
    session = look(auth, tokens.access_token)
    service.disturb(503, path="/sessions/revoke")
    with pytest.raises(AuthBackendError):
        end(auth, session)
    assert len(service.environment.sessions) == 1
    with pytest.raises(InvalidTokenError):
        auth.refresh_token(tokens.refresh_token)
    assert [it["status"] for it in service.environment.sessions.values()] == ["revoked"]


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("/sessions", lambda auth, user: auth.set_password(user_id=user.id, password=PASSWORD)),
        ("/sessions", lambda auth, user: auth.sign_out_all(user.id)),
        ("/sessions/revoke", lambda auth, user: auth.sign_out_all(user.id)),
    ],
    ids=["set_password, list", "sign_out_all, list", "sign_out_all, revoke"],
)
def test_sessions_that_could_not_be_ended_with_a_password_end_when_they_are_refreshed(
    auth, service, auth_clock, path, end
):
    """A reset is not tried again, since its token is spent: it must not leave a thief inside."""
    entered = enter(auth)
    thief = auth.sign_in_with_password(ADA, PASSWORD).tokens
    auth._api.http._retries = 0  # they take time, and are another test's
    service.disturb(503, path=path)
    with pytest.raises(AuthBackendError):
        end(auth, entered.user)
    auth_clock.advance(seconds=1)
    owner = auth.sign_in_with_password(ADA, PASSWORD).tokens
    for stolen in (thief, entered.tokens):
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(stolen.refresh_token)
    assert look(auth, auth.refresh_token(owner.refresh_token).access_token)


CALLS = {
    "sign_in_with_password": lambda auth: auth.sign_in_with_password(ADA, PASSWORD),
    "refresh_token": lambda auth: auth.refresh_token("a refresh token"),
    "get_user": lambda auth: auth.get_user("user_1"),
    "list_users": lambda auth: auth.list_users(),
    "authenticate": lambda auth: look(auth, sign({"sub": "u", "sid": "s", "exp": 9e9}, rsa_key())),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", CALLS)
def test_whatever_goes_wrong_is_an_error_of_the_library_in_time(auth_clock, fault, name):
    """Never a wrong result, never another exception, and within the time that a call may take."""
    with LoopbackServer(FAULTS[fault]) as server:
        config = WorkOSConfig(api_key="sk_test_1", client_id="client_1", base_url=server.url)
        with (
            connected(config, auth_clock, timeout=0.25) as auth,
            pytest.raises(AuthError) as caught,
        ):
            CALLS[name](auth)
        kinds = (AuthBackendError, RateLimitedError) if "429" in fault else AuthBackendError
        assert isinstance(caught.value, kinds)
        if name in ("sign_in_with_password", "refresh_token"):
            assert len(server.calls) == 1


def test_nobody_at_home_is_an_error_of_the_library(auth_clock):
    url = f"http://127.0.0.1:{free_port()}"
    config = WorkOSConfig(api_key="sk_test_1", client_id="client_1", base_url=url)
    with connected(config, auth_clock, timeout=1.0) as auth, pytest.raises(AuthBackendError):
        auth.count_users()


class TestRepeating:
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    def test_what_only_reads_is_tried_again(self, auth, service, status):
        user = enter(auth).user
        service.disturb(status, "<html>", headers={"Retry-After": "0"}, times=2)
        assert auth.get_user(user.id) == auth.get_user(user.id)

    def test_a_lost_answer_to_a_change_is_asked_for_again(self, auth, service):
        user = enter(auth).user
        service.disturb(lost=True, path=user.id)
        assert auth.update_user(user_id=user.id, first_name="Ada").first_name == "Ada"

    @pytest.mark.parametrize(
        "call",
        [
            lambda auth, tokens: auth.refresh_token(tokens.refresh_token),
            lambda auth, tokens: auth.sign_in_with_password(ADA, PASSWORD),
            lambda auth, tokens: auth.create_user(email="bob@example.com"),
            lambda auth, tokens: auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE),
            lambda auth, tokens: auth.delete_user("user_1"),
        ],
        ids=["refresh", "password", "create", "mail", "delete"],
    )
    @pytest.mark.parametrize(
        "fault", [{"lost": True}, {"truncated": True}, {"status": 503}], ids=str
    )
    def test_what_does_something_is_sent_once(self, auth, service, call, fault):
        """A refresh above all: the second one would look like a theft."""
        tokens = enter(auth).tokens
        before = len(service.calls)
        service.disturb(**fault, path="authenticate")
        service.disturb(**fault, path="/users")
        service.disturb(**fault, path="/magic_auth")
        service.disturb(**fault, path="/user_1")
        with pytest.raises(AuthBackendError):
            call(auth, tokens)
        writes = [call for call in service.calls[before:] if call.method in ("POST", "DELETE")]
        assert len(writes) == 1


class TestKeys:
    def test_a_new_key_is_fetched_when_a_token_names_it(self, auth, service, auth_clock):
        assert look(auth, enter(auth).tokens.access_token)
        service.rotate_keys()
        auth_clock.advance(minutes=2)
        tokens = auth.sign_in_with_password(ADA, PASSWORD).tokens
        assert look(auth, tokens.access_token)

    def test_a_key_that_is_published_no_more_signs_nobody_in(self, auth, service, auth_clock):
        old = enter(auth).tokens.access_token
        service.rotate_keys()
        assert look(auth, old) is None

    def test_a_thousand_unknown_keys_cause_one_fetch_an_interval(self, auth, service, auth_clock):
        session = look(auth, enter(auth).tokens.access_token)
        claims = {"iss": service.grants.issuer, "sub": session.user_id, "sid": "s", "exp": 9e9}
        auth_clock.advance(minutes=2)
        before = len(service.calls)
        for number in range(1000):
            assert look(auth, sign(claims, rsa_key(), kid=f"unknown-{number}")) is None
        assert len(service.calls) - before == 1
        auth_clock.advance(seconds=61)
        assert look(auth, sign(claims, rsa_key(), kid="unknown")) is None
        assert len(service.calls) - before == 2

    def test_keys_that_cannot_be_had_are_not_nobody(self, auth, service):
        """An application would sign everybody out."""
        token = enter(auth).tokens.access_token
        service.disturb(503, path=f"/jwks/{service.client_id}", times=9)
        with pytest.raises(AuthBackendError):
            look(auth, token)

    def test_known_keys_serve_on_while_the_service_is_down(self, auth, service, auth_clock):
        token = enter(auth).tokens.access_token
        assert look(auth, token)
        claims = unverified_claims(token)
        auth_clock.advance(hours=3)
        fresh = service.sign(claims["sub"], claims["sid"])
        service.disturb(503, times=99)
        assert look(auth, fresh)

    def test_threads_that_come_first_fetch_once(self, auth, service):
        token = enter(auth).tokens.access_token
        barrier, seen = threading.Barrier(8), []

        def check():
            barrier.wait()
            seen.append(look(auth, token))

        threads = [threading.Thread(target=check) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 8
        assert all(seen)
        assert sum("jwks" in call.path for call in service.calls) == 1

    @pytest.mark.parametrize("alg", ["HS256", "none", "None", "RS384", "PS256", "ES256"])
    def test_another_algorithm_than_the_keys_own_is_refused(self, auth, service, alg):
        """RFC 8725, section 3.1; the public key as the secret of an HMAC above all."""
        session = look(auth, enter(auth).tokens.access_token)
        published = service._signer.published()[0]
        claims = {"iss": service.grants.issuer, "sub": session.user_id, "sid": "s", "exp": 9e9}
        header = {"alg": alg, "kid": published["kid"], "typ": "JWT"}
        if alg == "HS256":
            token = sign(claims, published["n"].encode(), alg=alg, kid=published["kid"])
        else:
            token = sign(claims, service._signer._key, kid=published["kid"], header=header)
        assert look(auth, token) is None

    def test_a_key_that_a_token_brings_along_is_not_looked_at(self, auth, service):
        session = look(auth, enter(auth).tokens.access_token)
        own = rsa_key("mine")
        claims = {"iss": service.grants.issuer, "sub": session.user_id, "sid": "s", "exp": 9e9}
        numbers = own.public_key().public_numbers()
        jwk = {"kty": "RSA", "n": b64(numbers.n.to_bytes(256)), "e": "AQAB"}
        kid = service._signer.published()[0]["kid"]
        assert look(auth, sign(claims, own, kid=kid, header={"jwk": jwk})) is None

    @pytest.mark.parametrize(
        ("skew", "known"),
        [(-59, True), (-61, False), (359, True), (361, False)],
        ids=["59 s behind", "61 s behind", "59 s past the end", "61 s past the end"],
    )
    def test_clocks_may_differ_by_a_minute(self, auth, auth_clock, skew, known):
        auth_clock.now = auth_clock.now.replace(microsecond=0)
        token = enter(auth).tokens.access_token
        assert look(auth, token)
        auth_clock.now = auth_clock.now.replace(microsecond=0) + timedelta(seconds=skew)
        assert (look(auth, token) is not None) is known


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": 5},
        {"id": "user_1"},
        {"id": "user_1", "email": None},
        {"id": "user_1", "email": "a@b.test", "created_at": "yesterday"},
        {"id": "user_1", "email": "a@b.test", "created_at": 5},
        [],
        "yes",
    ],
    ids=str,
)
def test_what_is_no_user_is_an_error_and_no_user(auth, service, body):
    service.disturb(200, [body] if isinstance(body, str) else body)
    with pytest.raises(AuthBackendError):
        auth.get_user("user_1")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"access_token": "x", "refresh_token": "y"},
        {"access_token": "a.e30.c", "refresh_token": "y"},
        {"access_token": "a." + b64(b'{"exp": "soon"}') + ".c", "refresh_token": "y"},
        {"access_token": "a." + b64(b'{"exp": 1e99}') + ".c", "refresh_token": "y"},
        {"access_token": "a." + b64(b'{"exp": 5}') + ".c"},
    ],
    ids=["empty", "no JWT", "no end", "a word", "no time", "no refresh token"],
)
def test_what_are_no_tokens_is_an_error_and_no_session(auth, service, body):
    service.disturb(200, body)
    with pytest.raises(AuthBackendError):
        auth.refresh_token("a refresh token")


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("/sessions", lambda auth: auth.list_sessions(user_id="user_1")),
        ("/organizations", lambda auth: auth.list_orgs()),
        ("/organization_memberships", lambda auth: auth.list_org_members(org_id="org_1")),
    ],
    ids=["sessions", "organizations", "members"],
)
@pytest.mark.parametrize("data", [None, "x", [5], [{}], [{"id": 5}]], ids=str)
def test_what_is_no_list_is_an_error(auth, service, path, call, data):
    service.disturb(200, {"data": data}, path=path)
    with pytest.raises(AuthBackendError):
        call(auth)
