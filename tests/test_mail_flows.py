"""Confirmation, recovery, magic links and changes of address, as an application meets them."""

from __future__ import annotations

import contextlib
import gc
import logging
import re
import shutil
import statistics
import time
from pathlib import Path

import peewee
import psycopg
import pytest

from derp_auth_lite._statements import Statement
from derp_auth_lite._tables import TABLES, Event, Identity, OutboxMail
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import (
    AuthBackendError,
    ConfigError,
    ConfirmationURLMissingError,
    EmailAlreadyExistsError,
    EmailNotConfirmedError,
    EmailSendError,
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidTokenError,
    PasswordValidationError,
    SignupDisabledError,
    UserNotFoundError,
)
from derp_auth_lite.kv.disk import DiskKV
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.kv.redis import RedisKV
from derp_auth_lite.native_client import NativeAuthClient
from derp_auth_lite.providers import OAuthUserInfo

from .forks import run_in_forks
from .servers.redis_server import running_redis
from .servers.smtp_server import SmtpServer
from .support import PASSWORD, MovableClock, Request, native_client, native_config

ADA = "ada@example.com"
EVE = "eve@example.com"
PAGE = "https://notes.example.com/mail"
OTHER_PASSWORD = "a wholly other set of words"
INTENTS = Statement(lambda: OutboxMail.select(OutboxMail.kind, OutboxMail.email))
ACTIONS = Statement(
    lambda: Event.select(Event.action, Event.outcome, Event.reason).order_by(Event.created_at)
)


@pytest.fixture
def auth(make_auth) -> NativeAuthClient:
    """A client that asks for confirmation and has magic links."""
    return make_auth(enable_confirmation=True, enable_magic_link=True)


def sent(auth):
    """Return all mails so far, the waiting ones included."""
    auth.deliver_mail()
    return auth._email_client.sent


def sign_up(auth, email=ADA, **profile):
    result = auth.sign_up(email=email, password=PASSWORD, confirmation_url=PAGE, **profile)
    return result.user


def confirmed(auth, email=ADA):
    """Return a user whose address is proved."""
    sign_up(auth, email)
    return auth.confirm_email(sent(auth)[-1].token)


def recovery(auth, email=ADA):
    auth.request_password_recovery(email=email, recovery_url=PAGE)
    return sent(auth)[-1].token


def magic_link(auth, email=ADA):
    auth.sign_in_with_magic_link(email=email, magic_link_url=PAGE)
    return sent(auth)[-1].token


def email_change(auth, user, new_email="countess@example.com", **given):
    auth.request_email_change(user_id=user.id, new_email=new_email, confirm_url=PAGE, **given)
    return sent(auth)[-1].token


def failures(auth):
    return [row for row in auth._db.fetch(ACTIONS) if row[1] == "failure"]


class TestConfirmation:
    def test_nobody_is_signed_in_before_the_address_is_confirmed(self, auth):
        """SECURITY row 3."""
        result = auth.sign_up(email=ADA, password=PASSWORD, confirmation_url=PAGE)
        assert result.tokens is None
        assert auth.list_sessions() == []
        with pytest.raises(EmailNotConfirmedError):
            auth.sign_in_with_password(ADA, PASSWORD)

        (mail,) = sent(auth)
        assert (mail.to, mail.kind, mail.subject) == (
            ADA,
            "confirmation",
            "Confirm your email address",
        )
        assert mail.link == f"{PAGE}?token={mail.token}"
        assert "24 hours" in mail.text
        assert auth.confirm_email(mail.token).email_confirmed_at == auth._clock()
        assert auth.sign_in_with_password(ADA, PASSWORD).tokens is not None

    def test_confirming_keeps_password_sessions_and_identities(self, make_auth):
        auth = make_auth()
        tokens = auth.sign_up(email=ADA, password=PASSWORD).tokens
        add_identity(auth, auth.list_users()[0])
        auth.resend_confirmation_email(email=ADA, confirmation_url=PAGE)
        auth.confirm_email(sent(auth)[-1].token)
        assert auth.authenticate(Request(tokens.access_token)) is not None
        assert auth.sign_in_with_password(ADA, PASSWORD).tokens is not None
        assert len(identities(auth)) == 1

    def test_without_a_page_to_link_to_nothing_happens(self, auth):
        with pytest.raises(ConfirmationURLMissingError):
            auth.sign_up(email=ADA, password=PASSWORD)
        assert auth.count_users() == 0

    def test_the_mail_belongs_to_the_transaction_of_the_sign_up(self, auth):
        sign_up(auth)
        sent(auth)
        with pytest.raises(EmailAlreadyExistsError):
            sign_up(auth)
        assert auth._db.fetch(INTENTS) == []

    def test_a_page_that_no_mail_may_link_to_makes_no_account(self, auth):
        with pytest.raises(ValueError, match=r"[Ll]ink"):
            auth.sign_up(email=ADA, password=PASSWORD, confirmation_url="javascript:alert(1)")
        assert auth.count_users() == 0

    def test_another_link_can_be_asked_for_until_the_address_is_confirmed(self, auth):
        sign_up(auth)
        first = sent(auth)[-1].token
        auth.resend_confirmation_email(email=ADA, confirmation_url=PAGE)
        second = sent(auth)[-1].token
        assert auth.confirm_email(second).email == ADA
        with pytest.raises(InvalidTokenError):
            auth.confirm_email(first)
        count = len(sent(auth))
        auth.resend_confirmation_email(email=ADA, confirmation_url=PAGE)
        assert len(sent(auth)) == count

    def test_a_link_dies_with_its_lifetime(self, auth, clock):
        sign_up(auth)
        token = sent(auth)[-1].token
        clock.advance(hours=24)
        with pytest.raises(InvalidTokenError):
            auth.confirm_email(token)


