"""A Supabase project for tests: a real server on this machine, with users, mails and mistakes.

It does what this library asks of Supabase Auth, as the service's source has it, and what is needed
to follow a link or to consent at a provider. No row of it is Supabase's.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from .._clock import Clock, utc_now
from ..config import SupabaseConfig, ThrottleConfig
from ._gotrue.admin import AdminRoutes
from ._gotrue.project import Project, SupabaseMail, iso, with_query
from ._gotrue.public import PublicRoutes
from ._gotrue.refuse import Refuse
from ._gotrue.signer import Algorithm, Signer
from .fake_oauth import Callback
from .service import Call, FakeService, Reply, json_reply

__all__ = ["FakeSupabase", "SupabaseMail"]

_BASE = "/auth/v1"


class FakeSupabase(FakeService):
    """A project; give :attr:`config` to ``open_auth``.

    ::

        with FakeSupabase() as project, open_auth(":memory:", config=project.config) as auth:
            auth.sign_in_with_magic_link(email="ada@example.com", magic_link_url=URL)
            back = project.follow(project.last_mail())
            auth.verify_magic_link(back.code, state=back.state)

    A browser that opens a mail's link, or a provider's page, is sent back at once; :attr:`user` is
    who sits there.

    Args:
        keys: ``"new"``: ``sb_publishable_…`` and ``sb_secret_…``; ``"legacy"``: JWTs.
        alg: What access tokens are signed with.
        legacy_secret: Whether the project takes its legacy secret; HS256 needs it.
        autoconfirm: Whether addresses are taken for proved at sign-up.
        redirect_uri: Of the configuration.
        clock: Where the project's time comes from; the client's, if that is moved.

    Attributes:
        versioned: Whether the service knows the version header, on which the shape of errors hangs.
        user: The claims of who opens a provider's page in a browser; ``None``: declines.

    Raises:
        ConfigError: The package cryptography is missing (extra ``supabase``).
    """

    def __init__(
        self,
        *,
        keys: Literal["new", "legacy"] = "new",
        alg: Algorithm = "ES256",
        legacy_secret: bool = True,
        autoconfirm: bool = True,
        redirect_uri: str = "http://localhost/callback",
        clock: Clock = utc_now,
    ) -> None:
        from .._jwks import require_cryptography

        require_cryptography("supabase")
        if alg == "HS256" and not legacy_secret:
            raise ValueError("HS256 needs the legacy secret")
        super().__init__(clock=clock)
        secret = secrets.token_urlsafe(64) if legacy_secret else ""
        self._signer = Signer(alg, secret)
        self._project = Project(self.url + _BASE, self._signer, clock)
        self._project.autoconfirm = autoconfirm
        self._public, self._admin = PublicRoutes(self._project), AdminRoutes(self._project)
        self._refusals: list[Refuse] = []
        self.versioned = True
        self.user: dict[str, Any] | None = {"email": "ada@example.com"}
        self.anon_key, self.service_role_key = _keys(keys)
        self.config = SupabaseConfig(
            url=self.url,
            anon_key=self.anon_key,
            service_role_key=self.service_role_key,
            jwt_secret=secret,
            redirect_uri=redirect_uri,
            throttle=ThrottleConfig.off(),
        )

    # What a test looks at

    @property
    def users(self) -> Mapping[str, dict[str, Any]]:
        """The users by their ids, as the service shows them."""
        return self._project.users

    @property
    def sessions(self) -> Mapping[str, str]:
        """The ids of live sessions, and whose each is."""
        return self._project.sessions

    @property
    def mails(self) -> list[SupabaseMail]:
        """What the project has mailed, oldest first; what the library mails is not among it."""
        return self._project.mails

    def last_mail(self, *, to: str | None = None) -> SupabaseMail:
        """Return the newest mail.

        Raises:
            AssertionError: There is none.
        """
        found = [mail for mail in self.mails if to in {None, mail.to}]
        if not found:
            raise AssertionError(f"no such mail; sent: {self.mails}")
        return found[-1]

    # What a test does

    def follow(self, mail: SupabaseMail) -> Callback:
        """Let somebody open a mail's link; return what their browser brings to the page.

        ``code`` is there where the mail was asked for with a KV store; otherwise a page would get
        the tokens in the fragment, which no server sees.
        """
        with self._lock:
            return self._follow(mail.kind, mail.token, mail.redirect_to)

    def consent(self, url: str, **claims: Any) -> Callback:
        """Let somebody sign in at a provider and say yes.

        Args:
            url: Where the client sends the browser.
            **claims: Of the person: ``email`` (by default ada@example.com), and what else goes into
                the profile.
        """
        person = {"email": "ada@example.com", **claims}
        query = _query(url)
        with self._lock:
            user = self._project.by_email(person["email"])
            if user is None and self._project.disable_signup:
                return self._back(query, error="access_denied")
            user = user or self._project.add(person["email"], None, person)
            self._project.confirm(user)
            return self._back(query, code=self._project.grant(user, query["code_challenge"]))

    def deny(self, url: str) -> Callback:
        """Let somebody say no; ``code`` is ``None`` then."""
        return self._back(_query(url), error="access_denied")

    def ban(self, user_id: str, until: datetime) -> None:
        """Disable a user until a moment."""
        self._project.users[user_id]["banned_until"] = iso(until)

    def rotate_keys(self) -> None:
        """Sign with a new key from now on; the old one is published no more."""
        self._signer.rotate()

    def sign(self, user_id: str, session_id: str | None, /, **claims: Any) -> str:
        """Return an access token that says what it is told to; a claim that is None is left out."""
        full = {**self._project.claims(self._project.users[user_id], session_id), **claims}
        return self._signer.sign({name: said for name, said in full.items() if said is not None})

    def refuse(self, status: int, code: str, message: str = "refused", **more: Any) -> None:
        """Have the next call refused with an error of the service's, in the shape asked for."""
        self._refusals.append(Refuse(status, code, message, **more))

    @property
    def autoconfirm(self) -> bool:
        """Whether addresses are taken for proved at sign-up; clients learn it in ten minutes."""
        return self._project.autoconfirm

    @autoconfirm.setter
    def autoconfirm(self, value: bool) -> None:
        self._project.autoconfirm = value

    @property
    def disable_signup(self) -> bool:
        """Whether new users are refused; clients learn it in ten minutes."""
        return self._project.disable_signup

    @disable_signup.setter
    def disable_signup(self, value: bool) -> None:
        self._project.disable_signup = value

    # The server

    def handle(self, call: Call) -> Reply:
        """Answer a call."""
        path = call.path.removeprefix(_BASE)
        if path == "/.well-known/jwks.json":
            return json_reply({"keys": self._signer.published()})
        try:
            return self._browser(call, path) or self._routed(call, path)
        except Refuse as refuse:
            return refuse.reply(call, versioned=self.versioned)

    def _browser(self, call: Call, path: str) -> Reply | None:
        """Answer what a browser opens, which has no key."""
        if (call.method, path) == ("GET", "/verify"):
            query = call.query
            back = self._follow(query["type"], query["token"], query["redirect_to"])
        elif (call.method, path) == ("GET", "/authorize"):
            back = (
                self.deny(call.target)
                if self.user is None
                else self.consent(call.target, **self.user)
            )
        else:
            return None
        return Reply(303, headers={"Location": back.url})

    def _routed(self, call: Call, path: str) -> Reply:
        key = call.headers.get("apikey")
        if key not in (self.anon_key, self.service_role_key):
            return json_reply({"message": "Invalid API key", "hint": "Double check it."}, 401)
        if self._refusals:
            raise self._refusals.pop(0)
        if not path.startswith("/admin/"):
            return self._public.handle(call, path)
        given = call.headers.get("authorization")
        right = f"Bearer {self.service_role_key}"
        may_leave_out = self.service_role_key.startswith("sb_")
        if key != self.service_role_key or (given != right and not (may_leave_out and not given)):
            raise Refuse(403, "not_admin", "User not allowed")
        return self._admin.handle(call, path.removeprefix("/admin/"))

    def _follow(self, kind: str, token: str, page: str) -> Callback:
        user, challenge = self._project.redeem(kind, token)
        if not challenge:
            tokens = self._project.open_session(user)
            return Callback(url=f"{page}#access_token={tokens['access_token']}")
        return self._back({"redirect_to": page}, code=self._project.grant(user, challenge))

    def _back(self, query: Mapping[str, str], **outcome: str) -> Callback:
        url = with_query(query.get("redirect_to", ""), **outcome)
        return Callback(url=url, state=_query(url).get("state"), **outcome)


def _keys(kind: str) -> tuple[str, str]:
    if kind == "new":
        names = "publishable", "secret"
        anon, service = (f"sb_{name}_{secrets.token_urlsafe(16)}" for name in names)
    else:
        anon, service = (
            Signer("HS256", secrets.token_hex(32)).sign({"role": role})
            for role in ("anon", "service_role")
        )
    return anon, service


def _query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
