"""What the secret key may ask of the fake project."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from ..service import Call, Reply, json_reply
from .project import Project, User, iso
from .refuse import Refuse

__all__ = ["AdminRoutes"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HOURS = re.compile(r"(\d+)h")
_IN_USE = "A user with this email address has already been registered"


class AdminRoutes:
    """The routes below ``/admin``."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def handle(self, call: Call, path: str) -> Reply:
        """Answer a call."""
        if (call.method, path) == ("POST", "generate_link"):
            return self._generate_link(call.body)
        if (call.method, path) == ("POST", "users"):
            return self._create(call.body)
        if (call.method, path) == ("GET", "users"):
            return self._list(call)
        user = self._known(path.removeprefix("users/"))
        if call.method == "DELETE":
            self._project.remove(user)
            return json_reply({})
        if call.method == "PUT":
            self._update(user, call)
        return json_reply(user)

    def _known(self, user_id: str) -> User:
        if not _UUID.fullmatch(user_id):
            raise Refuse(404, "validation_failed", "user_id must be an UUID")
        user = self._project.users.get(user_id)
        if user is None:
            raise Refuse(404, "user_not_found", "User not found")
        return user

    def _create(self, body: dict[str, Any]) -> Reply:
        project, password = self._project, body.get("password")
        if project.by_email(body["email"]):
            raise Refuse(422, "email_exists", _IN_USE)
        if password is not None:
            project.check_password(password)
        user = project.add(body["email"], password, body.get("user_metadata"))
        user["app_metadata"] |= body.get("app_metadata") or {}
        if body.get("email_confirm"):
            project.confirm(user)
        self._ban(user, body)
        return json_reply(user)

    def _list(self, call: Call) -> Reply:
        try:
            page = int(call.query.get("page") or 1)
            size = int(call.query.get("per_page") or 50)
        except ValueError:
            raise Refuse(400, "validation_failed", "Bad Pagination Parameters") from None
        users = [*self._project.users.values()][::-1]
        users.sort(key=lambda user: str(user["created_at"]), reverse=True)
        last = max(1, -(-len(users) // size))
        links = {"next": page + 1, "last": last} if page < last else {"last": last}
        shown = [
            f'</admin/users?{urlencode({"page": number, "per_page": size})}>; rel="{name}"'
            for name, number in links.items()
        ]
        headers = {"X-Total-Count": str(len(users)), "Link": ", ".join(shown)}
        chosen = users[(page - 1) * size : page * size]
        return json_reply({"users": chosen, "aud": "authenticated"}, headers=headers)

    def _update(self, user: User, call: Call) -> None:
        body = call.body
        if "email" in body:
            other = self._project.by_email(body["email"])
            if other is not None and other is not user:
                # A unique key that nobody looked at: just the older shape tells it.
                if "x-supabase-api-version" in call.headers:
                    raise Refuse(500, "unexpected_failure", "Error updating user")
                raise Refuse(500, "23505", "duplicate key value violates unique constraint")
            user["email"] = body["email"].lower()
        if "password" in body:
            self._project.set_password(user, body["password"])
        if body.get("email_confirm"):
            self._project.confirm(user)
        for name in ("user_metadata", "app_metadata"):
            merged = {**user[name], **(body.get(name) or {})}
            user[name] = {key: value for key, value in merged.items() if value is not None}
        self._ban(user, body)
        user["updated_at"] = iso(self._project.clock())

    def _ban(self, user: User, body: dict[str, Any]) -> None:
        asked = body.get("ban_duration")
        if asked is None:
            return
        user.pop("banned_until", None)
        hours = _HOURS.fullmatch(asked)
        if hours:
            user["banned_until"] = iso(self._project.clock() + timedelta(hours=int(hours[1])))
        elif asked != "none":
            raise Refuse(400, "validation_failed", "invalid format for ban duration")

    def _generate_link(self, body: dict[str, Any]) -> Reply:
        project, kind = self._project, body["type"]
        user = project.by_email(body["email"])
        if user is None and kind == "recovery":
            raise Refuse(404, "user_not_found", "User with this email not found")
        if user is None and kind == "signup":
            project.check_password(body.get("password"))
        if user is not None and kind == "signup" and user.get("email_confirmed_at"):
            raise Refuse(422, "email_exists", _IN_USE)
        if user is None:
            kind, user = "signup", project.add(body["email"], body.get("password"), None)
        link = project.link(kind, user, to=body.get("redirect_to") or "")
        made = {
            "action_link": link.link,
            "email_otp": link.code,
            "hashed_token": link.token,
            "verification_type": kind,
            "redirect_to": link.redirect_to,
        }
        return json_reply({**user, **made})
