"""An OpenID Connect provider for tests: a real server on this machine, with people who consent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from .._clock import Clock, utc_now
from ..config import OIDCConfig
from ._loopback import Call, LoopbackServer, Reply, json_reply

__all__ = ["Callback", "FakeOAuth"]

_KEY_ID = "fake-key"
_LIFETIME = 300


@dataclass(frozen=True)
class Callback:
    """What the browser brings back: ``code``, ``state`` and ``iss``, or an ``error``."""

    url: str
    state: str | None = None
    code: str | None = None
    iss: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class _Grant:
    claims: Mapping[str, Any]
    redirect_uri: str
    challenge: str | None


class FakeOAuth:
    """A provider whose id tokens are signed, and who checks what a client sends it.

    Give :attr:`config` to the client and let somebody consent to a URL of ``start_oauth``::

        with FakeOAuth() as fake, open_test_auth(oidc=[fake.config]) as auth:
            start = auth.start_oauth("fake")
            back = fake.consent(start.url, email="ada@example.com")
            auth.sign_in_with_oauth(
                "fake", back.code, state=back.state, iss=back.iss, binding=start.binding
            )

    A browser that opens the URL is sent back at once; :attr:`user` says who sits there.

    Args:
        name: What the client calls the provider.
        algorithm: What id tokens are signed with.
        clock: Dates them; the client's, if that is moved.

    Attributes:
        delay: Seconds before each answer.
        broken: Answer everything with an error 500.
        user: The claims of who opens the URL in a browser; ``None`` for somebody who declines.

    Raises:
        ConfigError: The package cryptography is missing (extra ``oidc``).
    """

    def __init__(
        self,
        *,
        name: str = "fake",
        algorithm: Literal["RS256", "ES256"] = "RS256",
        redirect_uri: str = "http://localhost/callback",
        clock: Clock = utc_now,
    ) -> None:
        from .._jwks import require_cryptography

        require_cryptography("oidc")
        self.delay = 0.0
        self.broken = False
        self.user: dict[str, Any] | None = {"email": "ada@example.com"}
        self._clock = clock
        self._algorithm = algorithm
        self._key: Any = _signing_key(algorithm)
        self._grants: dict[str, _Grant] = {}
        self._server = LoopbackServer(self._answer)
        self.url = self._server.url
        self.config = OIDCConfig(
            name=name,
            issuer=self.url,
            client_id="a client",
            client_secret=secrets.token_urlsafe(24),
            redirect_uri=redirect_uri,
        )

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(*exc)

    def consent(self, url: str, **claims: Any) -> Callback:
        """Let somebody sign in at the provider and say yes.

        Args:
            url: Where the client sends the browser.
            **claims: Of the person: ``email`` (by default ada@example.com), ``email_verified``
                (by default true), ``sub`` (by default one for each address), ``given_name`` and so
                on. A claim that is ``None`` is left out.
        """
        asked = _query(url)
        person = {"email": "ada@example.com", "email_verified": True, **claims}
        person.setdefault("sub", f"subject of {person['email']}")
        code = secrets.token_urlsafe(16)
        self._grants[code] = _Grant(
            {**person, "nonce": asked.get("nonce")},
            asked.get("redirect_uri", ""),
            asked.get("code_challenge"),
        )
        return self._back(asked, code=code)

    def deny(self, url: str) -> Callback:
        """Let somebody say no; ``code`` is ``None`` then."""
        return self._back(_query(url), error="access_denied")

    def _back(self, asked: Mapping[str, str], **outcome: str) -> Callback:
        sent = {**outcome, "iss": self.url}
        if "state" in asked:
            sent["state"] = asked["state"]
        base = asked.get("redirect_uri", "")
        sign = "&" if urlsplit(base).query else "?"
        return Callback(url=f"{base}{sign}{urlencode(sent)}", **sent)

    def _answer(self, call: Call) -> Reply:
        if self.delay:
            time.sleep(self.delay)
        if self.broken:
            return Reply(500, b"<h1>Internal Server Error</h1>", {"Content-Type": "text/html"})
        if (call.method, call.path) == ("POST", "/token"):
            return self._token(call)
        if call.method == "GET" and call.path == "/authorize":
            full = self.url + call.target
            back = self.deny(full) if self.user is None else self.consent(full, **self.user)
            return Reply(302, headers={"Location": back.url})
        if call.method == "GET" and call.path == "/.well-known/openid-configuration":
            return json_reply(self._discovery())
        if call.method == "GET" and call.path == "/keys":
            return json_reply({"keys": [self._public_key()]})
        return json_reply({"error": "not_found"}, 404)

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self._algorithm],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def _token(self, call: Call) -> Reply:
        """Exchange a code, once, as RFC 6749, section 4.1.3, and RFC 7636 have it."""
        form = call.form
        if not self._is_client(call.headers.get("authorization", "")):
            return json_reply({"error": "invalid_client"}, 401)
        grant = self._grants.pop(form.get("code", ""), None)
        if grant is None or form.get("redirect_uri") != grant.redirect_uri:
            return json_reply({"error": "invalid_grant"}, 400)
        if grant.challenge is not None and _s256(form.get("code_verifier", "")) != grant.challenge:
            return json_reply({"error": "invalid_grant"}, 400)
        tokens = {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": _LIFETIME,
            "id_token": self._id_token(grant.claims),
        }
        return json_reply(tokens)

    def _is_client(self, authorization: str) -> bool:
        kind, _, encoded = authorization.partition(" ")
        if kind != "Basic":
            return False
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
        pair = (unquote_plus(name), unquote_plus(secret))
        return hmac.compare_digest(
            repr(pair).encode(), repr((self.config.client_id, self.config.client_secret)).encode()
        )

    def _id_token(self, claims: Mapping[str, Any]) -> str:
        import jwt

        now = int(self._clock().timestamp())
        own = {"iss": self.url, "aud": self.config.client_id, "iat": now, "exp": now + _LIFETIME}
        said = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(
            {**own, **said}, self._key, algorithm=self._algorithm, headers={"kid": _KEY_ID}
        )

    def _public_key(self) -> dict[str, Any]:
        import jwt

        entry = jwt.get_algorithm_by_name(self._algorithm).to_jwk(
            self._key.public_key(), as_dict=True
        )
        return {**entry, "kid": _KEY_ID, "use": "sig", "alg": self._algorithm}


def _signing_key(algorithm: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def _s256(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
