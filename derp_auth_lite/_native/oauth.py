"""Sign-ins at providers: begun here, and finished with what the browser brings back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._clock import Clock
from .._local.oauth_flows import NOT_GIVEN, Flow, OAuthFlows
from .._request import Caller
from ..config import NativeAuthConfig
from ..exceptions import InvalidCredentialsError
from ..models import OAuthStart
from .refusals import Refusals

if TYPE_CHECKING:
    from ..providers import BaseOAuthProvider, OAuthUserInfo

__all__ = ["Callback", "OAuth", "configured_providers"]


@dataclass(frozen=True, repr=False)
class Callback:
    """What the browser brought back; *state*, *iss* and *binding* may be ``NOT_GIVEN``."""

    provider: str
    code: str
    redirect_uri: str | None
    state: str | None
    iss: str | None
    binding: str | None


class OAuth:
    """Starts sign-ins at providers, and finds out who came back.

    Args:
        providers: By name.
        require_state: Refuse callers who guard the state alone.
    """

    def __init__(
        self,
        providers: Mapping[str, BaseOAuthProvider[Any]],
        flows: OAuthFlows,
        refusals: Refusals,
        *,
        require_state: bool,
    ) -> None:
        self._providers = providers
        self._flows = flows
        self._refusals = refusals
        self._require_state = require_state

    def provider(self, name: str) -> BaseOAuthProvider[Any]:
        """Return a configured provider.

        Raises:
            ValueError: It is not configured.
        """
        found = self._providers.get(name)
        if found is None:
            names = ", ".join(sorted(self._providers)) or "none"
            raise ValueError(f"provider {name!r} is not configured; configured: {names}")
        return found

    def start(
        self,
        provider: BaseOAuthProvider[Any],
        *,
        redirect_uri: str | None,
        scopes: list[str] | None,
        user_id: str | None,
    ) -> OAuthStart:
        """Begin a sign-in, or with *user_id* to link an identity to that user.

        Raises:
            AuthBackendError: The KV store, or the provider's discovery, failed.
        """
        from ..providers.pkce import challenge_s256  # loads all providers

        state, binding = self._flows.begin(
            provider.provider_name, redirect_uri=redirect_uri, user_id=user_id
        )
        url = provider.get_authorization_url(
            state,
            scopes,
            redirect_uri,
            code_challenge=challenge_s256(self._flows.verifier(state)),
            nonce=self._flows.nonce(state),
        )
        return OAuthStart(url=url, state=state, binding=binding)

    def identity(
        self, callback: Callback, caller: Caller, *, user_id: str | None = None
    ) -> OAuthUserInfo:
        """Return who the provider says came back, once the callback is known for ours.

        Args:
            user_id: Who links an identity; ``None`` in a sign-in.

        Raises:
            InvalidCredentialsError: The provider or the state was refused.
            AuthBackendError: The provider or the KV store failed.
            ValueError: The provider is not configured.
        """
        provider = self.provider(callback.provider)
        try:
            return self._authenticated(provider, callback, self._ended_flow(callback, user_id))
        except InvalidCredentialsError:
            self._refusals.record(
                "sign_in" if user_id is None else "identity_link",
                "provider_refused",
                caller,
                user_id=user_id,
                details={"provider": callback.provider},
            )
            raise

    def _ended_flow(self, callback: Callback, user_id: str | None) -> Flow | None:
        """Spend the state; ``None`` for a caller who guards it alone, where that is allowed."""
        if callback.state is NOT_GIVEN and not self._require_state:
            return None
        return self._flows.end(
            callback.state,
            provider=callback.provider,
            binding=callback.binding,
            user_id=user_id,
        )

    def _authenticated(
        self, provider: BaseOAuthProvider[Any], callback: Callback, flow: Flow | None
    ) -> OAuthUserInfo:
        if flow is not None or callback.iss is not NOT_GIVEN:
            provider.check_issuer(None if callback.iss is NOT_GIVEN else callback.iss)
        state = callback.state if flow is not None else None
        return provider.authenticate(
            callback.code,
            callback.redirect_uri or (None if flow is None else flow.redirect_uri),
            code_verifier=state and self._flows.verifier(state),
            nonce=state and self._flows.nonce(state),
        )


def configured_providers(
    config: NativeAuthConfig, clock: Clock
) -> dict[str, BaseOAuthProvider[Any]]:
    """Return the configured providers by name; none of them is asked anything yet."""
    if not (config.oidc or config.google_oauth or config.github_oauth):
        return {}
    # With what they need of HTTP they take a tenth of the time to open a client.
    from ..providers import GitHubProvider, GoogleProvider, OIDCProvider

    made: list[BaseOAuthProvider[Any]] = [OIDCProvider(each, clock=clock) for each in config.oidc]
    if config.google_oauth is not None:
        made.append(GoogleProvider(config.google_oauth, clock=clock))
    if config.github_oauth is not None:
        made.append(GitHubProvider(config.github_oauth))
    return {provider.provider_name: provider for provider in made}