class TestRecovery:
    def test_a_link_sets_a_password_and_ends_all_sessions(self, auth):
        confirmed(auth)
        tokens = auth.sign_in_with_password(ADA, PASSWORD).tokens
        user = auth.reset_password(recovery(auth), OTHER_PASSWORD)
        assert user.email == ADA
        assert auth.authenticate(Request(tokens.access_token)) is None
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(tokens.refresh_token)
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(ADA, PASSWORD)
        assert auth.sign_in_with_password(ADA, OTHER_PASSWORD).tokens is not None

    def test_after_a_reset_every_other_link_of_the_account_is_dead_and_its_owner_is_told(
        self, auth
    ):
        """SECURITY row 27."""
        user = confirmed(auth)
        links = {
            "reset": recovery(auth),
            "magic": magic_link(auth),
            "change": email_change(auth, user),
        }
        auth.reset_password(recovery(auth), OTHER_PASSWORD)
        with pytest.raises(InvalidTokenError):
            auth.reset_password(links["reset"], PASSWORD)
        with pytest.raises(InvalidTokenError):
            auth.verify_magic_link(links["magic"])
        with pytest.raises(InvalidTokenError):
            auth.confirm_email_change(links["change"])
        notice = sent(auth)[-1]
        assert (notice.to, notice.kind) == (ADA, "password_changed")
        assert notice.token is None

    def test_what_waits_in_the_outbox_for_a_change_of_address_dies_with_a_reset_too(self, auth):
        user = confirmed(auth)
        token = recovery(auth)
        auth.request_email_change(user_id=user.id, new_email=EVE, confirm_url=PAGE)
        auth.reset_password(token, OTHER_PASSWORD)
        assert EVE not in {mail.to for mail in sent(auth)}

    def test_a_disabled_user_gets_no_link_and_an_old_one_does_nothing(self, auth):
        """SECURITY row 27."""
        user = confirmed(auth)
        token = recovery(auth)
        auth.update_user(user_id=user.id, is_active=False)
        with pytest.raises(InvalidTokenError):
            auth.reset_password(token, OTHER_PASSWORD)
        before = len(sent(auth))
        auth.request_password_recovery(email=ADA, recovery_url=PAGE)
        auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        assert len(sent(auth)) == before

    def test_a_weak_password_does_not_burn_the_link(self, auth):
        confirmed(auth)
        token = recovery(auth)
        for weak in ("short", "password", ADA):
            with pytest.raises(PasswordValidationError):
                auth.reset_password(token, weak)
        assert auth.reset_password(token, OTHER_PASSWORD).email == ADA

    def test_it_proves_the_address(self, auth):
        sign_up(auth)
        assert auth.reset_password(recovery(auth), OTHER_PASSWORD).email_confirmed_at is not None

    def test_a_link_dies_with_its_lifetime(self, auth, clock):
        confirmed(auth)
        token = recovery(auth)
        clock.advance(minutes=60)
        with pytest.raises(InvalidTokenError):
            auth.reset_password(token, OTHER_PASSWORD)

    def test_changing_the_password_voids_a_link_and_tells_the_owner(self, auth):
        user = confirmed(auth)
        token = recovery(auth)
        auth.change_password(
            user_id=user.id, current_password=PASSWORD, new_password=OTHER_PASSWORD
        )
        with pytest.raises(InvalidTokenError):
            auth.reset_password(token, PASSWORD)
        assert sent(auth)[-1].kind == "password_changed"

    def test_renewing_a_hash_voids_nothing(self, make_auth, database, clock):
        from derp_auth_lite.config import PasswordConfig

        auth = make_auth()
        auth.sign_up(email=ADA, password=PASSWORD)
        token = recovery(auth)
        dearer = native_client(
            database,
            clock,
            kv=auth._kv_client,
            password=PasswordConfig(hash_profile="owasp_minimum"),
        )
        with dearer:
            dearer.sign_in_with_password(ADA, PASSWORD)
        assert auth.reset_password(token, OTHER_PASSWORD).email == ADA


