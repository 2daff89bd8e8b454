from __future__ import annotations

import dataclasses
import logging
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from derp_auth_lite.config import WorkOSConfig
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import (
    AuthBackendError,
    AuthNotConnectedError,
    AuthStepRequiredError,
    ConfigError,
    EmailNotConfirmedError,
    InvalidCredentialsError,
    InvalidCursorError,
    InvalidProfileError,
    InvalidTokenError,
    LastOwnerError,
    OrgMemberNotFoundError,
    OrgNotFoundError,
    OrgSlugConflictError,
    RateLimitedError,
    UserDisabledError,
    UserNotFoundError,
)
from derp_auth_lite.factory import open_auth
from derp_auth_lite.testing import Outbox
from derp_auth_lite.testing.service import json_reply
from derp_auth_lite.testing.workos import FakeWorkOS
from derp_auth_lite.workos_client import WorkOSAuthClient

from .support import PASSWORD, Request
from .workos_support import ADA, PAGE, connected

BAD_IDS = ["", ".", "..", "../x", "a/b", "a\\b", "%2e%2e", "a?b", "a#b", "a b", "\x00", "x" * 300]


@pytest.fixture
def service(auth_clock):
    with FakeWorkOS(clock=auth_clock) as service:
        yield service


@pytest.fixture
def auth(service, auth_clock):
    with connected(service.config, auth_clock) as client:
        yield client


@pytest.fixture
def mailing(service, auth_clock):
    """A client whose mails are the library's; the environment sends none."""
    service.environment.sends_mail = False
    email = EmailClient.in_memory(clock=auth_clock)
    with connected(service.config, auth_clock, email=email) as client:
        yield client


def join(auth, email=ADA, **fields):
    return auth.sign_up(email=email, password=PASSWORD, **fields)


def look(auth, tokens):
    return auth.authenticate(Request(tokens.access_token))


def since(service, number):
    """Return "METHOD /path" of the calls after the first *number*."""
    return [f"{call.method} {call.path}" for call in service.calls[number:]]


class TestOpening:
    def test_a_configuration_is_all_that_it_takes(self, service):
        with open_auth(":memory:", config=service.config) as auth:
            assert isinstance(auth, WorkOSAuthClient)
            assert auth.email_client is None
            assert join(auth).tokens

    def test_the_pytest_plugin_brings_an_environment(self, fake_workos, auth_clock):
        with open_auth(":memory:", config=fake_workos.config, clock=auth_clock) as auth:
            assert look(auth, join(auth).tokens)
        assert fake_workos.last_call().path.startswith("/sso/jwks/")

    def test_without_a_database_all_but_mail_works(self, service, auth_clock):
        client = WorkOSAuthClient(service.config, clock=auth_clock)
        with client:
            assert join(client).tokens
        client.set_email(EmailClient.in_memory(clock=auth_clock))
        with pytest.raises(AuthNotConnectedError, match="set_db"):
            client.connect()

    def test_without_a_kv_store_sessions_are_verified_all_the_same(self, service, auth_clock):
        with WorkOSAuthClient(service.config, clock=auth_clock) as client:
            tokens = join(client).tokens
            session = look(client, tokens)
            client.sign_out(session.session_id)
            assert look(client, tokens) == session
            with pytest.raises(AuthNotConnectedError):
                client.start_oauth("google")

    @pytest.mark.parametrize("url", ["http://api.workos.com", "ftp://x", "nowhere"])
    def test_the_api_key_goes_over_https_alone(self, url):
        with pytest.raises(ConfigError):
            WorkOSAuthClient(WorkOSConfig(api_key="sk_1", client_id="client_1", base_url=url))

    def test_a_client_id_is_an_id(self, service):
        with pytest.raises(ConfigError):
            WorkOSAuthClient(dataclasses.replace(service.config, client_id="../x"))

    def test_neither_key_nor_password_is_shown(self, auth, service, caplog):
        """Nothing secret is in a log, a repr or an error, whatever fails."""
        caplog.set_level(logging.DEBUG)
        tokens = join(auth).tokens
        service.refuse(401, "unauthorized")
        with pytest.raises(AuthBackendError) as caught:
            auth.set_password(user_id=auth.list_users()[0].id, password="a new secret password")
        shown = caplog.text + repr(auth.config) + repr(auth) + repr(caught.value) + repr(tokens)
        for secret in (
            service.api_key,
            PASSWORD,
            "a new secret password",
            tokens.access_token,
            tokens.refresh_token,
        ):
            assert secret not in shown
        assert "req_fake" in caplog.text


