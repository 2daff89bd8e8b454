from __future__ import annotations

import dataclasses
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite._http import HTTPResult
from derp_auth_lite.config import GitHubOAuthConfig
from derp_auth_lite.exceptions import (
    AuthBackendError,
    ConfigError,
    InvalidCredentialsError,
)
from derp_auth_lite.providers import BaseOAuthProvider, OAuthTokens, OAuthUserInfo
from derp_auth_lite.providers.base import email_address, read_tokens, text, web_url
from derp_auth_lite.providers.pkce import challenge_s256, new_verifier

CONFIG = GitHubOAuthConfig(
    client_id="id", client_secret="s3cret", redirect_uri="https://app.example.com/callback"
)


class Example(BaseOAuthProvider[GitHubOAuthConfig]):
    """A provider as an application would write it, with the original's arguments only."""

    provider_name = "example"

    def get_authorization_url(
        self, state, scopes=None, redirect_uri=None, *, code_challenge=None, nonce=None, **extra
    ):
        params = {"state": state, "code_challenge": code_challenge, "nonce": nonce}
        return self._authorization_url("https://e.example/a?tenant=1", redirect_uri, params, extra)

    def exchange_code(self, code, redirect_uri=None, *, code_verifier=None):
        return OAuthTokens(f"{code}-{redirect_uri}-{code_verifier}")

    def get_user_info(self, access_token):
        return OAuthUserInfo(access_token)


@pytest.fixture
def provider():
    return Example(CONFIG)


def query(url):
    return dict(parse_qsl(urlsplit(url).query))


class TestAuthorizationURL:
    def test_parameters_join_the_query_of_the_endpoint(self, provider):
        """The endpoint keeps its own query, and what is not given is not sent."""
        url = provider.get_authorization_url("st&te", login_hint="a@b.example")

        assert url.startswith("https://e.example/a?tenant=1&")
        assert query(url) == {
            "tenant": "1",
            "client_id": "id",
            "redirect_uri": "https://app.example.com/callback",
            "state": "st&te",
            "login_hint": "a@b.example",
        }

    def test_a_challenge_names_its_method(self, provider):
        """PKCE is always S256."""
        sent = query(provider.get_authorization_url("s", code_challenge="c"))

        assert sent["code_challenge"] == "c"
        assert sent["code_challenge_method"] == "S256"

    def test_another_redirect_uri_may_be_given(self, provider):
        """The argument goes before the configured one."""
        sent = query(provider.get_authorization_url("s", None, "http://127.0.0.1:5000/cb"))

        assert sent["redirect_uri"] == "http://127.0.0.1:5000/cb"

    @pytest.mark.parametrize(
        "uri", ["http://app.example.com/cb", "javascript:alert(1)", "//evil", "https://a.b/#x"]
    )
    def test_a_redirect_uri_is_https_or_loopback(self, provider, uri):
        """A code never travels in the clear over a network."""
        with pytest.raises(ConfigError, match="redirect_uri"):
            provider.get_authorization_url("s", None, uri)

    @pytest.mark.parametrize(
        "name",
        [
            "client_id",
            "redirect_uri",
            "state",
            "nonce",
            "code_challenge",
            "code_challenge_method",
            "response_mode",
            "request",
        ],
    )
    def test_extra_parameters_replace_none_of_the_flow(self, provider, name):
        """Further parameters cannot weaken the flow."""
        params = {"state": "s", "code_challenge": None, "nonce": None}

        with pytest.raises(ValueError, match=f"{name} is set by the flow"):
            provider._authorization_url("https://e.example", None, params, {name: "x"})

    def test_an_empty_state_is_a_mistake(self, provider):
        """A flow without state cannot be told from a forged one."""
        with pytest.raises(ValueError, match="state"):
            provider.get_authorization_url("")


class TestBaseProvider:
    def test_authenticate_exchanges_and_asks(self, provider):
        """A provider without id tokens is asked whose token it gave."""
        info = provider.authenticate("c", "r", code_verifier="v", nonce="ignored")

        assert info == OAuthUserInfo("c-r-v")

    def test_an_issuer_is_compared_where_it_is_known(self, provider):
        """A callback that names another provider is refused; one that names none is not."""
        provider.check_issuer("https://anything.example")
        provider.issuer = "https://e.example"
        provider.check_issuer("https://e.example")
        provider.check_issuer(None)

        for wrong in ("https://evil.example", "https://e.example/", ""):
            with pytest.raises(InvalidCredentialsError, match="example failed"):
                provider.check_issuer(wrong)

    @pytest.mark.parametrize("code", ["", None, "a\nb", "a\x00", "x" * 4097])
    def test_what_cannot_be_a_code_is_refused(self, provider, code):
        """Such a code is not sent anywhere."""
        with pytest.raises(InvalidCredentialsError):
            provider._check_code(code)

    @pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "é"])
    def test_what_cannot_be_an_access_token_is_refused(self, provider, token):
        """Such a token is not put into a header."""
        with pytest.raises(InvalidCredentialsError):
            provider._check_access_token(token)

    def test_closing_is_always_possible(self, provider):
        """A provider without connections has nothing to close."""
        provider.close()