class TestMagicLinks:
    def test_a_link_signs_in_once(self, auth):
        user = confirmed(auth)
        token = magic_link(auth)
        request = Request(headers={"User-Agent": "a browser"})
        result = auth.verify_magic_link(token, request=request, ip_address="192.0.2.1")
        assert result.user.id == user.id
        session = auth.authenticate(Request(result.tokens.access_token))
        assert session.user_id == user.id
        (listed,) = auth.list_sessions()
        assert listed.metadata["user_agent"] == "a browser"
        assert listed.metadata["ip_address"] == "192.0.2.1"
        with pytest.raises(InvalidTokenError):
            auth.verify_magic_link(token)

    def test_asking_for_a_link_confirms_nothing(self, auth):
        """SECURITY row 8."""
        user = sign_up(auth)
        token = magic_link(auth)
        assert auth.get_user(user.id).email_confirmed_at is None
        assert auth.verify_magic_link(token).user.email_confirmed_at is not None

    def test_a_link_to_a_new_address_makes_its_account_when_it_is_used(self, auth):
        token = magic_link(auth)
        assert auth.count_users() == 0
        result = auth.verify_magic_link(token)
        assert result.user.email == ADA
        assert result.user.email_confirmed_at == result.user.last_sign_in_at == auth._clock()
        assert auth.count_users() == 1
        (event,) = auth.list_events_by_cursor(user_id=result.user.id).data
        assert event.details == {"method": "magic_link", "new_user": True}
        with pytest.raises(InvalidTokenError):
            auth.verify_magic_link(token)

    def test_a_link_to_a_new_address_never_enters_an_account_that_was_made_since(self, auth):
        token = magic_link(auth)
        sign_up(auth)
        with pytest.raises(InvalidTokenError):
            auth.verify_magic_link(token)

    def test_with_signing_up_turned_off_asking_tells_nothing_and_nobody_joins(
        self, auth, make_auth, database, clock
    ):
        """SECURITY row 2."""
        confirmed(auth)
        token = magic_link(auth, "new@example.com")
        closed = make_auth(enable_magic_link=True, enable_signup=False)
        closed.set_kv(auth._kv_client)
        asked = [
            closed.sign_in_with_magic_link(email=email, magic_link_url=PAGE)
            for email in (ADA, "unknown@example.com")
        ]
        assert asked == [None, None]
        assert [mail.to for mail in sent(closed)] == [ADA]
        with pytest.raises(InvalidTokenError):
            closed.verify_magic_link(token)
        with pytest.raises(SignupDisabledError):
            closed.sign_up(email=EVE, password=PASSWORD)

    def test_while_they_are_off_asking_is_a_programmers_mistake_and_old_ones_are_refused(
        self, auth, make_auth
    ):
        confirmed(auth)
        token = magic_link(auth)
        off = make_auth()
        off.set_kv(auth._kv_client)
        with pytest.raises(ValueError, match="enable_magic_link"):
            off.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
        with pytest.raises(InvalidTokenError):
            off.verify_magic_link(token)

    def test_a_link_dies_after_ten_minutes(self, auth, clock):
        confirmed(auth)
        token = magic_link(auth)
        clock.advance(minutes=10)
        with pytest.raises(InvalidTokenError):
            auth.verify_magic_link(token)


class TestSquatters:
    """Somebody signs up with an address of another, who later proves it."""

    @pytest.fixture
    def auth(self, make_auth):
        """Confirmation is off: the squatter is let in, which proves nothing."""
        return make_auth(enable_magic_link=True)

    def test_a_magic_link_takes_password_sessions_and_identities_from_the_squatter(self, auth):
        squatter = auth.sign_up(email=ADA, password=PASSWORD)
        add_identity(auth, squatter.user)
        result = auth.verify_magic_link(magic_link(auth))
        assert result.user.id == squatter.user.id
        assert auth.authenticate(Request(squatter.tokens.access_token)) is None
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(squatter.tokens.refresh_token)
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(ADA, PASSWORD)
        assert identities(auth) == []
        assert auth.authenticate(Request(result.tokens.access_token)) is not None

    def test_a_reset_takes_them_too(self, auth):
        squatter = auth.sign_up(email=ADA, password=PASSWORD)
        add_identity(auth, squatter.user)
        auth.reset_password(recovery(auth), OTHER_PASSWORD)
        assert auth.authenticate(Request(squatter.tokens.access_token)) is None
        assert identities(auth) == []
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(ADA, PASSWORD)

    def test_the_owner_of_a_proved_address_keeps_them(self, auth):
        owner = auth.sign_up(email=ADA, password=PASSWORD)
        auth.resend_confirmation_email(email=ADA, confirmation_url=PAGE)
        auth.confirm_email(sent(auth)[-1].token)
        add_identity(auth, owner.user)
        auth.verify_magic_link(magic_link(auth))
        assert auth.authenticate(Request(owner.tokens.access_token)) is not None
        assert auth.sign_in_with_password(ADA, PASSWORD).tokens is not None
        auth.reset_password(recovery(auth), OTHER_PASSWORD)
        assert len(identities(auth)) == 1

    def test_a_change_of_address_that_the_squatter_prepared_dies_with_the_reset(self, auth):
        squatter = auth.sign_up(email=ADA, password=PASSWORD).user
        prepared = email_change(auth, squatter, EVE)
        auth.reset_password(recovery(auth), OTHER_PASSWORD)
        with pytest.raises(InvalidTokenError):
            auth.confirm_email_change(prepared)