class TestUsers:
    def test_what_the_service_has_no_place_for_lies_in_its_metadata(self, auth, service):
        user = auth.create_user(
            email=ADA,
            password=PASSWORD,
            confirmed=True,
            role="editor",
            is_superuser=True,
            username="ada",
            image_url="https://img.test/ada.png",
            metadata={"plan": "free", "seats": 3, "tags": ["a", None], "name": "Zoë", "empty": ""},
        )
        stored = service.environment.users[user.id]["metadata"]

        assert stored["role"] == "editor"
        assert stored["plan"] == "free"
        assert all(isinstance(text, str) and text.isascii() for text in stored.values())
        assert (user.role, user.is_superuser, user.is_active) == ("editor", True, True)
        assert (user.username, user.image_url) == ("ada", "https://img.test/ada.png")
        assert user.metadata == {
            "plan": "free",
            "seats": 3,
            "tags": ["a", None],
            "name": "Zoë",
            "empty": "",
        }
        assert user.email_confirmed_at == user.created_at
        assert auth.get_user(user.id) == user

    def test_a_plain_account_takes_no_metadata(self, auth, service):
        join(auth)
        assert "metadata" not in service.calls[0].body

    @pytest.mark.parametrize("merges", [False, True], ids=["replaces", "merges"])
    def test_metadata_ends_as_given_whether_the_service_merges_or_replaces(
        self, auth, service, merges
    ):
        service.environment.merges_metadata = merges
        user = auth.create_user(email=ADA, role="editor", metadata={"a": "1", "b": "2"})
        changed = auth.update_user(user_id=user.id, metadata={"b": "3"})
        assert (changed.metadata, changed.role) == ({"b": "3"}, "editor")
        back = auth.update_user(user_id=user.id, role="default", username="ada")
        assert (back.metadata, back.role, back.username) == ({"b": "3"}, "default", "ada")
        assert auth.get_user(user.id) == back

    @pytest.mark.parametrize(
        "metadata",
        [
            {f"k{n}": "x" for n in range(11)},
            {"k": "x" * 601},
            {"k": "ü" * 200},
            {"k" * 41: "x"},
            {"ü": "x"},
            {"role": "admin"},
        ],
        ids=["eleven pairs", "too long", "too long as ASCII", "long key", "foreign key", "a field"],
    )
    def test_what_the_service_does_not_keep_is_no_profile(self, auth, metadata):
        with pytest.raises(InvalidProfileError):
            auth.create_user(email=ADA, metadata=metadata)
        assert auth.count_users() == 0

    def test_metadata_that_others_wrote_is_read_as_it_is(self, auth, service):
        user = auth.create_user(email=ADA)
        service.environment.users[user.id]["metadata"] = {"a": "json:{", "is_superuser": "true"}
        assert auth.get_user(user.id).metadata == {"a": "json:{"}
        assert auth.get_user(user.id).is_superuser is False

    def test_names_are_taken_away(self, auth):
        user = auth.create_user(email=ADA, first_name="Ada", username="ada")
        changed = auth.update_user(user_id=user.id, first_name=None, username=None)
        assert (changed.first_name, changed.username) == (None, None)

    def test_a_changed_address_is_unconfirmed_and_the_same_one_is_not(self, auth):
        user = auth.create_user(email=ADA, confirmed=True)
        assert auth.update_user(user_id=user.id, email=ADA).email_confirmed_at is not None
        changed = auth.update_user(user_id=user.id, email="countess@example.com")
        assert (changed.email, changed.email_confirmed_at) == ("countess@example.com", None)

    def test_a_change_of_nothing_changes_nothing(self, auth, service):
        user = auth.create_user(email=ADA)
        before = len(service.calls)
        assert auth.update_user(user_id=user.id) == user
        assert since(service, before) == [f"GET /user_management/users/{user.id}"]

    def test_a_user_is_found_by_address(self, auth):
        user = join(auth).user
        assert auth.find_user("ADA@example.com").id == user.id
        assert auth.find_user("nobody@example.com") is None
        assert auth.find_user("no address") is None

    def test_nobody_else_is_found_where_a_service_knows_no_filter(self, auth, service):
        join(auth)
        service.disturb(200, {"data": list(service.environment.users.values())}, path="/users")
        assert auth.find_user("bob@example.com") is None

    def test_a_user_who_is_enabled_again_is_believed_again(self, auth):
        user = join(auth).user
        auth.update_user(user_id=user.id, is_active=False)
        auth.update_user(user_id=user.id, is_active=True)
        assert look(auth, auth.sign_in_with_password(ADA, PASSWORD).tokens)

    def test_a_deleted_users_token_is_nobodys(self, auth):
        result = join(auth)
        assert auth.delete_user(result.user.id) is True
        assert look(auth, result.tokens) is None

    def test_who_owns_an_organization_alone_is_not_deleted(self, auth):
        user = join(auth).user
        org = auth.create_org(name="Engines", slug="engines", creator_id=user.id)
        with pytest.raises(LastOwnerError) as caught:
            auth.delete_user(user.id)
        assert caught.value.orgs == (org.id,)
        assert auth.get_user(user.id) == user

    def test_a_disabled_user_comes_in_on_no_path(self, auth, service):
        tokens = join(auth).tokens
        user = auth.list_users()[0]
        auth.update_user(user_id=user.id, is_active=False)

        with pytest.raises(UserDisabledError):
            auth.sign_in_with_password(ADA, PASSWORD)
        auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        token = auth.magic_link_token(email=ADA, code=service.last_mail().code)
        with pytest.raises(InvalidTokenError):
            auth.verify_magic_link(token)
        start = auth.start_oauth("google")
        back = service.consent(start.url)
        with pytest.raises(UserDisabledError):
            auth.sign_in_with_oauth("google", back.code, state=back.state)
        assert look(auth, tokens) is None
        assert auth.list_sessions(user_id=user.id) == []

    def test_a_set_password_ends_the_sessions(self, auth):
        result = join(auth)
        auth.set_password(user_id=result.user.id, password="another good password")
        assert look(auth, result.tokens) is None
        assert auth.sign_in_with_password(ADA, "another good password").tokens

    def test_lists_walk_over_the_pages_of_the_service(self, auth, service):
        for number in range(205):
            service.environment.add_user({"email": f"u{number}@example.com"})
        before = len(service.calls)
        assert auth.count_users() == 205
        assert len(service.calls) - before == 3
        found = auth.list_users(limit=3, offset=199)
        assert [user.email for user in found] == [f"u{n}@example.com" for n in (5, 4, 3)]
        page = auth.list_users_by_cursor(limit=1000)
        assert (len(page.data), page.has_more) == (100, True)

    def test_a_list_that_does_not_end_is_an_error_and_no_endless_loop(self, auth, service):
        body = {"data": [], "list_metadata": {"after": "user_1"}}
        service.disturb(200, body, path="/users", times=2)
        with pytest.raises(AuthBackendError, match="does not end"):
            auth.count_users()
        assert len(service.calls) == 2

    def test_a_cursor_belongs_to_its_list(self, auth):
        for name in ("ada", "bob"):
            join(auth, f"{name}@example.com")
        cursor = auth.list_users_by_cursor(limit=1).next_cursor
        user = auth.list_users()[0]
        for bad in (cursor[:-1], cursor + "A", "x", "", "é", cursor[::-1]):
            with pytest.raises(InvalidCursorError):
                auth.list_users_by_cursor(after=bad)
        with pytest.raises(InvalidCursorError):
            auth.list_orgs_by_cursor(after=cursor)
        with pytest.raises(InvalidCursorError):
            auth.list_sessions_by_cursor(user_id=user.id, after=cursor)


