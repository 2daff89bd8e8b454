"""Users: what is kept of them, lists, changes, and the end."""

from __future__ import annotations

from typing import Any

import pytest

from ...exceptions import (
    EmailAlreadyExistsError,
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidTokenError,
    PasswordValidationError,
    UserNotFoundError,
)
from ..kit import PASSWORD
from .hooks import Hooks, address

__all__ = ["UserContract"]


class UserContract(Hooks):
    """Accounts."""

    def test_a_user_is_kept_as_they_signed_up(self, auth: Any) -> None:
        result = auth.sign_up(
            email="Ada@Example.COM",
            password=PASSWORD,
            first_name="Ada",
            last_name="Lovelace",
            metadata={"plan": "free"},
        )
        kept = auth.get_user(result.user.id)
        assert kept.email == "ada@example.com"
        assert (kept.first_name, kept.last_name) == ("Ada", "Lovelace")
        assert kept.metadata == {"plan": "free"}
        assert (kept.role, kept.is_active, kept.is_superuser) == ("default", True, False)
        assert kept.created_at.tzinfo is not None

    def test_nobody_signs_up_with_rights(self, auth: Any) -> None:
        for field in ("role", "is_superuser", "is_active", "id", "email_confirmed_at"):
            with pytest.raises(TypeError):
                self.join(auth, **{field: "admin"})
        assert auth.count_users() == 0

    def test_an_address_has_one_user(self, auth: Any) -> None:
        self.join(auth)
        with pytest.raises(EmailAlreadyExistsError):
            auth.sign_up(email="ADA@example.com", password=PASSWORD)
        assert auth.count_users() == 1

    def test_what_is_no_address_or_no_password_makes_no_user(self, auth: Any) -> None:
        for email in ("", "ada", "a@b@c.test", "ada@example.com, eve@example.com"):
            with pytest.raises(InvalidEmailError):
                auth.sign_up(email=email, password=PASSWORD)
        with pytest.raises(PasswordValidationError):
            auth.sign_up(email=address("ada"), password=PASSWORD[:5])
        assert auth.count_users() == 0

    def test_lists_are_newest_first_and_pages_meet(self, auth: Any, auth_clock: Any) -> None:
        made = []
        for number in range(5):
            made.append(self.join(auth, f"user{number}").user.id)
            auth_clock.advance(seconds=1)
        made.reverse()
        assert [user.id for user in auth.list_users()] == made
        assert [user.id for user in auth.list_users(limit=2, offset=1)] == made[1:3]
        assert [user.id for user in auth.list_users(limit=3, offset=4)] == made[4:]
        assert auth.list_users(limit=0) == []
        assert auth.list_users(offset=5) == []
        assert auth.count_users() == 5
        with pytest.raises(ValueError, match="limit"):
            auth.list_users(limit=-1)

    def test_a_list_of_users_goes_on_by_cursor(self, auth: Any, auth_clock: Any) -> None:
        for name in ("ada", "bob", "eve"):
            self.join(auth, name)
            auth_clock.advance(seconds=1)
        with self.offered("list_users_by_cursor"):
            first = auth.list_users_by_cursor(limit=2)
            second = auth.list_users_by_cursor(limit=2, after=first.next_cursor)
            assert [user.email for user in first.data] == [address("eve"), address("bob")]
            assert [user.email for user in second.data] == [address("ada")]
            assert (first.has_more, second.has_more) == (True, False)

    def test_an_unknown_user_is_not_found(self, auth: Any) -> None:
        for user_id in (self.unknown_id(), *self.BAD_IDS):
            with pytest.raises(UserNotFoundError):
                auth.get_user(user_id)
            with pytest.raises(UserNotFoundError):
                auth.update_user(user_id=user_id, first_name="Eve")
            assert auth.delete_user(user_id) is False

    def test_an_administrator_changes_a_profile(self, auth: Any) -> None:
        user = self.join(auth, first_name="Ada", metadata={"plan": "free", "old": 1}).user
        changed = auth.update_user(user_id=user.id, last_name="L", metadata={"plan": "paid"})
        assert (changed.first_name, changed.last_name) == ("Ada", "L")
        assert changed.metadata == {"plan": "paid"}
        assert auth.get_user(user.id).metadata == {"plan": "paid"}
        with pytest.raises(TypeError):
            auth.update_user(user_id=user.id, token_stamp=b"x")

    def test_an_administrator_gives_a_role(self, auth: Any) -> None:
        user = self.join(auth).user
        with self.offered("update_user(role=)"):
            assert auth.update_user(user_id=user.id, role="admin").role == "admin"
            tokens = auth.sign_in_with_password(address("ada"), PASSWORD).tokens
            assert auth.is_authorized(self.session(auth, tokens), "admin")

    def test_an_address_changes_to_a_free_one_only(self, auth: Any) -> None:
        ada = self.join(auth).user
        self.join(auth, "bob")
        with pytest.raises(EmailAlreadyExistsError):
            auth.update_user(user_id=ada.id, email=address("bob"))
        with pytest.raises(InvalidEmailError):
            auth.update_user(user_id=ada.id, email="no address")
        assert auth.get_user(ada.id).email == address("ada")
        assert auth.update_user(user_id=ada.id, email=address("countess")).email == (
            address("countess")
        )

    def test_a_disabled_user_is_kept_out(self, auth: Any) -> None:
        result = self.join(auth)
        with self.offered("update_user(is_active=)"):
            changed = auth.update_user(user_id=result.user.id, is_active=False)
            assert changed.is_active is False
            assert self.look(auth, result.tokens) is None
            with pytest.raises(InvalidCredentialsError):
                auth.sign_in_with_password(address("ada"), PASSWORD)
            with pytest.raises(InvalidTokenError):
                auth.refresh_token(result.tokens and result.tokens.refresh_token)
            auth.update_user(user_id=result.user.id, is_active=True)
            assert auth.sign_in_with_password(address("ada"), PASSWORD).tokens

    def test_a_deleted_user_is_gone(self, auth: Any) -> None:
        result = self.join(auth)
        assert auth.delete_user(result.user.id) is True
        assert auth.delete_user(result.user.id) is False
        assert auth.count_users() == 0
        assert self.look(auth, result.tokens) is None
        with pytest.raises(UserNotFoundError):
            auth.get_user(result.user.id)
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(address("ada"), PASSWORD)
