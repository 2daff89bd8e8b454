"""The Supabase backend: each operation, beside what its contract with the others says."""

from __future__ import annotations

import dataclasses
import time
import uuid
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from derp_auth_lite import AuthConfig, Config, open_auth
from derp_auth_lite._supabase.sessions import FORGOTTEN, KEPT
from derp_auth_lite.config import PasswordConfig
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import (
    AuthBackendError,
    AuthNotConnectedError,
    ConfigError,
    EmailAlreadyExistsError,
    InvalidCredentialsError,
    InvalidProfileError,
    InvalidTokenError,
    LastOwnerError,
    OrgMemberNotFoundError,
    PasswordValidationError,
    SignupDisabledError,
)
from derp_auth_lite.supabase_client import SupabaseAuthClient
from derp_auth_lite.testing import FakeSupabase, Outbox

from .supabase_support import ADA, PAGE, bearer, connected, join
from .support import PASSWORD

STATE = "a state that nobody guesses"
NEW_PASSWORD = "another good password"


@pytest.fixture
def settings():
    """What the project of a test is made with."""
    return {}


@pytest.fixture
def project(clock, settings):
    with FakeSupabase(clock=clock, **settings) as project:
        yield project


@pytest.fixture
def auth(project, clock):
    with connected(project.config, clock) as client:
        yield client


@pytest.fixture
def mailing(project, clock):
    """A client that mails by itself."""
    with connected(project.config, clock, email=EmailClient.in_memory(clock=clock)) as client:
        yield client


def with_settings(**settings):
    return pytest.mark.parametrize("settings", [settings], ids=[", ".join(settings)])


def calls(project):
    """Return what has been called since the last look."""
    seen = [f"{call.method} {call.path.removeprefix('/auth/v1')}" for call in project.calls]
    project.calls.clear()
    return seen


