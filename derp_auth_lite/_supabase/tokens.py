"""Access tokens of the service: which key verifies one, and one made here to end a session."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .._clock import Clock
from .._http import HTTPClient
from .._jwks import JWKS, verify_jwt
from ..exceptions import ConfigError, InvalidTokenError

__all__ = ["SupabaseTokens"]

_ASYMMETRIC = ("ES256", "RS256")
_AUDIENCE = "authenticated"
_MINUTE = timedelta(seconds=60)


class SupabaseTokens:
    """Verifies access tokens here, without a call for each.

    HS256 is verified with the legacy secret and with nothing else, ES256 and RS256 with the
    project's published keys, each for its own algorithm (RFC 8725, section 3.1).

    Args:
        secret: The legacy secret; empty: there is none.
    """

    def __init__(self, http: HTTPClient, *, issuer: str, secret: str, clock: Clock) -> None:
        self._keys = JWKS(
            "/.well-known/jwks.json", http, clock=clock, algorithms=_ASYMMETRIC, extra="supabase"
        )
        self._issuer = issuer
        self._secret = secret.encode()
        self._clock = clock

    @property
    def can_mint(self) -> bool:
        """Whether there is a legacy secret to sign with."""
        return bool(self._secret)

    def key(self, kid: str | None, alg: str) -> Any | None:
        """Return the key for a token's header, or ``None``.

        Raises:
            AuthBackendError: The published keys cannot be had.
            ConfigError: The project publishes none, and there is no secret: no token of its own
                could be verified, and everybody would be signed out.
        """
        if alg != "HS256":
            return self._keys.key(kid, alg)
        if not self._secret and self._keys.is_empty():
            raise ConfigError("The project signs with its legacy secret: set jwt_secret")
        return self._secret or None

    def verify(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a valid token, else ``None``.

        Raises:
            AuthBackendError: The keys cannot be had.
            ConfigError: There is no key to be had.
        """
        try:
            return verify_jwt(
                token,
                keys=self,
                issuers=(self._issuer,),
                audience=_AUDIENCE,
                clock=self._clock,
                algorithms=("HS256", *_ASYMMETRIC),
                required=("exp", "sub", "session_id"),
                name="Supabase",
            )
        except InvalidTokenError:
            return None

    def mint(self, user_id: str, session_id: str | None = None) -> str:
        """Return a token of a minute that stands for a user, or for one session."""
        import jwt  # late: 36 ms, and only ending a session needs it

        now = self._clock()
        claims = {
            "iss": self._issuer,
            "aud": _AUDIENCE,
            "role": "authenticated",
            "sub": user_id,
            "iat": int(now.timestamp()),
            "exp": int((now + _MINUTE).timestamp()),
        }
        if session_id is not None:
            claims["session_id"] = session_id
        return jwt.encode(claims, self._secret, "HS256")
