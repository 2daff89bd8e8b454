"""Access tokens of the service, verified here without a call for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._clock import Clock
from .._jwks import JWKS, verify_jwt
from ..exceptions import ConfigError, InvalidTokenError
from .api import WorkOS, as_key
from .mapping import access_claims_of

__all__ = ["AccessTokens"]

_HOME = "https://api.workos.com"


class AccessTokens:
    """Verifies access tokens: RS256 with the environment's published keys and nothing else.

    Args:
        issuers: Further issuers, such as that of a custom domain.

    Raises:
        ConfigError: The extra ``workos`` is not installed, or the client id is none.
    """

    def __init__(self, api: WorkOS, *, issuers: Sequence[str], clock: Clock) -> None:
        client_id = as_key(api.client_id, lambda: ConfigError("client_id is not an id"))
        self._keys = JWKS(
            f"/sso/jwks/{client_id}",
            api.http,
            clock=clock,
            algorithms=("RS256",),
            extra="workos",
        )
        own = (_HOME, api.url, *(f"{url}/user_management/{client_id}" for url in (_HOME, api.url)))
        known = {issuer.rstrip("/") for issuer in (*own, *issuers)}
        # The service writes an issuer with the slash and without.
        self._issuers = known | {f"{issuer}/" for issuer in known}
        self._clock = clock

    def verify(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a valid token, else ``None``.

        Raises:
            AuthBackendError: The keys cannot be had.
        """
        try:
            claims = verify_jwt(
                token,
                keys=self._keys,
                issuers=self._issuers,
                audience=None,
                clock=self._clock,
                algorithms=("RS256",),
                required=("exp", "sub", "sid"),
                name="WorkOS",
            )
        except InvalidTokenError:
            return None
        return claims if access_claims_of(claims) else None
