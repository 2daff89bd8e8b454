"""Any OpenID Connect provider, found through its discovery document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from .._clock import Clock, utc_now
from .._http import HTTPClient, Remembered, require_https
from .._jwks import ASYMMETRIC_ALGORITHMS
from ..config import OIDCConfig
from ..exceptions import AuthBackendError, ConfigError
from .openid import OpenIDProvider, ProviderMetadata, choose_client_auth, provider_http

__all__ = ["OIDCProvider"]

_DISCOVERY_LIFETIME = timedelta(hours=1)


class OIDCProvider(OpenIDProvider[OIDCConfig]):
    """Sign-in at Keycloak, Microsoft, GitLab, Okta, or a provider of one's own.

    Everything is learned from ``{issuer}/.well-known/openid-configuration``, which is fetched with
    the first use and then once an hour. The document must name exactly the configured issuer
    (OpenID Connect Discovery, 4.3), and its endpoints must be https; plain http is taken only where
    the issuer itself is plain http on this machine. An identity is stored under the configured
    ``name`` and the subject.

    Raises:
        ConfigError: The issuer is no https URL, ``ca_bundle`` no file, or the package that
            verifies signatures is missing (extra ``oidc``).
    """

    def __init__(
        self, config: OIDCConfig, *, clock: Clock = utc_now, http: HTTPClient | None = None
    ) -> None:
        self.provider_name = config.name
        self.issuer = require_https(config.issuer, "OIDCConfig.issuer")
        if http is None and config.ca_bundle is not None:
            if not Path(config.ca_bundle).is_file():
                raise ConfigError("OIDCConfig.ca_bundle names no file")
            http = provider_http(config.name, config.ca_bundle)
        super().__init__(config, clock=clock, http=http)
        self._discovered = Remembered(self._discover, clock=clock, lifetime=_DISCOVERY_LIFETIME)

    def metadata(self) -> ProviderMetadata:
        """Return what the discovery document says.

        Raises:
            AuthBackendError: It cannot be fetched, is about another issuer, or asks for what this
                library does not do.
        """
        return self._discovered.get()

    def _discover(self) -> ProviderMetadata:
        url = self._config.issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = self._http.request("GET", url).json_object()
        if document.get("issuer") != self._config.issuer:
            raise self._broken("names another issuer than the configured one")
        offered = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        client_auth = self._config.client_auth or choose_client_auth(
            offered if isinstance(offered, list) else []
        )
        signed = document.get("id_token_signing_alg_values_supported") or ["RS256"]
        listed = signed if isinstance(signed, list) else []
        algorithms = tuple(alg for alg in ASYMMETRIC_ALGORITHMS if alg in listed)
        if client_auth is None or not algorithms:
            raise self._broken("asks for a client authentication or signature not known here")
        return ProviderMetadata(
            issuers=(self._config.issuer,),
            authorization_endpoint=self._endpoint(document, "authorization_endpoint"),
            token_endpoint=self._endpoint(document, "token_endpoint"),
            jwks_uri=self._endpoint(document, "jwks_uri"),
            userinfo_endpoint=(
                self._endpoint(document, "userinfo_endpoint")
                if "userinfo_endpoint" in document
                else None
            ),
            sends_iss=document.get("authorization_response_iss_parameter_supported") is True,
            client_auth=client_auth,
            algorithms=algorithms,
        )

    def _endpoint(self, document: Mapping[str, Any], name: str) -> str:
        url = document.get(name)
        if not isinstance(url, str):
            raise self._broken(f"has no {name}")
        if self._config.issuer.startswith("https:") and not url.startswith("https:"):
            raise self._broken(f"has a {name} that is not https")
        try:
            return require_https(url, name)
        except ConfigError as error:
            raise self._broken(f"has a {name} that cannot be used") from error

    def _broken(self, what: str) -> AuthBackendError:
        return AuthBackendError(f"The discovery document of {self.provider_name} {what}")
