"""The native backend as its users call it, on SQLite and PostgreSQL."""

from __future__ import annotations

import uuid
from datetime import timedelta

import peewee
import pytest

from derp_auth_lite.config import PasswordConfig
from derp_auth_lite.exceptions import (
    AuthNotConnectedError,
    ConfirmationURLMissingError,
    EmailAlreadyExistsError,
    EmailNotConfirmedError,
    InvalidCredentialsError,
    InvalidTokenError,
    PasswordValidationError,
    SignupDisabledError,
    UserDisabledError,
    UserNotFoundError,
)
from derp_auth_lite.models import AuthResult, UserInfo
from derp_auth_lite.native_client import NativeAuthClient

from .support import PASSWORD, Request, native_client, native_config

EMAIL = "ada@example.com"


@pytest.fixture
def ada(auth) -> AuthResult:
    """An account that has just signed up."""
    return auth.sign_up(email="Ada@Example.com", password=PASSWORD, first_name="Ada")


def session_of(auth, tokens):
    return auth.authenticate(Request(tokens.access_token))


class TestUsers:
    def test_a_new_account_has_what_was_given_and_no_more(self, auth, ada, clock):
        assert ada.user == UserInfo(
            id=ada.user.id,
            email=EMAIL,
            first_name="Ada",
            role="default",
            is_active=True,
            is_superuser=False,
            email_confirmed_at=None,
            last_sign_in_at=clock.now,
            created_at=clock.now,
            updated_at=clock.now,
            metadata={},
        )
        assert auth.get_user(ada.user.id) == ada.user
        assert auth.get_user(uuid.UUID(ada.user.id)) == ada.user

    def test_users_are_listed_newest_first_by_offset_and_by_cursor(self, auth, clock):
        made = []
        for number in range(7):
            clock.advance(seconds=number % 2)  # pairs share a moment
            made.append(auth.create_user(email=f"u{number}@example.com"))
        everyone = auth.list_users()
        assert {user.id for user in everyone} == {user.id for user in made}
        assert [user.created_at for user in everyone] == sorted(
            (user.created_at for user in made), reverse=True
        )
        assert auth.list_users(limit=2, offset=3) == everyone[3:5]
        assert auth.list_users(limit=0) == []
        assert auth.list_users(offset=100) == []

        walked, after = [], None
        while True:
            page = auth.list_users_by_cursor(limit=3, after=after)
            walked += page.data
            after = page.next_cursor
            assert page.has_more == (after is not None)
            if not page.has_more:
                break
        assert walked == everyone
        assert auth.count_users() == 7

    def test_an_update_changes_what_it_names_and_nothing_else(self, auth, ada, clock):
        clock.advance(hours=1)
        user = auth.update_user(user_id=ada.user.id, last_name="Lovelace", metadata={"a": [1]})
        assert user.first_name == "Ada"
        assert user.last_name == "Lovelace"
        assert user.metadata == {"a": [1]}
        assert user.updated_at == clock.now
        assert auth.update_user(user_id=ada.user.id, first_name=None).first_name is None
        assert auth.get_user(ada.user.id).last_name == "Lovelace"

    def test_an_address_can_change_and_another_persons_cannot_be_taken(self, auth, ada):
        auth.create_user(email="bob@example.com")
        user = auth.update_user(user_id=ada.user.id, email="Countess@Example.com")
        assert user.email == "countess@example.com"
        with pytest.raises(EmailAlreadyExistsError) as caught:
            auth.update_user(user_id=ada.user.id, email="bob@example.com", first_name="no")
        assert caught.value.email == "bob@example.com"
        assert auth.get_user(ada.user.id) == user

    def test_a_deleted_user_is_gone_with_all_sessions(self, auth, ada):
        assert auth.delete_user(ada.user.id) is True
        assert auth.delete_user(ada.user.id) is False
        assert auth.list_sessions() == []
        with pytest.raises(UserNotFoundError):
            auth.get_user(ada.user.id)
        assert auth.sign_up(email=EMAIL, password=PASSWORD).user.id != ada.user.id

    def test_an_administrator_makes_accounts_confirmed_at_will(self, auth, clock):
        user = auth.create_user(
            email="root@localhost",
            password=PASSWORD,
            confirmed=True,
            role="admin",
            is_superuser=True,
            username="root",
        )
        assert (user.role, user.is_superuser, user.username) == ("admin", True, "root")
        assert user.email_confirmed_at == clock.now
        assert user.last_sign_in_at is None
        assert auth.sign_in_with_password("root@localhost", PASSWORD).user.id == user.id
        assert auth.create_user(email="x@example.com").email_confirmed_at is None