class TestChangeOfAddress:
    def test_nothing_changes_before_the_new_address_is_proved(self, auth):
        user = confirmed(auth)
        tokens = auth.sign_in_with_password(ADA, PASSWORD).tokens
        token = email_change(auth, user)
        mail = sent(auth)[-1]
        assert (mail.to, mail.kind) == ("countess@example.com", "email_change")
        assert auth.get_user(user.id).email == ADA

        changed = auth.confirm_email_change(token)
        assert changed.email == "countess@example.com"
        assert changed.email_confirmed_at == auth._clock()
        notice = sent(auth)[-1]
        assert (notice.to, notice.kind) == (ADA, "email_changed")
        assert "countess@example.com" in notice.text
        assert auth.authenticate(Request(tokens.access_token)) is not None
        assert auth.sign_in_with_password("countess@example.com", PASSWORD).tokens
        with pytest.raises(InvalidTokenError):
            auth.confirm_email_change(token)

    def test_a_link_for_the_old_address_is_dead_after_the_change(self, auth):
        user = confirmed(auth)
        change = email_change(auth, user)
        old = recovery(auth)
        auth.confirm_email_change(change)
        with pytest.raises(InvalidTokenError):
            auth.reset_password(old, OTHER_PASSWORD)

    def test_an_address_that_got_an_account_meanwhile_leaves_nothing_half_done(self, auth):
        user = confirmed(auth)
        token = email_change(auth, user, EVE)
        sign_up(auth, EVE)
        sent(auth)
        with pytest.raises(EmailAlreadyExistsError) as caught:
            auth.confirm_email_change(token)
        assert caught.value.email == EVE
        assert auth.get_user(user.id).email == ADA
        assert auth._db.fetch(INTENTS) == []

    def test_the_current_password_is_verified_where_it_is_given(self, auth):
        user = confirmed(auth)
        with pytest.raises(InvalidCredentialsError):
            email_change(auth, user, current_password="a wrong one")
        assert auth._db.fetch(INTENTS) == []
        assert failures(auth)[-1] == ("email_change", "failure", "wrong_password")
        assert email_change(auth, user, current_password=PASSWORD)

    def test_only_a_user_and_an_address_will_do(self, auth):
        user = confirmed(auth)
        with pytest.raises(InvalidEmailError):
            email_change(auth, user, "no address")
        with pytest.raises(UserNotFoundError):
            auth.request_email_change(user_id="nobody", new_email=EVE, confirm_url=PAGE)

    def test_an_address_that_an_administrator_changed_is_unproved_and_its_old_links_are_dead(
        self, auth
    ):
        """SECURITY row 9."""
        user = sign_up(auth)
        for_ada = sent(auth)[-1].token
        changed = auth.update_user(user_id=user.id, email=EVE)
        assert changed.email_confirmed_at is None
        with pytest.raises(InvalidTokenError):
            auth.confirm_email(for_ada)
        assert auth.get_user(user.id).email_confirmed_at is None
        notice = sent(auth)[-1]
        assert (notice.to, notice.kind) == (ADA, "email_changed")

    def test_the_same_address_again_voids_and_tells_nothing(self, auth):
        user = sign_up(auth)
        token = sent(auth)[-1].token
        auth.update_user(user_id=user.id, email=ADA, first_name="Ada")
        assert len(sent(auth)) == 1
        assert auth.confirm_email(token).email == ADA


