"""A WorkOS environment for tests: a real server on this machine, with users, mails and mistakes.

It does what this library asks of WorkOS, as the published interface has it, and what is needed to
consent at a provider. No row of it is WorkOS'.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from .._clock import Clock, utc_now
from ..config import ThrottleConfig, WorkOSConfig
from ._gotrue.signer import Signer
from ._workos.environment import Environment, WorkOSMail
from ._workos.grants import Grants
from ._workos.refuse import Refuse, oauth_error
from ._workos.routes import Routes
from .fake_oauth import Callback
from .service import Call, FakeService, Reply, json_reply

__all__ = ["FakeWorkOS", "WorkOSMail"]


class FakeWorkOS(FakeService):
    """An environment; give :attr:`config` to ``open_auth``.

    ::

        with FakeWorkOS() as workos, open_auth(":memory:", config=workos.config) as auth:
            auth.sign_in_with_magic_link(email="ada@example.com", magic_link_url=URL)
            code = workos.last_mail().code
            auth.verify_magic_link(auth.magic_link_token(email="ada@example.com", code=code))

    A browser that opens a provider's page is sent back at once; :attr:`user` says who sits there.

    Args:
        redirect_uri: Of the configuration.
        clock: Where the service's time comes from; the client's, if that is moved.

    Attributes:
        user: The claims of who opens a provider's page in a browser; ``None``: declines.
        environment: What the service holds, and how it is set up.
        grants: How people are signed in: ``verifies_emails``, ``totp``, ``asks_for_org``.

    Raises:
        ConfigError: The package cryptography is missing (extra ``workos``).
    """

    def __init__(
        self, *, redirect_uri: str = "http://localhost/callback", clock: Clock = utc_now
    ) -> None:
        from .._jwks import require_cryptography

        require_cryptography("workos")
        super().__init__(clock=clock)
        self.api_key = f"sk_test_{secrets.token_urlsafe(24)}"
        self.client_id = f"client_{secrets.token_hex(8)}"
        self.user: dict[str, Any] | None = {"email": "ada@example.com"}
        self._signer = Signer("RS256", "")
        self.environment = Environment(clock)
        issuer = f"{self.url}/user_management/{self.client_id}"
        self.grants = Grants(self.environment, self._signer, issuer=issuer)
        self._routes = Routes(self.environment, self.grants, self.url)
        self._refusals: list[tuple[str, Refuse]] = []
        self.config = WorkOSConfig(
            api_key=self.api_key,
            client_id=self.client_id,
            redirect_uri=redirect_uri,
            base_url=self.url,
            throttle=ThrottleConfig.off(),
        )

    # What a test looks at

    @property
    def mails(self) -> list[WorkOSMail]:
        """What the service has mailed, oldest first; what the library mails is not among it."""
        return self.environment.mails

    def last_mail(self, *, to: str | None = None) -> WorkOSMail:
        """Return the newest mail.

        Raises:
            AssertionError: There is none.
        """
        found = [mail for mail in self.mails if to in {None, mail.to}]
        if not found:
            raise AssertionError(f"no such mail; sent: {self.mails}")
        return found[-1]

    # What a test does

    def consent(self, url: str, **claims: Any) -> Callback:
        """Let somebody sign in at a provider and say yes.

        Args:
            url: Where the client sends the browser.
            **claims: Of the person: ``email`` (by default ada@example.com), ``first_name``,
                ``last_name``.
        """
        person = {"email": "ada@example.com", **claims}
        query = _query(url)
        with self._lock:
            user = self.environment.by_email(person["email"])
            if user is None:
                if not self.environment.allows_sign_up:
                    return self._back(query, error="access_denied")
                user = self.environment.add_user(person)
            user["email_verified"] = True
            return self._back(
                query, code=self.grants.grant(user["id"], query.get("code_challenge"))
            )

    def deny(self, url: str) -> Callback:
        """Let somebody say no; ``code`` is ``None`` then."""
        return self._back(_query(url), error="access_denied")

    def rotate_keys(self) -> None:
        """Sign with a new key from now on; the old one is published no more."""
        self._signer.rotate()

    def sign(self, user_id: str, session_id: str, **claims: Any) -> str:
        """Return an access token that says what it is told to; a claim that is None is left out."""
        full = {**self.grants.claims(user_id, session_id, None), **claims}
        return self._signer.sign({name: said for name, said in full.items() if said is not None})

    def refuse(
        self, status: int, code: str | None, *, oauth: bool = False, path: str = "", **more: Any
    ) -> None:
        """Have the next call refused with an error of the service's.

        Args:
            oauth: In OAuth's shape: ``{error, error_description}``.
            path: The next call whose path ends so.
        """
        refuse = Refuse(status, code, **more)
        if oauth and code is not None:
            refuse = oauth_error(code)
            refuse.status = status
            refuse.body |= more
        self._refusals.append((path, refuse))

    def forget_refusals(self) -> None:
        """Refuse and disturb nothing that was to be."""
        self._refusals.clear()
        self._disturbances.clear()

    # The server

    def handle(self, call: Call) -> Reply:
        """Answer a call."""
        try:
            return self._public(call) or self._private(call)
        except Refuse as refuse:
            return refuse.reply()

    def _public(self, call: Call) -> Reply | None:
        """Answer what needs no key."""
        if call.path == f"/sso/jwks/{self.client_id}":
            return json_reply({"keys": self._signer.published()})
        if (call.method, call.path) == ("GET", "/user_management/authorize"):
            back = (
                self.deny(call.target)
                if self.user is None
                else self.consent(call.target, **self.user)
            )
            return Reply(302, headers={"Location": back.url})
        return None

    def _private(self, call: Call) -> Reply:
        if call.headers.get("authorization") != f"Bearer {self.api_key}":
            raise Refuse(401, "unauthorized")
        for number, (path, refuse) in enumerate(self._refusals):
            if call.path.endswith(path):
                del self._refusals[number]
                raise refuse
        if call.path.endswith("/authenticate"):
            given = call.body.get("client_id"), call.body.get("client_secret")
            if given != (self.client_id, self.api_key):
                raise oauth_error("invalid_client")
        return self._routes.handle(call)

    def _back(self, query: Mapping[str, str], **outcome: str) -> Callback:
        sent = {**outcome, **({"state": query["state"]} if "state" in query else {})}
        base = query.get("redirect_uri", "")
        sign = "&" if urlsplit(base).query else "?"
        return Callback(url=f"{base}{sign}{urlencode(sent)}", state=query.get("state"), **outcome)


def _query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