class TestSigningUpAndIn:
    def test_a_sign_up_signs_in(self, auth, ada):
        session = session_of(auth, ada.tokens)
        assert (session.user_id, session.role) == (ada.user.id, "default")
        assert ada.tokens.token_type == "bearer"
        assert ada.tokens.expires_in == 900

    def test_the_address_is_known_in_any_case_and_with_its_password_only(self, auth, ada):
        assert auth.sign_in_with_password("ADA@example.COM", PASSWORD).user.id == ada.user.id
        for email, password in [(EMAIL, PASSWORD + "x"), ("eve@example.com", PASSWORD)]:
            with pytest.raises(InvalidCredentialsError) as caught:
                auth.sign_in_with_password(email, password)
            assert type(caught.value) is InvalidCredentialsError

    def test_a_sign_in_fills_in_names_that_are_missing_and_keeps_the_others(self, auth, ada, clock):
        clock.advance(days=1)
        user = auth.sign_in_with_password(
            EMAIL, PASSWORD, first_name="Eve", last_name="Lovelace"
        ).user
        assert (user.first_name, user.last_name) == ("Ada", "Lovelace")
        assert user.last_sign_in_at == clock.now

    def test_a_taken_address_is_told_with_the_stored_form(self, auth, ada):
        with pytest.raises(EmailAlreadyExistsError) as caught:
            auth.sign_up(email="ADA@EXAMPLE.com", password=PASSWORD)
        assert caught.value.email == EMAIL
        assert auth.count_users() == 1

    def test_sign_up_can_be_turned_off(self, make_auth):
        with pytest.raises(SignupDisabledError):
            make_auth(enable_signup=False).sign_up(email=EMAIL, password=PASSWORD)

    def test_confirmation_needs_a_page_to_come_back_to(self, make_auth):
        auth = make_auth(enable_confirmation=True)
        with pytest.raises(ConfirmationURLMissingError):
            auth.sign_up(email=EMAIL, password=PASSWORD)
        assert auth.count_users() == 0

    def test_disabled_and_unconfirmed_are_told_only_to_who_knows_the_password(self, make_auth):
        auth = make_auth(enable_confirmation=True)
        user = auth.create_user(email=EMAIL, password=PASSWORD)
        with pytest.raises(EmailNotConfirmedError):
            auth.sign_in_with_password(EMAIL, PASSWORD)
        auth.update_user(user_id=user.id, is_active=False)
        with pytest.raises(UserDisabledError):
            auth.sign_in_with_password(EMAIL, PASSWORD)
        with pytest.raises(InvalidCredentialsError) as caught:
            auth.sign_in_with_password(EMAIL, "not the password")
        assert type(caught.value) is InvalidCredentialsError

    def test_the_hash_is_renewed_when_its_cost_was_raised(self, make_auth):
        make_auth().sign_up(email=EMAIL, password=PASSWORD)
        dearer = make_auth(password=PasswordConfig(hash_profile="owasp_minimum"))
        before = dearer._accounts.by_email(EMAIL)
        dearer.sign_in_with_password(EMAIL, PASSWORD)
        after = dearer._accounts.by_email(EMAIL)
        assert before.password_hash != after.password_hash
        assert "m=19456,t=2,p=1" in after.password_hash
        assert after.token_stamp == before.token_stamp
        assert dearer.sign_in_with_password(EMAIL, PASSWORD)

    def test_who_is_asking_is_kept_with_the_session(self, auth):
        class WSGI(Request):
            remote_addr = "192.0.2.7"

        request = WSGI(headers={"user-agent": "Browser/1\r\nX: y", "x-forwarded-for": "8.8.8.8"})
        auth.sign_up(email=EMAIL, password=PASSWORD, request=request)
        (session,) = auth.list_sessions()
        assert session.metadata["user_agent"] == "Browser/1 X: y"
        assert session.metadata["ip_address"] == "192.0.2.7"

        auth.sign_in_with_password(EMAIL, PASSWORD, user_agent="script", ip_address="2001:DB8::1")
        metadata = {
            s.metadata["user_agent"]: s.metadata["ip_address"] for s in auth.list_sessions()
        }
        assert metadata == {"script": "2001:db8::1", "Browser/1 X: y": "192.0.2.7"}