class TestTokens:
    @pytest.mark.parametrize("kind", ["confirm", "reset", "enter", "change"])
    def test_a_token_of_one_kind_is_refused_by_every_other_call(self, auth, kind):
        """OWASP ASVS 5.0, 9.2.2."""
        user = sign_up(auth)
        make = {
            "confirm": lambda: sent(auth)[-1].token,
            "reset": lambda: recovery(auth),
            "enter": lambda: magic_link(auth),
            "change": lambda: email_change(auth, user),
        }
        token = make[kind]()
        for other, redeem in redeemers(auth).items():
            if other != kind:
                with pytest.raises(InvalidTokenError):
                    redeem(token)
        redeemers(auth)[kind](token)

    @pytest.mark.parametrize(
        "token", ["", "x", "A" * 43, "é" * 43, None, 1, b"A" * 43, "A" * 10_000, "\x00" * 43]
    )
    def test_what_is_no_token_is_refused_by_every_call(self, auth, token):
        for redeem in redeemers(auth).values():
            with pytest.raises(InvalidTokenError):
                redeem(token)

    def test_a_refusal_is_an_event_and_says_why_there_alone(self, auth):
        user = confirmed(auth)
        token = recovery(auth)
        auth.reset_password(token, OTHER_PASSWORD)
        with pytest.raises(InvalidTokenError):
            auth.reset_password(token, PASSWORD)
        auth.update_user(user_id=user.id, is_active=False)
        assert failures(auth) == [("password_reset", "failure", "unknown_token")]

    def test_inside_the_applications_transaction_no_token_is_redeemed(self, database, clock):
        application = applications_database(database)
        auth = native_client(application, clock, enable_magic_link=True)
        with auth, contextlib.closing(application):
            user = auth.sign_up(email=ADA, password=PASSWORD).user
            token = recovery(auth)
            with application.atomic():
                for redeem in redeemers(auth).values():
                    with pytest.raises(RuntimeError, match="own transaction"):
                        redeem(token)
                with pytest.raises(RuntimeError, match="own transaction"):
                    auth.deliver_mail()
            assert auth.reset_password(token, OTHER_PASSWORD).id == user.id

    def test_a_mail_asked_for_in_the_applications_transaction_shares_its_fate(
        self, database, clock
    ):
        application = applications_database(database)
        auth = native_client(application, clock)
        with auth, contextlib.closing(application):
            auth.sign_up(email=ADA, password=PASSWORD)
            with application.atomic() as transaction:
                auth.request_password_recovery(email=ADA, recovery_url=PAGE)
                transaction.rollback()
            assert sent(auth) == []
            with application.atomic():
                auth.request_password_recovery(email=ADA, recovery_url=PAGE)
            assert len(sent(auth)) == 1

    def test_of_32_processes_that_redeem_one_link_one_succeeds(self, database, tmp_path, clock):
        """SECURITY row 11."""
        folder = tmp_path / "kv"
        auth = native_client(database, clock, kv=DiskKV(folder, clock=clock), **ON)
        with auth:
            users = {name: sign_up(auth, f"{name}@example.com") for name in ("a", "b", "c", "d")}
            for user in users.values():
                auth.update_user(user_id=user.id, is_active=True)
            tokens = {
                "confirm": next(m.token for m in sent(auth) if m.to == users["a"].email),
                "reset": recovery(auth, users["b"].email),
                "enter": magic_link(auth, users["c"].email),
                "change": email_change(auth, users["d"], "changed@example.com"),
                "join": magic_link(auth, "new@example.com"),
            }
        won = run_in_forks(32, racer, redeem_all, database, str(folder), tokens)
        assert [sum(column) for column in zip(*won, strict=True)] == [1] * len(tokens)

    def test_the_kv_store_wiped_after_sending_loses_the_link_and_nothing_else(
        self, database, tmp_path, clock
    ):
        kv = DiskKV(tmp_path / "kv", clock=clock)
        with native_client(database, clock, kv=kv, **ON) as auth:
            confirmed(auth)
            token = recovery(auth)
            kv.disconnect()
            shutil.rmtree(tmp_path / "kv")
            kv.connect()
            with pytest.raises(InvalidTokenError):
                auth.reset_password(token, OTHER_PASSWORD)
            assert auth.reset_password(recovery(auth), OTHER_PASSWORD).email == ADA

    def test_the_kv_store_restored_from_a_backup_lets_no_link_be_used_twice(
        self, database, tmp_path, clock
    ):
        kv = DiskKV(tmp_path / "kv", clock=clock)
        with native_client(database, clock, kv=kv, **ON) as auth:
            user = confirmed(auth)
            tokens = {
                "reset": recovery(auth),
                "join": magic_link(auth, "new@example.com"),
            }
            kv.disconnect()
            shutil.copytree(tmp_path / "kv", tmp_path / "backup")
            kv.connect()
            auth.reset_password(tokens["reset"], OTHER_PASSWORD)
            auth.verify_magic_link(tokens["join"])

            kv.disconnect()
            shutil.rmtree(tmp_path / "kv")
            shutil.copytree(tmp_path / "backup", tmp_path / "kv")
            kv.connect()
            with pytest.raises(InvalidTokenError):
                auth.reset_password(tokens["reset"], PASSWORD)
            with pytest.raises(InvalidTokenError):
                auth.verify_magic_link(tokens["join"])
            assert ("password_reset", "failure", "spent_token") in failures(auth)
            assert auth.get_user(user.id).email == ADA

    def test_a_kv_store_that_is_down_is_no_invalid_token(self, database, clock):
        with running_redis() as url:
            auth = native_client(database, clock, kv=RedisKV(url), **ON)
            auth.connect()
            confirmed(auth)
            token = recovery(auth)
        for redeem in redeemers(auth).values():
            with pytest.raises(AuthBackendError):
                redeem(token)
        # Asking needs no KV store: the mail waits until it is back.
        auth.request_password_recovery(email=ADA, recovery_url=PAGE)
        assert auth.deliver_mail() == 0
        auth.set_kv(MemoryKV(clock=clock))
        assert auth.deliver_mail() == 1
        auth.disconnect()

    def test_nothing_in_a_dump_of_database_and_kv_store_can_be_presented(
        self, database, tmp_path, clock
    ):
        kv = DiskKV(tmp_path / "kv", clock=clock)
        with native_client(database, clock, kv=kv, **ON) as auth:
            user = sign_up(auth)
            tokens = [
                sent(auth)[-1].token,
                recovery(auth),
                magic_link(auth),
                magic_link(auth, "new@example.com"),
                email_change(auth, user),
            ]
            auth.request_password_recovery(email=ADA, recovery_url=PAGE)  # waits in the outbox
            dump = dump_of(database) + b"".join(
                path.read_bytes() for path in sorted((tmp_path / "kv").rglob("*")) if path.is_file()
            )
            assert len(dump) > 3000
            for token in tokens:
                assert token.encode() not in dump
            found = {
                part[start : start + 43].decode()
                for part in re.findall(rb"[A-Za-z0-9_-]{43,}", dump)
                for start in range(len(part) - 42)
            } | {text.decode() for text in re.findall(rb"[A-Za-z0-9_.=+/-]{16,}", dump)}
            assert len(found) > 50
            for text in found:
                for redeem in redeemers(auth).values():
                    with pytest.raises(InvalidTokenError):
                        redeem(text)
                assert auth.authenticate(Request(text)) is None
                with pytest.raises(InvalidTokenError):
                    auth.refresh_token(text)


