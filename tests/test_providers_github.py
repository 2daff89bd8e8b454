from __future__ import annotations

import logging
from urllib.parse import parse_qsl, urlsplit

import pytest

from derp_auth_lite._http import HTTPClient
from derp_auth_lite.config import GitHubOAuthConfig
from derp_auth_lite.exceptions import AuthBackendError, InvalidCredentialsError
from derp_auth_lite.providers import GitHubProvider
from derp_auth_lite.providers.pkce import challenge_s256, new_verifier

from .servers.github_stub import GitHubStub
from .servers.loopback import Reply, json_reply

CONFIG = GitHubOAuthConfig(
    client_id="Iv1.app", client_secret="s3cret", redirect_uri="https://app.example.com/callback"
)


@pytest.fixture
def github():
    with GitHubStub(CONFIG.client_id, CONFIG.client_secret, CONFIG.redirect_uri) as stub:
        yield stub


def make(github, config=CONFIG):
    http = HTTPClient(name="github", timeout=(0.5, 0.5), total_timeout=1, retries=0)
    return GitHubProvider(config, http=http, web_url=github.url, api_url=github.url)


@pytest.fixture
def provider(github):
    provider = make(github)
    yield provider
    provider.close()


def begin(provider, github):
    """Go to GitHub and come back; return the callback and the verifier."""
    verifier = new_verifier()
    url = provider.get_authorization_url("state-1", code_challenge=challenge_s256(verifier))
    return github.open(url), verifier


def who(provider, github):
    back, verifier = begin(provider, github)
    return provider.authenticate(back["code"], code_verifier=verifier)


def answering(github, path, answer):
    """Let one endpoint answer otherwise."""
    good = github.answer
    github.answer = lambda call: answer if call.path == path else good(call)


class TestFlow:
    def test_somebody_signs_in(self, provider, github):
        """The flow ends with GitHub's number, name, picture and verified address."""
        back, verifier = begin(provider, github)
        provider.check_issuer(back["iss"])
        info = provider.authenticate(back["code"], code_verifier=verifier, nonce="is ignored")

        assert back["state"] == "state-1"
        assert (info.provider, info.id) == ("github", "583231")
        assert (info.email, info.email_verified) == ("ada@example.com", True)
        assert info.name == "Ada Lovelace"
        assert info.picture == "https://avatars.example.com/u/583231"
        assert info.issuer == f"{github.url}/login/oauth"
        assert github.paths() == [
            "POST /login/oauth/access_token",
            "GET /user",
            "GET /user/emails",
        ]

    def test_the_browser_is_sent_to_github(self):
        """The URL asks for the addresses only, with PKCE."""
        url = GitHubProvider(CONFIG).get_authorization_url(
            "st", code_challenge="c", nonce="n", login="ada"
        )

        assert url.startswith("https://github.com/login/oauth/authorize?")
        assert dict(parse_qsl(urlsplit(url).query)) == {
            "client_id": "Iv1.app",
            "redirect_uri": "https://app.example.com/callback",
            "response_type": "code",
            "scope": "user:email",
            "state": "st",
            "code_challenge": "c",
            "code_challenge_method": "S256",
            "login": "ada",
        }

    def test_the_callback_may_name_github(self):
        """GitHub sends ``iss`` since April 2026 and does not announce it; another is refused."""
        provider = GitHubProvider(CONFIG)
        provider.check_issuer(None)
        provider.check_issuer("https://github.com/login/oauth")

        for wrong in ("https://github.com", "https://accounts.google.com", ""):
            with pytest.raises(InvalidCredentialsError):
                provider.check_issuer(wrong)

    def test_a_name_that_is_missing_is_the_login(self, provider, github):
        """An account without a name has its login."""
        github.user["name"] = None

        assert who(provider, github).name == "ada"