class TestBadIds:
    """SECURITY.md, row 34."""

    @pytest.mark.parametrize("bad", BAD_IDS)
    def test_an_id_that_no_path_should_carry_makes_no_call(self, auth, service, bad):
        ada = join(auth)
        org = auth.create_org(name="Engines", slug="engines", creator_id=ada.user.id)
        before = len(service.calls)
        for call in (
            lambda: auth.get_user(bad),
            lambda: auth.update_user(user_id=bad, first_name="x"),
            lambda: auth.set_password(user_id=bad, password=PASSWORD),
            lambda: auth.create_org(name="x", slug="x", creator_id=bad),
            lambda: auth.add_org_member(org_id=org.id, user_id=bad),
        ):
            with pytest.raises(UserNotFoundError):
                call()
        for call in (
            lambda: auth.get_org(org_id=bad),
            lambda: auth.get_org(slug=bad),
            lambda: auth.update_org(org_id=bad, name="x"),
            lambda: auth.list_org_members(org_id=bad),
            lambda: auth.list_org_members_by_cursor(slug=bad),
            lambda: auth.get_org_member(org_id=bad, user_id=ada.user.id),
            lambda: auth.update_org_member(org_id=bad, user_id=ada.user.id, role="member"),
        ):
            with pytest.raises(OrgNotFoundError):
                call()
        for call in (
            lambda: auth.get_org_member(org_id=org.id, user_id=bad),
            lambda: auth.update_org_member(org_id=org.id, user_id=bad, role="member"),
            lambda: auth.set_active_org(session_id="x", org_id=bad, refresh_token="x"),
            lambda: auth.complete_step("organization_selection_required", "x", org_id=bad),
        ):
            with pytest.raises(OrgMemberNotFoundError):
                call()
        assert auth.delete_user(bad) is False
        assert auth.delete_org(org_id=bad) is False
        assert auth.delete_org(slug=bad) is False
        assert auth.remove_org_member(org_id=org.id, user_id=bad) is False
        assert auth.list_sessions(user_id=bad) == []
        assert auth.list_sessions_by_cursor(user_id=bad).data == []
        assert auth.list_orgs(user_id=bad) == []
        assert auth.list_orgs_by_cursor(user_id=bad).data == []
        auth.sign_out(bad)
        auth.sign_out_all(bad)
        with pytest.raises(InvalidTokenError):
            auth.confirm_email(auth.confirmation_token(user_id=bad, code="123456"))
        assert since(service, before) == []


