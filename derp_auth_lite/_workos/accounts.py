"""Users at the service: found, made, changed, and what is mailed to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._addresses import normalize_email
from ..exceptions import InvalidEmailError, InvalidTokenError, UserNotFoundError
from . import errors
from .api import WorkOS, user_path
from .errors import Table
from .mapping import user_fields, user_pairs
from .metadata import tombstones

__all__ = ["USERS", "Accounts"]

USERS = "/user_management/users"


class Accounts:
    """Calls below ``/user_management``; what is returned is the service's own JSON."""

    def __init__(self, api: WorkOS) -> None:
        self._api = api

    def get(self, user_id: object) -> dict[str, Any]:
        """Return a user.

        Raises:
            UserNotFoundError: There is none.
        """
        return self._api.get(user_path(user_id, not_found=UserNotFoundError), errors=errors.USER)

    def by_email(self, email: str) -> dict[str, Any] | None:
        """Return the user with this address, or ``None``."""
        rows = self._api.get(USERS, errors={}, email=email, limit=1).get("data")
        found = rows[0] if isinstance(rows, list) and rows else None
        return found if isinstance(found, dict) and _address(found) == email else None

    def create(self, email: str, changes: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Make a user of checked fields.

        Raises:
            EmailAlreadyExistsError: The address is taken.
            PasswordValidationError: The service refuses the password.
            InvalidProfileError: A field is more than the service keeps.
        """
        pairs = user_pairs(changes, {})
        body = {"email": email, **more, **user_fields(changes)}
        if pairs:
            body["metadata"] = pairs
        return self._api.post(USERS, body, errors=errors.CREATE, about=email)

    def update(self, user_id: object, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change a user by checked fields and return what it is then.

        Nobody has shown whether the service merges metadata or replaces it: what is there is read,
        all of it is written, and what should have gone and has not is emptied.

        Raises:
            UserNotFoundError: There is none.
            EmailAlreadyExistsError: The address is taken.
            InvalidProfileError: A field is more than the service keeps.
        """
        present = self.get(user_id)
        body: dict[str, Any] = user_fields(changes)
        email = changes.get("email", present.get("email"))
        if email != present.get("email"):
            body |= {"email": email, "email_verified": False}
        stored = present.get("metadata")
        pairs = user_pairs(changes, stored if isinstance(stored, dict) else {})
        if pairs is not None and pairs != stored:
            body["metadata"] = pairs
        if not body:
            return present
        path = user_path(user_id, not_found=UserNotFoundError)
        user = self._api.put(path, body, errors=errors.UPDATE, about=str(email))
        gone = {} if pairs is None else tombstones(pairs, user.get("metadata"))
        if gone:
            body = {"metadata": {**(pairs or {}), **gone}}
            user = self._api.put(path, body, errors=errors.UPDATE)
        return user

    def set_password(self, user_id: object, password: str) -> dict[str, Any]:
        """Set a password on an administrator's word.

        Raises:
            UserNotFoundError: There is no such user.
            PasswordValidationError: The service refuses the password.
        """
        path = user_path(user_id, not_found=UserNotFoundError)
        return self._api.put(path, {"password": password}, errors=errors.UPDATE)

    def delete(self, user_id: str) -> bool:
        """Delete a user; ``False`` if there is none."""
        path = user_path(user_id, not_found=UserNotFoundError)
        try:
            self._api.call("DELETE", path, errors=errors.USER)
        except UserNotFoundError:
            return False
        return True

    def ask(self, path: str, body: dict[str, Any], *, errors: Table) -> dict[str, Any]:
        """Have a code made, which the service mails unless that is turned off; return it."""
        return self._api.post(f"/user_management{path}", body, errors=errors)

    def send_confirmation(self, user_id: str) -> dict[str, Any]:
        """Have the code made and mailed that proves a user's address.

        Raises:
            NoSuchLinkError: There is no such user, or the address needs no proof.
        """
        path = user_path(user_id, "email_verification", "send", not_found=errors.NoSuchLinkError)
        return self._api.post(path, {}, errors=errors.SEND_CONFIRMATION)

    def confirm(self, user_id: str, code: str) -> dict[str, Any]:
        """Spend a code that proves a user's address, and return the user.

        Raises:
            InvalidTokenError: The code is wrong, over or spent.
        """
        path = user_path(user_id, "email_verification", "confirm", not_found=InvalidTokenError)
        return _user_in(self._api.post(path, {"code": code}, errors=errors.CONFIRM))

    def reset(self, token: str, password: str) -> dict[str, Any]:
        """Set a password with a token of recovery, and return the user.

        Raises:
            InvalidTokenError: The token is unknown, over or spent.
            PasswordValidationError: The service refuses the password.
        """
        body = {"token": token, "new_password": password}
        path = "/user_management/password_reset/confirm"
        return _user_in(self._api.post(path, body, errors=errors.RESET))


def _address(user: Mapping[str, Any]) -> str | None:
    """Return a user's address as this library writes it; what others made may have capitals."""
    try:
        return normalize_email(user.get("email") or "")
    except (InvalidEmailError, TypeError):
        return None


def _user_in(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the user of an answer; the emulator answers with the user itself."""
    user = answer.get("user")
    return user if isinstance(user, dict) else answer
