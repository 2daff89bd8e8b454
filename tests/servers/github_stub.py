"""GitHub's four endpoints, as far as signing in needs them."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from .loopback import Call, LoopbackServer, Reply, json_reply
from .signing import b64

__all__ = ["GitHubStub"]


class GitHubStub(LoopbackServer):
    """Like github.com and api.github.com on one port; a refusal of a code has status 200.

    ``user`` and ``emails`` are the account that signs in; ``redirect_uris`` what was registered.
    """

    def __init__(self, client_id: str, client_secret: str, redirect_uri: str) -> None:
        super().__init__(self._answer)
        self.client = (client_id, client_secret)
        self.redirect_uri = redirect_uri
        self.user: dict[str, Any] = {
            "id": 583231,
            "login": "ada",
            "name": "Ada Lovelace",
            "email": "typed-by-the-user@example.com",
            "avatar_url": "https://avatars.example.com/u/583231",
        }
        self.emails: Any = [
            {"email": "old@example.com", "primary": False, "verified": True},
            {"email": "ada@example.com", "primary": True, "verified": True},
        ]
        self.granted = True
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: set[str] = set()

    def _answer(self, call: Call) -> Reply:
        answers = {
            ("GET", "/login/oauth/authorize"): self._authorize,
            ("POST", "/login/oauth/access_token"): self._access_token,
            ("GET", "/user"): self._user,
            ("GET", "/user/emails"): self._emails,
        }
        answer = answers.get((call.method, call.path))
        return answer(call) if answer else json_reply({"message": "Not Found"}, 404)

    def _authorize(self, call: Call) -> Reply:
        """Send the browser back at once: the account agrees to everything."""
        query = call.query
        if query.get("client_id") != self.client[0] or query["redirect_uri"] != self.redirect_uri:
            return Reply(404)
        code = secrets.token_hex(10)
        self._codes[code] = query
        back = {"code": code, "state": query["state"], "iss": f"{self.url}/login/oauth"}
        return Reply(302, b"", {"Location": f"{self.redirect_uri}?{urlencode(back)}"})

    def _access_token(self, call: Call) -> Reply:
        if "application/json" not in call.headers.get("accept", ""):
            return Reply(200, b"access_token=x&token_type=bearer")
        form = call.form
        if (form.get("client_id"), form.get("client_secret")) != self.client:
            return self._no("incorrect_client_credentials")
        begun = self._codes.pop(form.get("code", ""), None)
        if begun is None or not _proves(form.get("code_verifier"), begun.get("code_challenge")):
            return self._no("bad_verification_code")
        if form.get("redirect_uri") != begun["redirect_uri"]:
            return self._no("redirect_uri_mismatch")
        token = f"gho_{secrets.token_hex(18)}"
        self._tokens.add(token)
        return json_reply({"access_token": token, "scope": begun["scope"], "token_type": "bearer"})

    def _user(self, call: Call) -> Reply:
        return json_reply(self.user) if self._knows(call) else _bad_credentials()

    def _emails(self, call: Call) -> Reply:
        if not self._knows(call):
            return _bad_credentials()
        if not self.granted:
            return json_reply({"message": "Not Found"}, 404)
        return json_reply(self.emails)

    def _knows(self, call: Call) -> bool:
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        return kind == "Bearer" and token in self._tokens and "user-agent" in call.headers

    def _no(self, error: str) -> Reply:
        return json_reply(
            {
                "error": error,
                "error_description": "The reason in a sentence.",
                "error_uri": "https://docs.github.com/",
            }
        )

    def open(self, url: str) -> dict[str, str]:
        """Open an authorization URL like a browser, and return the callback's query."""
        call = Call("GET", url.removeprefix(self.url), {}, b"", ("127.0.0.1", 0))
        place = self._authorize(call).headers["Location"]
        return dict(parse_qsl(urlsplit(place).query))


def _proves(verifier: str | None, challenge: str | None) -> bool:
    """Hold a verifier against the challenge; without a challenge there is nothing to prove."""
    if challenge is None:
        return True
    return b64(hashlib.sha256((verifier or "").encode()).digest()) == challenge


def _bad_credentials() -> Reply:
    return json_reply({"message": "Bad credentials", "status": "401"}, 401)