def wait_until(holds, seconds=10.0):
    """Wait for what a thread does."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


# Opening


@pytest.mark.parametrize("wrapped", ["SupabaseConfig", "AuthConfig", "Config"])
def test_open_auth_takes_a_project(project, tmp_path, wrapped):
    config = {
        "SupabaseConfig": project.config,
        "AuthConfig": AuthConfig(supabase=project.config),
        "Config": Config(auth=AuthConfig(supabase=project.config)),
    }[wrapped]
    with open_auth(tmp_path / "app.db", config=config, clock=project.clock) as auth:
        assert isinstance(auth, SupabaseAuthClient)
        assert auth.email_client is None, "the project mails"
        assert join(auth).tokens
    assert not (tmp_path / "app.db.key").exists()
    assert not (tmp_path / "app.db.mail").exists()


def test_an_email_client_is_used_where_one_is_given(project, clock):
    email = EmailClient.in_memory(clock=clock)
    with open_auth(":memory:", config=project.config, email=email, clock=clock) as auth:
        assert auth.email_client is email


def test_outside_of_its_block_nothing_is_called(project, clock):
    client = SupabaseAuthClient(project.config, clock=clock)
    with pytest.raises(AuthNotConnectedError):
        client.connect()
    with pytest.raises(AuthNotConnectedError):
        client.get_user(uuid.uuid4())
    assert project.calls == []


# What is sent


@with_settings(keys="new")
def test_new_keys_are_no_tokens_and_go_into_their_own_header_alone(auth, project):
    user = join(auth).user
    assert project.last_call().headers["apikey"] == project.anon_key
    assert "authorization" not in project.last_call().headers
    auth.get_user(user.id)
    assert project.last_call().headers["apikey"] == project.service_role_key
    assert "authorization" not in project.last_call().headers


@with_settings(keys="legacy")
def test_legacy_keys_go_into_both_headers_for_an_administrator(auth, project):
    user = join(auth).user
    assert "authorization" not in project.last_call().headers
    auth.get_user(user.id)
    headers = project.last_call().headers
    assert headers["authorization"] == f"Bearer {project.service_role_key}"
    assert headers["apikey"] == project.service_role_key


@pytest.mark.parametrize("keys", ["new", "legacy"])
@pytest.mark.parametrize("alg", ["ES256", "RS256", "HS256"])
def test_every_kind_of_key_goes_with_every_kind_of_token(clock, keys, alg):
    with (
        FakeSupabase(clock=clock, keys=keys, alg=alg) as project,
        connected(project.config, clock) as auth,
    ):
        result = join(auth)
        assert auth.authenticate(bearer(result.tokens)).user_id == result.user.id
        assert auth.get_user(result.user.id) == result.user
        auth.sign_out_all(result.user.id)
        assert auth.authenticate(bearer(result.tokens)) is None
        assert not project.sessions


def test_every_call_says_which_version_it_speaks_and_who_it_is(auth, project):
    user = join(auth).user
    auth.update_user(user_id=user.id, first_name="Ada")
    for call in project.calls:
        assert call.headers["x-supabase-api-version"] == "2024-01-01"
        assert call.headers["user-agent"] == "derp-auth-lite", "a secret key refuses browsers"


# Users


def test_what_a_user_says_of_themselves_gives_no_rights(auth, project):
    user = join(auth).user
    project.users[user.id]["user_metadata"] |= {"role": "admin", "is_superuser": True}
    kept = auth.get_user(user.id)
    assert (kept.role, kept.is_superuser) == ("default", False)
    tokens = auth.sign_in_with_password(ADA, PASSWORD).tokens
    assert auth.authenticate(bearer(tokens)).role == "default"


def test_the_role_is_in_the_next_token(auth, project):
    result = join(auth)
    auth.update_user(user_id=result.user.id, role="admin", is_superuser=True)
    assert auth.authenticate(bearer(result.tokens)).role == "default"
    tokens = auth.refresh_token(result.tokens.refresh_token)
    assert auth.authenticate(bearer(tokens)).role == "admin"
    assert auth.get_user(result.user.id).is_superuser is True


def test_metadata_is_replaced_and_may_not_hold_fields(auth, project):
    user = join(auth, metadata={"old": 1, "kept": 1}, first_name="Ada").user
    assert auth.update_user(user_id=user.id, metadata={"kept": 2}).metadata == {"kept": 2}
    assert auth.get_user(user.id).first_name == "Ada"
    assert auth.update_user(user_id=user.id, first_name=None).first_name is None
    for make in (
        lambda: auth.update_user(user_id=user.id, metadata={"first_name": "Eve"}),
        lambda: join(auth, "eve@example.com", metadata={"username": "eve"}),
    ):
        with pytest.raises(InvalidProfileError):
            make()


def test_an_administrator_makes_users(auth, project):
    user = auth.create_user(
        email="Ada@Example.com", password=PASSWORD, confirmed=True, role="admin", last_name="L"
    )
    assert (user.email, user.role, user.last_name) == (ADA, "admin", "L")
    assert user.email_confirmed_at is not None
    assert auth.sign_in_with_password(ADA, PASSWORD).tokens
    with pytest.raises(EmailAlreadyExistsError):
        auth.create_user(email=ADA)
    with pytest.raises(PasswordValidationError):
        auth.create_user(email="bob@example.com", password="short")
    assert auth.create_user(email="bob@example.com").email_confirmed_at is None


def test_a_ban_that_is_over_is_none(auth, project, clock):
    user = join(auth).user
    project.ban(user.id, clock() + timedelta(hours=1))
    assert auth.get_user(user.id).is_active is False
    clock.advance(hours=2)
    assert auth.get_user(user.id).is_active is True


def test_pages_need_not_be_aligned(auth, project, clock, monkeypatch):
    for number in range(7):
        auth.create_user(email=f"user{number}@example.com")
        clock.advance(seconds=1)
    everybody = [user.email for user in auth.list_users()]
    for limit in range(1, 9):
        for offset in range(9):
            found = [user.email for user in auth.list_users(limit=limit, offset=offset)]
            assert found == everybody[offset : offset + limit]
    monkeypatch.setattr("derp_auth_lite._supabase.accounts._PAGE", 3)
    assert [user.email for user in auth.list_users()] == everybody
    assert [user.email for user in auth.list_users(limit=5, offset=1)] == everybody[1:6]
    assert {call.query["page"] for call in project.calls if call.method == "GET"} > {"1", "2", "3"}


def test_a_count_that_is_not_told_is_no_one(auth, project):
    project.disturb(200, {"users": [{}]})
    with pytest.raises(AuthBackendError):
        auth.count_users()


@pytest.mark.parametrize(
    "user",
    [
        {},
        {"id": "no uuid"},
        {"id": str(uuid.uuid4()), "created_at": "yesterday"},
        {"id": str(uuid.uuid4()), "created_at": 7},
        {"id": str(uuid.uuid4()), "banned_until": ["x"]},
    ],
    ids=["empty", "id", "text time", "number time", "list time"],
)
def test_what_is_no_user_is_a_failure_of_the_backend(auth, project, user):
    project.disturb(200, user)
    with pytest.raises(AuthBackendError):
        auth.get_user(uuid.uuid4())


def test_a_user_with_next_to_nothing_is_one(auth, project):
    user_id = str(uuid.uuid4())
    odd = {"id": user_id, "email": None, "user_metadata": None, "app_metadata": [], "role": 7}
    project.disturb(200, odd)
    user = auth.get_user(user_id)
    assert (user.email, user.role, user.metadata, user.is_active) == ("", "default", {}, True)


# Signing up and in


@with_settings(autoconfirm=False)
def test_a_made_up_user_is_an_address_that_is_taken(auth, project):
    """Without autoconfirm the service hides that an account exists; here it is told."""
    join(auth)
    project.follow(project.last_mail())
    with pytest.raises(EmailAlreadyExistsError):
        join(auth)
    assert len(project.users) == 1


@with_settings(autoconfirm=False)
def test_who_is_not_confirmed_yet_gets_another_mail(auth, project):
    first, second = join(auth), join(auth)
    assert first.user.id == second.user.id
    assert second.tokens is None
    assert len(project.mails) == 2


def test_signing_up_can_be_off(auth, project):
    project.disable_signup = True
    with pytest.raises(SignupDisabledError):
        join(auth)


def test_a_password_beyond_72_bytes_would_be_cut_and_is_refused(auth, project):
    for password in ("x" * 73, "é" * 37):
        with pytest.raises(PasswordValidationError, match="72 bytes"):
            auth.sign_up(email=ADA, password=password)
    assert project.calls == []


def test_the_policy_of_the_configuration_holds(project, clock):
    config = dataclasses.replace(project.config, password=PasswordConfig(min_length=20))
    with connected(config, clock) as auth, pytest.raises(PasswordValidationError):
        auth.sign_up(email=ADA, password="nineteen characters")
    assert project.calls == []


# Links


def test_a_link_of_the_projects_mail_brings_a_code_and_the_state(auth, project):
    """PKCE: the state is in the query of redirect_to, since the service owns its own."""
    join(auth)
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=f"{PAGE}?next=/home")
    sent = project.last_call()
    page = urlsplit(sent.query["redirect_to"])
    assert dict(parse_qsl(page.query)).keys() == {"next", "state"}
    assert sent.body["code_challenge_method"] == "s256"
    assert len(sent.body["code_challenge"]) == 43
    back = project.follow(project.last_mail())
    assert auth.verify_magic_link(back.code, state=back.state).tokens
    with pytest.raises(InvalidTokenError):
        auth.verify_magic_link(back.code, state=back.state)


def test_a_code_is_worth_nothing_without_its_state_or_for_another_deed(auth, project):
    join(auth)
    auth.request_password_recovery(email=ADA, recovery_url=PAGE)
    back = project.follow(project.last_mail())
    for redeem in (
        lambda: auth.verify_magic_link(back.code),
        lambda: auth.verify_magic_link(back.code, state="another"),
        lambda: auth.verify_magic_link(back.code, state=back.state),
        lambda: auth.reset_password(back.code, NEW_PASSWORD, state="another"),
    ):
        with pytest.raises(InvalidTokenError):
            redeem()
    assert auth.reset_password(back.code, NEW_PASSWORD, state=back.state)


def test_a_link_dies_with_its_flow(auth, project, clock):
    join(auth)
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    back = project.follow(project.last_mail())
    clock.advance(hours=25)
    with pytest.raises(InvalidTokenError):
        auth.verify_magic_link(back.code, state=back.state)


def test_verifying_sends_type_and_hash_and_nothing_else(auth, project):
    join(auth)
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    token = project.last_mail().token
    auth.verify_magic_link(token)
    assert project.last_call().body == {"type": "email", "token_hash": token}


def test_a_reset_is_three_calls_and_leaves_no_session(auth, project):
    tokens = join(auth).tokens
    auth.request_password_recovery(email=ADA, recovery_url=PAGE)
    calls(project)
    auth.reset_password(project.last_mail().token, NEW_PASSWORD)
    assert calls(project) == ["POST /verify", "PUT /user", "POST /logout"]
    assert not project.sessions
    assert auth.authenticate(bearer(tokens)) is None


def test_the_policy_is_asked_before_a_link_is_burnt(auth, project):
    join(auth)
    auth.request_password_recovery(email=ADA, recovery_url=PAGE)
    calls(project)
    with pytest.raises(PasswordValidationError):
        auth.reset_password(project.last_mail().token, "short")
    assert calls(project) == []


@with_settings(autoconfirm=False)
def test_confirming_leaves_no_session(auth, project):
    join(auth, confirmation_url=PAGE)
    back = project.follow(project.last_mail())
    assert auth.confirm_email(back.code, state=back.state).email_confirmed_at
    assert not project.sessions


def test_what_cannot_be_a_page_is_mailed_to_nobody(auth, project):
    for page in ("javascript:alert(1)", "/relative", "https://app.test/\r\nx"):
        with pytest.raises(ValueError, match=r"URL|link"):
            auth.request_password_recovery(email=ADA, recovery_url=page)
    assert project.calls == []


def test_without_a_kv_store_links_of_templates_work_still(project, clock):
    with connected(project.config, clock) as auth:
        auth.set_kv(None)
        join(auth)
        auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        assert project.last_call().query == {"redirect_to": PAGE}
        assert auth.verify_magic_link(project.last_mail().token).tokens
        with pytest.raises(AuthNotConnectedError):
            auth.get_oauth_authorization_url("google", STATE)


# Mails of the library's own


def test_own_mails_lead_to_the_page_that_was_asked_for(mailing, project):
    join(mailing, first_name="Ada")
    mailing.request_password_recovery(
        email=ADA, recovery_url=f"{PAGE}?a=b", recovery_subject="Lost it?"
    )
    mail = Outbox(mailing).last("recovery", to=ADA)
    assert mail.link == f"{PAGE}?a=b&token={mail.token}"
    assert mail.subject == "Lost it?"
    assert "Ada" in mail.text
    assert project.mails == []
    assert mailing.reset_password(mail.token, NEW_PASSWORD)


def test_asking_for_a_mail_asks_the_service_for_nothing(mailing, project):
    """So that time tells nobody who has an account."""
    mailing.request_password_recovery(email=ADA, recovery_url=PAGE)
    mailing.resend_confirmation_email(email=ADA, confirmation_url=PAGE)
    mailing.sign_in_with_magic_link(email="new@example.com", magic_link_url=PAGE)
    assert project.calls == []
    assert [mail.to for mail in Outbox(mailing).all()] == ["new@example.com"]


@with_settings(autoconfirm=False)
def test_a_sign_up_with_own_mail_is_confirmed_by_it(mailing, project):
    result = join(mailing, first_name="Ada", confirmation_url=PAGE)
    assert (result.tokens, result.user.first_name) == (None, "Ada")
    assert project.mails == []
    mail = Outbox(mailing).last("confirmation", to=ADA)
    assert mailing.confirm_email(mail.token).email_confirmed_at
    assert mailing.sign_in_with_password(ADA, PASSWORD).tokens
    with pytest.raises(EmailAlreadyExistsError):
        join(mailing, confirmation_url=PAGE)


@with_settings(autoconfirm=False)
def test_signing_up_with_own_mail_heeds_the_projects_switch(mailing, project):
    project.disable_signup = True
    with pytest.raises(SignupDisabledError):
        join(mailing, confirmation_url=PAGE)
    assert not project.users


@with_settings(autoconfirm=False)
@pytest.mark.parametrize("mails", ["library", "project"])
def test_who_signed_up_with_anothers_address_has_lost_it_once_the_owner_comes(
    request, project, clock, mails
):
    """The service confirms the address by the link, and keeps the password of who came first."""
    client = request.getfixturevalue("mailing" if mails == "library" else "auth")
    join(client, confirmation_url=PAGE)
    clock.advance(hours=1)
    client.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    if mails == "library":
        owner = client.verify_magic_link(Outbox(client).last("magic_link").token)
    else:
        back = project.follow(project.last_mail())
        clock.advance(minutes=1)
        owner = client.verify_magic_link(back.code, state=back.state)
    assert client.authenticate(bearer(owner.tokens)).user_id == owner.user.id
    with pytest.raises(InvalidCredentialsError):
        client.sign_in_with_password(ADA, PASSWORD)
    assert len(project.sessions) == 1


@with_settings(autoconfirm=False)
def test_who_had_proved_the_address_keeps_the_password_when_a_link_is_used(mailing, clock):
    join(mailing, confirmation_url=PAGE)
    clock.advance(hours=1)
    mailing.confirm_email(Outbox(mailing).last("confirmation").token)
    clock.advance(minutes=1)
    mailing.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    mailing.verify_magic_link(Outbox(mailing).last("magic_link").token)
    assert mailing.sign_in_with_password(ADA, PASSWORD).tokens


@with_settings(autoconfirm=False)
@pytest.mark.parametrize("confirmed", [True, False], ids=["confirmed", "unconfirmed"])
def test_links_that_went_to_an_old_address_are_worth_nothing(auth, project, confirmed):
    user = auth.create_user(email=ADA, confirmed=confirmed)
    auth.request_password_recovery(email=ADA, recovery_url=PAGE)
    recovery = project.last_mail().token
    auth.resend_confirmation_email(email=ADA, confirmation_url=PAGE)
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    tokens = {recovery, *(mail.token for mail in project.mails)}
    project.mails.clear()
    auth.update_user(user_id=user.id, email="new@example.com")
    for token in tokens:
        for redeem in (
            auth.verify_magic_link,
            auth.confirm_email,
            lambda token: auth.reset_password(token, NEW_PASSWORD),
        ):
            with pytest.raises(InvalidTokenError):
                redeem(token)
    assert project.mails == []


def test_a_magic_link_makes_no_account_where_nobody_may_join(mailing, project):
    join(mailing)
    project.disable_signup = True
    for email in (ADA, "new@example.com"):
        mailing.sign_in_with_magic_link(email=email, magic_link_url=PAGE)
    outbox = Outbox(mailing)
    assert [mail.to for mail in outbox.all()] == [ADA]
    assert len(project.users) == 1
    assert mailing.verify_magic_link(outbox.last().token).user.email == ADA


def test_a_mail_waits_while_the_service_is_down(mailing, project, clock):
    join(mailing)
    mailing.request_password_recovery(email=ADA, recovery_url=PAGE)
    project.disturb(503)
    assert mailing.deliver_mail() == 0
    assert mailing.deliver_mail() == 1


def test_where_the_project_mails_there_is_nothing_to_deliver(auth):
    with pytest.raises(ConfigError, match="set_email"):
        auth.deliver_mail()


def test_mails_go_out_by_themselves_and_what_an_earlier_process_left_too(project, clock, tmp_path):
    place = tmp_path / "app.db"
    first, second = (EmailClient.in_memory(clock=clock) for _ in range(2))
    options = {"config": project.config, "clock": clock}
    with open_auth(place, email=first, mail_worker=False, **options) as auth:
        join(auth)
        auth.request_password_recovery(email=ADA, recovery_url=PAGE)
    assert first.sent == []
    with open_auth(place, email=second, **options) as auth:
        assert wait_until(lambda: len(second.sent) == 1)
        auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        assert wait_until(lambda: len(second.sent) == 2)
        assert auth.verify_magic_link(second.sent[-1].token).tokens


# Providers


def test_the_page_of_a_provider_carries_all_that_is_sent(auth, project):
    url = auth.get_oauth_authorization_url(
        "google", "s&t=a te", ["a", "b c"], "https://app.test/back?x=y"
    )
    query = dict(parse_qsl(urlsplit(url).query))
    assert url.startswith(f"{project.url}/auth/v1/authorize?")
    assert query.keys() == {
        "provider",
        "redirect_to",
        "scopes",
        "code_challenge",
        "code_challenge_method",
    }, "a state of ours would override the service's own"
    assert query["scopes"] == "a b c"
    back = project.consent(url)
    assert back.state == "s&t=a te"
    assert back.url.startswith("https://app.test/back?x=y&state=")
    assert auth.sign_in_with_oauth("google", back.code, state=back.state).tokens


def test_a_sign_in_at_a_provider_ends_once_and_where_it_was_begun(auth, project):
    back = project.consent(auth.get_oauth_authorization_url("google", STATE))
    for provider, state in (("github", STATE), ("google", "another"), ("google", None)):
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth(provider, back.code, state=state)
    with pytest.raises(NotImplementedError, match="pass state="):
        auth.sign_in_with_oauth("google", back.code)
    assert auth.sign_in_with_oauth("google", back.code, state=STATE)
    project.calls.clear()
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_oauth("google", back.code, state=STATE)
    assert project.calls == []


def test_a_sign_in_is_bound_to_the_browser_that_began_it(auth, project):
    """Login CSRF: the attacker's own code and state, in the victim's browser."""
    start = auth.start_oauth("google", scopes=["a"])
    back = project.consent(start.url)
    assert back.state == start.state
    for binding in ("", None, "another", auth.start_oauth("google").binding):
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("google", back.code, state=back.state, binding=binding)
    result = auth.sign_in_with_oauth("google", back.code, state=back.state, binding=start.binding)
    assert auth.authenticate(bearer(result.tokens))
    assert start.binding not in repr(start)


def test_a_sign_in_without_a_binding_is_no_browsers(auth, project):
    back = project.consent(auth.get_oauth_authorization_url("google", STATE))
    for binding in ("some cookie", "", None):
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("google", back.code, state=STATE, binding=binding)


def test_who_can_write_the_kv_store_begins_no_flow(auth, project):
    back = project.consent(auth.get_oauth_authorization_url("google", STATE))
    (key,) = auth._kv_client.scan()
    kept = auth._kv_client.get(key)
    for forged in (b"", b"1", kept[:32] + bytes(32), bytes(32) + kept[32:], kept[:-1]):
        auth._kv_client.set(key, forged)
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("google", back.code, state=STATE)
    other = auth._flows._key("oauth", "google", "another state")
    auth._kv_client.set(other, kept)
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_oauth("google", back.code, state="another state")
    assert STATE.encode() not in key + kept


def test_a_code_of_another_sign_in_is_refused(auth, project):
    """PKCE: a code that somebody slips in goes with another verifier."""
    theirs = project.consent(auth.get_oauth_authorization_url("google", "the attacker's"))
    auth.get_oauth_authorization_url("google", STATE)
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_oauth("google", theirs.code, state=STATE)


def test_a_provider_that_is_none_is_a_mistake(auth, project):
    for provider in ("", "Google", "a/b", "email", "magic_link", "x" * 99, "goo gle"):
        with pytest.raises(ValueError, match="provider"):
            auth.get_oauth_authorization_url(provider, STATE)
    with pytest.raises(ValueError, match="state"):
        auth.get_oauth_authorization_url("google", "")


def test_a_stranger_may_be_refused(auth, project):
    project.disable_signup = True
    back = project.consent(auth.get_oauth_authorization_url("google", STATE))
    assert (back.code, back.error) == (None, "access_denied")
    assert project.deny(auth.get_oauth_authorization_url("google", "s")).error == "access_denied"


# Sessions


@pytest.mark.parametrize(
    "broken",
    [
        {"access_token": "x"},
        {"access_token": "a.b.c"},
        {"access_token": 7},
        {"refresh_token": None},
        {"expires_in": "3600"},
        {"expires_in": True},
        {"user": None},
        {"user": {"id": "no uuid"}},
    ],
    ids=repr,
)
def test_tokens_that_are_none_are_a_failure_of_the_backend(auth, project, broken):
    tokens = join(auth).tokens
    good = {
        "access_token": tokens.access_token,
        "refresh_token": "r",
        "expires_in": 3600,
        "user": next(iter(project.users.values())),
    }
    project.disturb(200, good, path="/token")
    assert auth.sign_in_with_password(ADA, PASSWORD).tokens.expires_at == (
        project.clock() + timedelta(hours=1)
    )
    for act in (auth.refresh_token, lambda _: auth.sign_in_with_password(ADA, PASSWORD)):
        project.disturb(200, {**good, **broken}, path="/token")
        with pytest.raises(AuthBackendError):
            act("r")


def test_sign_ins_clean_up_a_little(auth, project, clock):
    tokens = join(auth).tokens
    session_id = auth.authenticate(bearer(tokens)).session_id
    auth.sign_out(session_id)
    clock.advance(days=9)
    for _ in range(16):
        auth.sign_in_with_password(ADA, PASSWORD)
    assert auth._sessions.find(session_id) is None


def test_a_session_ends_by_its_id_with_the_legacy_secret(auth, project):
    """A token of a minute is made for it, which is the session's own for the service."""
    ended, other = join(auth).tokens, auth.sign_in_with_password(ADA, PASSWORD).tokens
    session = auth.authenticate(bearer(ended))
    calls(project)
    auth.sign_out(uuid.UUID(session.session_id))
    assert project.last_call().query == {"scope": "local"}
    assert calls(project) == ["POST /logout"]
    assert list(project.sessions) == [auth.authenticate(bearer(other)).session_id]
    auth.sign_out(session.session_id)