class TestSignIn:
    def test_who_asks_is_told_to_the_service(self, auth, service):
        request = Request(headers={"User-Agent": "Browser/1"})
        request.remote_addr = "192.0.2.7"
        auth.sign_up(email=ADA, password=PASSWORD, request=request)
        auth.sign_in_with_password(ADA, PASSWORD, user_agent="Other/2", ip_address="192.0.2.8")
        asked = [call.body for call in service.calls if call.path.endswith("/authenticate")]
        seen = [(body["user_agent"], body["ip_address"]) for body in asked]
        assert seen == [("Browser/1", "192.0.2.7"), ("Other/2", "192.0.2.8")]
        user = auth.list_users()[0]
        kept = {s.metadata["user_agent"] for s in auth.list_sessions(user_id=user.id)}
        assert kept == {"Browser/1", "Other/2"}

    def test_the_user_of_a_sign_in_has_role_and_metadata(self, auth):
        """Answers to a sign-in lack them, so that the user is read."""
        auth.create_user(
            email=ADA, password=PASSWORD, confirmed=True, role="admin", metadata={"plan": "free"}
        )
        result = auth.sign_in_with_password(ADA, PASSWORD)
        assert (result.user.role, result.user.metadata) == ("admin", {"plan": "free"})
        assert result.user.last_sign_in_at is not None
        assert look(auth, result.tokens).role == "admin"

    def test_without_the_claim_of_a_template_there_is_no_role_in_tokens(self, auth, service):
        service.grants.user_role = False
        auth.create_user(email=ADA, password=PASSWORD, confirmed=True, role="admin")
        result = auth.sign_in_with_password(ADA, PASSWORD)
        assert (result.user.role, look(auth, result.tokens).role) == ("admin", "default")

    def test_a_link_that_no_mail_may_hold_makes_no_account(self, auth, service):
        with pytest.raises(ValueError, match="link"):
            join(auth, confirmation_url="javascript:alert(1)")
        assert service.calls == []

    def test_a_provider_is_the_service_and_pkce_guards_the_code(self, auth, service):
        start = auth.start_oauth("github", scopes=["repo", "user"])
        query = dict(parse_qsl(urlsplit(start.url).query))
        assert query["provider"] == "GitHubOAuth"
        assert query["provider_scopes"] == "repo,user"
        assert query["code_challenge_method"] == "S256"
        assert service.api_key not in start.url

        stolen = service.consent(start.url)
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("github", stolen.code)
        back = service.consent(start.url)
        result = auth.sign_in_with_oauth(
            "github", back.code, state=back.state, binding=start.binding
        )
        assert result.user.email_confirmed_at is not None

    def test_a_state_is_good_once_for_its_provider_and_its_browser(self, auth, service):
        before = auth.start_oauth("google")
        for changed in (
            {"state": None},
            {"state": ""},
            {"state": "another"},
            {"provider": "github"},
            {"binding": "another browser"},
            {"binding": None},
        ):
            back = service.consent(before.url)
            sent = {"provider": "google", "state": back.state, **changed}
            with pytest.raises(InvalidCredentialsError):
                auth.sign_in_with_oauth(code=back.code, **sent)
        back = service.consent(before.url)
        sent = {"state": back.state, "binding": before.binding}
        assert auth.sign_in_with_oauth("google", back.code, **sent).tokens
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("google", service.consent(before.url).code, **sent)

    def test_a_state_is_over_after_ten_minutes(self, auth, service, auth_clock):
        start = auth.start_oauth("authkit")
        back = service.consent(start.url)
        auth_clock.advance(minutes=10, seconds=1)
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("authkit", back.code, state=back.state)

    def test_who_guards_the_state_alone_may(self, auth, service):
        url = auth.get_oauth_authorization_url("MicrosoftOAuth", "a state", redirect_uri=PAGE)
        back = service.consent(url)
        assert (back.state, back.url.partition("?")[0]) == ("a state", PAGE)
        assert auth.sign_in_with_oauth("MicrosoftOAuth", back.code).tokens

    @pytest.mark.parametrize("name", ["email", "magic_link", "", "a b", "x&y"])
    def test_what_is_no_provider_is_a_mistake(self, auth, name):
        with pytest.raises(ValueError, match="provider"):
            auth.start_oauth(name)

    def test_a_state_and_a_place_to_come_back_to_are_needed(self, service, auth_clock):
        config = dataclasses.replace(service.config, redirect_uri=None)
        with connected(config, auth_clock) as auth:
            with pytest.raises(ValueError, match="redirect_uri"):
                auth.start_oauth("google")
            with pytest.raises(ValueError, match="state"):
                auth.get_oauth_authorization_url("google", "", redirect_uri=PAGE)


class TestSteps:
    def test_a_proof_of_the_address_goes_on_to_a_session(self, auth, service):
        service.grants.verifies_emails = True
        assert join(auth).tokens is None
        with pytest.raises(AuthStepRequiredError) as caught:
            auth.sign_in_with_password(ADA, PASSWORD)
        step = caught.value

        assert isinstance(step, EmailNotConfirmedError)
        assert step.code == "email_verification_required"
        assert step.details["email"] == ADA
        code = service.last_mail().code
        result = auth.complete_step(step.code, step.pending_token, code=code)
        assert result.tokens
        assert result.user.email_confirmed_at is not None

    def test_a_second_factor_goes_on_to_a_session(self, auth, service):
        user = join(auth).user
        service.grants.totp[user.id] = "654321"
        with pytest.raises(AuthStepRequiredError) as caught:
            auth.sign_in_with_password(ADA, PASSWORD)
        step = caught.value
        challenge = step.details["authentication_challenge"]["id"]

        assert (step.code, isinstance(step, EmailNotConfirmedError)) == ("mfa_challenge", False)
        with pytest.raises(InvalidTokenError):
            auth.complete_step(step.code, step.pending_token, code="000000", challenge_id=challenge)
        result = auth.complete_step(
            step.code, step.pending_token, code="654321", challenge_id=challenge
        )
        assert look(auth, result.tokens).user_id == user.id

    def test_a_choice_of_organization_goes_on_to_a_session_in_it(self, auth, service):
        user = join(auth).user
        orgs = [
            auth.create_org(name=slug, slug=slug, creator_id=user.id) for slug in ("one", "two")
        ]
        service.grants.asks_for_org = True
        with pytest.raises(AuthStepRequiredError) as caught:
            auth.sign_in_with_password(ADA, PASSWORD)
        step = caught.value

        assert [it["name"] for it in step.details["organizations"]] == ["one", "two"]
        result = auth.complete_step(step.code, step.pending_token, org_id=orgs[1].id)
        session = look(auth, result.tokens)
        assert (session.org_id, session.org_role) == (orgs[1].id, "owner")

    def test_one_step_follows_another(self, auth, service):
        service.grants.verifies_emails = True
        user = join(auth).user
        service.grants.totp[user.id] = "654321"
        with pytest.raises(EmailNotConfirmedError) as first:
            auth.sign_in_with_password(ADA, PASSWORD)
        code = service.last_mail().code
        with pytest.raises(AuthStepRequiredError) as second:
            auth.complete_step(first.value.code, first.value.pending_token, code=code)
        assert second.value.code == "mfa_challenge"
        challenge = second.value.details["authentication_challenge"]["id"]
        assert auth.complete_step(
            "mfa_challenge", second.value.pending_token, code="654321", challenge_id=challenge
        ).tokens

    def test_a_step_of_the_services_own_pages_says_so(self, auth, service):
        with pytest.raises(NotImplementedError, match="authkit"):
            auth.complete_step("mfa_enrollment", "x", code="1")
        with pytest.raises(ValueError, match="challenge_id"):
            auth.complete_step("mfa_challenge", "x", code="1")
        for pending in (None, "", "x" * 10_000, "a\nb"):
            with pytest.raises(InvalidTokenError):
                auth.complete_step("email_verification_required", pending, code="1")
        assert service.calls == []

    def test_a_pending_token_is_no_part_of_what_is_shown(self, auth, service):
        service.grants.verifies_emails = True
        join(auth)
        with pytest.raises(AuthStepRequiredError) as caught:
            auth.sign_in_with_password(ADA, PASSWORD)
        assert caught.value.pending_token not in str(caught.value) + repr(caught.value)
        assert "pending_authentication_token" not in caught.value.details


