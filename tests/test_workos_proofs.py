"""A first proof of an address, and the password that somebody else may have set before it.

WorkOS proves the address by one call and has the password replaced by another: whatever happens
between them, that password opens nothing.
"""

from __future__ import annotations

import pytest

from derp_auth_lite._workos import links
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import AuthBackendError, InvalidCredentialsError, InvalidTokenError
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.testing.workos import FakeWorkOS

from .support import PASSWORD
from .workos_support import ADA, PAGE, connected, lose_calls

OWNERS = "the password of the owner"


@pytest.fixture
def service(auth_clock):
    with FakeWorkOS(clock=auth_clock) as service:
        yield service


@pytest.fixture
def kv(auth_clock):
    return MemoryKV(clock=auth_clock)


@pytest.fixture
def auth(service, auth_clock, kv):
    with connected(service.config, auth_clock, kv=kv) as client:
        client._api.http._retries = 0
        yield client


def link(auth, service):
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    return auth.magic_link_token(email=ADA, code=service.last_mail().code)


@pytest.mark.parametrize("done", [False, True], ids=["not done", "not answered"])
@pytest.mark.parametrize("point", [1, 2, 3, 4, 5])
def test_a_failure_at_any_call_leaves_a_password_that_opens_nothing_once_the_address_is_proved(
    auth, service, auth_clock, point, done
):
    thief = auth.sign_up(email=ADA, password=PASSWORD).tokens
    auth_clock.advance(hours=1)
    token = link(auth, service)
    mend = lose_calls(service, point, done=done)
    with pytest.raises(AuthBackendError):
        auth.verify_magic_link(token)
    mend()
    if service.environment.by_email(ADA)["email_verified"]:
        for _ in range(2):
            with pytest.raises(InvalidCredentialsError):
                auth.sign_in_with_password(ADA, PASSWORD)
    auth_clock.advance(minutes=2)
    owner = auth.verify_magic_link(link(auth, service))
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_password(ADA, PASSWORD)
    with pytest.raises(InvalidTokenError):
        auth.refresh_token(thief.refresh_token)
    assert auth.refresh_token(owner.tokens.refresh_token)


def test_who_never_proved_the_address_keeps_the_password_while_others_guess_codes(auth, service):
    auth.sign_up(email=ADA, password=PASSWORD)
    link(auth, service)
    with pytest.raises(InvalidTokenError):
        auth.verify_magic_link(auth.magic_link_token(email=ADA, code="000000x"))
    assert auth.sign_in_with_password(ADA, PASSWORD).tokens
    service.environment.by_email(ADA)["email_verified"] = True
    assert auth.sign_in_with_password(ADA, PASSWORD).tokens


@pytest.mark.parametrize("how", ["reset", "set"])
def test_a_password_that_is_set_afterwards_is_the_owners(auth, service, how):
    user = auth.sign_up(email=ADA, password=PASSWORD).user
    token = link(auth, service)
    mend = lose_calls(service, 3, done=False)
    with pytest.raises(AuthBackendError):
        auth.verify_magic_link(token)
    mend()
    if how == "set":
        auth.set_password(user_id=user.id, password=OWNERS)
    else:
        auth.request_password_recovery(email=ADA, recovery_url=PAGE)
        auth.reset_password(service.last_mail().code, OWNERS)
    assert auth.sign_in_with_password(ADA, OWNERS).tokens
    assert auth.verify_magic_link(link(auth, service)).tokens
    assert auth.sign_in_with_password(ADA, OWNERS).tokens


class TestAddressesOfBefore:
    """What was mailed to an address is worth nothing once the account has another."""

    @pytest.fixture(params=[False, True], ids=["WorkOS mails", "the library mails"])
    def mailing(self, request, service, auth_clock):
        email = EmailClient.in_memory(clock=auth_clock) if request.param else None
        with connected(service.config, auth_clock, email=email) as client:
            yield client

    def test_a_magic_link_enters_and_proves_nothing(self, mailing, service):
        user = mailing.create_user(email=ADA, confirmed=True)
        mailing.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        if mailing.email_client is not None:
            mailing.deliver_mail()
        token = mailing.magic_link_token(email=ADA, code=service.last_mail().code)
        mailing.update_user(user_id=user.id, email="new@example.com")
        with pytest.raises(InvalidTokenError):
            mailing.verify_magic_link(token)
        assert mailing.get_user(user.id).email_confirmed_at is None
        assert not service.environment.sessions

    def test_a_confirmation_proves_nothing(self, mailing, service):
        user = mailing.create_user(email=ADA)
        mailing.resend_confirmation_email(email=ADA, confirmation_url=PAGE)
        if mailing.email_client is not None:
            mailing.deliver_mail()
        token = mailing.confirmation_token(user_id=user.id, code=service.last_mail().code)
        mailing.update_user(user_id=user.id, email="new@example.com")
        with pytest.raises(InvalidTokenError):
            mailing.confirm_email(token)
        assert mailing.get_user(user.id).email_confirmed_at is None

    def test_a_recovery_link_of_the_library_sets_no_password(self, service, auth_clock):
        email = EmailClient.in_memory(clock=auth_clock)
        with connected(service.config, auth_clock, email=email) as auth:
            user = auth.create_user(email=ADA, password=PASSWORD, confirmed=True)
            auth.request_password_recovery(email=ADA, recovery_url=PAGE)
            auth.deliver_mail()
            token, raw = email.sent[-1].token, service.last_mail().code
            auth.update_user(user_id=user.id, email="new@example.com")
            bound_anew = links.join("recover", "new@example.com", raw)
            for tried in (token, raw, bound_anew, f"{token}A", token[:-8], ""):
                with pytest.raises(InvalidTokenError):
                    auth.reset_password(tried, OWNERS)
            assert auth.sign_in_with_password("new@example.com", PASSWORD).tokens
            auth.update_user(user_id=user.id, email=ADA)
            assert auth.reset_password(token, OWNERS).email == ADA

    def test_an_address_with_capitals_at_the_service_is_the_same(self, auth, service):
        theirs = service.environment.add_user({"email": ADA}) | {"email": "Ada@Example.com"}
        service.disturb(200, {"data": [theirs]}, path="/users")
        assert auth.find_user(ADA).id == theirs["id"]
        service.disturb(200, {"data": [theirs | {"email": "eve@example.com"}]}, path="/users")
        assert auth.find_user(ADA) is None