@with_settings(legacy_secret=False)
def test_a_session_ends_by_its_access_token_without(auth, project):
    tokens = join(auth).tokens
    session = auth.authenticate(bearer(tokens))
    with pytest.raises(NotImplementedError, match="jwt_secret"):
        auth.sign_out(session.session_id)
    auth.sign_out(tokens.access_token)
    assert not project.sessions
    assert auth.authenticate(bearer(tokens)) is None


@with_settings(legacy_secret=False)
def test_an_expired_access_token_does_not_pretend_to_sign_out(auth, project, clock):
    """Its session lives on by the refresh token."""
    tokens = join(auth).tokens
    clock.advance(hours=2)
    with pytest.raises(InvalidTokenError):
        auth.sign_out(tokens.access_token)
    auth.sign_out(auth.refresh_token(tokens.refresh_token).access_token)
    assert not project.sessions


@with_settings(legacy_secret=False)
def test_a_secret_that_the_project_takes_no_more_is_told(auth, project, clock):
    """It would be silence over a session that lives on."""
    config = dataclasses.replace(project.config, jwt_secret="a retired secret" * 3)
    with connected(config, clock) as late:
        tokens = join(late).tokens
        session = late.authenticate(bearer(tokens))
        for act in (
            lambda: late.sign_out(session.session_id),
            lambda: late.sign_out_all(session.user_id),
        ):
            with pytest.raises(ConfigError, match="jwt_secret"):
                act()
        assert late.authenticate(bearer(tokens)) is None