class TestMail:
    def test_a_magic_link_drops_what_came_before_the_address_was_proved(self, auth, service):
        """better-auth GHSA-qq9h-g4jm-xgf3: who made the account first is out."""
        squatter = join(auth)
        auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        token = auth.magic_link_token(email=ADA, code=f" {service.last_mail().code} ")
        mine = auth.verify_magic_link(token)

        assert mine.user.id == squatter.user.id
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(ADA, PASSWORD)
        assert look(auth, squatter.tokens) is None
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(squatter.tokens.refresh_token)
        assert look(auth, mine.tokens) is not None

    def test_a_magic_link_leaves_a_proved_account_as_it_is(self, auth, service):
        auth.create_user(email=ADA, password=PASSWORD, confirmed=True)
        other = auth.sign_in_with_password(ADA, PASSWORD)
        auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        auth.verify_magic_link(auth.magic_link_token(email=ADA, code=service.last_mail().code))
        assert look(auth, other.tokens) is not None
        assert auth.sign_in_with_password(ADA, PASSWORD).tokens

    def test_a_code_of_one_address_is_nothing_for_another(self, auth, service):
        for email in (ADA, "eve@example.com"):
            join(auth, email)
        auth.sign_in_with_magic_link(email="eve@example.com", magic_link_url=PAGE)
        code = service.last_mail().code
        with pytest.raises(InvalidTokenError):
            auth.verify_magic_link(auth.magic_link_token(email=ADA, code=code))

    def test_a_token_of_one_kind_of_link_is_nothing_for_the_other(self, auth, service):
        user = join(auth).user
        before = len(service.calls)
        with pytest.raises(InvalidTokenError):
            auth.verify_magic_link(auth.confirmation_token(user_id=user.id, code="123456"))
        with pytest.raises(InvalidTokenError):
            auth.confirm_email(auth.magic_link_token(email=ADA, code="123456"))
        assert since(service, before) == []

    def test_codes_end(self, auth, service, auth_clock):
        join(auth)
        auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        token = auth.magic_link_token(email=ADA, code=service.last_mail().code)
        auth_clock.advance(minutes=10)
        with pytest.raises(InvalidTokenError):
            auth.verify_magic_link(token)

    def test_a_reset_ends_the_sessions(self, auth, service):
        old = join(auth).tokens
        auth.request_password_recovery(email=ADA, recovery_url=PAGE)
        user = auth.reset_password(service.last_mail().code, "another good password")
        assert user.email_confirmed_at is not None
        assert look(auth, old) is None
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(old.refresh_token)

    def test_a_stranger_gets_no_account_where_signing_up_is_off(self, auth, service):
        service.environment.allows_sign_up = False
        auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        assert service.mails == []
        assert auth.count_users() == 0

    def test_links_of_our_own_carry_what_a_code_alone_does_not(self, mailing, service):
        service.grants.verifies_emails = True
        mailing.sign_up(
            email=ADA, password=PASSWORD, confirmation_url=PAGE, confirmation_subject="Hello"
        )
        box = Outbox(mailing)
        assert box.last("confirmation").subject == "Hello"
        user = mailing.confirm_email(box.last("confirmation").token)
        assert user.email_confirmed_at is not None

        mailing.request_password_recovery(email=ADA, recovery_url=PAGE, recovery_subject="Lost?")
        mailing.reset_password(box.last("recovery").token, "another good password")
        mailing.sign_in_with_magic_link(email=ADA, magic_link_url=f"{PAGE}?next=/home")
        mail = box.last("magic_link")
        assert "next=/home" in mail.link
        assert mailing.verify_magic_link(mail.token).tokens
        assert service.mails == []

    def test_a_stranger_gets_no_mail_of_ours_and_nobody_learns_it(self, mailing, service):
        service.environment.allows_sign_up = False
        mailing.request_password_recovery(email="nobody@example.com", recovery_url=PAGE)
        mailing.sign_in_with_magic_link(email="nobody@example.com", magic_link_url=PAGE)
        mailing.resend_confirmation_email(email="nobody@example.com", confirmation_url=PAGE)
        assert service.calls == []
        assert mailing.deliver_mail() == 0
        assert len(service.calls) == 3

    def test_a_mail_waits_while_the_service_is_down(self, mailing, service):
        join(mailing)
        service.disturb(500)
        mailing.request_password_recovery(email=ADA, recovery_url=PAGE)
        assert mailing.deliver_mail() == 0
        assert mailing.deliver_mail() == 1

    def test_without_an_email_client_there_is_nothing_to_deliver(self, auth):
        with pytest.raises(ConfigError, match="set_email"):
            auth.deliver_mail()

    def test_asking_for_a_confirmation_is_as_many_calls_for_everybody_and_fails_alike(
        self, auth, service
    ):
        """Else time, or the failure of the second call, would tell who has an account."""
        auth.create_user(email="unproved@example.com")
        auth.create_user(email=ADA, confirmed=True)
        for email in ("unproved@example.com", ADA, "nobody@example.com"):
            service.calls.clear()
            auth.resend_confirmation_email(email=email, confirmation_url=PAGE)
            assert [call.method for call in service.calls] == ["GET", "POST"]
            service.disturb(500, path="/email_verification/send")
            with pytest.raises(AuthBackendError):
                auth.resend_confirmation_email(email=email, confirmation_url=PAGE)
        assert [mail.to for mail in service.mails] == ["unproved@example.com"]

    def test_a_limit_of_confirmations_tells_nobody_who_has_an_account(self, auth, service):
        join(auth)
        service.refuse(429, "too_many_requests", path="/send")
        auth.resend_confirmation_email(email=ADA, confirmation_url=PAGE)
        service.refuse(429, "too_many_requests", path="/password_reset")
        with pytest.raises(RateLimitedError):
            auth.request_password_recovery(email=ADA, recovery_url=PAGE)


