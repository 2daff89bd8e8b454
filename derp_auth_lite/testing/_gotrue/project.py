"""The fake project's users, sessions and tokens, and the rules that they follow."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..._clock import Clock
from .refuse import Refuse
from .signer import Signer

__all__ = ["Project", "SupabaseMail", "iso", "with_query"]

User = dict[str, Any]

_TOKEN_LIFE = timedelta(hours=1)
_ACCESS_LIFE = timedelta(hours=1)
_REUSE = timedelta(seconds=10)
_COLUMNS = {"signup": "confirmation", "magiclink": "recovery", "recovery": "recovery"}
"""Where the service keeps the token of each kind of link: one a user and column."""


@dataclass(frozen=True)
class SupabaseMail:
    """A mail of the project's.

    Attributes:
        kind: ``"signup"``, ``"magiclink"`` or ``"recovery"``.
        token: What a template calls ``{{ .TokenHash }}``.
        code: The six digits.
        link: What the default template links to; opened, it leads to *redirect_to*.
        redirect_to: The page that was asked for.
    """

    to: str
    kind: str
    token: str = field(repr=False)
    code: str = field(repr=False)
    link: str = field(repr=False)
    redirect_to: str


@dataclass
class _OneTime:
    user_id: str
    kind: str
    code: str
    challenge: str
    until: datetime


@dataclass
class _Refresh:
    session_id: str
    parent: str = ""
    child: str = ""
    rotated_at: datetime | None = None


class Project:
    """What the project holds.

    Attributes:
        autoconfirm: Addresses are taken for proved at sign-up.
        disable_signup: No new users.
    """

    def __init__(self, base: str, signer: Signer, clock: Clock) -> None:
        self.base = base
        self.signer = signer
        self.clock = clock
        self.autoconfirm = True
        self.disable_signup = False
        self.users: dict[str, User] = {}
        self.passwords: dict[str, str] = {}
        self.sessions: dict[str, str] = {}
        self.mails: list[SupabaseMail] = []
        self._refresh: dict[str, _Refresh] = {}
        self._one_time: dict[str, _OneTime] = {}
        self._codes: dict[str, tuple[str, str]] = {}

    # Users

    def by_email(self, email: str) -> User | None:
        """Return the user with an address."""
        wanted = email.lower()
        return next((user for user in self.users.values() if user["email"] == wanted), None)

    def add(self, email: str, password: str | None, data: Mapping[str, Any] | None) -> User:
        """Make a user."""
        user = new_user(email.lower(), data or {}, self.clock())
        self.users[user["id"]] = user
        if password is not None:
            self.passwords[user["id"]] = password
        return user

    def remove(self, user: User) -> None:
        """Remove a user with everything that is theirs."""
        self.end_all(user["id"])
        self.passwords.pop(user["id"], None)
        self._one_time = {t: o for t, o in self._one_time.items() if o.user_id != user["id"]}
        del self.users[user["id"]]

    def confirm(self, user: User) -> None:
        """Take a user's address for proved."""
        user.setdefault("email_confirmed_at", iso(self.clock()))

    def check_password(self, password: object) -> str:
        """Return a password that may be set."""
        if not isinstance(password, str) or not password or len(password.encode()) > 72:
            raise Refuse(400, "validation_failed", "Password cannot be longer than 72 characters")
        if len(password) < 6:
            message = "Password should be at least 6 characters"
            weak = {"message": message, "reasons": ["length"]}
            raise Refuse(422, "weak_password", message, weak_password=weak)
        return password

    def set_password(self, user: User, password: object, keep: str = "") -> None:
        """Set a password; all sessions but *keep* end."""
        self.passwords[user["id"]] = self.check_password(password)
        self.end_all(user["id"], keep)

    def refuse_banned(self, user: User, status: int) -> None:
        """Refuse a banned user."""
        until = user.get("banned_until")
        if until and from_iso(until) > self.clock():
            raise Refuse(status, "user_banned", "User is banned")

    # Links

    def link(self, kind: str, user: User, challenge: str = "", to: str = "") -> SupabaseMail:
        """Make a link; an older one of the same column dies."""
        column = _COLUMNS[kind]
        self._one_time = {
            token: one
            for token, one in self._one_time.items()
            if (one.user_id, _COLUMNS[one.kind]) != (user["id"], column)
        }
        token = ("pkce_" if challenge else "") + secrets.token_hex(28)
        code = f"{secrets.randbelow(10**6):06}"
        until = self.clock() + _TOKEN_LIFE
        self._one_time[token] = _OneTime(user["id"], kind, code, challenge, until)
        query = urlencode({"token": token, "type": kind, "redirect_to": to})
        return SupabaseMail(user["email"], kind, token, code, f"{self.base}/verify?{query}", to)

    def mail(self, kind: str, user: User, challenge: str, to: str) -> None:
        """Mail a link."""
        self.mails.append(self.link(kind, user, challenge, to))

    def redeem(self, kind: str, token: str) -> tuple[User, str]:
        """Spend a link's token; return its user, whose address is proved by it, and challenge."""
        one = self._one_time.get(token)
        columns = {"confirmation", "recovery"} if kind == "email" else {_COLUMNS.get(kind)}
        if one is None or _COLUMNS[one.kind] not in columns or one.until <= self.clock():
            raise Refuse(403, "otp_expired", "Email link is invalid or has expired")
        user = self.users[one.user_id]
        self.refuse_banned(user, 403)
        del self._one_time[token]
        self.confirm(user)
        return user, one.challenge

    def token_of_code(self, email: str, code: str) -> str:
        """Return the token that goes with six digits."""
        user = self.by_email(email)
        found = (t for t, o in self._one_time.items() if user and o.user_id == user["id"])
        return next((t for t in found if self._one_time[t].code == code), "")

    # Codes of callbacks

    def grant(self, user: User, challenge: str) -> str:
        """Return a code for a callback."""
        code = str(uuid.uuid4())
        self._codes[code] = (user["id"], challenge)
        return code

    def exchange(self, code: str, challenge: str) -> User:
        """Spend a code."""
        if code not in self._codes:
            raise Refuse(404, "flow_state_not_found", "invalid flow state, no valid flow state")
        user_id, wanted = self._codes[code]
        if wanted != challenge:
            raise Refuse(400, "bad_code_verifier", "code challenge does not match")
        del self._codes[code]
        self.refuse_banned(self.users[user_id], 400)
        return self.users[user_id]

    # Sessions

    def open_session(self, user: User) -> dict[str, Any]:
        """Begin a session; return its tokens."""
        session_id = str(uuid.uuid4())
        self.sessions[session_id] = user["id"]
        user["last_sign_in_at"] = iso(self.clock())
        return self._answer(user, session_id, self._new_refresh(session_id))

    def rotate(self, token: str) -> dict[str, Any]:
        """Exchange a refresh token; reuse ends the session but where an answer may be lost."""
        used = self._refresh.get(token)
        if used is None:
            message = "Invalid Refresh Token: Refresh Token Not Found"
            raise Refuse(400, "refresh_token_not_found", message)
        if used.session_id not in self.sessions:
            raise Refuse(400, "session_not_found", "Session from session_id not found")
        user = self.users[self.sessions[used.session_id]]
        self.refuse_banned(user, 400)
        if not used.child:
            used.child = self._new_refresh(used.session_id, token)
            used.rotated_at = self.clock()
            return self._answer(user, used.session_id, used.child)
        current = self._current(used)
        assert used.rotated_at is not None
        recent = self.clock() - used.rotated_at < _REUSE
        if not recent and self._refresh[current].parent != token:
            del self.sessions[used.session_id]
            message = "Invalid Refresh Token: Already Used"
            raise Refuse(400, "refresh_token_already_used", message)
        return self._answer(user, used.session_id, current)

    def end_all(self, user_id: str, keep: str = "") -> None:
        """End the sessions of a user, but *keep*."""
        for session_id in [s for s, u in self.sessions.items() if u == user_id and s != keep]:
            del self.sessions[session_id]

    def claims(self, user: User, session_id: str | None) -> dict[str, Any]:
        """Return what an access token says."""
        now = int(self.clock().timestamp())
        return {
            "iss": self.base,
            "sub": user["id"],
            "aud": "authenticated",
            "exp": now + int(_ACCESS_LIFE.total_seconds()),
            "iat": now,
            "email": user["email"],
            "phone": "",
            "app_metadata": user["app_metadata"],
            "user_metadata": user["user_metadata"],
            "role": "authenticated",
            "aal": "aal1",
            "amr": [{"method": "password", "timestamp": now}],
            "session_id": session_id,
            "is_anonymous": False,
        }

    def _answer(self, user: User, session_id: str, refresh: str) -> dict[str, Any]:
        claims = self.claims(user, session_id)
        return {
            "access_token": self.signer.sign(claims),
            "token_type": "bearer",
            "expires_in": claims["exp"] - claims["iat"],
            "expires_at": claims["exp"],
            "refresh_token": refresh,
            "user": user,
        }

    def _new_refresh(self, session_id: str, parent: str = "") -> str:
        token = secrets.token_urlsafe(9)
        self._refresh[token] = _Refresh(session_id, parent)
        return token

    def _current(self, used: _Refresh) -> str:
        token = used.child
        while self._refresh[token].child:
            token = self._refresh[token].child
        return token


def new_user(email: str, data: Mapping[str, Any], now: datetime) -> User:
    """Return a user as the service shows one; what is not set is left out."""
    user_id, moment = str(uuid.uuid4()), iso(now)
    identity = {
        "identity_id": str(uuid.uuid4()),
        "id": user_id,
        "user_id": user_id,
        "identity_data": {"email": email, "sub": user_id},
        "provider": "email",
        "last_sign_in_at": moment,
        "created_at": moment,
        "updated_at": moment,
    }
    return {
        "id": user_id,
        "aud": "authenticated",
        "role": "authenticated",
        "email": email,
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {key: value for key, value in data.items() if value is not None},
        "identities": [identity],
        "created_at": moment,
        "updated_at": moment,
        "is_anonymous": False,
    }


def iso(moment: datetime) -> str:
    """Return a time as Go writes it: nine digits after the point."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"


def from_iso(text: str) -> datetime:
    """Return a time that :func:`iso` wrote."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))


def with_query(url: str, **query: str) -> str:
    """Return *url* with more in its query."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"