def test_a_token_that_is_over_for_the_service_alone_is_told_too(auth, project, clock):
    """Clocks may differ by a minute here; there they do not."""
    tokens = join(auth).tokens
    clock.advance(seconds=3630)
    assert auth.authenticate(bearer(tokens))
    with pytest.raises(InvalidTokenError):
        auth.sign_out(tokens.access_token)


@pytest.mark.parametrize("code", ["session_not_found", "session_expired", "user_not_found"])
def test_what_says_that_a_session_is_over_is_fine(auth, project, code):
    session = auth.authenticate(bearer(join(auth).tokens))
    project.refuse(403, code)
    auth.sign_out(session.session_id)


@pytest.mark.parametrize("code", ["no_authorization", "not_admin", "unexpected_failure"])
def test_anything_else_may_have_left_it_alive(auth, project, code):
    session = auth.authenticate(bearer(join(auth).tokens))
    project.refuse(403, code)
    with pytest.raises(AuthBackendError):
        auth.sign_out(session.session_id)


def test_signing_out_a_session_that_the_service_ended_already_is_fine(auth, project):
    tokens = join(auth).tokens
    session = auth.authenticate(bearer(tokens))
    project.sessions.clear()
    auth.sign_out(session.session_id)
    assert auth.authenticate(bearer(tokens)) is None