class TestSilence:
    """What a stranger learns by asking: nothing."""

    def test_known_unknown_confirmed_and_disabled_addresses_leave_the_same_trace(self, auth):
        confirmed(auth, ADA)
        disabled = confirmed(auth, EVE)
        auth.update_user(user_id=disabled.id, is_active=False)
        sent(auth)
        for email in (ADA, EVE, "unknown@example.com"):
            assert auth.request_password_recovery(email=email, recovery_url=PAGE) is None
            assert auth.resend_confirmation_email(email=email, confirmation_url=PAGE) is None
            assert auth.sign_in_with_magic_link(email=email, magic_link_url=PAGE) is None
        waiting = auth._db.fetch(INTENTS)
        assert sorted(waiting) == sorted(
            (kind, email)
            for kind in ("recovery", "confirmation", "magic_link")
            for email in (ADA, EVE, "unknown@example.com")
        )

    @pytest.mark.timing
    @pytest.mark.parametrize("fault", ["hangs", "refuses"])
    def test_with_a_mail_server_that_hangs_or_fails_known_and_unknown_get_the_same_in_no_time(
        self, database, clock, fault
    ):
        """Less than 20 ms, and the same, in medians of 200."""
        with SmtpServer() as server:
            if fault == "hangs":
                server.hang("connect")
            else:
                server.answer("rcpt", "550 5.1.1 no such user")
            email = EmailClient(server.config(), transport=server.transport(), clock=clock)
            auth = native_client(database, clock, email=email, mail_worker=True, **ON)
            with auth:
                auth.create_user(email=ADA, password=PASSWORD, confirmed=True)
                spans = {ADA: [], "unknown@example.com": []}
                gc.collect()
                for number in range(200):
                    for address in list(spans)[:: 1 if number % 2 else -1]:
                        begun = time.perf_counter()
                        answer = auth.request_password_recovery(email=address, recovery_url=PAGE)
                        spans[address].append(time.perf_counter() - begun)
                        assert answer is None
                known, unknown = (statistics.median(times) for times in spans.values())
                assert max(known, unknown) < 0.020
                # Neighbours on the machine disturb both alike; a look-up or a mail would show.
                assert abs(known - unknown) < 0.3 * max(known, unknown)
                server.stop()
                auth.set_email(None)  # else it would try to send the rest before it ends

    def test_logs_show_no_address_no_token_and_no_line_of_an_attacker(
        self, database, clock, caplog
    ):
        """SECURITY row 31."""
        caplog.set_level(logging.DEBUG)
        with SmtpServer() as server:
            server.answer("rcpt", "550 5.1.1 ada@example.com\x1b[31m unknown")
            email = EmailClient(server.config(), transport=server.transport(), clock=clock)
            with native_client(database, clock, email=email, **ON) as auth:
                sign_up(auth)
                auth.deliver_mail()
                server.answer("rcpt", "451 4.7.1 ada@example.com later")
                auth.request_password_recovery(email=ADA, recovery_url=PAGE)
                auth.deliver_mail()
                server.heal()
                auth.deliver_mail()
                token = server.received[-1].mail.token
                with pytest.raises(InvalidTokenError):
                    auth.confirm_email(token)
                auth.reset_password(token, OTHER_PASSWORD)
                with pytest.raises(InvalidEmailError):
                    auth.request_password_recovery(
                        email="v@x\r\nERROR root: all is lost", recovery_url=PAGE
                    )
        # The server of the test logs all that it hears.
        logged = [r.getMessage() for r in caplog.records if r.name not in {"mail.log", "asyncio"}]
        assert any("a***@e***.com" in line for line in logged)
        secrets = [ADA, token, PASSWORD, "ERROR root", "\x1b", "\r", "\n"]
        assert [line for line in logged if any(secret in line for secret in secrets)] == []


