"""Confirmation, recovery, magic links and changes of address, as an application meets them."""

from __future__ import annotations

import pytest

from derp_auth_lite._statements import Statement
from derp_auth_lite._tables import Identity
from derp_auth_lite.exceptions import (
    ConfirmationURLMissingError,
    EmailAlreadyExistsError,
    EmailNotConfirmedError,
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidTokenError,
    PasswordValidationError,
    SignupDisabledError,
    UserNotFoundError,
)
from derp_auth_lite.native_client import NativeAuthClient
from derp_auth_lite.providers import OAuthUserInfo

from .mail_support import (
    ADA,
    EVE,
    INTENTS,
    ON,
    OTHER_PASSWORD,
    PAGE,
    confirmed,
    email_change,
    failures,
    magic_link,
    recovery,
    sent,
    sign_up,
)
from .support import PASSWORD, Request, native_client


@pytest.fixture
def auth(make_auth) -> NativeAuthClient:
    """A client that asks for confirmation and has magic links."""
    return make_auth(**ON)


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


def add_identity(auth, user):
    who = OAuthUserInfo("110169484474386276334", user.email, provider="google")
    auth._identities.link(user.id, who)


def identities(auth):
    return auth._db.fetch(Statement(lambda: Identity.select(Identity.subject)))