@pytest.mark.parametrize("settings", [{}, {"legacy_secret": False}], ids=["secret", "link"])
def test_everybody_of_a_user_is_signed_out(auth, project, settings):
    first, others = join(auth), join(auth, "bob@example.com")
    second = auth.sign_in_with_password(ADA, PASSWORD)
    calls(project)
    auth.sign_out_all(first.user.id)
    with_link = ["GET /admin/users/" + first.user.id, "POST /admin/generate_link", "POST /verify"]
    assert calls(project) == [*(with_link if settings else []), "POST /logout"]
    assert list(project.sessions.values()) == [others.user.id]
    for tokens in (first.tokens, second.tokens):
        assert auth.authenticate(bearer(tokens)) is None
    assert project.mails == []


@with_settings(legacy_secret=False, autoconfirm=False)
def test_nobody_is_confirmed_by_being_signed_out(auth, project, clock):
    user = join(auth).user
    auth.sign_out_all(user.id)
    assert auth.get_user(user.id).email_confirmed_at is None
    project.users[user.id]["last_sign_in_at"] = "2026-01-01T00:00:00Z"
    with pytest.raises(NotImplementedError, match="jwt_secret"):
        auth.sign_out_all(user.id)
    assert auth.get_user(user.id).email_confirmed_at is None