class TestSessions:
    def test_a_token_of_another_shape_is_nobody(self, auth, service):
        tokens = join(auth).tokens
        user = auth.list_users()[0]
        sid = look(auth, tokens).session_id
        wrong = {"iss": "https://evil.test", "sid": None, "sub": None, "exp": None}
        for name, value in wrong.items():
            assert look_at(auth, service.sign(user.id, sid, **{name: value})) is None
        assert look_at(auth, service.sign(user.id, sid, sid=5)) is None
        assert look_at(auth, service.sign(user.id, sid, sid="")) is None
        assert look_at(auth, service.sign(user.id, sid)) is not None

    @pytest.mark.parametrize(
        "issuer",
        [
            "https://api.workos.com",
            "https://api.workos.com/",
            "https://auth.app.test",
            "https://auth.app.test/",
        ],
    )
    def test_an_issuer_counts_with_the_slash_and_without(self, service, auth_clock, issuer):
        config = dataclasses.replace(service.config, issuers=("https://auth.app.test/",))
        with connected(config, auth_clock) as auth:
            tokens = join(auth).tokens
            session = look(auth, tokens)
            signed = service.sign(session.user_id, session.session_id, iss=issuer)
            assert look_at(auth, signed) == session
            assert look_at(auth, service.sign(session.user_id, "s", iss=issuer + "x")) is None

    def test_who_stands_in_for_a_user_is_told(self, auth, service):
        session = look(auth, join(auth).tokens)
        token = service.sign(session.user_id, session.session_id, act={"sub": "admin@corp.test"})
        assert look_at(auth, token).metadata["impersonator"] == "admin@corp.test"

    def test_an_ended_session_is_refused_whatever_its_token_says(self, auth):
        tokens = join(auth).tokens
        session = look(auth, tokens)
        fresh = auth.refresh_token(tokens.refresh_token)
        auth.sign_out(session.session_id)
        assert look(auth, tokens) is None
        assert look(auth, fresh) is None

    def test_a_session_ends_where_it_can_whatever_else_is_down(self, auth, service, monkeypatch):
        tokens = join(auth).tokens
        session = look(auth, tokens)
        service.disturb(503, path="/revoke")
        with pytest.raises(AuthBackendError):
            auth.sign_out(session.session_id)
        assert look(auth, tokens) is None

        other = auth.sign_in_with_password(ADA, PASSWORD).tokens
        session_id = look(auth, other).session_id

        def full(*_, **__):
            raise AuthBackendError

        monkeypatch.setattr(auth._kv_client, "set", full)
        with pytest.raises(AuthBackendError):
            auth.sign_out(session_id)
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(other.refresh_token)

    def test_sessions_that_ended_are_not_listed(self, auth, service):
        user = join(auth).user
        for _ in range(3):
            auth.sign_in_with_password(ADA, PASSWORD)
        first, *rest = auth.list_sessions(user_id=user.id)
        auth.sign_out(first.session_id)
        assert auth.list_sessions(user_id=user.id) == rest
        assert auth.list_sessions(user_id=user.id, limit=1, offset=1) == rest[1:2]
        assert rest[0].metadata["created_at"].tzinfo is UTC
        assert rest[0].expires_at > datetime(2020, 1, 1, tzinfo=UTC)

    def test_signing_out_everywhere_ends_more_than_a_page(self, auth, service):
        user = join(auth).user
        for _ in range(12):
            auth.sign_in_with_password(ADA, PASSWORD)
        auth.sign_out_all(user.id)
        alive = [it for it in service.environment.sessions.values() if it["status"] == "active"]
        assert alive == []

    def test_notes_of_what_ended_are_purged_when_no_token_can_outlive_them(self, auth, auth_clock):
        session = look(auth, join(auth).tokens)
        auth.sign_out(session.session_id)
        auth_clock.advance(hours=24)
        assert auth.purge() == 0
        auth_clock.advance(hours=1, seconds=1)
        assert auth.purge() == 1

    def test_another_organization_needs_the_refresh_token(self, auth):
        with pytest.raises(NotImplementedError, match="refresh_token="):
            auth.set_active_org(session_id="session_1", org_id="org_1")


