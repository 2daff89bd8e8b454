"""The calls of the fake environment, each in a few lines."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

from ..service import Call, Reply, json_reply
from .environment import Environment, iso, listed
from .grants import Grants
from .refuse import Refuse, missing

__all__ = ["Routes"]

_UM = "/user_management"
_ID = r"([^/]+)"

Answer = Callable[..., Any]


class Routes:
    """Finds what answers a call that came with the right key."""

    def __init__(self, env: Environment, grants: Grants, url: str) -> None:
        self._env = env
        self._grants = grants
        self._url = url
        users, members = f"{_UM}/users", f"{_UM}/organization_memberships"
        verification = f"{users}/{_ID}/email_verification"
        self._table: list[tuple[str, str, int, Answer]] = [
            ("POST", f"{_UM}/authenticate", 200, lambda call: grants.authenticate(call.body)),
            ("POST", users, 201, lambda call: env.add_user(call.body)),
            ("GET", users, 200, self._users),
            ("GET", f"{users}/{_ID}", 200, lambda _, key: env.user(key)),
            ("PUT", f"{users}/{_ID}", 200, lambda call, key: env.change_user(key, call.body)),
            ("DELETE", f"{users}/{_ID}", 204, lambda _, key: env.delete_user(key)),
            ("GET", f"{users}/{_ID}/sessions", 200, self._sessions),
            ("POST", f"{verification}/send", 200, self._send_verification),
            ("POST", f"{verification}/confirm", 200, self._confirm),
            ("GET", f"{_UM}/email_verification/{_ID}", 200, self._verification),
            ("POST", f"{_UM}/sessions/revoke", 200, self._revoke),
            ("POST", f"{_UM}/magic_auth", 201, self._magic_auth),
            ("POST", f"{_UM}/password_reset", 201, self._password_reset),
            ("POST", f"{_UM}/password_reset/confirm", 200, self._reset),
            ("POST", members, 201, lambda call: env.add_membership(call.body)),
            ("GET", members, 200, self._memberships),
            ("PUT", f"{members}/{_ID}", 200, self._change_membership),
            ("DELETE", f"{members}/{_ID}", 204, self._end_membership),
            ("POST", "/organizations", 201, lambda call: env.add_org(call.body)),
            ("GET", "/organizations", 200, self._orgs),
            ("GET", f"/organizations/{_ID}", 200, lambda _, key: env.org(key)),
            (
                "GET",
                f"/organizations/external_id/{_ID}",
                200,
                lambda _, key: env.org_by_external_id(key),
            ),
            ("PUT", f"/organizations/{_ID}", 200, lambda call, key: env.change_org(key, call.body)),
            ("DELETE", f"/organizations/{_ID}", 202, lambda _, key: env.delete_org(key)),
        ]

    def handle(self, call: Call) -> Reply:
        """Answer a call."""
        for method, pattern, status, answer in self._table:
            found = re.fullmatch(pattern, call.path)
            if method == call.method and found:
                data = answer(call, *found.groups())
                return Reply(status) if data is None else json_reply(data, status)
        raise missing("Route")

    def _users(self, call: Call) -> dict[str, Any]:
        email = call.query.get("email")
        rows = [user for user in self._env.users.values() if email in (None, user["email"])]
        return listed(rows, call.query)

    def _orgs(self, call: Call) -> dict[str, Any]:
        return listed(list(self._env.orgs.values()), call.query)

    def _sessions(self, call: Call, user_id: str) -> dict[str, Any]:
        self._env.user(user_id)
        rows = [it for it in self._env.sessions.values() if it["user_id"] == user_id]
        return listed(rows, call.query)

    def _memberships(self, call: Call) -> dict[str, Any]:
        wanted = {n: call.query[n] for n in ("user_id", "organization_id") if n in call.query}
        if not wanted:
            raise Refuse(400, "missing_user_id_or_organization_id")
        rows = [
            it
            for it in self._env.memberships.values()
            if it["status"] == "active" and all(it[n] == value for n, value in wanted.items())
        ]
        return listed(rows, call.query)

    def _change_membership(self, call: Call, key: str) -> dict[str, Any]:
        if key not in self._env.memberships:
            raise missing("Organization membership")
        self._env.check_role(call.body["role_slug"])
        row = self._env.memberships[key]
        row.update(role={"slug": call.body["role_slug"]}, updated_at=iso(self._env.clock()))
        return row

    def _end_membership(self, _call: Call, key: str) -> None:
        if self._env.memberships.pop(key, None) is None:
            raise missing("Organization membership")

    def _revoke(self, call: Call) -> dict[str, Any]:
        session = self._env.sessions.get(call.body["session_id"])
        if session is None:
            raise missing("Session")
        if session["status"] != "active":
            raise Refuse(400, "session_already_ended")
        session.update(status="revoked", ended_at=iso(self._env.clock()))
        return session

    def _magic_auth(self, call: Call) -> dict[str, Any]:
        user = self._env.by_email(call.body["email"])
        if user is None:
            if not self._env.allows_sign_up:
                raise Refuse(400, "sign_up_not_allowed")
            user = self._env.add_user({"email": call.body["email"]})
        return self._shown(self._env.issue("magic_auth", user, _digits(), 10))

    def _password_reset(self, call: Call) -> dict[str, Any]:
        user = self._env.by_email(call.body["email"])
        if user is None:
            raise missing("User")
        made = self._env.issue("password_reset", user, secrets.token_urlsafe(24), 60)
        return {
            **self._shown(made),
            "password_reset_token": made.code,
            "password_reset_url": f"{self._url}/reset?token={made.code}",
        }

    def _reset(self, call: Call) -> dict[str, Any]:
        code = self._env.find_code("password_reset", call.body["token"])
        if code is None:
            raise missing("Password reset token")
        over = code.spent or code.expires_at <= self._env.clock()
        if over:
            errors = [{"code": "password_reset_token_expired", "message": "Expired."}]
            raise Refuse(400, "password_reset_error", errors=errors)
        try:
            self._env.check_password(call.body["new_password"])
        except Refuse as weak:
            raise Refuse(400, "password_reset_error", errors=weak.body["errors"]) from None
        code.spent = True
        self._env.passwords[code.user_id] = call.body["new_password"]
        user = self._env.user(code.user_id)
        user["email_verified"] = True
        return {"user": user}

    def _send_verification(self, _call: Call, user_id: str) -> dict[str, Any]:
        user = self._env.user(user_id)
        if user["email_verified"]:
            raise Refuse(400, "email_already_verified")
        self._env.issue("email_verification", user, _digits(), 10)
        return {"user": user}

    def _verification(self, _call: Call, key: str) -> dict[str, Any]:
        for code in self._env.codes.get("email_verification", []):
            if code.id == key:
                return self._shown(code)
        raise missing("Email verification")

    def _confirm(self, call: Call, user_id: str) -> dict[str, Any]:
        user = self._env.user(user_id)
        code = self._env.find_code("email_verification", call.body["code"], user["email"])
        self._grants.spend(code, "email_verification_code_")
        user["email_verified"] = True
        return {"user": user}

    def _shown(self, code: Any) -> dict[str, Any]:
        return {
            "id": code.id,
            "user_id": code.user_id,
            "email": code.email,
            "code": code.code,
            "expires_at": iso(code.expires_at),
        }


def _digits() -> str:
    return f"{secrets.randbelow(1_000_000):06}"