@with_settings(legacy_secret=False)
def test_a_disabled_user_is_not_pretended_to_be_signed_out(auth, project):
    result = join(auth)
    auth.update_user(user_id=result.user.id, is_active=False)
    with pytest.raises(NotImplementedError, match="jwt_secret"):
        auth.sign_out_all(result.user.id)
    assert auth.authenticate(bearer(result.tokens)) is None


def test_a_session_that_ended_here_stays_ended_when_the_user_comes_back(auth, project):
    result = join(auth)
    auth.update_user(user_id=result.user.id, is_active=False)
    auth.update_user(user_id=result.user.id, is_active=True)
    assert auth.authenticate(bearer(result.tokens)) is None
    with pytest.raises(InvalidTokenError):
        auth.refresh_token(result.tokens.refresh_token)


def test_a_project_that_signs_with_an_unknown_secret_signs_nobody_out(project, clock):
    """Without the secret every token would look wrong: that is a mistake, and told as one."""
    with FakeSupabase(clock=clock, alg="HS256") as legacy:
        config = dataclasses.replace(legacy.config, jwt_secret="")
        with connected(config, clock) as auth:
            tokens = join(auth).tokens
            with pytest.raises(ConfigError, match="jwt_secret"):
                auth.authenticate(bearer(tokens))


