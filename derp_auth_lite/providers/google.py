"""Google, an OpenID Connect provider with well-known endpoints."""

from __future__ import annotations

from .._clock import Clock, utc_now
from .._http import HTTPClient
from ..config import GoogleOAuthConfig
from .openid import OpenIDProvider, ProviderMetadata

__all__ = ["GOOGLE", "GoogleProvider"]

GOOGLE = ProviderMetadata(
    issuers=("https://accounts.google.com", "accounts.google.com"),
    authorization_endpoint="https://accounts.google.com/o/oauth2/v2/auth",
    token_endpoint="https://oauth2.googleapis.com/token",  # noqa: S106  (an address)
    jwks_uri="https://www.googleapis.com/oauth2/v3/certs",
    userinfo_endpoint="https://openidconnect.googleapis.com/v1/userinfo",
)


class GoogleProvider(OpenIDProvider[GoogleOAuthConfig]):
    """Sign-in with a Google account. The identity is Google's ``sub``, never the address.

    Args:
        metadata: Endpoints instead of Google's own, for tests.

    Raises:
        ConfigError: The package that verifies signatures is missing (extra ``oidc``).
    """

    provider_name = "google"
    issuer = GOOGLE.issuers[0]

    def __init__(
        self,
        config: GoogleOAuthConfig,
        *,
        clock: Clock = utc_now,
        http: HTTPClient | None = None,
        metadata: ProviderMetadata = GOOGLE,
    ) -> None:
        super().__init__(config, clock=clock, http=http)
        self.issuer = metadata.issuers[0]
        self._metadata = metadata

    def metadata(self) -> ProviderMetadata:
        """Return Google's endpoints; nothing is fetched."""
        return self._metadata
