"""What every sign-in provider does, whatever its protocol."""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .._http import HTTPResult, require_https
from ..exceptions import AuthBackendError, InvalidCredentialsError

__all__ = ["BaseOAuthProvider", "ClientConfig", "OAuthTokens", "OAuthUserInfo"]

_VISIBLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_CODE = 4096


@dataclass(frozen=True)
class OAuthUserInfo:
    """Who signed in at a provider.

    The identity is the pair of provider and ``id``; the address is an attribute that may change
    hands (OpenID Connect Core, 5.7). ``email_verified`` is true only where the provider said so in
    as many words; without a trusted address ``email`` is ``None`` or unverified.
    """

    id: str
    email: str | None = None
    email_verified: bool = False
    name: str | None = None
    picture: str | None = None
    raw_data: dict[str, Any] | None = field(default=None, repr=False)
    provider: str = field(default="", kw_only=True)
    issuer: str | None = field(default=None, kw_only=True)
    first_name: str | None = field(default=None, kw_only=True)
    last_name: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class OAuthTokens:
    """What a provider gave for a code. The library stores none of it; ``repr`` shows none of it.

    ``expires_in`` is in seconds.
    """

    access_token: str = field(repr=False)
    token_type: str = "bearer"
    refresh_token: str | None = field(default=None, repr=False)
    expires_in: int | None = None
    scope: str | None = None
    id_token: str | None = field(default=None, repr=False)


class ClientConfig(Protocol):
    """What the configuration of every provider holds."""

    @property
    def client_id(self) -> str:
        """The id that the provider gave this application."""

    @property
    def client_secret(self) -> str:
        """The secret that goes with it."""

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends the browser back to."""

    @property
    def scopes(self) -> Sequence[str]:
        """What is asked for."""


ConfigT = TypeVar("ConfigT", bound=ClientConfig)


class BaseOAuthProvider(abc.ABC, Generic[ConfigT]):
    """Signs people in at a provider with the authorization code flow (RFC 6749, 9700).

    Methods raise InvalidCredentialsError where the provider said no, and AuthBackendError where it
    is broken, silent or wrongly configured. They never return ``None``.
    """

    provider_name: str
    issuer: str | None = None
    """What the provider calls itself in ``iss``, where that is known."""

    def __init__(self, config: ConfigT) -> None:
        self._config = config

    @abc.abstractmethod
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
        """Return the URL to send the browser to.

        Args:
            state: Comes back with the code; one-time, and bound to the browser.
            scopes: Instead of the configured ones.
            redirect_uri: Instead of the configured one.
            code_challenge: From :func:`~.pkce.challenge_s256`.
            nonce: Comes back in the id token (OpenID Connect only).
            extra: Further parameters of the provider, such as ``login_hint``.

        Raises:
            ConfigError: The redirect URI is neither https nor on this machine.
            ValueError: *state* is empty, or *extra* would replace a parameter of the flow.
        """

    @abc.abstractmethod
    def exchange_code(
        self, code: str, redirect_uri: str | None = None, *, code_verifier: str | None = None
    ) -> OAuthTokens:
        """Exchange the code of a callback for tokens; sent once, never repeated.

        Args:
            code: From the callback.
            redirect_uri: The one that the authorization URL was made with.
            code_verifier: The secret behind the ``code_challenge``.

        Raises:
            InvalidCredentialsError: The provider does not take the code.
            AuthBackendError: The provider is broken or wrongly configured.
        """

    @abc.abstractmethod
    def get_user_info(self, access_token: str) -> OAuthUserInfo:
        """Ask the provider whose access token this is.

        Raises:
            InvalidCredentialsError: The provider does not take the token.
            AuthBackendError: The provider is broken.
        """

    def authenticate(
        self,
        code: str,
        redirect_uri: str | None = None,
        *,
        code_verifier: str | None = None,
        nonce: str | None = None,  # noqa: ARG002  (means something to OpenID Connect only)
    ) -> OAuthUserInfo:
        """Exchange the code and return who signed in.

        Args:
            nonce: What the id token must repeat; providers without id tokens ignore it.

        Raises:
            InvalidCredentialsError: The provider said no, or its id token is not to be trusted.
            AuthBackendError: The provider is broken or wrongly configured.
        """
        tokens = self.exchange_code(code, redirect_uri, code_verifier=code_verifier)
        return self.get_user_info(tokens.access_token)

    def check_issuer(self, iss: str | None) -> None:
        """Hold the ``iss`` of a callback against the provider, before the code is used.

        It stops a callback of one provider from being taken for another's (RFC 9207, section 2.4).
        A provider whose ``issuer`` is not known cannot be checked.

        Raises:
            InvalidCredentialsError: *iss* names another provider, or is missing where the provider
                announces it.
        """
        if iss is not None and self.issuer is not None and iss != self.issuer:
            raise refusal(self.provider_name)

    def close(self) -> None:
        """Close kept connections. The provider works on; it opens new ones."""

    def _authorization_url(
        self,
        endpoint: str,
        redirect_uri: str | None,
        params: Mapping[str, str | None],
        extra: Mapping[str, str],
    ) -> str:
        """Add the parameters that are there to the query of *endpoint*."""
        if not params.get("state"):
            raise ValueError("state must not be empty")
        own = {
            "client_id": self._config.client_id,
            "redirect_uri": self._redirect_uri(redirect_uri),
            **{name: value for name, value in params.items() if value is not None},
        }
        if params.get("code_challenge"):
            own["code_challenge_method"] = "S256"
        taken = {*own, *params, "code_challenge_method", "response_mode", "request"} & {*extra}
        if taken:
            raise ValueError(f"{min(taken)} is set by the flow itself")
        parts = urlsplit(endpoint)
        query = [*parse_qsl(parts.query, keep_blank_values=True), *own.items(), *extra.items()]
        return urlunsplit(parts._replace(query=urlencode(query)))

    def _redirect_uri(self, redirect_uri: str | None) -> str:
        return require_https(redirect_uri or self._config.redirect_uri, "redirect_uri")

    def _check_code(self, code: str) -> str:
        """Refuse what cannot be a code (RFC 6749, A.11) without asking the provider."""
        if not code or len(code) > _MAX_CODE or _CONTROL.search(code):
            raise refusal(self.provider_name)
        return code

    def _check_access_token(self, access_token: str) -> str:
        if not _VISIBLE.fullmatch(access_token):
            raise refusal(self.provider_name)
        return access_token


def refusal(provider: str) -> InvalidCredentialsError:
    """Return the error for a provider's no; whatever the reason, the caller sees this."""
    return InvalidCredentialsError(f"Signing in with {provider} failed")


