"""GitHub, an OAuth provider without id tokens."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .._http import HTTPClient
from ..config import GitHubOAuthConfig
from ..exceptions import AuthBackendError
from .base import (
    BaseOAuthProvider,
    OAuthTokens,
    OAuthUserInfo,
    email_address,
    read_tokens,
    refusal,
    refused_with,
    text,
    web_url,
)

__all__ = ["GitHubProvider"]

logger = logging.getLogger("derp_auth_lite.providers")

_SAID_NO = frozenset(
    {"bad_verification_code", "redirect_uri_mismatch", "unverified_user_email", "access_denied"}
)
_NO_MAILBOX = "@users.noreply.github.com"


class GitHubProvider(BaseOAuthProvider[GitHubOAuthConfig]):
    """Sign-in with a GitHub account.

    The address is the primary one if GitHub has verified it, else another verified one, else none:
    the address in a profile is what its owner typed. The identity is the account's number.

    Args:
        http: Sends the requests; by default each answer must come within 15 seconds.
        web_url: Where people sign in; another one for GitHub Enterprise Server.
        api_url: Where the API is.
    """

    provider_name = "github"

    def __init__(
        self,
        config: GitHubOAuthConfig,
        *,
        http: HTTPClient | None = None,
        web_url: str = "https://github.com",
        api_url: str = "https://api.github.com",
    ) -> None:
        super().__init__(config)
        self.issuer = f"{web_url}/login/oauth"
        self._web_url = web_url
        self._api_url = api_url
        self._http = http or HTTPClient(name=self.provider_name, total_timeout=15.0, retries=1)

    def get_authorization_url(
        self,
        state: str,
        scopes: list[str] | None = None,
        redirect_uri: str | None = None,
        *,
        code_challenge: str | None = None,
        nonce: str | None = None,  # noqa: ARG002  (GitHub has no id tokens)
        **extra: str,
    ) -> str:
        """Return the URL to send the browser to; see :class:`BaseOAuthProvider`."""
        params = {
            "response_type": "code",
            "scope": " ".join(scopes or self._config.scopes),
            "state": state,
            "code_challenge": code_challenge,
        }
        endpoint = f"{self._web_url}/login/oauth/authorize"
        return self._authorization_url(endpoint, redirect_uri, params, extra)

    def exchange_code(
        self, code: str, redirect_uri: str | None = None, *, code_verifier: str | None = None
    ) -> OAuthTokens:
        """Exchange the code for an access token. GitHub says no with status 200."""
        form = {
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret,
            "code": self._check_code(code),
            "redirect_uri": self._redirect_uri(redirect_uri),
        }
        if code_verifier is not None:
            form["code_verifier"] = code_verifier
        result = self._http.request(
            "POST",
            f"{self._web_url}/login/oauth/access_token",
            form=form,
            errors=lambda status, body, _: self._refusal(status, body) if body else None,
        )
        if "error" in result.json_object():
            raise self._refusal(result.status, result.json_object())
        return read_tokens(result)

    def get_user_info(self, access_token: str) -> OAuthUserInfo:
        """Ask GitHub for the profile and, always, for the verified addresses."""
        token = self._check_access_token(access_token)
        profile = self._api(token, "/user").json_object()
        number = profile.get("id")
        if type(number) is not int or number <= 0:
            raise AuthBackendError("github did not say whose account it is")
        email = self._verified_email(token)
        return OAuthUserInfo(
            id=str(number),
            email=email,
            email_verified=email is not None,
            name=text(profile.get("name")) or text(profile.get("login")),
            picture=web_url(profile.get("avatar_url")),
            raw_data=profile,
            provider=self.provider_name,
            issuer=self.issuer,
        )

    def close(self) -> None:
        """Close kept connections; the next call opens new ones."""
        self._http.close()

    def _verified_email(self, token: str) -> str | None:
        """Return the best address that GitHub has verified, ``None`` if it shows none."""
        try:
            entries = self._api(token, "/user/emails?per_page=100").data
        except _NotGrantedError:
            logger.info("github: the addresses are not shown: the scope user:email is missing")
            return None
        if not isinstance(entries, list):
            raise AuthBackendError("github did not answer with a list of addresses")
        verified = [
            (entry.get("primary") is not True, address.lower().endswith(_NO_MAILBOX), address)
            for entry in entries
            if isinstance(entry, dict)
            and entry.get("verified") is True
            and (address := email_address(entry.get("email")))
        ]
        return min(verified, key=lambda known: known[:2])[2] if verified else None

    def _api(self, token: str, path: str) -> Any:
        return self._http.request(
            "GET",
            self._api_url + path,
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
            errors=self._api_refusal,
        )

    def _api_refusal(
        self, status: int, _body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Exception | None:
        limited = headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in headers
        if status == 401:
            return refusal(self.provider_name)
        if status in (403, 404) and not limited:
            return _NotGrantedError("github does not let the token read this")
        return None

    def _refusal(self, status: int, body: Mapping[str, Any]) -> Exception:
        """Tell a refused code from a wrong configuration."""
        error = refused_with(body)
        logger.warning("github: the code was not taken: %s (%d)", error, status)
        if error in _SAID_NO:
            return refusal(self.provider_name)
        return AuthBackendError(f"github did not take the request for a token: {error} ({status})")


class _NotGrantedError(AuthBackendError):
    """The token may not read this; where that matters it is a failure of the configuration."""