class TestRecords:
    def test_tokens_do_not_show(self):
        """The tokens of a provider are in no repr."""
        tokens = OAuthTokens("s3cret-a", refresh_token="s3cret-r", id_token="s3cret-i")

        assert "s3cret" not in repr(tokens)
        assert tokens.token_type == "bearer"

    def test_raw_data_does_not_show(self):
        """What the provider sent besides is kept, and not shown."""
        info = OAuthUserInfo("1", raw_data={"address": "s3cret"})

        assert "s3cret" not in repr(info)
        assert info.raw_data == {"address": "s3cret"}

    def test_records_are_frozen(self):
        """Who signed in does not change on the way."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            OAuthUserInfo("1").id = "2"

    def test_the_arguments_of_the_original_keep_their_places(self):
        """Records are made as in the original, by position too."""
        info = OAuthUserInfo("1", "a@b.example", True, "Ada", "https://p.example", {})
        tokens = OAuthTokens("a", "bearer", "r", 60, "openid", "i")

        assert (info.email_verified, info.name, info.provider) == (True, "Ada", "")
        assert (tokens.refresh_token, tokens.expires_in, tokens.id_token) == ("r", 60, "i")


class TestReadTokens:
    def test_a_token_response_is_read(self):
        """Fields of the right type are kept, others are as if they were not there."""
        data = {"access_token": "a", "token_type": "Bearer", "expires_in": "60", "scope": ["x"]}

        assert read_tokens(HTTPResult(200, {}, data)) == OAuthTokens("a")

    @pytest.mark.parametrize(
        "data",
        [
            {},
            [],
            None,
            {"access_token": ""},
            {"access_token": None},
            {"access_token": ["a"]},
            {"access_token": "a b"},
            {"access_token": "a\r\nX-Evil: 1"},
            {"access_token": "ключ"},
            {"access_token": "a", "token_type": "DPoP"},
            {"access_token": "a", "token_type": None},
        ],
    )
    def test_anything_else_is_a_broken_provider(self, data):
        """A response without a bearer token that can be sent is a backend error."""
        with pytest.raises(AuthBackendError):
            read_tokens(HTTPResult(200, {}, data))


class TestClaims:
    @pytest.mark.parametrize(
        ("value", "read"),
        [
            (" Ada ", "Ada"),
            ("👩‍👧 می‌خواهم", "👩‍👧 می‌خواهم"),
            ("", None),
            ("  ", None),
            ("a\nb", None),
            ("a\x1b[31m", None),
            ("x" * 256, None),
            (7, None),
            (None, None),
            ({"a": 1}, None),
        ],
    )
    def test_text_is_one_line(self, value, read):
        """A name is one line of text of a sensible length, or nothing."""
        assert text(value) == read

    @pytest.mark.parametrize(
        ("value", "read"),
        [
            ("https://a.example/p.png", "https://a.example/p.png"),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("//a.example", None),
            (None, None),
        ],
    )
    def test_a_picture_is_a_web_address(self, value, read):
        """A picture that a page might link to is http or https."""
        assert web_url(value) == read

    @pytest.mark.parametrize(
        ("value", "read"), [("a@b.example", "a@b.example"), ("ada", None), (["a@b"], None)]
    )
    def test_an_address_has_an_at(self, value, read):
        """What cannot be an address is none."""
        assert email_address(value) == read


class TestPKCE:
    def test_the_example_of_the_standard(self):
        """The challenge is that of RFC 7636, appendix B."""
        verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

        assert challenge_s256(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

    def test_a_verifier_is_fresh_and_has_43_characters(self):
        """Verifiers are 32 random bytes each."""
        verifiers = {new_verifier() for _ in range(100)}

        assert len(verifiers) == 100
        assert {len(verifier) for verifier in verifiers} == {43}
        assert all(len(challenge_s256(verifier)) == 43 for verifier in verifiers)

    @given(st.text(max_size=42) | st.just("a" * 129) | st.just("é" * 50) | st.just("a" * 43 + "\n"))
    def test_what_is_no_verifier_is_a_mistake(self, verifier):
        """A verifier that a provider would refuse is not sent."""
        with pytest.raises(ValueError, match="43 to 128"):
            challenge_s256(verifier)
