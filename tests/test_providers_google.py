from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from derp_auth_lite.config import GoogleOAuthConfig
from derp_auth_lite.exceptions import InvalidCredentialsError
from derp_auth_lite.providers import GoogleProvider
from derp_auth_lite.providers.google import GOOGLE
from derp_auth_lite.providers.openid import ProviderMetadata
from derp_auth_lite.providers.pkce import challenge_s256, new_verifier

from .servers import oidc_provider
from .servers.oidc_provider import CLIENT_SECRET, REDIRECT_URI, sign_in
from .servers.signing_provider import SigningProvider

CONFIG = GoogleOAuthConfig(
    client_id="app-post", client_secret=CLIENT_SECRET, redirect_uri=REDIRECT_URI
)


@pytest.fixture(scope="module")
def provider():
    """Google's flow, at a certified provider that puts addresses into id tokens as Google does."""
    with oidc_provider.run() as servers:
        issuer = servers.talkative
        metadata = ProviderMetadata(
            issuers=(issuer, issuer.removeprefix("http://")),
            authorization_endpoint=f"{issuer}/auth",
            token_endpoint=f"{issuer}/token",
            jwks_uri=f"{issuer}/jwks",
            userinfo_endpoint=f"{issuer}/me",
        )
        yield GoogleProvider(CONFIG, metadata=metadata)


def begin(provider, login):
    verifier = new_verifier()
    challenge = challenge_s256(verifier)
    url = provider.get_authorization_url("state-1", code_challenge=challenge, nonce="nonce-1")
    return sign_in(url, login), verifier


class TestFlow:
    def test_somebody_signs_in(self, provider):
        """The flow ends with the subject, the verified address and the names."""
        back, verifier = begin(provider, "ada")
        info = provider.authenticate(back["code"], code_verifier=verifier, nonce="nonce-1")

        assert (info.provider, info.id) == ("google", "ada")
        assert (info.email, info.email_verified) == ("ada@example.com", True)
        assert (info.first_name, info.last_name) == ("Ada", "Lovelace")

    def test_an_unverified_address_is_not_trusted(self, provider):
        """An address that the provider has not verified is told as such."""
        back, verifier = begin(provider, "squatter")
        info = provider.authenticate(back["code"], code_verifier=verifier, nonce="nonce-1")

        assert (info.email, info.email_verified) == ("victim@example.com", False)

    def test_a_stolen_code_is_worth_nothing(self, provider):
        """Another verifier is refused."""
        back, _ = begin(provider, "ada")

        with pytest.raises(InvalidCredentialsError, match="Signing in with google failed"):
            provider.authenticate(back["code"], code_verifier=new_verifier(), nonce="nonce-1")

    def test_a_wrong_nonce_is_refused(self, provider):
        """An id token of another sign-in is refused."""
        back, verifier = begin(provider, "ada")

        with pytest.raises(InvalidCredentialsError):
            provider.authenticate(back["code"], code_verifier=verifier, nonce="nonce-2")


class TestGoogle:
    def test_the_browser_is_sent_to_google(self):
        """The URL asks for a code, for the least, and for nothing that outlives the sign-in."""
        url = GoogleProvider(CONFIG).get_authorization_url(
            "st", code_challenge="c", nonce="n", hd="example.com"
        )

        assert url.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
        assert dict(parse_qsl(urlsplit(url).query)) == {
            "client_id": "app-post",
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "scope": "openid email profile",
            "state": "st",
            "code_challenge": "c",
            "code_challenge_method": "S256",
            "nonce": "n",
            "hd": "example.com",
        }

    def test_the_endpoints_are_googles(self):
        """Nothing is looked up: the endpoints are those that Google publishes."""
        assert GoogleProvider(CONFIG).metadata() == GOOGLE
        assert GOOGLE.token_endpoint == "https://oauth2.googleapis.com/token"
        assert GOOGLE.jwks_uri == "https://www.googleapis.com/oauth2/v3/certs"
        assert GOOGLE.userinfo_endpoint == "https://openidconnect.googleapis.com/v1/userinfo"

    def test_the_callback_may_name_google(self):
        """Google sends ``iss`` of late, and may leave it out; another one is refused."""
        google = GoogleProvider(CONFIG)
        google.check_issuer(None)
        google.check_issuer("https://accounts.google.com")

        with pytest.raises(InvalidCredentialsError):
            google.check_issuer("https://github.com/login/oauth")

    @pytest.mark.parametrize("form", ["{url}", "{host}"])
    def test_both_forms_of_the_issuer_are_googles(self, form):
        """Google writes its name with and without https."""
        with SigningProvider("app-post") as server:
            host = server.url.removeprefix("http://")
            server.claims = {"iss": form.format(url=server.url, host=host)}
            metadata = ProviderMetadata(
                issuers=(server.url, host),
                authorization_endpoint=f"{server.url}/authorize",
                token_endpoint=f"{server.url}/token",
                jwks_uri=f"{server.url}/keys",
            )
            info = GoogleProvider(CONFIG, metadata=metadata).authenticate("code")

        assert (info.id, info.issuer) == ("subject-1", server.url)
        assert server.paths() == ["POST /token", "GET /keys"]