class TestChangingAPassword:
    def test_it_needs_the_present_one(self, auth, ada):
        with pytest.raises(InvalidCredentialsError):
            auth.change_password(
                user_id=ada.user.id, current_password="wrong", new_password="another long one"
            )
        assert auth.sign_in_with_password(EMAIL, PASSWORD)

    def test_it_ends_the_other_sessions_and_keeps_the_one_that_asks(self, auth, ada):
        other = auth.sign_in_with_password(EMAIL, PASSWORD).tokens
        mine = session_of(auth, ada.tokens)
        auth.change_password(
            user_id=ada.user.id,
            current_password=PASSWORD,
            new_password="another long one",
            session_id=mine.session_id,
        )
        assert session_of(auth, other) is None
        assert session_of(auth, ada.tokens) is not None
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(EMAIL, PASSWORD)
        assert auth.sign_in_with_password(EMAIL, "another long one")

    def test_the_new_one_must_meet_the_policy(self, auth, ada):
        for weak in ("short", "password1", EMAIL):
            with pytest.raises(PasswordValidationError):
                auth.change_password(
                    user_id=ada.user.id, current_password=PASSWORD, new_password=weak
                )
        assert session_of(auth, ada.tokens) is not None

    def test_a_disabled_user_changes_nothing_with_the_right_password(self, auth, ada):
        auth.update_user(user_id=ada.user.id, is_active=False)
        with pytest.raises(UserDisabledError):
            auth.change_password(
                user_id=ada.user.id, current_password=PASSWORD, new_password="another long one"
            )
        auth.update_user(user_id=ada.user.id, is_active=True)
        assert auth.sign_in_with_password(EMAIL, PASSWORD)

    def test_disabling_outruns_a_change_that_has_begun(self, auth, ada):
        before = auth._accounts.by_email(EMAIL)
        auth.update_user(user_id=ada.user.id, is_active=False)
        assert auth._accounts.set_password(before, "$argon2id$another") is None

    def test_an_account_without_a_password_has_none_to_change(self, auth):
        user = auth.create_user(email=EMAIL)
        with pytest.raises(InvalidCredentialsError):
            auth.change_password(
                user_id=user.id, current_password="", new_password="another long one"
            )
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(EMAIL, "")


class TestSessions:
    def test_a_refresh_gives_a_new_pair_and_the_old_token_is_spent(self, auth, ada, clock):
        clock.advance(minutes=20)
        assert session_of(auth, ada.tokens) is None
        pair = auth.refresh_token(ada.tokens.refresh_token)
        assert pair.refresh_token != ada.tokens.refresh_token
        assert session_of(auth, pair).session_id

        clock.advance(seconds=11)
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(ada.tokens.refresh_token)

    def test_a_session_ends_absolutely_however_often_it_is_refreshed(self, auth, ada, clock):
        tokens = ada.tokens
        for _ in range(5):
            clock.advance(days=6)
            if clock.now < auth.get_user(ada.user.id).created_at + timedelta(days=30):
                tokens = auth.refresh_token(tokens.refresh_token)
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(tokens.refresh_token)
        assert auth.list_sessions() == []

    def test_a_session_that_is_not_refreshed_for_a_week_is_over(self, auth, ada, clock):
        clock.advance(days=7, seconds=-1)
        tokens = auth.refresh_token(ada.tokens.refresh_token)
        clock.advance(days=7)
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(tokens.refresh_token)

    def test_sessions_are_listed_newest_first_by_offset_and_by_cursor(self, auth, ada, clock):
        other = auth.create_user(email="bob@example.com", password=PASSWORD)
        for _ in range(4):
            clock.advance(seconds=1)
            auth.sign_in_with_password(EMAIL, PASSWORD)
            auth.sign_in_with_password("bob@example.com", PASSWORD)
        mine = auth.list_sessions(user_id=ada.user.id)
        assert len(mine) == 5
        assert mine == sorted(mine, key=lambda s: s.metadata["created_at"], reverse=True)
        assert len(auth.list_sessions()) == 9
        assert auth.list_sessions(user_id=ada.user.id, limit=2, offset=1) == mine[1:3]
        first = auth.list_sessions_by_cursor(user_id=ada.user.id, limit=3)
        second = auth.list_sessions_by_cursor(user_id=ada.user.id, limit=3, after=first.next_cursor)
        assert first.data + second.data == mine
        assert len(auth.list_sessions_by_cursor(user_id=other.id).data) == 4

    def test_signing_out_ends_one_session_and_signing_out_everywhere_ends_all(self, auth, ada):
        tokens = [auth.sign_in_with_password(EMAIL, PASSWORD).tokens for _ in range(3)]
        auth.sign_out(session_of(auth, tokens[0]).session_id)
        assert session_of(auth, tokens[0]) is None
        assert session_of(auth, tokens[1]) is not None
        auth.sign_out_all(ada.user.id)
        assert [session_of(auth, pair) for pair in [*tokens, ada.tokens]] == [None] * 4

    def test_a_stateless_client_believes_a_token_until_it_expires(self, make_auth, clock):
        auth = make_auth(jwt={"verify": "stateless"})
        tokens = auth.sign_up(email=EMAIL, password=PASSWORD).tokens
        session = session_of(auth, tokens)
        auth.sign_out(session.session_id)
        assert session_of(auth, tokens) == session
        clock.advance(minutes=15)
        assert session_of(auth, tokens) is None

    def test_a_retired_key_ends_its_sessions_and_a_previous_one_goes_on(self, make_auth):
        old, new = "o" * 40, "n" * 40
        tokens = make_auth(jwt={"secret": old}).sign_up(email=EMAIL, password=PASSWORD).tokens
        rotated = make_auth(jwt={"secret": new, "previous_secrets": (old,)})
        assert session_of(rotated, tokens) is not None
        renewed = rotated.refresh_token(tokens.refresh_token)

        retired = make_auth(jwt={"secret": new})
        assert session_of(retired, tokens) is None
        with pytest.raises(InvalidTokenError):
            retired.refresh_token(tokens.refresh_token)
        assert session_of(retired, renewed) is not None

    def test_roles_decide_what_a_session_may_do(self, auth, ada):
        session = session_of(auth, ada.tokens)
        assert auth.is_authorized(session, "admin", "default")
        assert not auth.is_authorized(session, "admin")


