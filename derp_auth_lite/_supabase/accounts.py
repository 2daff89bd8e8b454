"""Users of the project, as its administrators' calls show and change them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import Any

from .._clock import Clock
from .._http import whole_number
from ..exceptions import AuthBackendError, UserNotFoundError
from ..models import UserInfo
from . import errors
from .api import GoTrue
from .mapping import user_info

__all__ = ["Accounts"]

_PAGE = 200


class Accounts:
    """Reads and writes users; an id is a UUID's text.

    Every method but :meth:`delete` and :meth:`exists` raises UserNotFoundError for an unknown one.
    """

    def __init__(self, api: GoTrue, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    def info(self, data: Any) -> UserInfo:
        """Return the public record of what the service shows of a user."""
        return user_info(data if isinstance(data, Mapping) else {}, self._clock())

    def get(self, user_id: str) -> UserInfo:
        """Return a user."""
        result = self._api.admin("GET", f"/admin/users/{user_id}", errors=errors.USER)
        return self.info(result.json_object())

    def exists(self, user_id: str) -> bool:
        """Tell whether there is such a user."""
        try:
            self.get(user_id)
        except UserNotFoundError:
            return False
        return True

    def list(self, *, limit: int, offset: int) -> list[UserInfo]:
        """Return users, newest first."""
        if limit == 0:
            return []
        size = min(limit, _PAGE)
        first, skipped = divmod(offset, size)
        users = islice(self._from_page(first + 1, size), skipped, skipped + limit)
        return [self.info(user) for user in users]

    def count(self) -> int:
        """Return how many users there are."""
        result = self._api.admin("GET", "/admin/users", errors={}, page="1", per_page="1")
        total = whole_number(result.headers.get("X-Total-Count", ""))
        if total is None:
            raise AuthBackendError("Supabase did not tell how many users there are")
        return total

    def create(self, address: str, body: Mapping[str, Any], *, confirmed: bool) -> UserInfo:
        """Make a user; the service mails nothing.

        Raises:
            EmailAlreadyExistsError: An account with this address exists.
            PasswordValidationError: The password does not meet the project's policy.
        """
        made = self._api.admin(
            "POST",
            "/admin/users",
            {**body, "email": address, "email_confirm": confirmed},
            errors=errors.CREATE,
            about=address,
        )
        return self.info(made.json_object())

    def change(self, user_id: str, body: dict[str, Any]) -> UserInfo:
        """Change a user, if there is anything to change.

        Raises:
            EmailAlreadyExistsError: Somebody else has the address.
        """
        if not body:
            return self.get(user_id)
        result = self._api.admin(
            "PUT",
            f"/admin/users/{user_id}",
            body,
            errors=errors.USER,
            about=body.get("email", ""),
            versioned="email" not in body,
        )
        return self.info(result.json_object())

    def delete(self, user_id: str) -> bool:
        """Remove a user; ``False`` if there is none."""
        path, body = f"/admin/users/{user_id}", {"should_soft_delete": False}
        try:
            self._api.admin("DELETE", path, body, errors=errors.USER)
        except UserNotFoundError:
            return False
        return True

    def replace_links(self, user: UserInfo) -> None:
        """Have all links of a user die, of which the service keeps the newest of a kind; mail none.

        It would take one that went to another address of the user's before.
        """
        confirmed = user.email_confirmed_at is not None
        for kind in ("magiclink",) if confirmed else ("magiclink", "signup"):
            body = {"type": kind, "email": user.email}
            with contextlib.suppress(errors.NoSuchLinkError):  # confirmed at this very moment
                self._api.admin("POST", "/admin/generate_link", body, errors=errors.LINK)

    def _from_page(self, page: int, size: int) -> Iterator[Mapping[str, Any]]:
        """Go through users from a page on, newest first."""
        for number in count(page):
            result = self._api.admin(
                "GET", "/admin/users", errors={}, page=str(number), per_page=str(size)
            )
            users = result.json_object().get("users")
            if not isinstance(users, list):
                raise AuthBackendError("Supabase answered with something other than users")
            yield from users
            if len(users) < size:
                return
