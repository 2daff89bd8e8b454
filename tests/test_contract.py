"""One contract, and every backend that there is."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import ClassVar

import pytest

from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import InvalidTokenError
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.native_client import NativeAuthClient
from derp_auth_lite.orm import DatabaseEngine
from derp_auth_lite.supabase_client import SupabaseAuthClient
from derp_auth_lite.testing import FakeOAuth, FakeSupabase, Outbox
from derp_auth_lite.testing.contract import PAGE, BackendContract, Mailed
from derp_auth_lite.testing.workos import FakeWorkOS
from derp_auth_lite.workos_client import WorkOSAuthClient

from .support import MovableClock, native_config

STATE = "a state that nobody guesses"


@pytest.fixture
def auth_clock():
    """The clock of client and service; later is later in lists, too."""
    return MovableClock(tick=timedelta(microseconds=1))


@contextlib.contextmanager
def connected(client, database, clock, *, email=None):
    client.set_db(DatabaseEngine(database, clock=clock))
    client.set_kv(MemoryKV(clock=clock))
    client.set_email(email)
    with client:
        yield client


class OwnMail(BackendContract):
    """The library mails."""

    def mails_to(self, auth, address):
        return len(Outbox(auth).all(to=address))

    def mailed(self, auth, address):
        return Mailed(Outbox(auth).last(to=address).token)


class TestNative(OwnMail):
    @pytest.fixture
    def provider(self, auth_clock):
        with FakeOAuth(clock=auth_clock, algorithm="ES256") as provider:
            yield provider

    @pytest.fixture
    def make(self, database, auth_clock, provider):
        with contextlib.ExitStack() as stack:

            def make(**settings):
                config = native_config(oidc=[provider.config], **settings)
                client = NativeAuthClient(config, clock=auth_clock, mail_worker=False)
                mail = EmailClient.in_memory(clock=auth_clock)
                client.provider = provider
                return stack.enter_context(connected(client, database, auth_clock, email=mail))

            yield make

    @pytest.fixture
    def auth(self, make):
        return make(enable_magic_link=True)

    @pytest.fixture
    def confirming(self, make):
        return make(enable_confirmation=True)

    def enter_by_provider(self, auth, address):
        start = auth.start_oauth("fake")
        back = auth.provider.consent(start.url, email=address)
        return auth.sign_in_with_oauth(
            "fake", back.code, state=back.state, iss=back.iss, binding=start.binding
        )


class SupabaseContract(BackendContract):
    """What the projects below have in common."""

    CANNOT: ClassVar = {
        "list_users_by_cursor": "use list_users with limit and offset",
        "list_sessions": "query auth.sessions",
        "list_sessions(user_id=None)": "query auth.sessions",
        "list_sessions_by_cursor": "query auth.sessions",
    }
    PROJECT: ClassVar = {}

    @pytest.fixture
    def project(self, auth_clock):
        with FakeSupabase(clock=auth_clock, **self.PROJECT) as project:
            yield project

    @pytest.fixture
    def auth(self, project, database, auth_clock):
        client = SupabaseAuthClient(project.config, clock=auth_clock, mail_worker=False)
        client.project = project
        with connected(client, database, auth_clock, email=self.email(auth_clock)):
            yield client

    @pytest.fixture
    def confirming(self, project, auth):
        project.autoconfirm = False
        return auth

    def email(self, clock):
        return None

    def enter_by_provider(self, auth, address):
        url = auth.get_oauth_authorization_url("google", STATE)
        back = auth.project.consent(url, email=address)
        assert back.state == STATE
        return auth.sign_in_with_oauth("google", back.code, state=back.state)


class TestSupabase(SupabaseContract):
    """A project with the legacy secret that mails by itself."""

    def mails_to(self, auth, address):
        return sum(mail.to == address for mail in auth.project.mails)

    def mailed(self, auth, address):
        mail = auth.project.last_mail(to=address)
        back = auth.project.follow(mail)
        return Mailed(back.code, {"state": back.state}) if back.code else Mailed(mail.token)


class TestSupabaseWithOwnMail(SupabaseContract, OwnMail):
    """A project without the legacy secret; the library mails."""

    CANNOT: ClassVar = {**SupabaseContract.CANNOT, "sign_out": "set SupabaseConfig.jwt_secret"}
    PROJECT: ClassVar = {"legacy_secret": False, "keys": "legacy"}

    def email(self, clock):
        return EmailClient.in_memory(clock=clock)


class WorkOSContract(BackendContract):
    """What the environments below have in common."""

    CANNOT: ClassVar = {"list_sessions(user_id=None)": "of one user alone"}

    @pytest.fixture
    def service(self, auth_clock):
        with FakeWorkOS(clock=auth_clock) as service:
            yield service

    @pytest.fixture
    def auth(self, service, tmp_path, auth_clock):
        """Of the database just the outbox is used: one is enough."""
        client = WorkOSAuthClient(service.config, clock=auth_clock, mail_worker=False)
        client.service = service
        email, database = self.email(auth_clock), str(tmp_path / "auth.db")
        with connected(client, database, auth_clock, email=email):
            yield client

    @pytest.fixture
    def confirming(self, service, auth):
        service.grants.verifies_emails = True
        return auth

    def email(self, clock):
        return None

    def enter_by_provider(self, auth, address):
        start = auth.start_oauth("google")
        back = auth.service.consent(start.url, email=address)
        return auth.sign_in_with_oauth("google", back.code, state=back.state, binding=start.binding)

    def test_a_session_has_an_organization_active(self, auth):
        """A session enters organizations, but WorkOS lets it leave by another sign-in alone."""
        result = self.join(auth)
        org = self.found(auth, result.user.id)
        tokens = self.enter(auth, result.tokens, org.id)
        session = self.session(auth, tokens)
        assert auth.is_org_authorized(session, org.id, "owner")
        kept = auth.refresh_token(tokens.refresh_token)
        assert self.session(auth, kept).org_id == org.id
        with pytest.raises(NotImplementedError, match="sign in again"):
            self.enter(auth, kept, None)

    def test_a_refresh_token_that_comes_back_ends_the_session(self, auth):
        """WorkOS refuses it, and says nothing of ending the session."""
        first = self.join(auth).tokens
        second = auth.refresh_token(first.refresh_token)
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(first.refresh_token)
        assert auth.refresh_token(second.refresh_token)


class TestWorkOS(WorkOSContract):
    """WorkOS mails its codes."""

    def mails_to(self, auth, address):
        return sum(mail.to == address for mail in auth.service.mails)

    def mailed(self, auth, address):
        mail = auth.service.last_mail(to=address)
        if mail.kind == "magic_auth":
            return Mailed(auth.magic_link_token(email=address, code=mail.code))
        if mail.kind == "email_verification":
            return Mailed(auth.confirmation_token(user_id=mail.user_id, code=mail.code))
        return Mailed(mail.code)


class TestWorkOSWithOwnMail(WorkOSContract, OwnMail):
    """The library mails links."""

    def email(self, clock):
        return EmailClient.in_memory(clock=clock)

    def test_a_confirmation_is_mailed_again_while_it_is_wanted(self, confirming):
        """That one is WorkOS' own, since it shows its code to nobody."""
        self.join(confirming, confirmation_url=PAGE)
        before = len(confirming.service.mails)
        confirming.resend_confirmation_email(email="ada@example.com", confirmation_url=PAGE)
        confirming.deliver_mail()
        assert len(confirming.service.mails) == before + 1