@with_settings(legacy_secret=False)
def test_where_keys_are_published_a_token_of_another_kind_is_nobody(auth, project):
    join(auth)
    with (
        FakeSupabase(clock=project.clock, alg="HS256") as other,
        connected(other.config, project.clock) as there,
    ):
        assert auth.authenticate(bearer(join(there).tokens)) is None


def test_what_is_known_of_sessions_goes_in_time(auth, project, clock):
    ended, lives, active = (join(auth, f"{name}@example.com") for name in ("a", "b", "c"))
    auth.sign_out(auth.authenticate(bearer(ended.tokens)).session_id)
    org = auth.create_org(name="E", slug="e", creator_id=active.user.id)
    auth.set_active_org(
        session_id=auth.authenticate(bearer(active.tokens)).session_id,
        org_id=org.id,
        refresh_token=active.tokens.refresh_token,
    )
    assert auth.purge() == 0
    clock.advance(seconds=KEPT.total_seconds() + 1)
    assert auth.purge() == 1
    clock.advance(seconds=FORGOTTEN.total_seconds())
    assert auth.purge() >= 1
    tokens = auth.refresh_token(lives.tokens.refresh_token)
    auth.sign_out(auth.authenticate(bearer(tokens)).session_id)
    assert lives.user.id not in project.sessions.values()
    assert auth._sessions.find(next(iter(project.sessions))).org[0] == org.id


