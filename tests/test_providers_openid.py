from __future__ import annotations

import logging

import pytest

from derp_auth_lite._http import HTTPClient
from derp_auth_lite.config import GoogleOAuthConfig, OIDCConfig
from derp_auth_lite.exceptions import AuthBackendError, InvalidCredentialsError
from derp_auth_lite.providers import GoogleProvider, OIDCProvider
from derp_auth_lite.providers.openid import ProviderMetadata

from .servers.loopback import json_reply
from .servers.signing import ec_key, jwk, public_pem, rsa_key
from .servers.signing_provider import SigningProvider

CLIENT = {
    "client_id": "app",
    "client_secret": "s3cret",
    "redirect_uri": "https://app.example.com/callback",
}


@pytest.fixture
def server():
    with SigningProvider() as server:
        yield server


@pytest.fixture(params=["google", "oidc"])
def provider(server, request):
    """Each kind of provider, at a server that signs what the test tells it to."""
    http = HTTPClient(name=request.param, timeout=(0.5, 0.5), total_timeout=1, retries=0)
    if request.param == "oidc":
        return OIDCProvider(OIDCConfig(name="oidc", issuer=server.url, **CLIENT), http=http)
    metadata = ProviderMetadata(
        issuers=(server.url,),
        authorization_endpoint=f"{server.url}/authorize",
        token_endpoint=f"{server.url}/token",
        jwks_uri=f"{server.url}/keys",
        userinfo_endpoint=f"{server.url}/userinfo",
    )
    return GoogleProvider(GoogleOAuthConfig(**CLIENT), http=http, metadata=metadata)


def authenticate(provider, nonce="nonce-1"):
    return provider.authenticate("code", code_verifier="v" * 43, nonce=nonce)


class TestGoodTokens:
    def test_a_good_id_token_is_believed(self, provider, server):
        """The untampered token signs in, so that each refusal below has one reason."""
        info = authenticate(provider)

        assert (info.id, info.email, info.email_verified) == ("subject-1", "ada@example.com", True)
        assert info.provider == provider.provider_name
        assert "GET /userinfo" not in server.paths()

    @pytest.mark.parametrize(
        "claims",
        [
            {"aud": ["app"]},
            {"azp": "app"},
            {"aud": ["app", "api"], "azp": "app"},
        ],
    )
    def test_an_audience_may_be_a_list(self, provider, server, claims):
        """A list of audiences holds ours, and its authorized party is us."""
        server.claims = claims

        assert authenticate(provider).id == "subject-1"

    def test_a_flow_without_nonce_takes_any(self, provider):
        """A caller that guards its flow itself gives no nonce."""
        assert authenticate(provider, nonce=None).id == "subject-1"

    def test_names_that_are_no_text_are_left_out(self, provider, server):
        """What cannot be shown is not passed on."""
        server.claims = {"name": "a\x1b[31m", "given_name": ["x"], "picture": "javascript:x"}
        info = authenticate(provider)

        assert (info.name, info.first_name, info.picture) == (None, None, None)


