"""The OpenID Connect code flow, shared by Google and every discovered provider.

Sources: OpenID Connect Core 1.0 (sections 3.1.3 and 5.3), RFC 9700, RFC 9207.
"""

from __future__ import annotations

import abc
import hmac
import logging
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote_plus

from .._clock import Clock, utc_now
from .._http import HTTPClient
from .._jwks import JWKS, require_cryptography, verify_jwt
from ..exceptions import AuthBackendError, InvalidCredentialsError, InvalidTokenError
from .base import (
    BaseOAuthProvider,
    ConfigT,
    OAuthTokens,
    OAuthUserInfo,
    email_address,
    read_tokens,
    refusal,
    refused_with,
    text,
    web_url,
)

__all__ = ["OpenIDProvider", "ProviderMetadata", "choose_client_auth", "provider_http"]

logger = logging.getLogger("derp_auth_lite.providers")

_SAID_NO = frozenset({"invalid_grant", "access_denied"})


@dataclass(frozen=True, kw_only=True)
class ProviderMetadata:
    """Where a provider's endpoints lie, and what it does.

    Args:
        issuers: The values of ``iss`` that are the provider's; the first is its proper name.
        sends_iss: The provider announces ``iss`` in every callback (RFC 9207).
        client_auth: How the client's secret is sent to the token endpoint.
        algorithms: What id tokens may be signed with.
    """

    issuers: tuple[str, ...]
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    sends_iss: bool = False
    client_auth: Literal["client_secret_basic", "client_secret_post"] = "client_secret_post"
    algorithms: tuple[str, ...] = ("RS256",)


