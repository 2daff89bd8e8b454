"""Links that are mailed, and sign-in through a provider."""

from __future__ import annotations

from typing import Any

import pytest

from ...exceptions import (
    EmailNotConfirmedError,
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidTokenError,
    PasswordValidationError,
)
from ..kit import PASSWORD
from .hooks import NEW_PASSWORD, PAGE, Hooks, address

__all__ = ["LinkContract"]


class LinkContract(Hooks):
    """Recovery, magic links, confirmation, providers."""

    def recover(self, auth: Any, email: str) -> None:
        """Ask for a recovery mail."""
        auth.request_password_recovery(email=email, recovery_url=PAGE)

    def test_a_lost_password_is_replaced_once(self, auth: Any) -> None:
        result = self.join(auth)
        with self.offered("request_password_recovery"):
            self.recover(auth, "ADA@example.com")
            link = self.mailed(auth, address("ada"))
            user = auth.reset_password(link.token, NEW_PASSWORD, **link.extra)
            assert user.id == result.user.id
            assert auth.sign_in_with_password(address("ada"), NEW_PASSWORD).tokens
            with pytest.raises(InvalidCredentialsError):
                auth.sign_in_with_password(address("ada"), PASSWORD)
            with pytest.raises(InvalidTokenError):
                auth.reset_password(link.token, PASSWORD, **link.extra)

    def test_a_reset_ends_the_sessions(self, auth: Any) -> None:
        result = self.join(auth)
        with self.offered("request_password_recovery"):
            self.recover(auth, address("ada"))
            link = self.mailed(auth, address("ada"))
            auth.reset_password(link.token, NEW_PASSWORD, **link.extra)
            assert self.look(auth, result.tokens) is None
            with pytest.raises(InvalidTokenError):
                auth.refresh_token(result.tokens and result.tokens.refresh_token)

    def test_a_bad_password_leaves_the_link_good(self, auth: Any) -> None:
        self.join(auth)
        with self.offered("request_password_recovery"):
            self.recover(auth, address("ada"))
            link = self.mailed(auth, address("ada"))
            with pytest.raises(PasswordValidationError):
                auth.reset_password(link.token, "short", **link.extra)
            assert auth.reset_password(link.token, NEW_PASSWORD, **link.extra)

    def test_nobody_is_told_who_has_an_account(self, auth: Any) -> None:
        with self.offered("request_password_recovery"):
            self.recover(auth, address("nobody"))
            assert self.mails_to(auth, address("nobody")) == 0
        with self.offered("resend_confirmation_email"):
            auth.resend_confirmation_email(email=address("nobody"), confirmation_url=PAGE)
            assert self.mails_to(auth, address("nobody")) == 0

    def test_what_is_no_address_gets_no_mail(self, auth: Any) -> None:
        for method, ask in (
            ("request_password_recovery", self.recover),
            (
                "sign_in_with_magic_link",
                lambda auth, email: auth.sign_in_with_magic_link(email=email, magic_link_url=PAGE),
            ),
        ):
            with self.offered(method), pytest.raises(InvalidEmailError):
                ask(auth, "no address")

    def test_a_magic_link_signs_in_once(self, auth: Any) -> None:
        user = self.join(auth).user
        with self.offered("sign_in_with_magic_link"):
            auth.sign_in_with_magic_link(email=address("ada"), magic_link_url=PAGE)
            link = self.mailed(auth, address("ada"))
            result = auth.verify_magic_link(link.token, **link.extra)
            assert self.session(auth, result.tokens).user_id == user.id
            assert auth.get_user(user.id).email_confirmed_at is not None
            with pytest.raises(InvalidTokenError):
                auth.verify_magic_link(link.token, **link.extra)

    def test_a_magic_link_makes_an_account(self, auth: Any) -> None:
        with self.offered("sign_in_with_magic_link"):
            auth.sign_in_with_magic_link(email=address("new"), magic_link_url=PAGE)
            link = self.mailed(auth, address("new"))
            result = auth.verify_magic_link(link.token, **link.extra)
            assert result.user.email == address("new")
            assert auth.count_users() == 1

    def test_what_is_no_token_of_a_link_is_refused(self, auth: Any) -> None:
        for token in ("", "x", "\x00", "\ud800", "x" * 10_000, "123456"):
            with self.offered("verify_magic_link"), pytest.raises(InvalidTokenError):
                auth.verify_magic_link(token)
            with self.offered("reset_password"), pytest.raises(InvalidTokenError):
                auth.reset_password(token, NEW_PASSWORD)
            with self.offered("confirm_email"), pytest.raises(InvalidTokenError):
                auth.confirm_email(token)

    def test_an_address_is_confirmed_before_the_first_session(self, confirming: Any) -> None:
        with self.offered("confirm_email"):
            result = self.join(confirming, confirmation_url=PAGE)
            assert result.tokens is None
            assert result.user.email_confirmed_at is None
            with pytest.raises(EmailNotConfirmedError):
                confirming.sign_in_with_password(address("ada"), PASSWORD)
            link = self.mailed(confirming, address("ada"))
            user = confirming.confirm_email(link.token, **link.extra)
            assert user.email_confirmed_at is not None
            assert confirming.sign_in_with_password(address("ada"), PASSWORD).tokens
            with pytest.raises(InvalidTokenError):
                confirming.confirm_email(link.token, **link.extra)

    def test_a_confirmation_is_mailed_again_while_it_is_wanted(self, confirming: Any) -> None:
        self.join(confirming, confirmation_url=PAGE)
        with self.offered("resend_confirmation_email"):
            before = self.mails_to(confirming, address("ada"))
            confirming.resend_confirmation_email(email=address("ada"), confirmation_url=PAGE)
            assert self.mails_to(confirming, address("ada")) == before + 1

    def test_a_provider_brings_a_user_in(self, auth: Any) -> None:
        first = self.enter_by_provider(auth, address("ada"))
        second = self.enter_by_provider(auth, address("ada"))
        assert first.user.email == address("ada")
        assert first.user.id == second.user.id
        assert first.user.email_confirmed_at is not None
        assert self.session(auth, second.tokens).user_id == first.user.id
