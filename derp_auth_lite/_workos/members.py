"""Memberships at the service, and the owner that every organization keeps."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..exceptions import (
    AuthBackendError,
    LastOwnerError,
    OrgMemberNotFoundError,
    OrgNotFoundError,
)
from ..kv.base import KVClient
from ..models import CursorResult, OrgMemberInfo
from . import errors
from .api import WorkOS, as_key
from .lists import Lists
from .mapping import Member, Roles, member_info

__all__ = ["Members"]

_MEMBERS = "/user_management/organization_memberships"
_LOCK_SECONDS = 60.0
_PATIENCE = 10.0


class Members:
    """Calls below ``/organization_memberships``.

    Args:
        roles: What owners are called there.
        kv: Keeps two changes of owners in one organization apart; without one they can meet.
    """

    def __init__(self, api: WorkOS, lists: Lists, roles: Roles, kv: KVClient | None) -> None:
        self._api = api
        self._lists = lists
        self._roles = roles
        self._kv = kv

    def find(self, org_id: str, user_id: object) -> Member | None:
        """Return a membership, or ``None``.

        Raises:
            OrgMemberNotFoundError: No user can have such an id.
        """
        user = as_key(user_id, OrgMemberNotFoundError)
        rows = self._all(organization_id=org_id, user_id=user)
        return next(rows, None)

    def add(self, org_id: str, user_id: str, role: str) -> OrgMemberInfo:
        """Make a user a member.

        Raises:
            OrgNotFoundError: There is no such organization.
            MemberAlreadyExistsError: The user is a member already.
            InvalidProfileError: The service has no such role.
        """
        body = {
            "user_id": user_id,
            "organization_id": org_id,
            "role_slug": self._roles.there(role),
        }
        return self._info(self._api.post(_MEMBERS, body, errors=errors.ADD_MEMBER))

    def set_role(self, member: Member, role: str) -> OrgMemberInfo:
        """Give a member another role.

        Raises:
            OrgMemberNotFoundError: The membership ended meanwhile.
            InvalidProfileError: The service has no such role.
        """
        body = {"role_slug": self._roles.there(role)}
        return self._info(self._api.put(_path(member), body, errors=errors.MEMBER))

    def remove(self, member: Member) -> bool:
        """End a membership; ``False`` if it had ended."""
        try:
            self._api.call("DELETE", _path(member), errors=errors.MEMBER)
        except OrgMemberNotFoundError:
            return False
        return True

    def of_user(self, user_id: str) -> list[Member]:
        """Return a user's memberships."""
        return list(self._all(user_id=user_id))

    def some(self, org_id: str, page: Mapping[str, int]) -> list[OrgMemberInfo]:
        """Return members by limit and offset, the oldest first."""
        return self._lists.some(
            _MEMBERS,
            self._info,
            errors=_OF_ORG,
            page=page,
            order="asc",
            keep=_is_active,
            organization_id=org_id,
        )

    def page(self, org_id: str, limit: int, after: str | None) -> CursorResult[OrgMemberInfo]:
        """Return a page of members, the oldest first."""
        return self._lists.by_cursor(
            _MEMBERS,
            self._info,
            errors=_OF_ORG,
            name=f"members:{org_id}",
            limit=limit,
            after=after,
            order="asc",
            keep=_is_active,
            organization_id=org_id,
        )

    def keep_owner(self, member: Member) -> None:
        """Refuse what is about to happen to a member if nobody else owns the organization.

        Raises:
            LastOwnerError: Nobody else does.
        """
        org_id, user_id = member.info.org_id, member.info.user_id
        if member.is_owner and not self._has_owner_beside(org_id, user_id):
            raise LastOwnerError([org_id])

    def owned_alone(self, members: list[Member]) -> list[str]:
        """Return the ids of the organizations that nobody but these members' user owns."""
        return [
            it.info.org_id
            for it in members
            if it.is_owner and not self._has_owner_beside(it.info.org_id, it.info.user_id)
        ]

    @contextlib.contextmanager
    def holding(self, org_ids: list[str]) -> Iterator[None]:
        """Let one change of owners at a time into each of these organizations.

        Raises:
            AuthBackendError: Another change goes on for ten seconds, or the KV store failed.
        """
        with contextlib.ExitStack() as stack:
            for org_id in sorted(set(org_ids)):
                stack.callback(self._hold(org_id))
            yield

    def _hold(self, org_id: str) -> Callable[[], object]:
        """Take the lock of an organization; return what gives it back."""
        kv, key, own = (
            self._kv,
            b"derp:auth:workos:owners:" + org_id.encode(),
            secrets.token_bytes(),
        )
        if kv is None:
            return lambda: None
        until = time.monotonic() + _PATIENCE
        while not kv.set_nx(key, own, ttl=_LOCK_SECONDS):
            if time.monotonic() >= until:
                raise AuthBackendError("Another change of this organization's owners goes on")
            time.sleep(0.02)
        return lambda: kv.get(key) == own and kv.delete(key)

    def _has_owner_beside(self, org_id: str, user_id: str) -> bool:
        members = self._all(organization_id=org_id)
        return any(it.is_owner and it.info.user_id != user_id for it in members)

    def _all(self, **params: str) -> Iterator[Member]:
        """Go through memberships; what the service was not asked for counts for nothing."""
        for row in self._lists.all(_MEMBERS, errors=_OF_ORG, **params):
            if _is_active(row) and all(row.get(name) == value for name, value in params.items()):
                yield member_info(row, self._roles)

    def _info(self, row: dict[str, Any]) -> OrgMemberInfo:
        return member_info(row, self._roles).info


_OF_ORG: errors.Table = {"404": lambda _: OrgNotFoundError()}


def _is_active(row: dict[str, Any]) -> bool:
    """Tell whether a membership is more than an invitation or a memory."""
    return bool(row.get("status", "active") == "active")


def _path(member: Member) -> str:
    return f"{_MEMBERS}/{as_key(member.id, OrgMemberNotFoundError)}"
