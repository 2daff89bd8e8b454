"""The flows, against an emulator that WorkOS wrote.

It never asks for a step, takes any role, and answers some mistakes otherwise than the service; what
it does not know is not looked for here.
"""

from __future__ import annotations

import contextlib
import http.client
from urllib.parse import parse_qsl, urlsplit

import pytest

from derp_auth_lite._clock import utc_now
from derp_auth_lite.config import WorkOSConfig
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import (
    AuthBackendError,
    EmailAlreadyExistsError,
    InvalidCredentialsError,
    InvalidTokenError,
    LastOwnerError,
    MemberAlreadyExistsError,
    OrgMemberNotFoundError,
    OrgNotFoundError,
    UserNotFoundError,
)
from derp_auth_lite.testing import Outbox

from .servers import workos_emulator
from .support import PASSWORD, Request
from .workos_support import PAGE, connected

CALLBACK = "http://127.0.0.1:9/callback"


@pytest.fixture(scope="module")
def emulator():
    with workos_emulator.run() as emulator:
        yield emulator


@pytest.fixture
def config(emulator):
    return WorkOSConfig(
        api_key=emulator.api_key,
        client_id=workos_emulator.CLIENT_ID,
        redirect_uri=CALLBACK,
        base_url=emulator.url,
    )


@pytest.fixture
def auth(config):
    """A client whose mails are the library's: the emulator sends none."""
    with connected(config, utc_now, email=EmailClient.in_memory(clock=utc_now)) as client:
        yield client


@pytest.fixture
def email(request):
    """An address of the test's own: the emulator is everybody's."""
    return f"{request.node.name.replace('_', '-')[-50:]}@example.com"


def look(auth, tokens):
    return auth.authenticate(Request(tokens.access_token))


def browse(url):
    """Open the provider's page, and return the query that the browser is sent back with."""
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=10)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        answer.read()
    return dict(parse_qsl(urlsplit(answer.getheader("Location")).query))


def test_somebody_signs_up_in_and_out(auth, email):
    result = auth.sign_up(
        email=email, password=PASSWORD, first_name="Ada", metadata={"plan": "free", "seats": 3}
    )
    assert (result.user.first_name, result.user.metadata) == ("Ada", {"plan": "free", "seats": 3})
    entered = auth.sign_in_with_password(email, PASSWORD, last_name="Lovelace")
    assert entered.user.last_name == "Lovelace"
    session = look(auth, entered.tokens)
    assert session.user_id == result.user.id
    assert 3500 < entered.tokens.expires_in <= 3600
    auth.sign_out(session.session_id)
    auth.sign_out(session.session_id)
    assert look(auth, entered.tokens) is None
    assert look(auth, result.tokens) is not None


def test_mistakes_are_what_they_are_at_the_service(auth, email):
    """A wrong password is a 401 there, a taken address a 409."""
    auth.sign_up(email=email, password=PASSWORD)
    for password in ("a wrong password", ""):
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(email, password)
    with pytest.raises(EmailAlreadyExistsError):
        auth.sign_up(email=email, password=PASSWORD)
    with pytest.raises(UserNotFoundError):
        auth.get_user("user_00000000000000000000000000")
    for refused in (
        lambda: auth.refresh_token("ref_unknown"),
        lambda: auth.reset_password("unknown", PASSWORD),
        lambda: auth.verify_magic_link(auth.magic_link_token(email=email, code="000000")),
    ):
        with pytest.raises(InvalidTokenError):
            refused()


def test_a_wrong_key_is_the_backends_trouble(config, emulator, email):
    wrong = WorkOSConfig(api_key="sk_wrong", client_id="client_1", base_url=emulator.url)
    with connected(wrong, utc_now) as auth, pytest.raises(AuthBackendError, match="401"):
        auth.sign_up(email=email, password=PASSWORD)


def test_a_refresh_token_is_good_once(auth, email):
    first = auth.sign_up(email=email, password=PASSWORD).tokens
    second = auth.refresh_token(first.refresh_token)
    assert look(auth, second).user_id == look(auth, first).user_id
    with pytest.raises(InvalidTokenError):
        auth.refresh_token(first.refresh_token)


def test_a_profile_changes(auth, email):
    user = auth.create_user(email=email, metadata={"a": 1, "b": [2]}, role="editor")
    changed = auth.update_user(user_id=user.id, username="ada", metadata={"b": "3"})
    assert (changed.username, changed.metadata, changed.role) == ("ada", {"b": "3"}, "editor")
    assert auth.get_user(user.id).metadata == {"b": "3"}
    assert auth.find_user(email).id == user.id


def test_users_are_listed_over_pages(auth, email):
    before = auth.count_users()
    made = [auth.create_user(email=f"{n}-{email}").id for n in range(103)][::-1]
    assert auth.count_users() == before + 103
    assert [user.id for user in auth.list_users(limit=103)] == made
    assert [user.id for user in auth.list_users(limit=2, offset=100)] == made[100:102]
    first = auth.list_users_by_cursor(limit=2)
    second = auth.list_users_by_cursor(limit=2, after=first.next_cursor)
    assert [user.id for user in (*first.data, *second.data)] == made[:4]


