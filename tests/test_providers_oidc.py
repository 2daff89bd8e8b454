from __future__ import annotations

import ssl
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
import trustme

from derp_auth_lite._http import HTTPClient
from derp_auth_lite.config import OIDCConfig
from derp_auth_lite.exceptions import (
    AuthBackendError,
    ConfigError,
    InvalidCredentialsError,
)
from derp_auth_lite.providers import OIDCProvider
from derp_auth_lite.providers.pkce import challenge_s256, new_verifier

from .servers import oidc_provider
from .servers.loopback import LoopbackServer, Reply, json_reply
from .servers.oidc_provider import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, sign_in
from .servers.signing_provider import SigningProvider
from .support import MovableClock


@pytest.fixture(scope="module")
def servers():
    with oidc_provider.run() as servers:
        yield servers


@pytest.fixture(params=["standard", "talkative"])
def issuer(servers, request):
    """The certified provider, with the address in userinfo, then with it in the id token."""
    return getattr(servers, request.param)


def make(issuer, **settings):
    settings = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uri": REDIRECT_URI,
        **settings,
    }
    return OIDCProvider(OIDCConfig(name="corp", issuer=issuer, **settings))


@pytest.fixture
def provider(issuer):
    provider = make(issuer)
    yield provider
    provider.close()


def begin(provider, login, **changes):
    """Go to the provider and come back; return the callback and what belongs to it."""
    verifier = new_verifier()
    flow = {"code_challenge": challenge_s256(verifier), "nonce": "nonce-1", **changes}
    back = sign_in(provider.get_authorization_url("state-1", **flow), login)
    return back, verifier


class TestCertifiedProvider:
    """Against npm's oidc-provider, which is certified and demands PKCE."""

    def test_somebody_signs_in(self, provider, issuer):
        """The whole flow ends with who it was, at either kind of provider."""
        back, verifier = begin(provider, "ada")
        provider.check_issuer(back["iss"])
        info = provider.authenticate(back["code"], code_verifier=verifier, nonce="nonce-1")

        assert back["state"] == "state-1"
        assert (info.provider, info.issuer, info.id) == ("corp", issuer, "ada")
        assert (info.email, info.email_verified) == ("ada@example.com", True)
        assert (info.first_name, info.last_name) == ("Ada", "Lovelace")
        assert (info.name, info.picture) == ("Ada Lovelace", "https://img.example.com/ada.png")

    @pytest.mark.parametrize(
        ("login", "email", "verified"),
        [
            ("squatter", "victim@example.com", False),
            ("silent", "silent@example.com", False),
            ("stringly", "stringly@example.com", True),
            ("nomail", None, False),
        ],
    )
    def test_an_address_is_verified_only_where_it_is_said(self, provider, login, email, verified):
        """True and "true" are a yes, anything else is a no."""
        back, verifier = begin(provider, login)
        info = provider.authenticate(back["code"], code_verifier=verifier)

        assert (info.id, info.email, info.email_verified) == (login, email, verified)

    def test_without_the_scope_there_is_no_address(self, provider):
        """Who asks for less gets less; the identity is there all the same."""
        back, verifier = begin(provider, "ada", scopes=["openid"])
        info = provider.authenticate(back["code"], code_verifier=verifier)

        assert (info.id, info.email, info.name) == ("ada", None, None)

    def test_openid_is_always_asked_for(self, provider):
        """Without that scope there would be no id token."""
        url = provider.get_authorization_url("s", ["email"])

        assert dict(parse_qsl(urlsplit(url).query))["scope"] == "openid email"

    def test_the_tokens_are_there_for_who_asks(self, provider):
        """The code can be exchanged alone, and the access token be asked about."""
        back, verifier = begin(provider, "ada")
        tokens = provider.exchange_code(back["code"], code_verifier=verifier)

        assert tokens.id_token
        assert tokens.expires_in
        assert provider.get_user_info(tokens.access_token).email == "ada@example.com"

    @pytest.mark.parametrize("verifier", [None, new_verifier()], ids=["none", "another"])
    def test_a_stolen_code_is_worth_nothing(self, provider, verifier):
        """Without the verifier of the one who began, the code is refused."""
        back, _ = begin(provider, "ada")

        with pytest.raises(InvalidCredentialsError, match="Signing in with corp failed"):
            provider.authenticate(back["code"], code_verifier=verifier, nonce="nonce-1")

    @pytest.mark.parametrize("nonce", ["nonce-2", "", "nönce"])
    def test_a_wrong_nonce_is_refused(self, provider, nonce):
        """An id token of another sign-in is refused."""
        back, verifier = begin(provider, "ada")

        with pytest.raises(InvalidCredentialsError):
            provider.authenticate(back["code"], code_verifier=verifier, nonce=nonce)

    def test_a_code_works_once(self, provider):
        """A code that was used is refused."""
        back, verifier = begin(provider, "ada")
        provider.authenticate(back["code"], code_verifier=verifier)

        with pytest.raises(InvalidCredentialsError):
            provider.authenticate(back["code"], code_verifier=verifier)

    @pytest.mark.parametrize("code", ["", "unknown", "a b&c=d", "é", "x" * 5000])
    def test_an_unknown_code_is_refused(self, provider, code):
        """What the provider never gave out is refused."""
        with pytest.raises(InvalidCredentialsError):
            provider.authenticate(code, code_verifier=new_verifier())

    def test_another_redirect_uri_is_refused(self, provider):
        """The code belongs to the redirect URI that it was sent to."""
        back, verifier = begin(provider, "ada")

        with pytest.raises(InvalidCredentialsError):
            provider.authenticate(
                back["code"], "http://127.0.0.1:10/callback", code_verifier=verifier
            )

    def test_an_unknown_access_token_is_refused(self, provider):
        """Userinfo of a made-up token is a no."""
        with pytest.raises(InvalidCredentialsError):
            provider.get_user_info("made-up")

    @pytest.mark.parametrize("wrong", [{"client_secret": "wrong"}, {"client_id": "nobody"}])
    def test_a_wrong_client_is_a_fault_of_the_configuration(self, issuer, wrong):
        """The visitor did nothing wrong: the provider cannot be used like this."""
        back, verifier = begin(make(issuer), "ada")

        with pytest.raises(AuthBackendError, match="invalid_client"):
            make(issuer, **wrong).authenticate(back["code"], code_verifier=verifier)

    def test_the_issuer_of_a_callback_is_demanded(self, provider, servers, issuer):
        """The provider announces ``iss``: a missing or a foreign one is refused (RFC 9207)."""
        other = {servers.standard, servers.talkative} - {issuer}
        for wrong in (None, "", issuer + "/", *other):
            with pytest.raises(InvalidCredentialsError):
                provider.check_issuer(wrong)


