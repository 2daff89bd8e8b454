"""Signing in, sessions and their tokens."""

from __future__ import annotations

from typing import Any

import pytest

from ...exceptions import AuthNotConnectedError, InvalidCredentialsError, InvalidTokenError
from ..kit import PASSWORD, Request
from .hooks import Hooks, address, with_bearer

__all__ = ["SessionContract"]


class SessionContract(Hooks):
    """Sessions."""

    def test_a_password_opens_a_session(self, auth: Any) -> None:
        user = self.join(auth).user
        result = auth.sign_in_with_password("ADA@example.com", PASSWORD)
        session = self.session(auth, result.tokens)
        assert result.user.id == session.user_id == user.id
        assert session.role == "default"
        assert (session.org_id, session.org_role) == (None, None)
        assert session.expires_at == result.tokens.expires_at.replace(microsecond=0)
        assert PASSWORD not in repr(result)
        assert result.tokens.access_token not in repr(result)

    def test_sessions_are_each_their_own(self, auth: Any) -> None:
        first = self.join(auth).tokens
        second = auth.sign_in_with_password(address("ada"), PASSWORD).tokens
        assert self.session(auth, first).session_id != self.session(auth, second).session_id

    def test_a_wrong_password_and_an_unknown_address_look_alike(self, auth: Any) -> None:
        self.join(auth)
        said = set()
        for email, password in (
            (address("ada"), "wrong password"),
            (address("ada"), ""),
            (address("nobody"), PASSWORD),
            ("no address", PASSWORD),
        ):
            with pytest.raises(InvalidCredentialsError) as caught:
                auth.sign_in_with_password(email, password)
            said.add((type(caught.value), str(caught.value), caught.value.code))
        assert len(said) == 1

    def test_signing_in_fills_in_names_that_are_missing(self, auth: Any) -> None:
        self.join(auth, first_name="Ada")
        user = auth.sign_in_with_password(
            address("ada"), PASSWORD, first_name="Eve", last_name="Lovelace"
        ).user
        assert (user.first_name, user.last_name) == ("Ada", "Lovelace")
        assert auth.get_user(user.id).last_name == "Lovelace"

    def test_what_is_no_token_of_a_session_is_nobody(self, auth: Any) -> None:
        tokens = self.join(auth).tokens
        assert tokens is not None
        head, body, mark = tokens.access_token.split(".")
        assert auth.authenticate(Request()) is None
        for token in (
            "",
            "x",
            "a.b.c",
            tokens.refresh_token,
            f"{head}.{body}.",
            f"{head}.{body}.{mark[::-1]}",
            f"{head}.{body}x.{mark}",
            tokens.access_token + "=",
            "\ud800.\udfff.x",
            "x" * 100_000,
        ):
            assert auth.authenticate(with_bearer(token)) is None

    def test_an_access_token_ends(self, auth: Any, auth_clock: Any) -> None:
        tokens = self.join(auth).tokens
        assert tokens is not None
        auth_clock.advance(seconds=tokens.expires_in + 61)
        assert self.look(auth, tokens) is None

    def test_a_refresh_token_gets_the_next_pair(self, auth: Any) -> None:
        first = self.join(auth).tokens
        assert first is not None
        second = auth.refresh_token(first.refresh_token)
        assert second.refresh_token != first.refresh_token
        assert self.session(auth, second).session_id == self.session(auth, first).session_id

    def test_what_is_no_refresh_token_is_refused(self, auth: Any) -> None:
        tokens = self.join(auth).tokens
        assert tokens is not None
        for token in ("", "x", tokens.access_token, "\x00", "\ud800", "x" * 10_000):
            with pytest.raises(InvalidTokenError):
                auth.refresh_token(token)

    def test_a_refresh_token_that_comes_back_ends_the_session(
        self, auth: Any, auth_clock: Any
    ) -> None:
        first = self.join(auth).tokens
        assert first is not None
        second = auth.refresh_token(first.refresh_token)
        third = auth.refresh_token(second.refresh_token)
        auth_clock.advance(minutes=1)
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(first.refresh_token)
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(third.refresh_token)

    def test_signing_out_takes_effect_at_once(self, auth: Any) -> None:
        ended, other = (
            self.join(auth).tokens,
            auth.sign_in_with_password(address("ada"), PASSWORD).tokens,
        )
        with self.offered("sign_out"):
            auth.sign_out(self.session(auth, ended).session_id)
            assert self.look(auth, ended) is None
            assert self.look(auth, other) is not None
            with pytest.raises(InvalidTokenError):
                auth.refresh_token(ended and ended.refresh_token)

    def test_signing_out_twice_is_fine(self, auth: Any) -> None:
        session = self.session(auth, self.join(auth).tokens)
        with self.offered("sign_out"):
            auth.sign_out(session.session_id)
            auth.sign_out(session.session_id)
            auth.sign_out(self.unknown_id())
            for session_id in self.BAD_IDS:
                auth.sign_out(session_id)

    def test_a_user_is_signed_out_everywhere(self, auth: Any) -> None:
        first, others = self.join(auth), self.join(auth, "bob").tokens
        second = auth.sign_in_with_password(address("ada"), PASSWORD).tokens
        with self.offered("sign_out_all"):
            auth.sign_out_all(first.user.id)
            assert self.look(auth, first.tokens) is None
            assert self.look(auth, second) is None
            assert self.look(auth, others) is not None
            for tokens in (first.tokens, second):
                with pytest.raises(InvalidTokenError):
                    auth.refresh_token(tokens and tokens.refresh_token)

    def test_signing_nobody_out_is_fine(self, auth: Any) -> None:
        with self.offered("sign_out_all"):
            for user_id in (self.unknown_id(), *self.BAD_IDS):
                auth.sign_out_all(user_id)

    def test_sessions_are_listed(self, auth: Any) -> None:
        result = self.join(auth)
        self.join(auth, "bob")
        mine = self.session(auth, result.tokens).session_id
        with self.offered("list_sessions"):
            assert [s.session_id for s in auth.list_sessions(user_id=result.user.id)] == [mine]
            assert auth.list_sessions(user_id=self.unknown_id()) == []
        with self.offered("list_sessions(user_id=None)"):
            assert len(auth.list_sessions()) == 2

    def test_a_list_of_sessions_goes_on_by_cursor(self, auth: Any) -> None:
        user = self.join(auth).user
        auth.sign_in_with_password(address("ada"), PASSWORD)
        with self.offered("list_sessions_by_cursor"):
            first = auth.list_sessions_by_cursor(user_id=user.id, limit=1)
            second = auth.list_sessions_by_cursor(user_id=user.id, limit=1, after=first.next_cursor)
            assert len({s.session_id for s in (*first.data, *second.data)}) == 2
            assert second.has_more is False

    def test_after_disconnecting_nothing_is_answered(self, auth: Any) -> None:
        self.join(auth)
        auth.disconnect()
        auth.disconnect()
        with pytest.raises(AuthNotConnectedError):
            auth.count_users()
        auth.connect()
        assert auth.count_users() == 1