class TestPurging:
    def test_purge_removes_what_is_over_and_keeps_what_lives(self, auth, ada, clock):
        for _ in range(3):
            auth.sign_in_with_password(EMAIL, PASSWORD)
        clock.advance(days=6)
        living = auth.sign_in_with_password(EMAIL, PASSWORD).tokens
        clock.advance(days=2)
        tokens = auth.refresh_token(living.refresh_token)
        assert auth.purge() == 4
        assert auth.purge() == 0
        assert session_of(auth, tokens) is not None

    def test_one_sign_in_of_sixteen_clears_what_is_over_and_authenticating_nothing(
        self, auth, ada, clock
    ):
        for _ in range(14):
            auth.sign_in_with_password(EMAIL, PASSWORD)
        clock.advance(days=8)
        auth.authenticate(Request(ada.tokens.access_token))
        auth.sign_in_with_password(EMAIL, PASSWORD)
        assert auth._sessions.purge(1) == 1
        auth.sign_in_with_password(EMAIL, PASSWORD)
        assert auth.purge() == 0


class TestTheApplicationsTransaction:
    @pytest.fixture(params=["sqlite", "postgresql"])
    def application(self, request, tmp_path):
        if request.param == "sqlite":
            database = peewee.SqliteDatabase(tmp_path / "application.db")
        else:
            url = request.getfixturevalue("new_postgres_url")
            database = peewee.PostgresqlDatabase(url, prefer_psycopg3=True)
        yield database
        if not database.is_closed():
            database.close()

    @pytest.fixture
    def own(self, application, clock):
        with native_client(application, clock) as auth:
            yield auth

    def test_accounts_are_made_and_changed_with_the_applications_rows_or_not_at_all(
        self, own, application
    ):
        bob = own.create_user(email="bob@example.com")
        with pytest.raises(ZeroDivisionError), application.atomic():
            own.sign_up(email=EMAIL, password=PASSWORD)
            own.create_user(email="carl@example.com")
            own.update_user(user_id=bob.id, first_name="Bob")
            with pytest.raises(EmailAlreadyExistsError):
                own.update_user(user_id=bob.id, email=EMAIL)
            with pytest.raises(EmailAlreadyExistsError):
                own.sign_up(email=EMAIL, password=PASSWORD)
            assert own.count_users() == 3
            _ = 1 / 0
        assert own.list_users() == [bob]

        with application.atomic():
            tokens = own.sign_up(email=EMAIL, password=PASSWORD).tokens
        assert session_of(own, tokens) is not None

    def test_what_must_not_be_rolled_back_refuses_to_run_in_it(self, own, application):
        user = own.sign_up(email=EMAIL, password=PASSWORD)
        calls = [
            lambda: own.sign_in_with_password(EMAIL, PASSWORD),
            lambda: own.refresh_token(user.tokens.refresh_token),
            lambda: own.change_password(
                user_id=user.user.id, current_password=PASSWORD, new_password="another long one"
            ),
        ]
        for call in calls:
            with application.atomic(), pytest.raises(RuntimeError):
                call()
        assert session_of(own, user.tokens) is not None


def test_a_client_without_a_database_says_so(clock):
    client = NativeAuthClient(native_config(), clock=clock)
    with pytest.raises(AuthNotConnectedError, match="set_db"):
        client.connect()
    with pytest.raises(AuthNotConnectedError):
        client.count_users()


def test_a_client_is_closed_by_its_with_block(database, clock):
    with native_client(database, clock) as auth:
        auth.count_users()
    with pytest.raises(AuthNotConnectedError):
        auth.count_users()
    auth.disconnect()
    with auth:
        assert auth.count_users() == 0


def test_opening_a_session_for_a_user_who_was_disabled_meanwhile_is_refused(auth, ada):
    stale = auth._accounts.by_email(EMAIL)
    auth.update_user(user_id=ada.user.id, is_active=False)
    assert auth._accounts.signed_in(stale) is None