# Organizations in the application's database


def enter(auth, result, org_id, tokens=None):
    session = auth.authenticate(bearer(tokens or result.tokens))
    return auth.set_active_org(
        session_id=session.session_id,
        org_id=org_id,
        refresh_token=(tokens or result.tokens).refresh_token,
    )


def test_an_organization_is_the_sessions_and_not_the_tokens(auth, project):
    """No claim and no header outlives a membership."""
    ada, bob = join(auth), join(auth, "bob@example.com")
    org = auth.create_org(name="E", slug="e", creator_id=ada.user.id)
    auth.add_org_member(org_id=org.id, user_id=bob.user.id)
    other = auth.sign_in_with_password("bob@example.com", PASSWORD).tokens
    tokens = enter(auth, bob, org.id)
    assert org.id not in tokens.access_token
    for same_session in (bob.tokens, tokens):
        assert auth.authenticate(bearer(same_session)).org_id == org.id
    assert auth.authenticate(bearer(other)).org_id is None
    auth.remove_org_member(org_id=org.id, user_id=bob.user.id)
    assert auth.authenticate(bearer(tokens)).org_id is None
    auth.add_org_member(org_id=org.id, user_id=bob.user.id)
    assert auth.authenticate(bearer(tokens)).org_id is None, "a new membership is entered anew"


def test_a_deleted_organization_is_nobodys(auth, project):
    ada = join(auth)
    org = auth.create_org(name="E", slug="e", creator_id=ada.user.id)
    tokens = enter(auth, ada, org.id)
    auth.delete_org(org_id=org.id)
    assert auth.authenticate(bearer(tokens)).org_id is None


def test_an_organization_needs_the_sessions_own_refresh_token(auth, project):
    ada, bob = join(auth), join(auth, "bob@example.com")
    org = auth.create_org(name="E", slug="e", creator_id=ada.user.id)
    session_id = auth.authenticate(bearer(ada.tokens)).session_id
    with pytest.raises(NotImplementedError, match="refresh_token="):
        auth.set_active_org(session_id=session_id, org_id=org.id)
    with pytest.raises(InvalidTokenError):
        auth.set_active_org(
            session_id=session_id, org_id=org.id, refresh_token=bob.tokens.refresh_token
        )
    for tokens in (ada.tokens, bob.tokens):
        assert auth.authenticate(bearer(tokens)).org_id is None


def test_what_is_refused_spends_no_refresh_token(auth, project):
    ada, bob = join(auth), join(auth, "bob@example.com")
    org = auth.create_org(name="E", slug="e", creator_id=ada.user.id)
    calls(project)
    for org_id in (org.id, uuid.uuid4(), "no uuid"):
        with pytest.raises(OrgMemberNotFoundError):
            enter(auth, bob, org_id)
    with pytest.raises(InvalidTokenError):
        auth.set_active_org(
            session_id=uuid.uuid4(), org_id=None, refresh_token=bob.tokens.refresh_token
        )
    assert "POST /token" not in calls(project)


def test_memberships_end_with_their_user(auth, project):
    ada, bob = join(auth), join(auth, "bob@example.com")
    org = auth.create_org(name="E", slug="e", creator_id=ada.user.id)
    auth.add_org_member(org_id=org.id, user_id=bob.user.id)
    with pytest.raises(LastOwnerError):
        auth.delete_user(ada.user.id)
    assert ada.user.id in project.users, "the service was not asked"
    assert auth.delete_user(bob.user.id) is True
    assert [member.user_id for member in auth.list_org_members(slug="e")] == [ada.user.id]
    assert auth.authenticate(bearer(bob.tokens)) is None


def test_memberships_of_who_was_deleted_elsewhere_can_be_cleared(auth, project):
    """In the dashboard, say."""
    ada, bob = join(auth), join(auth, "bob@example.com")
    org = auth.create_org(name="E", slug="e", creator_id=ada.user.id)
    auth.add_org_member(org_id=org.id, user_id=bob.user.id)
    del project.users[bob.user.id]
    assert auth.delete_user(bob.user.id) is False
    assert len(auth.list_org_members(org_id=org.id)) == 1
