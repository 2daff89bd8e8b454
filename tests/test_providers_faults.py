"""Every provider, at every endpoint that it calls, against a service that misbehaves."""

from __future__ import annotations

import time

import pytest

from derp_auth_lite._http import HTTPClient
from derp_auth_lite.config import GitHubOAuthConfig, GoogleOAuthConfig, OIDCConfig
from derp_auth_lite.exceptions import AuthBackendError
from derp_auth_lite.providers import GitHubProvider, GoogleProvider, OIDCProvider
from derp_auth_lite.providers.openid import ProviderMetadata

from .servers.faults import FAULTS
from .servers.github_stub import GitHubStub
from .servers.loopback import free_port
from .servers.signing_provider import SigningProvider

CLIENT = {
    "client_id": "app",
    "client_secret": "s3cret",
    "redirect_uri": "https://app.example.com/callback",
}
SECONDS = 0.2


def google(url, seconds=SECONDS):
    metadata = ProviderMetadata(
        issuers=(url,),
        authorization_endpoint=f"{url}/authorize",
        token_endpoint=f"{url}/token",
        jwks_uri=f"{url}/keys",
        userinfo_endpoint=f"{url}/userinfo",
    )
    return GoogleProvider(GoogleOAuthConfig(**CLIENT), http=client(seconds), metadata=metadata)


def oidc(url, seconds=SECONDS):
    return OIDCProvider(OIDCConfig(name="oidc", issuer=url, **CLIENT), http=client(seconds))


def client(seconds):
    return HTTPClient(timeout=(seconds, seconds), total_timeout=seconds, retries=1)


def github(url, seconds=SECONDS):
    return GitHubProvider(
        GitHubOAuthConfig(**CLIENT), http=client(seconds), web_url=url, api_url=url
    )


def signing_server():
    server = SigningProvider()
    server.claims = {"email": ...}
    return server


def github_server():
    server = GitHubStub(*CLIENT.values())
    server.open(github(server.url).get_authorization_url("state"))
    return server


PLACES = [
    (oidc, signing_server, "/.well-known/openid-configuration"),
    (oidc, signing_server, "/token"),
    (oidc, signing_server, "/keys"),
    (oidc, signing_server, "/userinfo"),
    (google, signing_server, "/token"),
    (google, signing_server, "/keys"),
    (google, signing_server, "/userinfo"),
    (github, github_server, "/login/oauth/access_token"),
    (github, github_server, "/user"),
    (github, github_server, "/user/emails"),
]
EVERYWHERE = [
    "slow drip of the body",
    "no answer",
    "hang-up",
    "HTML",
    "10 MB",
    "redirect",
    "truncated JSON",
    "a JSON string",
    "nothing",
    "503",
]
NAMES = [f"{make.__name__}{path}" for make, _, path in PLACES]


def code_of(server):
    return next(iter(server._codes)) if isinstance(server, GitHubStub) else "code"


@pytest.mark.parametrize(("make", "serve", "path"), PLACES, ids=NAMES)
def test_the_flow_reaches_this_endpoint(make, serve, path):
    """Without a fault the flow succeeds and has used the endpoint: the tests below fail there."""
    with serve() as server:
        provider = make(server.url, 10)
        assert provider.authenticate(code_of(server)).id
        provider.close()

        assert path in [call.path for call in server.calls]


@pytest.mark.parametrize(
    ("make", "serve", "path", "fault"),
    [
        pytest.param(*place, fault, id=f"{name}: {fault}")
        for place, name in zip(PLACES, NAMES, strict=True)
        for fault in (FAULTS if place in PLACES[:2] + PLACES[-3:-2] else EVERYWHERE)
    ],
)
def test_a_broken_provider_is_a_typed_error_in_time(make, serve, path, fault):
    """Whatever an endpoint sends, the sign-in ends with AuthBackendError within its time."""
    took, sent = sign_in_while_broken(make, serve, path, fault)

    assert took < SECONDS + 1
    assert sent <= 1


def sign_in_while_broken(make, serve, path, fault):
    """Return how many seconds the error took, and how often the code was sent."""
    with serve() as server:
        good = server.answer
        server.answer = lambda call: FAULTS[fault](call) if call.path == path else good(call)
        provider = make(server.url)
        started = time.monotonic()
        with pytest.raises(AuthBackendError):
            provider.authenticate(code_of(server))
        took = time.monotonic() - started
        provider.close()
        paths = server.paths()
        sent = max(paths.count("POST /token"), paths.count("POST /login/oauth/access_token"))
        return took, sent


@pytest.mark.parametrize("make", [oidc, google, github])
def test_a_provider_that_is_not_there_is_a_typed_error(make):
    """A refused connection is AuthBackendError."""
    provider = make(f"http://127.0.0.1:{free_port()}")

    with pytest.raises(AuthBackendError):
        provider.authenticate("code")
