"""A small OpenID Connect provider whose id tokens are signed as a test says, right or wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from derp_auth_lite._clock import Clock, utc_now

from .loopback import Call, LoopbackServer, Reply, json_reply
from .signing import jwk, rsa_key, sign

__all__ = ["SigningProvider"]


class SigningProvider(LoopbackServer):
    """Answers every code. Change the attributes to make it lie.

    ``claims`` are laid over those of a good id token; a claim that is ``...`` is left out.
    ``meanwhile`` is called while a client waits for its tokens.
    """

    def __init__(self, client_id: str = "app", *, clock: Clock = utc_now) -> None:
        super().__init__(self._answer)
        self.client_id = client_id
        self.clock = clock
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.key: Any = rsa_key()
        self.alg = "RS256"
        self.keys = [jwk(rsa_key())]
        self.userinfo: dict[str, Any] = {"sub": "subject-1"}
        self.discovery: dict[str, Any] = {}
        self.tokens: dict[str, Any] = {}
        self.meanwhile: Callable[[], object] = lambda: None

    def _answer(self, call: Call) -> Reply:
        answers = {
            "/.well-known/openid-configuration": self._document,
            "/keys": lambda: {"keys": self.keys},
            "/token": self._tokens,
            "/userinfo": lambda: self.userinfo,
        }
        if call.path not in answers:
            return Reply(404)
        return json_reply(answers[call.path]())

    def _document(self) -> dict[str, Any]:
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
            **self.discovery,
        }
        return {name: value for name, value in document.items() if value is not ...}

    def _tokens(self) -> dict[str, Any]:
        self.meanwhile()
        tokens = {
            "access_token": "access-1",
            "token_type": "Bearer",
            "expires_in": 3600,
            "id_token": self.id_token(),
            **self.tokens,
        }
        return {name: value for name, value in tokens.items() if value is not ...}

    def id_token(self) -> str:
        """Return an id token as the attributes have it."""
        now = int(self.clock().timestamp())
        claims = {
            "iss": self.url,
            "aud": self.client_id,
            "sub": "subject-1",
            "iat": now,
            "exp": now + 300,
            "nonce": "nonce-1",
            "email": "ada@example.com",
            "email_verified": True,
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not ...}
        return sign(claims, self.key, alg=self.alg, header=self.header)