class TestAddresses:
    @pytest.mark.parametrize(
        ("emails", "email"),
        [
            ([("p@x.example", True, True), ("v@x.example", False, True)], "p@x.example"),
            ([("v@x.example", False, True), ("p@x.example", True, True)], "p@x.example"),
            ([("p@x.example", True, False), ("v@x.example", False, True)], "v@x.example"),
            ([("p@x.example", True, False), ("u@x.example", False, False)], None),
            (
                [("1+a@users.noreply.github.com", False, True), ("v@x.example", False, True)],
                "v@x.example",
            ),
            ([("1+a@users.noreply.github.com", False, True)], "1+a@users.noreply.github.com"),
            ([("p@x.example", True, "true")], None),
            ([("p@x.example", True, 1)], None),
            ([("p@x.example", True, None)], None),
            ([("not an address", True, True)], None),
            ([(None, True, True)], None),
            ([], None),
        ],
    )
    def test_a_verified_address_is_taken_or_none(self, provider, github, emails, email):
        """Primary and verified, else verified, else none: never the profile's."""
        github.emails = [
            {"email": address, "primary": primary, "verified": verified}
            for address, primary, verified in emails
        ]
        info = who(provider, github)

        assert (info.email, info.email_verified) == (email, email is not None)

    def test_the_address_of_the_profile_is_never_trusted(self, provider, github):
        """The addresses are asked for though the profile shows one."""
        github.user["email"] = "victim@example.com"
        github.emails = [{"email": "victim@example.com", "primary": True, "verified": False}]
        info = who(provider, github)

        assert (info.email, info.email_verified) == (None, False)
        assert "GET /user/emails" in github.paths()

    @pytest.mark.parametrize("status", [403, 404])
    def test_without_the_scope_there_is_no_address(self, provider, github, status):
        """An account that shows no addresses has none; it still signs in."""
        answering(github, "/user/emails", json_reply({"message": "Not Found"}, status))
        info = who(provider, github)

        assert (info.id, info.email) == ("583231", None)

    @pytest.mark.parametrize("headers", [{"X-RateLimit-Remaining": "0"}, {"Retry-After": "60"}])
    def test_a_limit_is_not_a_missing_scope(self, provider, github, headers):
        """GitHub's 403 for too many calls is a fault: the address is not lost for good."""
        answering(github, "/user/emails", Reply(403, b"{}", headers))

        with pytest.raises(AuthBackendError):
            who(provider, github)

    @pytest.mark.parametrize("emails", [None, {}, "x", 7])
    def test_addresses_that_are_no_list_are_a_fault(self, provider, github, emails):
        """Another shape than GitHub's is a broken provider."""
        github.emails = emails

        with pytest.raises(AuthBackendError):
            who(provider, github)

    def test_entries_that_are_no_objects_are_passed_over(self, provider, github):
        """A strange entry does not hide a good one."""
        github.emails = [None, 7, "x", [], {}, *github.emails]

        assert who(provider, github).email == "ada@example.com"