def look_at(auth, token):
    return auth.authenticate(Request(token))


def test_whoever_is_deleted_while_signing_in_is_not_let_in(auth, service):
    join(auth)
    service.disturb(404, {}, path=service.environment.by_email(ADA)["id"])
    with pytest.raises(UserDisabledError):
        auth.sign_in_with_password(ADA, PASSWORD)


def test_who_has_disconnected_knows_nobody(auth):
    tokens = join(auth).tokens
    assert look(auth, tokens)
    auth.disconnect()
    with pytest.raises(AuthNotConnectedError):
        look(auth, tokens)


class TestOrgs:
    @pytest.fixture
    def ada(self, auth):
        return join(auth).user

    def make(self, auth, user, slug="engines", **fields):
        return auth.create_org(name="Engines", slug=slug, creator_id=user.id, **fields)

    def test_the_slug_is_the_external_id(self, auth, service, ada):
        org = self.make(auth, ada, metadata={"seats": 3})
        stored = service.environment.orgs[org.id]
        assert (stored["external_id"], stored["metadata"]) == ("engines", {"seats": "json:3"})
        before = len(service.calls)
        assert auth.get_org(slug="engines") == org
        assert since(service, before) == ["GET /organizations/external_id/engines"]

    def test_an_organization_of_others_is_known_by_its_id(self, auth, service):
        made = service.environment.add_org({"name": "Theirs"})
        org = auth.get_org(org_id=made["id"])
        assert org.slug == org.id
        assert auth.get_org(slug=org.slug) == org

    def test_an_organization_without_an_owner_is_not_left_behind(self, auth, service, ada):
        service.environment.roles.discard("owner")
        with pytest.raises(InvalidProfileError, match="owner_role"):
            self.make(auth, ada)
        assert service.environment.orgs == {}

    def test_owners_may_have_another_role_there(self, service, auth_clock):
        service.environment.roles = {"admin", "member"}
        config = dataclasses.replace(service.config, owner_role="admin")
        with connected(config, auth_clock) as auth:
            result = join(auth)
            org = self.make(auth, result.user)
            membership = service.environment.membership(org.id, result.user.id)
            assert membership["role"]["slug"] == "admin"
            assert auth.get_org_member(org_id=org.id, user_id=result.user.id).role == "owner"
            tokens = auth.set_active_org(
                session_id="any", org_id=org.id, refresh_token=result.tokens.refresh_token
            )
            assert auth.is_org_authorized(look(auth, tokens), org.id, "owner")
            bob = join(auth, "bob@example.com").user
            with pytest.raises(InvalidProfileError, match="owners"):
                auth.add_org_member(org_id=org.id, user_id=bob.id, role="admin")
            with pytest.raises(LastOwnerError):
                auth.remove_org_member(org_id=org.id, user_id=result.user.id)

    def test_an_organization_that_cannot_be_taken_back_is_told_of(self, auth, service, ada, caplog):
        service.environment.roles.discard("owner")
        service.disturb(500, path="/organization_memberships")
        real = service.handle

        def no_delete(call):
            return json_reply({}, 500) if call.method == "DELETE" else real(call)

        service.handle = no_delete
        with pytest.raises(AuthBackendError):
            self.make(auth, ada)
        (left,) = service.environment.orgs
        assert left in caplog.text

    def test_a_role_that_there_is_not_is_no_profile(self, auth, ada):
        org, bob = self.make(auth, ada), join(auth, "bob@example.com").user
        with pytest.raises(InvalidProfileError):
            auth.add_org_member(org_id=org.id, user_id=bob.id, role="astronaut")
        auth.add_org_member(org_id=org.id, user_id=bob.id)
        with pytest.raises(InvalidProfileError):
            auth.update_org_member(org_id=org.id, user_id=bob.id, role="astronaut")

    @pytest.mark.parametrize("merges", [False, True], ids=["replaces", "merges"])
    def test_metadata_ends_as_given(self, auth, service, ada, merges):
        service.environment.merges_metadata = merges
        org = self.make(auth, ada, metadata={"a": 1, "b": 2})
        assert auth.update_org(org_id=org.id, metadata={"b": 3}).metadata == {"b": 3}
        assert auth.get_org(org_id=org.id).metadata == {"b": 3}

    def test_a_change_of_nothing_is_a_look(self, auth, ada):
        org = self.make(auth, ada)
        assert auth.update_org(org_slug="engines") == org
        with pytest.raises(OrgSlugConflictError) as caught:
            self.make(auth, ada)
        assert caught.value.slug == "engines"

    def test_a_users_organizations_come_in_pages_newest_first(self, auth, ada, auth_clock):
        made = []
        for number in range(5):
            auth_clock.advance(seconds=1)
            made.insert(0, self.make(auth, ada, f"org-{number}"))
        assert auth.list_orgs(user_id=ada.id) == made
        assert auth.list_orgs(user_id=ada.id, limit=2, offset=1) == made[1:3]
        first = auth.list_orgs_by_cursor(user_id=ada.id, limit=2)
        second = auth.list_orgs_by_cursor(user_id=ada.id, limit=3, after=first.next_cursor)
        assert [*first.data, *second.data] == made
        assert (first.has_more, second.has_more, second.next_cursor) == (True, False, None)
        with pytest.raises(InvalidCursorError):
            auth.list_orgs_by_cursor(user_id="user_x", after=first.next_cursor)

    def test_just_a_slice_of_a_users_organizations_is_fetched(self, auth, service, ada):
        for number in range(5):
            self.make(auth, ada, f"org-{number}")
        before = len(service.calls)
        auth.list_orgs(user_id=ada.id, limit=1, offset=2)
        assert len(service.calls) - before == 2

    def test_an_organization_that_goes_meanwhile_is_left_out(self, auth, service, ada):
        kept, gone = self.make(auth, ada, "kept"), self.make(auth, ada, "gone")
        del service.environment.orgs[gone.id]
        assert auth.list_orgs(user_id=ada.id) == [kept]

    def test_who_is_just_invited_is_no_member(self, auth, service, ada):
        org, bob = self.make(auth, ada), join(auth, "bob@example.com").user
        auth.add_org_member(org_id=org.id, user_id=bob.id)
        membership = service.environment.membership(org.id, bob.id)
        membership["status"] = "pending"
        service.disturb(200, {"data": [membership]}, path="/organization_memberships")
        assert auth.list_org_members(org_id=org.id) == []
        assert [m.user_id for m in auth.list_org_members(org_id=org.id)] == [ada.id]
        with pytest.raises(OrgMemberNotFoundError):
            auth.get_org_member(org_id=org.id, user_id=bob.id)

    def test_a_deleted_organization_leaves_the_sessions_at_once(self, auth, ada):
        tokens = auth.sign_in_with_password(ADA, PASSWORD).tokens
        org = self.make(auth, ada)
        entered = auth.set_active_org(
            session_id="any", org_id=org.id, refresh_token=tokens.refresh_token
        )
        assert look(auth, entered).org_id == org.id
        auth.delete_org(org_id=org.id)
        assert look(auth, entered).org_id is None

    def test_a_change_is_asked_for_until_the_token_knows_it(self, auth, service, ada, auth_clock):
        """Tokens made well after a change are believed without a call."""
        org, bob = self.make(auth, ada), join(auth, "bob@example.com")
        auth.add_org_member(org_id=org.id, user_id=bob.user.id)
        tokens = auth.set_active_org(
            session_id="any", org_id=org.id, refresh_token=bob.tokens.refresh_token
        )
        before = len(service.calls)
        look(auth, tokens)
        assert since(service, before)[-1].endswith("/organization_memberships")
        auth_clock.advance(minutes=2)
        tokens = auth.refresh_token(tokens.refresh_token)
        before = len(service.calls)
        assert look(auth, tokens).org_role == "member"
        assert since(service, before) == []

    def test_two_owners_who_remove_each_other_leave_one(self, auth, service, ada):
        for number in range(5):
            org = self.make(auth, ada, f"race-{number}")
            bob = join(auth, f"bob{number}@example.com").user
            auth.add_org_member(org_id=org.id, user_id=bob.id, role="owner")
            barrier, seen = threading.Barrier(2), []

            def remove(user_id, org=org, barrier=barrier, seen=seen):
                barrier.wait()
                try:
                    seen.append(auth.remove_org_member(org_id=org.id, user_id=user_id))
                except LastOwnerError:
                    seen.append(None)

            threads = [threading.Thread(target=remove, args=(u.id,)) for u in (ada, bob)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(map(str, seen)) == ["None", "True"]
            assert len(auth.list_org_members(org_id=org.id)) == 1

    def test_a_lock_that_nobody_gives_back_ends(self, auth, ada, auth_clock):
        org = self.make(auth, ada)
        auth._kv_client.set(b"derp:auth:workos:owners:" + org.id.encode(), b"dead", ttl=60)
        auth_clock.advance(seconds=61)
        bob = join(auth, "bob@example.com").user
        auth.add_org_member(org_id=org.id, user_id=bob.id, role="owner")
        assert auth.remove_org_member(org_id=org.id, user_id=ada.id) is True


def test_a_time_of_the_service_is_in_utc(auth, service):
    user = join(auth).user
    service.environment.users[user.id]["created_at"] = "2026-01-01T02:00:00+02:00"
    assert auth.get_user(user.id).created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert auth.get_user(user.id).created_at.utcoffset() == timedelta(0)