class TestTamperedTokens:
    """One id token for each thing that can be wrong with it (OpenID Connect Core, 3.1.3.7)."""

    @pytest.mark.parametrize("value", ["nonce-2", "", None, ["nonce-1"], ...])
    def test_nonce(self, provider, server, value):
        """A nonce of another sign-in, or none, is refused."""
        server.claims = {"nonce": value}
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    def test_an_empty_nonce_is_no_nonce(self, provider, server):
        """A caller who lost its nonce is refused, even by a token that has an empty one."""
        server.claims = {"nonce": ""}
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider, nonce="")

    @pytest.mark.parametrize("value", ["", None, 7, ...])
    def test_sub(self, provider, server, value):
        """A token about nobody is refused."""
        server.claims = {"sub": value}
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    @pytest.mark.parametrize("value", ["https://evil.example", "{url}/", None, ...])
    def test_issuer(self, provider, server, value):
        """A token of another issuer is refused."""
        if isinstance(value, str):
            value = value.format(url=server.url)
        server.claims = {"iss": value}
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    @pytest.mark.parametrize("value", ["other", ["other"], [], None, ...])
    def test_aud(self, provider, server, value):
        """A token for another client is refused."""
        server.claims = {"aud": value}
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    @pytest.mark.parametrize(
        "claims",
        [
            {"azp": "other"},
            {"azp": None},
            {"aud": ["app", "api"]},
            {"aud": ["app", "api"], "azp": "api"},
        ],
    )
    def test_azp(self, provider, server, claims):
        """A token that was issued to another client is refused, though it is for us too."""
        server.claims = claims
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    @pytest.mark.parametrize("value", [0, 1_000_000_000, "9999999999", None, ...])
    def test_exp(self, provider, server, value):
        """An expired token, or one that never expires, is refused."""
        server.claims = {"exp": value}
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    @pytest.mark.parametrize("value", [99_999_999_999, ...])
    def test_iat(self, provider, server, value):
        """A token that says nothing sensible about its age is refused."""
        server.claims = {"iat": value}
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    def test_signature(self, provider, server):
        """A token signed with another key is refused."""
        server.key = rsa_key("mallory")
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    @pytest.mark.parametrize("alg", ["none", "None"])
    def test_alg_none(self, provider, server, alg):
        """A token without a signature is refused, though the provider offers such."""
        server.alg = alg
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    def test_hs256_with_the_public_key(self, provider, server):
        """A token signed with the public key as a shared secret is refused."""
        server.alg, server.key = "HS256", public_pem(rsa_key())
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    def test_hs256_with_the_clients_secret(self, provider, server):
        """A token signed with the client's secret is refused: no secret signs id tokens here."""
        server.alg, server.key = "HS256", b"s3cret"
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    def test_another_algorithm_than_the_keys(self, provider, server):
        """The algorithm is the key's: RS512 with a key for RS256 is refused."""
        server.alg = "RS512"
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    @pytest.mark.parametrize(
        "header", [{"crit": ["exp"]}, {"kid": "unknown"}, {"kid": 1}, {"jwk": jwk(rsa_key("m"))}]
    )
    def test_header(self, provider, server, header):
        """Extensions, unknown keys, and keys that the token brings along are refused."""
        server.header = header
        if "jwk" in header:
            server.key = rsa_key("m")
        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    @pytest.mark.parametrize("token", ["", None, 7, ["x"], ...])
    def test_a_missing_id_token_is_a_broken_provider(self, provider, server, token):
        """A provider that gives no id token does not speak OpenID Connect."""
        server.tokens = {"id_token": token}
        with pytest.raises(AuthBackendError, match="without an id token"):
            authenticate(provider)

    def test_an_unreadable_subject_is_refused(self, provider, server):
        """A subject that no column could hold is a broken provider."""
        server.claims = {"sub": "x" * 256}
        with pytest.raises(AuthBackendError, match="whose account"):
            authenticate(provider)

    def test_the_reason_is_logged_and_no_token_is(self, provider, server, caplog):
        """The log says why; it holds neither token, code nor secret."""
        server.claims = {"aud": "other"}
        with caplog.at_level(logging.DEBUG, "derp_auth_lite"):
            with pytest.raises(InvalidCredentialsError):
                provider.authenticate("s3cret-code", code_verifier="s3cret" * 8, nonce="s3cret-n")
            server.claims = {}
            with pytest.raises(InvalidCredentialsError):
                provider.authenticate("s3cret-code", code_verifier="s3cret" * 8, nonce="s3cret-n")

        assert "the audience is another" in caplog.text
        assert "the id token belongs to another sign-in" in caplog.text
        for secret in ("s3cret", "access-1", "eyJ"):
            assert secret not in caplog.text