@pytest.fixture
def lying():
    with SigningProvider() as server:
        yield server


def discovered(server, clock=None, **settings):
    settings = {
        "client_id": "app",
        "client_secret": "secret",
        "redirect_uri": REDIRECT_URI,
        "issuer": server.url,
        **settings,
    }
    http = HTTPClient(timeout=(0.5, 0.5), total_timeout=1, retries=0)
    return OIDCProvider(OIDCConfig(name="corp", **settings), clock=clock or server.clock, http=http)


class TestDiscovery:
    def test_the_document_is_fetched_once_an_hour(self, lying):
        """Endpoints are remembered."""
        clock = MovableClock()
        provider = discovered(lying, clock)
        for _ in range(5):
            provider.get_authorization_url("s")
        assert lying.paths() == ["GET /.well-known/openid-configuration"]

        clock.advance(hours=1)
        provider.get_authorization_url("s")
        assert len(lying.calls) == 2

    def test_nothing_is_fetched_before_it_is_needed(self, lying):
        """A provider that is down does not keep the application from starting."""
        discovered(lying)

        assert lying.calls == []

    def test_known_endpoints_outlive_a_failure_of_the_provider(self, lying):
        """A document that cannot be renewed serves on, for a day at most."""
        clock = MovableClock()
        provider = discovered(lying, clock)
        url = provider.get_authorization_url("s")
        lying.answer = lambda _: Reply(500)
        clock.advance(hours=2)
        assert provider.get_authorization_url("s") == url

        clock.advance(days=1)
        with pytest.raises(AuthBackendError):
            provider.get_authorization_url("s")

    @pytest.mark.parametrize(
        "issuer", ["https://evil.example", "{url}/", "HTTP://{host}", None, ["{url}"], ...]
    )
    def test_the_document_names_exactly_the_configured_issuer(self, lying, issuer):
        """A document about another issuer, were it by a slash, is refused."""
        if isinstance(issuer, str):
            issuer = issuer.format(url=lying.url, host=lying.url.removeprefix("http://"))
        lying.discovery = {"issuer": issuer}

        with pytest.raises(AuthBackendError, match="another issuer"):
            discovered(lying).metadata()

    def test_a_trailing_slash_of_the_issuer_is_kept(self):
        """An issuer that is configured with a slash is found, and named with the slash."""

        def answer(call):
            assert call.path == "/.well-known/openid-configuration"
            paths = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            return json_reply(
                {"issuer": server.url + "/", **{p: f"{server.url}/{p}" for p in paths}}
            )

        with LoopbackServer(answer) as server:
            provider = make(server.url + "/")
            metadata = provider.metadata()

        assert metadata.issuers == (server.url + "/",)
        assert metadata.userinfo_endpoint is None
        assert metadata.client_auth == "client_secret_basic"
        assert metadata.algorithms == ("RS256",)
        provider.check_issuer(None)

    @pytest.mark.parametrize(
        "name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"]
    )
    @pytest.mark.parametrize(
        "value", ["http://id.example.com/x", "ftp://127.0.0.1/", "/token", "", None, 7, ["a"]]
    )
    def test_an_endpoint_is_https_or_on_this_machine(self, lying, name, value):
        """Secrets are sent nowhere else."""
        lying.discovery = {name: value}

        with pytest.raises(AuthBackendError, match=name):
            discovered(lying).metadata()

    @pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
    def test_a_missing_endpoint_is_a_backend_error(self, lying, name):
        """A document that is not complete is named."""
        lying.discovery = {name: ...}

        with pytest.raises(AuthBackendError, match=f"corp has no {name}"):
            discovered(lying).metadata()

    def test_an_https_issuer_has_https_endpoints(self, lying):
        """Plain http is for an issuer on this machine only."""
        provider = discovered(lying, issuer="https://id.example.com")

        with pytest.raises(AuthBackendError, match="not https"):
            provider._endpoint({"jwks_uri": "http://127.0.0.1/keys"}, "jwks_uri")

    @pytest.mark.parametrize(
        "document",
        [
            {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
            {"token_endpoint_auth_methods_supported": "client_secret_basic"},
            {"id_token_signing_alg_values_supported": ["HS256", "none"]},
            {"id_token_signing_alg_values_supported": [["RS256"]]},
            {"id_token_signing_alg_values_supported": 7},
        ],
    )
    def test_what_is_not_done_here_is_a_backend_error(self, lying, document):
        """A provider that asks for more than this library does is named."""
        lying.discovery = document

        with pytest.raises(AuthBackendError, match="not known here"):
            discovered(lying).metadata()

    def test_the_secret_is_sent_as_the_provider_wants_it(self, lying):
        """In a header where the provider takes that, else in the form."""
        discovered(lying, client_id="app").authenticate("code")
        lying.discovery = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
        discovered(lying).authenticate("code")

        basic, post = (call for call in lying.calls if call.path == "/token")
        assert basic.headers["authorization"] == "Basic YXBwOnNlY3JldA=="
        assert "client_secret" not in basic.form
        assert "authorization" not in post.headers
        assert (post.form["client_id"], post.form["client_secret"]) == ("app", "secret")

    def test_the_configuration_has_the_last_word_on_how_the_secret_is_sent(self, lying):
        """Some providers offer HTTP Basic and do not take it."""
        discovered(lying, client_id="app", client_auth="client_secret_post").authenticate("code")

        (call,) = (call for call in lying.calls if call.path == "/token")
        assert "authorization" not in call.headers
        assert call.form["client_secret"] == "secret"

    def test_a_private_authority_is_trusted_where_it_is_named(self, tmp_path):
        """A provider inside a company has a certificate that the system does not know."""
        authority, bundle = trustme.CA(), tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(bundle)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server = SigningProvider()
        server.speak_tls(context)
        with server:
            provider = make(server.url, client_id="app", ca_bundle=str(bundle))
            assert provider.authenticate("code").id == "subject-1"
            provider.close()
            with pytest.raises(AuthBackendError, match="could not be reached"):
                make(server.url).metadata()

    def test_an_authority_that_is_not_there_is_a_mistake_of_the_configuration(self, tmp_path):
        """Nobody waits for the first sign-in to learn of it."""
        with pytest.raises(ConfigError, match="ca_bundle names no file"):
            make("https://id.example.com", ca_bundle=str(tmp_path / "none.pem"))

    def test_rotated_keys_are_followed(self, lying):
        """Keys that move to another address are fetched there."""
        clock = MovableClock()
        lying.clock = clock
        provider = discovered(lying, clock)
        provider.authenticate("code")
        lying.discovery = {"jwks_uri": f"{lying.url}/keys?version=2"}
        clock.advance(hours=1)
        provider.authenticate("code")

        assert [call.target for call in lying.calls if call.path == "/keys"] == [
            "/keys",
            "/keys?version=2",
        ]

    @pytest.mark.parametrize("issuer", ["http://id.example.com", "https://u:p@id.example.com"])
    def test_an_issuer_is_https(self, issuer):
        """A provider is not spoken to in the clear over a network."""
        with pytest.raises(ConfigError):
            make(issuer)

    def test_lifetimes_are_the_clocks(self, lying):
        """An id token expires by the client's clock."""
        clock = MovableClock()
        lying.clock = clock
        provider = discovered(lying, clock)
        token = lying.id_token()
        lying.tokens = {"id_token": token}
        clock.now += timedelta(seconds=359)
        assert provider.authenticate("code").id == "subject-1"

        clock.now += timedelta(seconds=1)
        with pytest.raises(InvalidCredentialsError):
            provider.authenticate("code")