def test_a_disabled_user_stays_out(auth, email):
    result = auth.sign_up(email=email, password=PASSWORD)
    auth.update_user(user_id=result.user.id, is_active=False)
    assert look(auth, result.tokens) is None
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_password(email, PASSWORD)
    assert auth.list_sessions(user_id=result.user.id) == []


def test_a_deleted_user_is_gone(auth, email):
    result = auth.sign_up(email=email, password=PASSWORD)
    assert auth.delete_user(result.user.id) is True
    assert auth.delete_user(result.user.id) is False
    assert look(auth, result.tokens) is None


def test_sessions_are_listed_and_ended(auth, email):
    user = auth.sign_up(email=email, password=PASSWORD).user
    auth.sign_in_with_password(email, PASSWORD, user_agent="Browser/1")
    assert len(auth.list_sessions(user_id=user.id)) == 2
    assert len(auth.list_sessions(user_id=user.id, limit=1)) == 1
    auth.sign_out_all(user.id)
    assert auth.list_sessions(user_id=user.id) == []


def test_a_lost_password_is_replaced_by_a_link(auth, email):
    old = auth.sign_up(email=email, password=PASSWORD).tokens
    auth.request_password_recovery(email=email, recovery_url=PAGE)
    auth.request_password_recovery(email="nobody@example.com", recovery_url=PAGE)
    mail = Outbox(auth).last("recovery")
    assert auth.reset_password(mail.token, "another good password").email == email
    assert auth.sign_in_with_password(email, "another good password").tokens
    assert look(auth, old) is None
    with pytest.raises(InvalidTokenError):
        auth.reset_password(mail.token, PASSWORD)


def test_a_magic_link_signs_in_once(auth, email):
    user = auth.create_user(email=email)
    auth.sign_in_with_magic_link(email=email, magic_link_url=PAGE)
    token = Outbox(auth).last("magic_link").token
    result = auth.verify_magic_link(token)
    assert look(auth, result.tokens).user_id == user.id
    with pytest.raises(InvalidTokenError):
        auth.verify_magic_link(token)


def test_an_address_is_proved_by_a_link(auth, email):
    auth.create_user(email=email)
    auth.resend_confirmation_email(email=email, confirmation_url=PAGE)
    user = auth.confirm_email(Outbox(auth).last("confirmation").token)
    assert user.email_confirmed_at is not None
    assert len(Outbox(auth).all()) == 1


def test_a_provider_brings_somebody_in(auth, email):
    user = auth.create_user(email=email)
    start = auth.start_oauth("google")
    back = browse(f"{start.url}&login_hint={email}")
    result = auth.sign_in_with_oauth(
        "google", back["code"], state=back["state"], binding=start.binding
    )
    assert result.user.id == user.id
    stolen = browse(f"{start.url}&login_hint={email}")
    with pytest.raises(AuthBackendError):  # the emulator calls a missing verifier invalid_request
        auth.sign_in_with_oauth("google", stolen["code"])


def test_an_organization_lives_with_its_members(auth, email):
    ada = auth.sign_up(email=email, password=PASSWORD)
    bob = auth.create_user(email=f"bob-{email}")
    slug = f"org-{ada.user.id[-10:].lower()}"
    org = auth.create_org(name="Engines", slug=slug, creator_id=ada.user.id, metadata={"a": 1})

    assert auth.get_org(slug=slug) == auth.get_org(org_id=org.id) == org
    assert auth.update_org(org_slug=slug, name="E", metadata={"b": 2}).metadata == {"b": 2}
    auth.add_org_member(org_id=org.id, user_id=bob.id)
    with pytest.raises(MemberAlreadyExistsError):
        auth.add_org_member(slug=slug, user_id=bob.id)
    assert [m.user_id for m in auth.list_org_members(slug=slug)] == [ada.user.id, bob.id]
    with pytest.raises(LastOwnerError):
        auth.remove_org_member(org_id=org.id, user_id=ada.user.id)
    assert auth.update_org_member(org_id=org.id, user_id=bob.id, role="owner").role == "owner"
    assert auth.remove_org_member(org_id=org.id, user_id=bob.id) is True
    with pytest.raises(OrgMemberNotFoundError):
        auth.get_org_member(org_id=org.id, user_id=bob.id)
    assert [it.id for it in auth.list_orgs(user_id=ada.user.id)] == [org.id]

    tokens = auth.set_active_org(
        session_id="any", org_id=org.id, refresh_token=ada.tokens.refresh_token
    )
    session = look(auth, tokens)
    assert (session.org_id, session.org_role) == (org.id, "owner")
    assert auth.delete_org(slug=slug) is True
    assert auth.delete_org(org_id=org.id) is False
    assert look(auth, tokens).org_id is None
    with pytest.raises(OrgNotFoundError):
        auth.get_org(slug=slug)
