"""OAuth clients at providers: their settings, offered by :mod:`.config`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ._settings import Settings

__all__ = ["GitHubOAuthConfig", "GoogleOAuthConfig", "OIDCConfig"]

_TAKEN_PROVIDER_NAMES = frozenset({"email", "magic_link", "google", "github"})


@dataclass(frozen=True, kw_only=True)
class _OAuthClientConfig(Settings):
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str

    def _check(self) -> None:
        self._need_line("client_id", "client_secret", "redirect_uri")


@dataclass(frozen=True, kw_only=True)
class GoogleOAuthConfig(_OAuthClientConfig):
    """An OAuth client at Google."""

    scopes: Sequence[str] = ("openid", "email", "profile")


@dataclass(frozen=True, kw_only=True)
class GitHubOAuthConfig(_OAuthClientConfig):
    """An OAuth application at GitHub."""

    scopes: Sequence[str] = ("user:email",)


@dataclass(frozen=True, kw_only=True)
class OIDCConfig(_OAuthClientConfig):
    """A client at any OpenID Connect provider.

    Args:
        name: What ``sign_in_with_oauth`` calls it; stored with each identity, so it must not
            change. Small letters, digits, ``-`` and ``_``.
        issuer: The provider's URL, to which ``/.well-known/openid-configuration`` is added; https,
            or http on this machine.
        client_auth: How the secret is sent, for a provider that offers more than it takes; by
            default HTTP Basic where the provider offers it.
        ca_bundle: File of the certificates to trust, for a provider with a private authority.
    """

    name: str
    issuer: str
    scopes: Sequence[str] = ("openid", "email", "profile")
    client_auth: Literal["client_secret_basic", "client_secret_post"] | None = None
    ca_bundle: str | None = None

    def _check(self) -> None:
        super()._check()
        well_formed = re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", self.name) is not None
        self._need(well_formed, "name", "must be 1 to 63 small letters, digits, '-' and '_'")
        self._need(self.name not in _TAKEN_PROVIDER_NAMES, "name", "is taken by the library")
        self._need_https("issuer")
        self._need("openid" in self.scopes, "scopes", "must hold openid")
        self._need_line("ca_bundle")