class TestRefusals:
    def test_a_refusal_with_status_200_is_a_refusal(self, provider, github):
        """A code that GitHub never gave out is refused, though the status says success."""
        with pytest.raises(InvalidCredentialsError, match="Signing in with github failed"):
            provider.authenticate("made-up")

        assert github.paths() == ["POST /login/oauth/access_token"]

    @pytest.mark.parametrize("verifier", [None, new_verifier()], ids=["none", "another"])
    def test_a_stolen_code_is_worth_nothing(self, provider, github, verifier):
        """Without the verifier of the one who began, the code is refused."""
        back, _ = begin(provider, github)

        with pytest.raises(InvalidCredentialsError):
            provider.authenticate(back["code"], code_verifier=verifier)

    def test_a_code_works_once(self, provider, github):
        """A code that was used is refused."""
        back, verifier = begin(provider, github)
        provider.authenticate(back["code"], code_verifier=verifier)

        with pytest.raises(InvalidCredentialsError):
            provider.authenticate(back["code"], code_verifier=verifier)

    def test_another_redirect_uri_is_refused(self, provider, github):
        """The code belongs to the redirect URI that it was sent to."""
        back, verifier = begin(provider, github)

        with pytest.raises(InvalidCredentialsError):
            provider.authenticate(
                back["code"], "https://app.example.com/other", code_verifier=verifier
            )

    @pytest.mark.parametrize("code", ["", None, "a\nb"])
    def test_what_cannot_be_a_code_is_not_sent(self, provider, github, code):
        """GitHub is not asked about an empty code."""
        with pytest.raises(InvalidCredentialsError):
            provider.authenticate(code)

        assert github.calls == []

    def test_a_wrong_secret_is_a_fault_of_the_configuration(self, github):
        """The visitor did nothing wrong."""
        wrong = GitHubOAuthConfig(
            client_id=CONFIG.client_id, client_secret="wrong", redirect_uri=CONFIG.redirect_uri
        )
        with pytest.raises(AuthBackendError, match="incorrect_client_credentials"):
            make(github, wrong).authenticate("code")

    @pytest.mark.parametrize(
        ("body", "status", "error"),
        [
            ({"error": "bad_verification_code"}, 200, InvalidCredentialsError),
            ({"error": "redirect_uri_mismatch"}, 200, InvalidCredentialsError),
            ({"error": "unverified_user_email"}, 200, InvalidCredentialsError),
            ({"error": "bad_verification_code"}, 400, InvalidCredentialsError),
            ({"error": "incorrect_client_credentials"}, 200, AuthBackendError),
            ({"error": "something_new"}, 200, AuthBackendError),
            ({"error": ["bad_verification_code"]}, 200, AuthBackendError),
            ({"error": None}, 200, AuthBackendError),
            ({"error": "", "access_token": "gho_x"}, 200, AuthBackendError),
            ({}, 200, AuthBackendError),
            ({"message": "Not Found"}, 404, AuthBackendError),
            ([], 404, AuthBackendError),
            ({}, 500, AuthBackendError),
        ],
    )
    def test_a_no_is_told_from_a_fault(self, provider, github, body, status, error):
        """Only a refused code is the visitor's failure; codes are sent once."""
        answering(github, "/login/oauth/access_token", json_reply(body, status))

        with pytest.raises(error) as caught:
            provider.authenticate("code")

        assert type(caught.value) is error
        assert len(github.calls) == 1

    @pytest.mark.parametrize("token", ["gho_unknown", "", "a b", "a\r\nX: y"])
    def test_an_unknown_access_token_is_refused(self, provider, token):
        """A made-up token is a no."""
        with pytest.raises(InvalidCredentialsError):
            provider.get_user_info(token)

    @pytest.mark.parametrize("number", [None, "583231", 0, -1, True, 1.5, [1]])
    def test_an_account_without_a_number_is_a_fault(self, provider, github, number):
        """An identity is GitHub's number, and nothing that looks like it."""
        github.user["id"] = number

        with pytest.raises(AuthBackendError, match="whose account"):
            who(provider, github)

    @pytest.mark.parametrize("status", [403, 404, 500])
    def test_a_profile_that_is_not_shown_is_a_fault(self, provider, github, status):
        """Without the profile nobody signs in."""
        answering(github, "/user", json_reply({"message": "no"}, status))

        with pytest.raises(AuthBackendError):
            who(provider, github)

    def test_the_log_holds_no_secret(self, provider, github, caplog):
        """Neither code, verifier, secret, token nor address is logged."""
        with caplog.at_level(logging.DEBUG, "derp_auth_lite"):
            back, verifier = begin(provider, github)
            provider.authenticate(back["code"], code_verifier=verifier)
            with pytest.raises(InvalidCredentialsError):
                provider.authenticate(back["code"], code_verifier=verifier)

        assert "bad_verification_code" in caplog.text
        for secret in (back["code"], verifier, "s3cret", "gho_", "@example.com"):
            assert secret not in caplog.text
