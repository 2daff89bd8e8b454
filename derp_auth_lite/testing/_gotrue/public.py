"""What anybody, and what a user with an access token, may ask of the fake project."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from ..service import Call, Reply, json_reply
from .project import Project, User, new_user
from .refuse import Refuse

__all__ = ["PublicRoutes"]


class PublicRoutes:
    """The routes outside of ``/admin``."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._routes = {
            ("GET", "/settings"): self._settings,
            ("POST", "/signup"): self._signup,
            ("POST", "/token"): self._token,
            ("POST", "/otp"): self._otp,
            ("POST", "/verify"): self._verify,
            ("POST", "/recover"): self._recover,
            ("POST", "/resend"): self._resend,
            ("GET", "/user"): self._get_user,
            ("PUT", "/user"): self._put_user,
            ("POST", "/logout"): self._logout,
        }
        self._grants = {
            "password": self._by_password,
            "pkce": self._by_code,
            "refresh_token": self._by_refresh_token,
        }

    def handle(self, call: Call, path: str) -> Reply:
        """Answer a call."""
        route = self._routes.get((call.method, path))
        if route is None:
            return json_reply({"code": 404, "msg": "404 page not found"}, 404)
        return route(call)

    def _settings(self, _: Call) -> Reply:
        project = self._project
        switches = {"disable_signup": project.disable_signup}
        switches["mailer_autoconfirm"] = project.autoconfirm
        return json_reply({"external": {"email": True, "google": True}, **switches})

    def _signup(self, call: Call) -> Reply:
        project, email = self._project, _email(call)
        self._refuse_new_users()
        password = project.check_password(call.body.get("password"))
        known = project.by_email(email)
        if known and project.autoconfirm:
            raise Refuse(422, "user_already_exists", "User already registered")
        if known and known.get("email_confirmed_at"):
            made_up = new_user(email, call.body.get("data") or {}, project.clock())
            return json_reply({**made_up, "role": "", "identities": []})
        user = known or project.add(email, password, call.body.get("data"))
        if project.autoconfirm:
            project.confirm(user)
            return json_reply(project.open_session(user))
        self._mail("signup", user, call)
        return json_reply(user)

    def _token(self, call: Call) -> Reply:
        grant = self._grants.get(call.query.get("grant_type", ""))
        if grant is None:
            unknown = {"error": "unsupported_grant_type", "error_description": ""}
            return json_reply(unknown, 400)
        return json_reply(grant(call.body))

    def _by_password(self, body: dict[str, Any]) -> dict[str, Any]:
        user = self._project.by_email(body["email"])
        if user is not None:
            self._project.refuse_banned(user, 400)
        if user is None or self._project.passwords.get(user["id"]) != body.get("password"):
            raise Refuse(400, "invalid_credentials", "Invalid login credentials")
        if not user.get("email_confirmed_at"):
            raise Refuse(400, "email_not_confirmed", "Email not confirmed")
        return self._project.open_session(user)

    def _by_code(self, body: dict[str, Any]) -> dict[str, Any]:
        code, verifier = body.get("auth_code"), body.get("code_verifier")
        if not code or not verifier:
            message = "invalid request: both auth code and code verifier should be non-empty"
            raise Refuse(400, "validation_failed", message)
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return self._project.open_session(self._project.exchange(code, challenge))

    def _by_refresh_token(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._project.rotate(body.get("refresh_token", ""))

    def _otp(self, call: Call) -> Reply:
        project, email = self._project, _email(call)
        user = project.by_email(email)
        if user is None:
            if not call.body.get("create_user"):
                raise Refuse(422, "otp_disabled", "Signups not allowed for otp")
            self._refuse_new_users()
            user = project.add(email, None, call.body.get("data"))
        self._mail("magiclink" if user.get("email_confirmed_at") else "signup", user, call)
        return json_reply({})

    def _verify(self, call: Call) -> Reply:
        body, project = call.body, self._project
        if "token_hash" in body and not {"email", "phone", "redirect_to"} & body.keys():
            token = body["token_hash"]
        elif {"type", "token", "email"} <= body.keys():
            token = project.token_of_code(body["email"], body["token"])
        else:
            message = "Only the token_hash and type should be provided"
            raise Refuse(400, "validation_failed", message)
        user, _ = project.redeem(body["type"], token)
        return json_reply(project.open_session(user))

    def _recover(self, call: Call) -> Reply:
        user = self._project.by_email(_email(call))
        if user is not None:
            self._mail("recovery", user, call)
        return json_reply({})

    def _resend(self, call: Call) -> Reply:
        user = self._project.by_email(_email(call))
        if user is not None and not user.get("email_confirmed_at"):
            self._mail("signup", user, call)
        return json_reply({})

    def _get_user(self, call: Call) -> Reply:
        return json_reply(self._bearer(call)[0])

    def _put_user(self, call: Call) -> Reply:
        user, session_id = self._bearer(call)
        if "password" in call.body:
            if self._project.passwords.get(user["id"]) == call.body["password"]:
                message = "New password should be different from the old password."
                raise Refuse(422, "same_password", message)
            self._project.set_password(user, call.body["password"], keep=session_id)
        user["user_metadata"] |= call.body.get("data") or {}
        return json_reply(user)

    def _logout(self, call: Call) -> Reply:
        user, session_id = self._bearer(call)
        scope = call.query.get("scope", "global")
        if scope == "local" and session_id:
            del self._project.sessions[session_id]
        else:
            self._project.end_all(user["id"], keep=session_id if scope == "others" else "")
        return Reply(204)

    def _bearer(self, call: Call) -> tuple[User, str]:
        """Return the user, and the session, of the access token that a call carries."""
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        claims = self._project.signer.verify(token) if kind == "Bearer" else None
        if claims is None or claims["exp"] <= self._project.clock().timestamp():
            raise Refuse(403, "bad_jwt", "invalid JWT: unable to parse or verify signature")
        if "sub" not in claims:
            raise Refuse(403, "bad_jwt", "invalid claim: missing sub claim")
        user, session_id = self._project.users.get(claims["sub"]), claims.get("session_id") or ""
        if user is None:
            raise Refuse(403, "user_not_found", "User from sub claim in JWT does not exist")
        if session_id and self._project.sessions.get(session_id) != user["id"]:
            message = "Session from session_id claim in JWT does not exist"
            raise Refuse(403, "session_not_found", message)
        return user, session_id

    def _refuse_new_users(self) -> None:
        if self._project.disable_signup:
            raise Refuse(422, "signup_disabled", "Signups not allowed for this instance")

    def _mail(self, kind: str, user: User, call: Call) -> None:
        challenge = call.body.get("code_challenge") or ""
        self._project.mail(kind, user, challenge, call.query.get("redirect_to", ""))


def _email(call: Call) -> str:
    email = call.body.get("email")
    if not isinstance(email, str) or "@" not in email:
        message = "Unable to validate email address: invalid format"
        raise Refuse(400, "validation_failed", message)
    return email.lower()
