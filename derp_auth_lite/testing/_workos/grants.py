"""``POST /user_management/authenticate``: each grant, the steps between, and the tokens."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .._gotrue.signer import Signer
from .environment import Code, Environment, iso
from .refuse import Refuse, oauth_error

__all__ = ["Grants"]

_PREFIX = "urn:workos:oauth:grant-type:"
_LIFETIME = timedelta(minutes=5)
_SESSION = timedelta(days=30)


@dataclass
class _Pending:
    user_id: str
    method: str
    challenge_id: str | None = None
    passed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Refresh:
    session_id: str
    org_id: str | None


class Grants:
    """Signs people in.

    Attributes:
        verifies_emails: Ask for a proof of the address.
        totp: The code of each user who has a second factor, by id.
        asks_for_org: Ask members of several organizations which one.
        user_role: Whether the JWT template has the claim ``user_role``.
        issuer: Of access tokens.
    """

    def __init__(self, env: Environment, signer: Signer, *, issuer: str) -> None:
        self._env = env
        self._signer = signer
        self.issuer = issuer
        self.verifies_emails = False
        self.asks_for_org = False
        self.user_role = True
        self.totp: dict[str, str] = {}
        self._pending: dict[str, _Pending] = {}
        self._refresh: dict[str, _Refresh] = {}
        self._oauth: dict[str, tuple[str, str | None]] = {}

    def authenticate(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a grant."""
        grant = body.get("grant_type", "").removeprefix(_PREFIX)
        make = {
            "password": self._password,
            "authorization_code": self._code,
            "refresh_token": self._refreshed,
            "magic-auth:code": self._magic_auth,
            "email-verification:code": self._verification,
            "mfa-totp": self._totp,
            "organization-selection": self._selection,
        }.get(grant)
        if make is None:
            raise oauth_error("invalid_request")
        return make(body)

    def grant(self, user_id: str, challenge: str | None) -> str:
        """Return a code that a browser brings back from a provider."""
        code = secrets.token_urlsafe(12)
        self._oauth[code] = user_id, challenge
        return code

    def claims(self, user_id: str, session_id: str, org_id: str | None) -> dict[str, Any]:
        """Return the claims of an access token."""
        now = self._env.clock()
        user, membership = self._env.users[user_id], self._env.membership(org_id or "", user_id)
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": user_id,
            "sid": session_id,
            "jti": secrets.token_hex(8),
            "iat": int(now.timestamp()),
            "exp": int((now + _LIFETIME).timestamp()),
        }
        if self.user_role:
            claims["user_role"] = user["metadata"].get("role", "default")
        if org_id is not None and membership is not None:
            claims |= {"org_id": org_id, "role": membership["role"]["slug"]}
        return claims

    # The grants

    def _password(self, body: Mapping[str, Any]) -> dict[str, Any]:
        user = self._env.by_email(body.get("email"))
        right = user is not None and self._env.passwords.get(user["id"]) == body.get("password")
        if user is None or not right:
            raise Refuse(400, "invalid_credentials")
        return self._entered(_Pending(user["id"], "Password"), body)

    def _code(self, body: Mapping[str, Any]) -> dict[str, Any]:
        user_id, challenge = self._oauth.pop(body.get("code", ""), ("", None))
        if not user_id or (challenge and _s256(body.get("code_verifier", "")) != challenge):
            raise oauth_error("invalid_grant")
        return self._entered(_Pending(user_id, "OAuth"), body)

    def _magic_auth(self, body: Mapping[str, Any]) -> dict[str, Any]:
        code = self._env.find_code("magic_auth", body.get("code"), body.get("email"))
        user_id = self.spend(code)
        self._env.users[user_id]["email_verified"] = True
        return self._entered(_Pending(user_id, "MagicAuth"), body)

    def _verification(self, body: Mapping[str, Any]) -> dict[str, Any]:
        pending = self._went_on(body)
        code = self._env.find_code("email_verification", body.get("code"))
        if code is not None and code.user_id != pending.user_id:
            raise Refuse(400, "user_mismatch")
        self._env.users[self.spend(code)]["email_verified"] = True
        return self._entered(pending, body)

    def _totp(self, body: Mapping[str, Any]) -> dict[str, Any]:
        pending = self._went_on(body)
        if body.get("authentication_challenge_id") != pending.challenge_id:
            raise Refuse(400, "invalid_pending_authentication_token")
        if body.get("code") != self.totp[pending.user_id]:
            raise Refuse(400, "invalid_one_time_code")
        pending.passed |= {"mfa"}
        return self._entered(pending, body)

    def _selection(self, body: Mapping[str, Any]) -> dict[str, Any]:
        pending = self._went_on(body)
        org_id = self._own_org(pending.user_id, body.get("organization_id", ""))
        pending.passed |= {"org"}
        return self._entered(pending, body, org_id)

    def _refreshed(self, body: Mapping[str, Any]) -> dict[str, Any]:
        known = self._refresh.get(body.get("refresh_token", ""))
        session = None if known is None else self._env.sessions.get(known.session_id)
        if known is None or session is None or session["status"] != "active":
            raise oauth_error("invalid_grant")
        org_id = known.org_id
        if "organization_id" in body:
            org_id = self._own_org(session["user_id"], body["organization_id"])
        del self._refresh[body["refresh_token"]]
        session["organization_id"] = org_id
        return self._answer(session)

    # Between and after

    def spend(self, code: Code | None, prefix: str = "") -> str:
        """Spend a code and return whose it was."""
        if code is None:
            raise Refuse(400, prefix + "incorrect" if prefix else "invalid_one_time_code")
        if code.spent:
            raise Refuse(400, f"{prefix or 'one_time_code_'}previously_used")
        if code.expires_at <= self._env.clock():
            raise Refuse(400, f"{prefix or 'one_time_code_'}expired")
        code.spent = True
        return code.user_id

    def _went_on(self, body: Mapping[str, Any]) -> _Pending:
        pending = self._pending.get(body.get("pending_authentication_token", ""))
        if pending is None:
            raise Refuse(400, "invalid_pending_authentication_token")
        return pending

    def _own_org(self, user_id: str, org_id: str) -> str:
        if org_id not in self._env.orgs:
            raise oauth_error("organization_not_found")
        if self._env.membership(org_id, user_id) is None:
            raise oauth_error("organization_membership_not_found")
        return org_id

    def _entered(
        self, pending: _Pending, body: Mapping[str, Any], org_id: str | None = None
    ) -> dict[str, Any]:
        """Open a session, unless a step comes before."""
        user = self._env.users[pending.user_id]
        if self.verifies_emails and not user["email_verified"]:
            code = self._env.issue("email_verification", user, _digits(), 10)
            about = {"email": user["email"], "email_verification_id": code.id}
            raise self._step("email_verification_required", pending, **about)
        if user["id"] in self.totp and "mfa" not in pending.passed:
            pending.challenge_id = self._env.new_id("auth_challenge")
            challenge = {"object": "authentication_challenge", "id": pending.challenge_id}
            raise self._step("mfa_challenge", pending, authentication_challenge=challenge)
        orgs = [
            {"id": it["organization_id"], "name": it["organization_name"]}
            for it in self._env.memberships.values()
            if it["user_id"] == user["id"]
        ]
        if self.asks_for_org and len(orgs) > 1 and "org" not in pending.passed:
            raise self._step("organization_selection_required", pending, organizations=orgs)
        user["last_sign_in_at"] = iso(self._env.clock())
        session = self._env.stamped(
            "session",
            object="session",
            user_id=user["id"],
            organization_id=org_id,
            status="active",
            auth_method=pending.method.lower(),
            expires_at=iso(self._env.clock() + _SESSION),
            ended_at=None,
            ip_address=body.get("ip_address"),
            user_agent=body.get("user_agent"),
        )
        self._env.sessions[session["id"]] = session
        self._pending.pop(body.get("pending_authentication_token", ""), None)
        return self._answer(session)

    def _step(self, code: str, pending: _Pending, **about: Any) -> Refuse:
        token = secrets.token_urlsafe(16)
        self._pending[token] = pending
        return Refuse(403, code, pending_authentication_token=token, **about)

    def _answer(self, session: Mapping[str, Any]) -> dict[str, Any]:
        user = self._env.users[session["user_id"]]
        org_id = session["organization_id"]
        refresh = secrets.token_urlsafe(18)
        self._refresh[refresh] = _Refresh(session["id"], org_id)
        return {
            "user": {name: value for name, value in user.items() if name != "metadata"},
            "organization_id": org_id,
            "access_token": self._signer.sign(self.claims(user["id"], session["id"], org_id)),
            "refresh_token": refresh,
            "authentication_method": session["auth_method"],
        }


def _digits() -> str:
    return f"{secrets.randbelow(1_000_000):06}"


def _s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
