"""What the fake environment holds: users, organizations, memberships, sessions, codes."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..._clock import Clock
from .refuse import Refuse, missing

__all__ = ["Code", "Environment", "WorkOSMail", "iso", "listed"]

_MIN_PASSWORD = 10
_MOST = 100
_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True)
class WorkOSMail:
    """A mail of the service's.

    Args:
        kind: ``magic_auth``, ``email_verification`` or ``password_reset``.
        code: The code in it, or the token of a reset.
    """

    kind: str
    to: str
    user_id: str
    code: str = field(repr=False)


@dataclass
class Code:
    """A code that is out."""

    id: str
    user_id: str
    email: str
    code: str = field(repr=False)
    expires_at: datetime
    spent: bool = False


class Environment:
    """The state, and the rules about it.

    Attributes:
        roles: What roles there are.
        merges_metadata: Whether a change of metadata is merged into what was there.
        sends_mail: Whether the service mails what it makes.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.users: dict[str, dict[str, Any]] = {}
        self.passwords: dict[str, str] = {}
        self.orgs: dict[str, dict[str, Any]] = {}
        self.memberships: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, list[Code]] = {}
        self.mails: list[WorkOSMail] = []
        self.roles = {"owner", "admin", "member"}
        self.allows_sign_up = True
        self.merges_metadata = False
        self.sends_mail = True
        self._numbers = itertools.count()

    def new_id(self, kind: str) -> str:
        """Return an id that begins with time, as the service's do."""
        value = int(self.clock().timestamp() * 1000) << 80 | next(self._numbers) << 40
        value |= secrets.randbits(40)
        text = "".join(_BASE32[value >> shift & 31] for shift in range(125, -1, -5))
        return f"{kind}_{text}"

    def stamped(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return a new object with id and times."""
        now = iso(self.clock())
        return {"id": self.new_id(kind), **fields, "created_at": now, "updated_at": now}

    # Users

    def user(self, user_id: str) -> dict[str, Any]:
        """Return a user."""
        if user_id not in self.users:
            raise missing("User")
        return self.users[user_id]

    def by_email(self, email: object) -> dict[str, Any] | None:
        """Return the user with an address, or ``None``."""
        return next((user for user in self.users.values() if user["email"] == email), None)

    def add_user(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a user."""
        email = body["email"].strip().lower()
        if self.by_email(email):
            errors = [{"code": "email_not_available", "message": "This email is not available."}]
            raise Refuse(400, "user_creation_error", errors=errors)
        self.check_password(body.get("password"))
        user = self.stamped(
            "user",
            object="user",
            email=email,
            first_name=body.get("first_name"),
            last_name=body.get("last_name"),
            email_verified=body.get("email_verified") or False,
            profile_picture_url=None,
            last_sign_in_at=None,
            external_id=body.get("external_id"),
            metadata=_metadata(body.get("metadata") or {}),
        )
        self.users[user["id"]] = user
        if body.get("password"):
            self.passwords[user["id"]] = body["password"]
        return user

    def change_user(self, user_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change a user."""
        user = self.user(user_id)
        changes = {n: body[n] for n in ("first_name", "last_name", "email_verified") if n in body}
        self.check_password(body.get("password"))
        if "email" in body:
            other = self.by_email(body["email"])
            if other is not None and other is not user:
                raise Refuse(400, "email_not_available")
            changes["email"] = body["email"]
        if "metadata" in body:
            changes["metadata"] = self.merged(user, body["metadata"])
        user.update(changes, updated_at=iso(self.clock()))
        if body.get("password"):
            self.passwords[user_id] = body["password"]
        return user

    def delete_user(self, user_id: str) -> None:
        """Delete a user with all that is theirs."""
        self.user(user_id)
        del self.users[user_id]
        self.passwords.pop(user_id, None)
        for table in (self.memberships, self.sessions):
            for key in [key for key, row in table.items() if row["user_id"] == user_id]:
                del table[key]

    def check_password(self, password: object) -> None:
        """Refuse a password that is too short."""
        if isinstance(password, str) and len(password) < _MIN_PASSWORD:
            errors = [{"code": "password_too_short", "message": "Too short."}]
            raise Refuse(400, "password_strength_error", errors=errors)

    # Codes

    def issue(self, kind: str, user: Mapping[str, Any], code: str, minutes: int) -> Code:
        """Make a code, and mail it."""
        made = Code(
            id=self.new_id(kind),
            user_id=user["id"],
            email=user["email"],
            code=code,
            expires_at=self.clock() + timedelta(minutes=minutes),
        )
        self.codes.setdefault(kind, []).append(made)
        if self.sends_mail:
            self.mails.append(WorkOSMail(kind, user["email"], user["id"], code))
        return made

    def find_code(self, kind: str, code: object, email: str | None = None) -> Code | None:
        """Return the newest code of this text, spent or not, or ``None``."""
        found = [
            it
            for it in self.codes.get(kind, [])
            if it.code == code and email in (None, it.email) and it.user_id in self.users
        ]
        return found[-1] if found else None

    # Organizations

    def org(self, org_id: str) -> dict[str, Any]:
        """Return an organization."""
        if org_id not in self.orgs:
            raise missing("Organization")
        return self.orgs[org_id]

    def org_by_external_id(self, external_id: str) -> dict[str, Any]:
        """Return the organization with this external id."""
        for org in self.orgs.values():
            if org["external_id"] == external_id:
                return org
        raise missing("Organization")

    def add_org(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make an organization."""
        self._check_external_id(body.get("external_id"), None)
        org = self.stamped(
            "org",
            object="organization",
            name=body["name"],
            external_id=body.get("external_id"),
            metadata=_metadata(body.get("metadata") or {}),
            domains=[],
        )
        self.orgs[org["id"]] = org
        return org

    def change_org(self, org_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change an organization."""
        org = self.org(org_id)
        changes = {n: body[n] for n in ("name", "external_id") if n in body}
        if "external_id" in body:
            self._check_external_id(body["external_id"], org)
        if "metadata" in body:
            changes["metadata"] = self.merged(org, body["metadata"])
        org.update(changes, updated_at=iso(self.clock()))
        return org

    def delete_org(self, org_id: str) -> None:
        """Delete an organization with its memberships."""
        self.org(org_id)
        del self.orgs[org_id]
        for key in [k for k, it in self.memberships.items() if it["organization_id"] == org_id]:
            del self.memberships[key]

    def membership(self, org_id: str, user_id: str) -> dict[str, Any] | None:
        """Return a membership, or ``None``."""
        for it in self.memberships.values():
            if (it["organization_id"], it["user_id"]) == (org_id, user_id):
                return it
        return None

    def add_membership(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a user a member."""
        org, user = self.org(body["organization_id"]), self.user(body["user_id"])
        self.check_role(body.get("role_slug", "member"))
        if self.membership(org["id"], user["id"]):
            raise Refuse(409, "organization_membership_already_exists")
        role = body.get("role_slug", "member")
        made = self.stamped(
            "om",
            object="organization_membership",
            organization_id=org["id"],
            organization_name=org["name"],
            user_id=user["id"],
            status="active",
            role={"slug": role},
            roles=[{"slug": role}],
        )
        self.memberships[made["id"]] = made
        return made

    def check_role(self, role: object) -> None:
        """Refuse a role that there is not."""
        if role not in self.roles:
            raise Refuse(422, "invalid_role")

    def merged(self, row: Mapping[str, Any], metadata: Any) -> dict[str, str]:
        """Return what a change of metadata leaves."""
        kept = row["metadata"] if self.merges_metadata else {}
        return _metadata({**kept, **(metadata or {})})

    def _check_external_id(self, external_id: object, own: Mapping[str, Any] | None) -> None:
        for org in self.orgs.values():
            if external_id is not None and org is not own and org["external_id"] == external_id:
                raise Refuse(400, "external_id_already_used")


def listed(rows: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of rows, as the service gives it."""
    limit, order = query.get("limit", "10"), query.get("order", "desc")
    if not (limit.isdecimal() and 1 <= int(limit) <= _MOST) or order not in ("asc", "desc"):
        raise Refuse(422, "invalid_request_parameters")
    ordered = sorted(rows, key=lambda row: str(row["id"]), reverse=order == "desc")
    after = query.get("after")
    if after is not None:
        past = [it["id"] < after if order == "desc" else it["id"] > after for it in ordered]
        ordered = [it for it, is_past in zip(ordered, past, strict=True) if is_past]
    data, more = ordered[: int(limit)], len(ordered) > int(limit)
    cursor = {"before": None, "after": data[-1]["id"] if more else None}
    return {"object": "list", "data": data, "list_metadata": cursor}


def iso(moment: datetime) -> str:
    """Return a time as the service writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    right = len(metadata) <= 10 and all(
        isinstance(text, str) and len(text) <= 600 and text.isascii() and len(key) <= 40
        for key, text in metadata.items()
    )
    if not right:
        raise Refuse(400, "invalid_metadata")
    return dict(metadata)