class TestBadInput:
    @pytest.mark.parametrize(
        "address",
        [
            "v@x.example, a@evil.example",
            "v@x.example\r\nBcc: a@evil.example",
            "v@x.example;a@evil.example",
            "Victim <v@x.example>",
            "v\u212a@x.example",
            "v@\u212a.example",
            "v\uff20x.example",
            "",
            "v",
        ],
    )
    def test_whatever_is_not_one_plain_address_gets_no_mail(self, auth, address):
        """SECURITY row 29."""
        asks = [
            lambda: auth.request_password_recovery(email=address, recovery_url=PAGE),
            lambda: auth.resend_confirmation_email(email=address, confirmation_url=PAGE),
            lambda: auth.sign_in_with_magic_link(email=address, magic_link_url=PAGE),
            lambda: sign_up(auth, address),
        ]
        for ask in asks:
            with pytest.raises(InvalidEmailError):
                ask()
        assert auth._db.fetch(INTENTS) == []

    def test_mail_goes_to_the_stored_form_of_the_address(self, auth):
        """SECURITY row 29."""
        sign_up(auth, "Ada@EXAMPLE.com")
        auth.request_password_recovery(email="ADA@example.COM", recovery_url=PAGE)
        assert {mail.to for mail in sent(auth)} == {ADA}

    @pytest.mark.parametrize(
        ("page", "link"),
        [
            (f"{PAGE}?lang=de&x=1", f"{PAGE}?lang=de&x=1&token="),
            (f"{PAGE}?token=old&x=1", f"{PAGE}?x=1&token="),
            ("https://notes.example.com/#/reset", "https://notes.example.com/?token="),
            ("myapp://confirm", "myapp://confirm?token="),
        ],
    )
    def test_the_token_is_merged_into_the_pages_url(self, auth, page, link):
        """SECURITY row 30."""
        confirmed(auth)
        auth.request_password_recovery(email=ADA, recovery_url=page)
        mail = sent(auth)[-1]
        assert mail.link.startswith(link)
        assert auth.reset_password(mail.token, OTHER_PASSWORD).email == ADA

    @pytest.mark.parametrize("subject", ["Hi\r\nBcc: a@evil.example", "Hi\nthere", "a\x00b"])
    def test_a_subject_with_a_line_break_is_a_typed_error(self, auth, subject):
        """SECURITY row 30."""
        with pytest.raises(EmailSendError):
            auth.request_password_recovery(email=ADA, recovery_url=PAGE, recovery_subject=subject)
        with pytest.raises(EmailSendError):
            auth.sign_up(
                email=ADA, password=PASSWORD, confirmation_url=PAGE, confirmation_subject=subject
            )
        assert auth.count_users() == 0
        assert auth._db.fetch(INTENTS) == []

    @pytest.mark.parametrize("name", ["url", "recovery_url", "token", "expires_in", "site_name"])
    def test_a_variable_cannot_take_the_place_of_the_librarys_own(self, auth, name):
        for ask, page in (
            (auth.request_password_recovery, "recovery_url"),
            (auth.resend_confirmation_email, "confirmation_url"),
        ):
            if name != page:
                with pytest.raises(TypeError):
                    ask(**{"email": ADA, page: PAGE, name: "https://evil.example"})

    def test_a_variable_that_is_no_json_is_a_programmers_mistake(self, auth):
        with pytest.raises(TypeError, match="JSON"):
            auth.request_password_recovery(email=ADA, recovery_url=PAGE, mine=object())

    def test_variables_and_subject_reach_a_template_of_ones_own(self, make_auth, tmp_path, clock):
        (tmp_path / "recovery.html").write_text("<p>{{ url }} for {{ shop['name'] }}</p>")
        auth = make_auth()
        auth.set_email(EmailClient.in_memory(templates_dir=str(tmp_path), clock=clock))
        auth.sign_up(email=ADA, password=PASSWORD)
        auth.request_password_recovery(
            email=ADA, recovery_url=PAGE, recovery_subject="Lost it?", shop={"name": "A & B"}
        )
        mail = sent(auth)[-1]
        assert mail.subject == "Lost it?"
        assert "for A &amp; B" in mail.html

    def test_a_subject_template_of_ones_own_has_the_word_unless_the_caller_has(
        self, make_auth, tmp_path, clock
    ):
        (tmp_path / "recovery.subject.txt").write_text("Passwort vergessen?")
        auth = make_auth()
        auth.set_email(EmailClient.in_memory(templates_dir=str(tmp_path), clock=clock))
        auth.sign_up(email=ADA, password=PASSWORD)
        recovery(auth)
        assert sent(auth)[-1].subject == "Passwort vergessen?"

    def test_without_an_email_client_the_call_says_what_to_pass(self, database, clock):
        auth = NativeAuthClient(native_config(**ON), clock=clock)
        auth.set_db(native_client(database, clock)._db)
        auth.set_kv(MemoryKV(clock=clock))
        with auth:
            for ask in (
                lambda: sign_up(auth),
                lambda: auth.request_password_recovery(email=ADA, recovery_url=PAGE),
                lambda: auth.resend_confirmation_email(email=ADA, confirmation_url=PAGE),
                lambda: auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE),
                auth.deliver_mail,
            ):
                with pytest.raises(ConfigError, match="email="):
                    ask()
            # A notice is no reason to refuse a new password.
            user = auth.create_user(email=ADA, password=PASSWORD)
            auth.change_password(
                user_id=user.id, current_password=PASSWORD, new_password=OTHER_PASSWORD
            )

    @pytest.mark.parametrize("order", ["dke", "ked", "edk", "dek"])
    def test_the_order_in_which_the_parts_are_set_does_not_matter(self, database, clock, order):
        parts = native_client(database, clock)
        auth = NativeAuthClient(native_config(**ON), clock=clock, mail_worker=False)
        for part in order:
            if part == "d":
                auth.set_db(parts._db)
            elif part == "k":
                auth.set_kv(parts._kv_client)
            else:
                auth.set_email(parts._email_client)
        with auth:
            assert confirmed(auth).email == ADA


