"""Sign-in providers: Google, GitHub, and any OpenID Connect provider."""

from __future__ import annotations

from .base import BaseOAuthProvider, OAuthTokens, OAuthUserInfo
from .github import GitHubProvider
from .google import GoogleProvider
from .oidc import OIDCProvider

__all__ = [
    "BaseOAuthProvider",
    "GitHubProvider",
    "GoogleProvider",
    "OAuthTokens",
    "OAuthUserInfo",
    "OIDCProvider",
]