class OpenIDProvider(BaseOAuthProvider[ConfigT]):
    """A provider whose id tokens say who signed in; nothing is read from an unverified one.

    Args:
        clock: Tells when an id token has expired, and when keys are fetched again.
        http: Sends the requests; by default each answer must come within 15 seconds.

    Raises:
        ConfigError: The package that verifies signatures is missing (extra ``oidc``).
    """

    def __init__(
        self, config: ConfigT, *, clock: Clock = utc_now, http: HTTPClient | None = None
    ) -> None:
        require_cryptography("oidc")
        super().__init__(config)
        self._clock = clock
        self._http = http or provider_http(self.provider_name)
        self._keys: tuple[ProviderMetadata, JWKS] | None = None

    @abc.abstractmethod
    def metadata(self) -> ProviderMetadata:
        """Return where the provider's endpoints lie.

        Raises:
            AuthBackendError: That cannot be found out.
        """

    def get_authorization_url(
        self,
        state: str,
        scopes: list[str] | None = None,
        redirect_uri: str | None = None,
        *,
        code_challenge: str | None = None,
        nonce: str | None = None,
        **extra: str,
    ) -> str:
        """Return the URL to send the browser to; see :class:`BaseOAuthProvider`.

        Raises:
            AuthBackendError: The provider's endpoints cannot be found out.
        """
        wanted = scopes or list(self._config.scopes)
        params = {
            "response_type": "code",
            "scope": " ".join(wanted if "openid" in wanted else ["openid", *wanted]),
            "state": state,
            "code_challenge": code_challenge,
            "nonce": nonce,
        }
        endpoint = self.metadata().authorization_endpoint
        return self._authorization_url(endpoint, redirect_uri, params, extra)

    def exchange_code(
        self, code: str, redirect_uri: str | None = None, *, code_verifier: str | None = None
    ) -> OAuthTokens:
        """Exchange the code for tokens. The id token among them is **not** verified yet."""
        metadata = self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": self._check_code(code),
            "redirect_uri": self._redirect_uri(redirect_uri),
        }
        if code_verifier is not None:
            form["code_verifier"] = code_verifier
        proof, headers = self._client_proof(metadata)
        return read_tokens(
            self._http.request(
                "POST",
                metadata.token_endpoint,
                form={**form, **proof},
                headers=headers,
                errors=self._token_refusal,
            )
        )

    def get_user_info(self, access_token: str) -> OAuthUserInfo:
        """Ask the userinfo endpoint whose access token this is."""
        return self._user_info(self._profile(access_token))

    def authenticate(
        self,
        code: str,
        redirect_uri: str | None = None,
        *,
        code_verifier: str | None = None,
        nonce: str | None = None,
    ) -> OAuthUserInfo:
        """Exchange the code, verify the id token, and return who signed in.

        The userinfo endpoint is asked only where the id token holds no address; its answer must be
        about the same subject (OpenID Connect Core, 5.3.2).
        """
        tokens = self.exchange_code(code, redirect_uri, code_verifier=code_verifier)
        claims = self._verified_claims(tokens, nonce)
        if "email" not in claims and self.metadata().userinfo_endpoint is not None:
            profile = self._profile(tokens.access_token)
            if profile["sub"] != claims["sub"]:
                raise self._distrust("userinfo is about somebody else")
            # Whether an address is verified is said beside the address, or not at all.
            claims.pop("email_verified", None)
            claims = {**profile, **claims}
        return self._user_info(claims)

    def check_issuer(self, iss: str | None) -> None:
        """Hold the ``iss`` of a callback against the provider (RFC 9207, section 2.4)."""
        metadata = self.metadata()
        if iss not in metadata.issuers if iss is not None else metadata.sends_iss:
            raise self._distrust("the callback's iss is missing or names another provider")

    def close(self) -> None:
        """Close kept connections; the next call opens new ones."""
        self._http.close()

    def _client_proof(self, metadata: ProviderMetadata) -> tuple[dict[str, str], dict[str, str]]:
        """Return form fields and headers that prove who the client is (RFC 6749, 2.3.1)."""
        client_id, secret = self._config.client_id, self._config.client_secret
        if metadata.client_auth == "client_secret_post":
            return {"client_id": client_id, "client_secret": secret}, {}
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
        return {}, {"Authorization": f"Basic {b64encode(pair).decode()}"}

    def _token_refusal(
        self, status: int, body: Mapping[str, Any], _headers: Mapping[str, str]
    ) -> Exception:
        """Tell a refused code from a broken or wrongly configured provider (RFC 6749, 5.2)."""
        error = refused_with(body)
        logger.warning("%s: the code was not taken: %s (%d)", self.provider_name, error, status)
        if status < 500 and error in _SAID_NO:
            return refusal(self.provider_name)
        return AuthBackendError(
            f"{self.provider_name} did not take the request for tokens: {error} ({status})"
        )

    def _profile(self, access_token: str) -> dict[str, Any]:
        """Return the claims of the userinfo endpoint."""
        endpoint = self.metadata().userinfo_endpoint
        if endpoint is None:
            raise AuthBackendError(f"{self.provider_name} has no userinfo endpoint")
        token = self._check_access_token(access_token)
        profile = self._http.request(
            "GET",
            endpoint,
            headers={"Authorization": f"Bearer {token}"},
            errors=self._userinfo_refusal,
        ).json_object()
        if not text(profile.get("sub")):
            raise AuthBackendError(f"{self.provider_name} did not say whose account it is")
        return profile

    def _userinfo_refusal(
        self, status: int, _body: Mapping[str, Any], _headers: Mapping[str, str]
    ) -> Exception | None:
        return refusal(self.provider_name) if status in (401, 403) else None

    def _verified_claims(self, tokens: OAuthTokens, nonce: str | None) -> dict[str, Any]:
        """Return the id token's claims after every check of OpenID Connect Core, 3.1.3.7."""
        if tokens.id_token is None:
            raise AuthBackendError(f"{self.provider_name} answered without an id token")
        metadata = self.metadata()
        try:
            claims = verify_jwt(
                tokens.id_token,
                keys=self._jwks(metadata),
                issuers=metadata.issuers,
                audience=self._config.client_id,
                clock=self._clock,
                algorithms=metadata.algorithms,
                required=("sub", "exp", "iat"),
                name=self.provider_name,
            )
        except InvalidTokenError as error:
            raise refusal(self.provider_name) from error
        self._check_parties(claims, nonce)
        return claims

    def _check_parties(self, claims: Mapping[str, Any], nonce: str | None) -> None:
        """Check that the token was made for this client and for this sign-in."""
        many = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if many else self._config.client_id) != self._config.client_id:
            raise self._distrust("the id token was issued to another client")
        if nonce is None:
            return
        said = claims.get("nonce")
        if not nonce or not isinstance(said, str):
            raise self._distrust("the id token has no nonce")
        if not hmac.compare_digest(said.encode(), nonce.encode()):
            raise self._distrust("the id token belongs to another sign-in")

    def _jwks(self, metadata: ProviderMetadata) -> JWKS:
        """Return the keys; made anew only where the provider's metadata has changed."""
        if self._keys is None or self._keys[0] != metadata:
            jwks = JWKS(
                metadata.jwks_uri,
                self._http,
                clock=self._clock,
                algorithms=metadata.algorithms,
            )
            self._keys = (metadata, jwks)
        return self._keys[1]

    def _distrust(self, why: str) -> InvalidCredentialsError:
        logger.warning("%s: refused: %s", self.provider_name, why)
        return refusal(self.provider_name)

    def _user_info(self, claims: dict[str, Any]) -> OAuthUserInfo:
        """Make the record from verified claims, or from an answer of the provider itself."""
        subject = text(claims.get("sub"))
        if subject is None:
            raise AuthBackendError(f"{self.provider_name} did not say whose account it is")
        email = email_address(claims.get("email"))
        said_verified = claims.get("email_verified")
        return OAuthUserInfo(
            id=subject,
            email=email,
            email_verified=email is not None and (said_verified is True or said_verified == "true"),
            name=text(claims.get("name")),
            picture=web_url(claims.get("picture")),
            raw_data=claims,
            provider=self.provider_name,
            issuer=self.metadata().issuers[0],
            first_name=text(claims.get("given_name")),
            last_name=text(claims.get("family_name")),
        )


def provider_http(name: str, ca_bundle: str | None = None) -> HTTPClient:
    """Return what sends requests to a provider; each answer must come within 15 seconds."""
    return HTTPClient(name=name, total_timeout=15.0, retries=1, ca_bundle=ca_bundle)


def choose_client_auth(
    offered: Collection[str],
) -> Literal["client_secret_basic", "client_secret_post"] | None:
    """Choose how to send the secret; HTTP Basic first, as OpenID Connect Core, 9, has it."""
    if "client_secret_basic" in offered:
        return "client_secret_basic"
    return "client_secret_post" if "client_secret_post" in offered else None