ON = {"enable_confirmation": True, "enable_magic_link": True}


def redeemers(auth):
    return {
        "confirm": auth.confirm_email,
        "reset": lambda token: auth.reset_password(token, OTHER_PASSWORD),
        "enter": auth.verify_magic_link,
        "change": auth.confirm_email_change,
    }


def racer(database, folder, tokens):
    """Return a client of a process that is to redeem *tokens*."""
    clock = MovableClock()
    auth = native_client(database, clock, kv=DiskKV(folder, clock=clock), **ON)
    auth.tokens = tokens
    return auth


def redeem_all(auth, number):
    won = []
    calls = redeemers(auth)
    for kind, token in auth.tokens.items():
        try:
            calls["enter" if kind == "join" else kind](token)
            won.append(1)
        except InvalidTokenError:
            won.append(0)
    return won


def applications_database(database):
    if database.startswith("postgresql://"):
        from playhouse.pool import PostgresqlDatabase

        return PostgresqlDatabase(database, prefer_psycopg3=True)
    return peewee.SqliteDatabase(database, pragmas={"foreign_keys": 1})


def add_identity(auth, user):
    who = OAuthUserInfo("110169484474386276334", user.email, provider="google")
    auth._identities.link(user.id, who)


def identities(auth):
    return auth._db.fetch(Statement(lambda: Identity.select(Identity.subject)))


def dump_of(database):
    """Return all that the database holds, as a thief of its files would read it."""
    if not database.startswith("postgresql://"):
        return b"".join(
            path.read_bytes() for path in sorted(Path(database).parent.glob("auth.db*"))
        )
    with psycopg.connect(database) as connection:
        return b"\n".join(
            str(row).encode()
            for table in TABLES
            for row in connection.execute(f'SELECT * FROM "{table._meta.table_name}"').fetchall()
        )