def refused_with(body: Mapping[str, Any]) -> str:
    """Return the ``error`` word of a refusal, fit for a log and for comparing."""
    return re.sub(r"\W", "?", str(body.get("error", "no reason given")), flags=re.ASCII)[:64]


def read_tokens(result: HTTPResult) -> OAuthTokens:
    """Read a token endpoint's success (RFC 6749, section 5.1).

    Raises:
        AuthBackendError: It holds no bearer token that could be sent.
    """
    data = result.json_object()
    access_token, kind = data.get("access_token"), data.get("token_type", "bearer")
    if not isinstance(access_token, str) or not _VISIBLE.fullmatch(access_token):
        raise AuthBackendError(f"{result.name} answered without an access token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise AuthBackendError(f"{result.name} answered with an access token of another kind")
    lifetime = data.get("expires_in")
    return OAuthTokens(
        access_token=access_token,
        token_type=kind.lower(),
        refresh_token=_string(data.get("refresh_token")),
        expires_in=lifetime if type(lifetime) is int else None,
        scope=_string(data.get("scope")),
        id_token=_string(data.get("id_token")),
    )


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def text(value: Any, limit: int = 255) -> str | None:
    """Return a claim that is one line of text of a sensible length, else ``None``."""
    if not isinstance(value, str) or _CONTROL.search(value):
        return None
    value = value.strip()
    return value if 0 < len(value) <= limit else None


def web_url(value: Any) -> str | None:
    """Return a claim that is an http or https URL, else ``None``."""
    url = text(value, 2048)
    return url if url and url.lower().startswith(("https://", "http://")) else None


def email_address(value: Any) -> str | None:
    """Return a claim that could be an address, else ``None``. The client checks and normalises."""
    address = text(value, 320)
    return address if address and "@" in address else None