class TestUserinfo:
    def test_userinfo_is_asked_for_an_address_that_is_missing(self, provider, server):
        """Address and its verification come from the same place."""
        server.claims = {"email": ..., "email_verified": True}
        server.userinfo = {"sub": "subject-1", "email": "ada@example.com", "name": "Ada"}
        info = authenticate(provider)

        assert (info.email, info.email_verified, info.name) == ("ada@example.com", False, "Ada")

    def test_a_profile_cannot_replace_the_claims(self, provider, server):
        """What the signed token says goes before what the profile says."""
        server.claims = {"email": ..., "name": "Signed"}
        server.userinfo = {"sub": "subject-1", "email": "ada@example.com", "name": "Not signed"}

        assert authenticate(provider).name == "Signed"

    @pytest.mark.parametrize("sub", ["subject-2", "SUBJECT-1"])
    def test_a_profile_of_somebody_else_is_refused(self, provider, server, sub):
        """Userinfo must be about the token's subject (token substitution)."""
        server.claims = {"email": ...}
        server.userinfo = {"sub": sub, "email": "victim@example.com", "email_verified": True}

        with pytest.raises(InvalidCredentialsError):
            authenticate(provider)

    @pytest.mark.parametrize("sub", ["", None, 7, ["subject-1"]])
    def test_a_profile_of_nobody_is_a_broken_provider(self, provider, server, sub):
        """Userinfo without a subject says nothing about anybody."""
        server.userinfo = {"sub": sub}

        with pytest.raises(AuthBackendError, match="whose account"):
            provider.get_user_info("access-1")

    @pytest.mark.parametrize(
        ("said", "verified"),
        [
            (True, True),
            ("true", True),
            (False, False),
            ("false", False),
            ("True", False),
            ("TRUE", False),
            ("yes", False),
            ("1", False),
            (1, False),
            (None, False),
            ([True], False),
            ({}, False),
            (..., False),
        ],
    )
    def test_only_true_is_verified(self, provider, server, said, verified):
        """True and "true" are a yes, anything else is a no."""
        server.claims = {"email_verified": said}

        assert authenticate(provider).email_verified is verified


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            (400, {"error": "invalid_grant"}, InvalidCredentialsError),
            (403, {"error": "access_denied"}, InvalidCredentialsError),
            (401, {"error": "invalid_client"}, AuthBackendError),
            (400, {"error": "invalid_request"}, AuthBackendError),
            (400, {"error": "unauthorized_client"}, AuthBackendError),
            (400, {"error": "unsupported_grant_type"}, AuthBackendError),
            (400, {"error": ["invalid_grant"]}, AuthBackendError),
            (400, {"error": {"invalid_grant": 1}}, AuthBackendError),
            (400, {"error": "\r\nforged \x1b[31m line"}, AuthBackendError),
            (400, {}, AuthBackendError),
            (400, [], AuthBackendError),
            (429, {"error": "slow_down"}, AuthBackendError),
            (500, {"error": "invalid_grant"}, AuthBackendError),
            (503, {}, AuthBackendError),
        ],
    )
    def test_a_no_is_told_from_a_fault(self, provider, server, caplog, status, body, error):
        """Only a refused code is the visitor's failure; codes are sent once."""
        good = server.answer
        server.answer = lambda call: (
            json_reply(body, status) if call.path == "/token" else good(call)
        )
        with pytest.raises(error) as caught:
            authenticate(provider)

        assert type(caught.value) is error
        assert server.paths().count("POST /token") == 1
        assert not any("\x1b" in r.getMessage() or "\n" in r.getMessage() for r in caplog.records)
        assert "\x1b" not in caught.value.message

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (401, InvalidCredentialsError),
            (403, InvalidCredentialsError),
            (400, AuthBackendError),
            (404, AuthBackendError),
            (500, AuthBackendError),
        ],
    )
    def test_userinfo_that_refuses_a_token(self, provider, server, status, error):
        """401 and 403 are a no, the rest is a fault."""
        good = server.answer
        server.answer = lambda call: (
            json_reply({}, status) if call.path == "/userinfo" else good(call)
        )
        with pytest.raises(error):
            provider.get_user_info("access-1")

    def test_a_provider_without_userinfo_cannot_be_asked(self, server):
        """Where there is no such endpoint the id token is all there is."""
        server.discovery = {"userinfo_endpoint": ...}
        server.claims = {"email": ...}
        provider = OIDCProvider(OIDCConfig(name="oidc", issuer=server.url, **CLIENT))

        assert authenticate(provider).email is None
        with pytest.raises(AuthBackendError, match="no userinfo"):
            provider.get_user_info("access-1")


class TestKeys:
    def test_a_thousand_unknown_kids_cause_one_fetch(self, provider, server):
        """Forged tokens cannot make the library hammer a provider."""
        for number in range(1000):
            server.header = {"kid": f"kid-{number}"}
            token = server.id_token()
            server.tokens = {"id_token": token}
            with pytest.raises(InvalidCredentialsError):
                authenticate(provider)

        assert server.paths().count("GET /keys") == 1

    def test_elliptic_keys_verify(self, server):
        """A provider that signs with ES256 is verified as well."""
        server.alg, server.key, server.keys = "ES256", ec_key(), [jwk(ec_key())]
        provider = OIDCProvider(OIDCConfig(name="oidc", issuer=server.url, **CLIENT))

        assert authenticate(provider).id == "subject-1"

    def test_keys_that_cannot_be_had_are_a_fault(self, provider, server):
        """While the keys are out of reach nothing is refused and nothing is believed."""
        good = server.answer
        server.answer = lambda call: json_reply({}, 500) if call.path == "/keys" else good(call)
        with pytest.raises(AuthBackendError):
            authenticate(provider)
