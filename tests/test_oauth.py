"""Signing in with providers: states, identities, and the ways of taking an account over.

The provider that answers is a real server on loopback; most tests have it sign what they say, two
go through a certified OpenID Connect server and through GitHub's endpoints.
"""

from __future__ import annotations

import threading
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from derp_auth_lite import EmailNotConfirmedError
from derp_auth_lite._clock import utc_now
from derp_auth_lite.config import (
    GitHubOAuthConfig,
    GoogleOAuthConfig,
    OIDCConfig,
    ThrottleConfig,
)
from derp_auth_lite.exceptions import (
    AuthBackendError,
    IdentityAlreadyExistsError,
    InvalidCredentialsError,
    InvalidTokenError,
    LastIdentityError,
    RateLimitedError,
    SignupDisabledError,
    UserDisabledError,
    UserNotFoundError,
)
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.providers import GitHubProvider, OAuthUserInfo

from .servers import oidc_provider
from .servers.github_stub import GitHubStub
from .servers.postgres import wait_for_locks
from .servers.signing_provider import SigningProvider
from .support import PASSWORD, MovableClock, Request, native_client

EMAIL = "ada@example.com"
CALLBACK = "https://app.example.com/callback"


@pytest.fixture
def clock():
    """Providers live in the present."""
    return MovableClock(utc_now())


@pytest.fixture(scope="module")
def idp():
    with SigningProvider("app") as server:
        yield server


@pytest.fixture(autouse=True)
def honest(idp):
    """Each test begins with a provider that tells the truth about Ada."""
    idp.claims = {"email": EMAIL, "email_verified": True, "given_name": "Ada"}
    idp.discovery = {}
    idp.meanwhile = lambda: None


def oidc(idp, name="corp"):
    return OIDCConfig(
        name=name, issuer=idp.url, client_id="app", client_secret="s", redirect_uri=CALLBACK
    )


@pytest.fixture
def settings(idp):
    return {"oidc": (oidc(idp), oidc(idp, "other")), "enable_confirmation": True}


@pytest.fixture
def auth(make_auth, settings):
    return make_auth(**settings)


def query(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def begin(auth, idp, provider="corp", **keywords):
    """Begin a sign-in, and have the provider repeat its nonce."""
    start = auth.start_oauth(provider, **keywords)
    idp.claims["nonce"] = query(start.url)["nonce"]
    return start


def sign_in(auth, idp, provider="corp", **claims):
    idp.claims.update(claims)
    start = begin(auth, idp, provider)
    return auth.sign_in_with_oauth(provider, "a code", state=start.state, binding=start.binding)


def alive(auth, tokens):
    return auth.authenticate(Request(tokens.access_token)) is not None


class TestBeginning:
    def test_the_url_carries_state_challenge_and_nonce_and_none_of_the_secrets(self, auth, idp):
        start = auth.start_oauth("corp", scopes=["openid"], redirect_uri="http://127.0.0.1:9/cb")
        asked = query(start.url)
        assert start.url.startswith(f"{idp.url}/authorize?")
        assert asked["state"] == start.state
        assert asked["code_challenge_method"] == "S256"
        assert asked["scope"] == "openid"
        assert asked["redirect_uri"] == "http://127.0.0.1:9/cb"
        verifier = auth._flows.verifier(start.state)
        assert len(verifier) == 43
        assert verifier not in start.url
        assert start.binding not in start.url
        assert start.state not in repr(start)
        assert start.binding not in repr(start)

    def test_the_code_is_exchanged_for_the_redirect_uri_that_the_flow_began_with(self, auth, idp):
        start = begin(auth, idp, redirect_uri="http://127.0.0.1:9/cb")
        auth.sign_in_with_oauth("corp", "a code", state=start.state, binding=start.binding)
        call = next(call for call in reversed(idp.calls) if call.path == "/token")
        assert call.form["redirect_uri"] == "http://127.0.0.1:9/cb"

    def test_every_flow_has_secrets_of_its_own(self, auth):
        starts = [auth.start_oauth("corp") for _ in range(20)]
        for part in (
            lambda start: start.state,
            lambda start: start.binding,
            lambda start: auth._flows.verifier(start.state),
            lambda start: query(start.url)["nonce"],
        ):
            assert len({part(start) for start in starts}) == 20

    def test_a_provider_that_is_not_configured_is_named(self, auth):
        for call in (
            lambda: auth.start_oauth("google"),
            lambda: auth.get_oauth_provider("nobody"),
            lambda: auth.sign_in_with_oauth("nobody", "code"),
            lambda: auth.get_oauth_authorization_url("nobody", "state"),
        ):
            with pytest.raises(ValueError, match="not configured; configured: corp, other"):
                call()

    def test_google_and_github_are_there_when_they_are_configured(self, make_auth):
        client = {"client_id": "id", "client_secret": "s", "redirect_uri": CALLBACK}
        auth = make_auth(
            google_oauth=GoogleOAuthConfig(**client), github_oauth=GitHubOAuthConfig(**client)
        )
        for name, host in (("google", "accounts.google.com"), ("github", "github.com")):
            url = auth.get_oauth_authorization_url(name, "st", ["a"], CALLBACK)
            assert urlsplit(url).hostname == host
            assert query(url)["state"] == "st"
            assert auth.get_oauth_provider(name).provider_name == name


class TestTheState:
    """Row 6: a wrong, reused, foreign or cross-provider state is refused."""

    def test_row_6_a_state_is_good_once(self, auth, idp):
        start = begin(auth, idp)
        assert auth.sign_in_with_oauth("corp", "code", state=start.state).tokens
        with pytest.raises(InvalidCredentialsError, match="begin again"):
            auth.sign_in_with_oauth("corp", "code", state=start.state)

    @pytest.mark.parametrize(
        "state", [None, "", "x", "x" * 43, "\ud800" * 43, 7, "y" * 10_000, "<not given>"]
    )
    def test_row_6_an_unknown_empty_or_missing_state_is_never_the_plain_flow(
        self, auth, idp, state
    ):
        idp.claims["nonce"] = ...
        for keywords in ({"state": state}, {"state": state, "binding": None}):
            with pytest.raises(InvalidCredentialsError):
                auth.sign_in_with_oauth("corp", "code", **keywords)
        assert auth.count_users() == 0

    def test_row_6_a_state_of_one_provider_is_refused_at_another(self, auth, idp):
        start = begin(auth, idp, "corp")
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("other", "code", state=start.state)
        assert auth.count_users() == 0

    def test_row_6_a_state_lives_ten_minutes(self, auth, idp, clock):
        begun = [begin(auth, idp) for _ in range(2)]
        clock.advance(minutes=10, seconds=-1)
        idp.clock = clock
        idp.claims["nonce"] = query(begun[0].url)["nonce"]
        assert auth.sign_in_with_oauth("corp", "code", state=begun[0].state)
        clock.advance(seconds=1)
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("corp", "code", state=begun[1].state)
        idp.clock = utc_now

    def test_row_6_another_browser_cannot_finish_what_this_one_began(self, auth, idp):
        start, others = begin(auth, idp), begin(auth, idp)
        for binding in (None, "", "x", others.binding):
            with pytest.raises(InvalidCredentialsError):
                auth.sign_in_with_oauth("corp", "code", state=start.state, binding=binding)
        idp.claims["nonce"] = query(start.url)["nonce"]
        assert auth.sign_in_with_oauth(
            "corp", "code", state=start.state, binding=start.binding
        ).tokens

    def test_row_6_a_nonce_of_another_flow_is_refused(self, auth, idp):
        start = begin(auth, idp)
        idp.claims["nonce"] = "another"
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("corp", "code", state=start.state)

    def test_row_6_of_two_who_bring_one_state_at_the_same_moment_one_is_refused(
        self, make_auth, settings, idp, clock
    ):
        class Overtaken(MemoryKV):
            """Somebody else comes while the first one reads."""

            meanwhile = staticmethod(lambda: None)

            def get(self, key):
                value = super().get(key)
                act, self.meanwhile = self.meanwhile, lambda: None
                act()
                return value

        auth = make_auth(**settings, kv=Overtaken(clock=clock))
        start = begin(auth, idp)
        came = []
        auth._kv_client.meanwhile = lambda: came.append(
            auth.sign_in_with_oauth("corp", "code", state=start.state, binding=start.binding)
        )
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("corp", "code", state=start.state, binding=start.binding)
        assert len(came) == 1

    def test_row_6_the_state_of_another_secret_is_refused(self, auth, make_auth, settings, idp):
        start = begin(auth, idp)
        other = make_auth(**settings, jwt={"secret": "z" * 40}, kv=auth._kv_client)
        with pytest.raises(InvalidCredentialsError):
            other.sign_in_with_oauth("corp", "code", state=start.state)

    def test_a_callback_that_names_another_issuer_is_refused_before_the_code_is_sent(
        self, auth, idp
    ):
        idp.discovery = {"authorization_response_iss_parameter_supported": True}
        fresh = begin(auth, idp)
        before = len(idp.calls)
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("corp", "code", state=fresh.state, iss="https://evil.example")
        assert [call.path for call in idp.calls[before:]].count("/token") == 0

    def test_the_plain_flow_works_for_who_guards_the_state_and_can_be_closed(
        self, make_auth, settings, idp
    ):
        idp.claims["nonce"] = ...
        assert make_auth(**settings).sign_in_with_oauth("corp", "code").tokens
        strict = make_auth(**settings, oauth_require_state=True)
        with pytest.raises(InvalidCredentialsError):
            strict.sign_in_with_oauth("corp", "code")

    def test_a_kv_store_that_was_wiped_only_asks_to_begin_again(self, auth, idp):
        start = begin(auth, idp)
        auth._kv_client.delete_many(list(auth._kv_client.scan()))
        with pytest.raises(InvalidCredentialsError, match="begin again"):
            auth.sign_in_with_oauth("corp", "code", state=start.state)

    def test_the_kv_store_holds_nothing_of_a_flow_that_can_be_presented(self, auth, idp):
        start = begin(auth, idp)
        kv = auth._kv_client
        held = b"".join(key + (kv.get(key) or b"") for key in kv.scan())
        for secret in (
            start.state,
            start.binding,
            auth._flows.verifier(start.state),
            query(start.url)["nonce"],
        ):
            assert secret.encode() not in held


class TestIdentities:
    def test_who_comes_for_the_first_time_gets_an_account_and_comes_back_to_it(
        self, auth, idp, clock
    ):
        first = sign_in(auth, idp, family_name="Lovelace", picture="https://img.example.com/a.png")
        assert first.user.email == EMAIL
        assert (first.user.first_name, first.user.last_name) == ("Ada", "Lovelace")
        assert first.user.image_url == "https://img.example.com/a.png"
        assert first.user.email_confirmed_at == clock.now
        assert alive(auth, first.tokens)

        second = sign_in(auth, idp, email="renamed@example.com")
        assert second.user.id == first.user.id
        assert second.user.email == EMAIL
        (identity,) = auth.list_identities(first.user.id)
        assert (identity.provider, identity.subject) == ("corp", "subject-1")
        assert identity.email == "renamed@example.com"

    def test_the_same_subject_at_two_providers_is_two_users(self, auth, idp):
        corp = sign_in(auth, idp, "corp")
        other = sign_in(auth, idp, "other", email="eve@example.com")
        assert corp.user.id != other.user.id

    def test_a_proved_account_with_a_verified_address_is_linked_and_keeps_all(self, auth, idp):
        ada = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True, first_name="A.")
        tokens = auth.sign_in_with_password(EMAIL, PASSWORD).tokens
        result = sign_in(auth, idp)
        assert result.user.id == ada.id
        assert result.user.first_name == "A."
        assert alive(auth, tokens)
        assert auth.sign_in_with_password(EMAIL, PASSWORD)

    def test_a_signed_in_user_links_a_provider_that_knows_another_address(self, auth, idp):
        ada = auth.create_user(email="ada@home.example", password=PASSWORD, confirmed=True)
        start = begin(auth, idp, user_id=ada.id)
        identity = auth.link_identity(
            user_id=ada.id, provider="corp", code="code", state=start.state, binding=start.binding
        )
        assert identity.user_id == ada.id
        assert sign_in(auth, idp).user.id == ada.id

    def test_a_link_that_one_user_began_is_neither_anothers_nor_a_sign_in(self, auth, idp):
        ada, eve = (auth.create_user(email=f"{n}@example.com", confirmed=True) for n in "ae")
        start = begin(auth, idp, user_id=ada.id)
        with pytest.raises(InvalidCredentialsError):
            auth.link_identity(user_id=eve.id, provider="corp", code="c", state=start.state)
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("corp", "c", state=start.state)
        plain = begin(auth, idp)
        with pytest.raises(InvalidCredentialsError):
            auth.link_identity(user_id=ada.id, provider="corp", code="c", state=plain.state)
        assert auth.list_identities(ada.id) == auth.list_identities(eve.id) == []

    def test_an_identity_is_one_users(self, auth, idp):
        owner = sign_in(auth, idp).user
        eve = auth.create_user(email="eve@example.com", confirmed=True)
        start = begin(auth, idp, user_id=eve.id)
        with pytest.raises(IdentityAlreadyExistsError):
            auth.link_identity(user_id=eve.id, provider="corp", code="c", state=start.state)
        assert [i.user_id for i in auth.list_identities(owner.id)] == [owner.id]

    def test_the_last_way_in_is_never_taken_away(self, auth, idp):
        user = sign_in(auth, idp).user
        keywords = {"user_id": user.id, "provider": "corp", "subject": "subject-1"}
        with pytest.raises(LastIdentityError):
            auth.unlink_identity(**keywords)
        assert len(auth.list_identities(user.id)) == 1

        start = begin(auth, idp, "other", user_id=user.id)
        auth.link_identity(user_id=user.id, provider="other", code="c", state=start.state)
        assert auth.unlink_identity(**keywords) is True
        assert auth.unlink_identity(**keywords) is False
        assert [i.provider for i in auth.list_identities(user.id)] == ["other"]

    @pytest.mark.parametrize("text", ["\ud800", "a\x00b"], ids=["surrogate", "NUL"])
    def test_what_no_database_can_keep_is_nobodys_identity(self, auth, idp, text):
        user = sign_in(auth, idp).user
        assert auth.unlink_identity(user_id=user.id, provider="corp", subject=text) is False
        assert auth.unlink_identity(user_id=user.id, provider=text, subject="x") is False

    def test_identities_go_with_their_user(self, auth, idp):
        user = sign_in(auth, idp).user
        auth.delete_user(user.id)
        assert sign_in(auth, idp).user.id != user.id
        for call in (
            lambda: auth.list_identities(user.id),
            lambda: auth.start_oauth("corp", user_id=user.id),
            lambda: auth.unlink_identity(user_id=user.id, provider="corp", subject="x"),
        ):
            with pytest.raises(UserNotFoundError):
                call()


def test_sign_ins_that_a_range_begins_are_limited_and_no_others(make_auth, settings):
    auth = make_auth(**settings, throttle=ThrottleConfig(oauth_by_range=(3, 600)))
    here, there = Request(), Request()
    here.remote_addr, there.remote_addr = "192.0.2.1", "192.0.2.2"
    for _ in range(3):
        auth.start_oauth("corp", request=here)
    with pytest.raises(RateLimitedError):
        auth.start_oauth("corp", request=here)
    assert auth.start_oauth("corp", request=there).url
    assert len([key for key in auth._kv_client.scan() if b"oauth" in key]) >= 4


def test_bad_callbacks_are_written_down_until_they_are_too_many(make_auth, settings):
    auth = make_auth(**settings, throttle=ThrottleConfig(events_by_range=(5, 3600)))
    for _ in range(9):
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_oauth("corp", "code", state="x" * 43, ip_address="192.0.2.1")
    assert len(auth.list_events_by_cursor(limit=100).data) == 5


class TestRow7:
    """The flags hold on every path."""

    def test_row_7_nobody_joins_while_signing_up_is_off_but_who_is_known_comes_in(
        self, make_auth, settings, idp
    ):
        closed = make_auth(**settings, enable_signup=False)
        with pytest.raises(SignupDisabledError):
            sign_in(closed, idp)
        assert closed.count_users() == 0
        make_auth(**settings).create_user(email=EMAIL, confirmed=True)
        assert sign_in(closed, idp).tokens

    def test_row_7_an_address_that_nobody_vouches_for_must_be_confirmed_first(self, auth, idp):
        result = sign_in(auth, idp, email_verified=False)
        assert result.tokens is None
        assert result.user.last_sign_in_at is None
        assert result.user.email_confirmed_at is None
        assert sign_in(auth, idp).tokens is None
        assert sign_in(auth, idp, email_verified=True).tokens
        assert len(auth.list_sessions(user_id=result.user.id)) == 1

    def test_row_7_a_disabled_user_is_refused(self, auth, idp):
        user = sign_in(auth, idp).user
        auth.update_user(user_id=user.id, is_active=False)
        with pytest.raises(UserDisabledError):
            sign_in(auth, idp)
        by_address = auth.create_user(email="bob@example.com", confirmed=True)
        auth.update_user(user_id=by_address.id, is_active=False)
        with pytest.raises(UserDisabledError):
            sign_in(auth, idp, sub="subject-2", email="bob@example.com")
        refused = [e for e in auth.list_events_by_cursor(limit=9).data if e.reason == "disabled"]
        assert {event.user_id for event in refused} == {by_address.id, user.id}

    def test_row_7_without_confirmation_an_unverified_address_comes_in_unproved(
        self, make_auth, settings, idp
    ):
        auth = make_auth(**{**settings, "enable_confirmation": False})
        result = sign_in(auth, idp, email_verified=False)
        assert alive(auth, result.tokens)
        assert result.user.email_confirmed_at is None

    @pytest.mark.parametrize("email", [None, "", "no address", "ada@exa\uff20mple.com"])
    def test_a_provider_without_a_usable_address_makes_no_account(self, auth, idp, email):
        with pytest.raises(InvalidCredentialsError):
            sign_in(auth, idp, email=email if email is not None else ...)
        assert auth.count_users() == 0


class TestPreHijacking:
    """Row 4: an attacker who makes the account before its owner does gets nothing from it.

    The five variants are those of Sudhodanan and Paverd, "Pre-hijacked accounts" (USENIX Security
    2022).
    """

    def squatter(self, auth):
        """Sign up with the victim's address; the confirmation mail never reaches the attacker."""
        auth.sign_up(email=EMAIL, password=PASSWORD, first_name="Eve", confirmation_url=CALLBACK)

    def test_row_4_classic_federated_merge(self, auth, idp):
        """The attacker's password is dropped when the victim comes by a provider."""
        self.squatter(auth)
        victim = sign_in(auth, idp)
        assert victim.tokens
        with pytest.raises(InvalidCredentialsError) as caught:
            auth.sign_in_with_password(EMAIL, PASSWORD)
        assert not isinstance(caught.value, EmailNotConfirmedError)

    def test_row_4_unexpired_session(self, make_auth, settings, idp):
        """The attacker's session, from when confirmation was off, ends with the victim's proof."""
        lax = make_auth(**{**settings, "enable_confirmation": False})
        tokens = lax.sign_up(email=EMAIL, password=PASSWORD).tokens
        auth = make_auth(**settings)
        assert alive(auth, tokens)
        victim = sign_in(auth, idp)
        assert not alive(auth, tokens)
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(tokens.refresh_token)
        assert [s.user_id for s in auth.list_sessions()] == [victim.user.id]

    def test_row_4_trojan_identifier(self, make_auth, settings, idp):
        """An identity that the attacker linked to the unproved account is gone afterwards."""
        lax = make_auth(**{**settings, "enable_confirmation": False})
        eve = lax.sign_up(email=EMAIL, password=PASSWORD).user
        start = begin(lax, idp, "other", user_id=eve.id)
        idp.claims["sub"] = "eves-own"
        lax.link_identity(user_id=eve.id, provider="other", code="c", state=start.state)

        auth = make_auth(**settings)
        victim = sign_in(auth, idp, "corp", sub="victim")
        assert [i.subject for i in auth.list_identities(victim.user.id)] == ["victim"]
        back = sign_in(auth, idp, "other", sub="eves-own", email="eve@example.com")
        assert back.user.id != victim.user.id

    def test_row_4_unexpired_email_change(self, auth, idp):
        """A change of address that the attacker began dies with the victim's proof."""
        self.squatter(auth)
        stale = auth._accounts.by_email(EMAIL)
        sign_in(auth, idp)
        assert auth._accounts.by_email(EMAIL).token_stamp != stale.token_stamp

    def test_row_4_non_verifying_provider(self, auth, idp):
        """What a provider that vouches for nothing made falls to who proves the mailbox."""
        attacker = sign_in(auth, idp, "other", sub="eve", email_verified=False)
        assert attacker.tokens is None
        victim = sign_in(auth, idp, "corp", sub="victim", email_verified=True)
        assert victim.tokens
        again = sign_in(auth, idp, "other", sub="eve", email="eve@example.com")
        assert again.user.id != victim.user.id

    @pytest.mark.parametrize("confirmed", [True, False])
    @pytest.mark.parametrize("claim", [False, None, "false", 1, "yes", "True"])
    def test_row_4_an_address_is_never_linked_on_a_claim_that_is_not_true(
        self, auth, idp, claim, confirmed
    ):
        owner = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=confirmed)
        with pytest.raises(InvalidCredentialsError):
            sign_in(auth, idp, email_verified=claim)
        assert auth.list_identities(owner.id) == []
        assert auth.count_users() == 1

    def test_row_4_a_sign_in_that_meets_the_owners_reset_leaves_no_session(
        self, postgres_url, clock
    ):
        """Whoever comes first, the attacker's identity and session are gone in the end."""
        attacker = OAuthUserInfo("eve", EMAIL, email_verified=False, provider="corp")
        with native_client(postgres_url, clock) as auth:

            def enter():
                with auth._db.transaction(own=True):
                    user, _ = auth._identities.enter(attacker, may_join=True)
                    auth._sessions.open(str(user.id), user.role)

            enter()
            auth.request_password_recovery(email=EMAIL, recovery_url=CALLBACK)
            auth.deliver_mail()
            token = auth.email_client.sent[-1].token
            again = threading.Thread(target=enter)
            reset = threading.Thread(target=auth.reset_password, args=(token, PASSWORD))
            with (
                psycopg.connect(postgres_url) as first,
                psycopg.connect(postgres_url, autocommit=True) as watch,
            ):
                first.execute("SELECT 1 FROM auth_identities FOR UPDATE")
                again.start()
                assert wait_for_locks(watch, 1)
                reset.start()
                assert wait_for_locks(watch, 2)
                first.rollback()
                again.join()
                reset.join()
            assert auth.list_sessions() == []
            assert auth.list_identities(auth.find_user(EMAIL).id) == []
            assert auth.sign_in_with_password(EMAIL, PASSWORD).tokens

    def test_row_4_a_link_that_was_begun_before_the_owners_reset_is_refused_after_it(
        self, make_auth, settings, idp
    ):
        """The attacker was signed in when the provider was asked, and is not any more."""
        lax = make_auth(**{**settings, "enable_confirmation": False})
        eve = lax.sign_up(email=EMAIL, password=PASSWORD).user
        lax.request_password_recovery(email=EMAIL, recovery_url=CALLBACK)
        lax.deliver_mail()
        token = lax.email_client.sent[-1].token
        start = begin(lax, idp, "other", user_id=eve.id)
        idp.claims["sub"] = "eves-own"
        idp.meanwhile = lambda: lax.reset_password(token, "the owner's own pass phrase")
        with pytest.raises(InvalidCredentialsError):
            lax.link_identity(user_id=eve.id, provider="other", code="c", state=start.state)
        assert lax.list_identities(eve.id) == []

    def test_row_4_a_look_alike_address_is_not_the_owners(self, auth, idp):
        auth.create_user(email="kate@example.com", confirmed=True)
        with pytest.raises(InvalidCredentialsError):
            sign_in(auth, idp, email="\u212aate@example.com")


class TestRealServers:
    def test_a_certified_provider_signs_in_with_pkce_nonce_and_issuer(self, make_auth):
        with oidc_provider.run() as servers:
            config = OIDCConfig(
                name="keycloak",
                issuer=servers.standard,
                client_id=oidc_provider.CLIENT_ID,
                client_secret=oidc_provider.CLIENT_SECRET,
                redirect_uri=oidc_provider.REDIRECT_URI,
            )
            auth = make_auth(oidc=(config,), oauth_require_state=True)
            start = auth.start_oauth("keycloak")
            back = oidc_provider.sign_in(start.url, "ada")
            assert back["state"] == start.state
            result = auth.sign_in_with_oauth(
                "keycloak",
                back["code"],
                state=back["state"],
                iss=back["iss"],
                binding=start.binding,
            )
            assert result.user.first_name == "Ada"
            assert alive(auth, result.tokens)

            again = auth.start_oauth("keycloak")
            back = oidc_provider.sign_in(again.url, "ada")
            with pytest.raises(InvalidCredentialsError):  # it announces iss, so it must be there
                auth.sign_in_with_oauth("keycloak", back["code"], state=back["state"])

    def test_row_5_github_signs_in_with_a_verified_address_only(self, make_auth):
        config = GitHubOAuthConfig(client_id="id", client_secret="s", redirect_uri=CALLBACK)
        with GitHubStub("id", "s", CALLBACK) as github:
            auth = make_auth(github_oauth=config, enable_confirmation=True)
            auth._providers["github"] = GitHubProvider(
                config, web_url=github.url, api_url=github.url
            )
            start = auth.start_oauth("github")
            back = github.open(start.url)
            result = auth.sign_in_with_oauth(
                "github", back["code"], state=back["state"], iss=back["iss"]
            )
            assert result.user.email == EMAIL
            assert auth.list_identities(result.user.id)[0].subject == "583231"

            github.user = {**github.user, "id": 7}
            github.emails = [{"email": "bob@example.com", "primary": True, "verified": False}]
            start = auth.start_oauth("github")
            back = github.open(start.url)
            with pytest.raises(InvalidCredentialsError):
                auth.sign_in_with_oauth(
                    "github", back["code"], state=back["state"], iss=back["iss"]
                )
            auth.disconnect()

    def test_a_provider_that_is_broken_or_down_is_a_backend_error_and_nothing_is_half_done(
        self, auth, idp, make_auth
    ):
        start = begin(auth, idp)
        idp.tokens = {"access_token": ...}
        with pytest.raises(AuthBackendError):
            auth.sign_in_with_oauth("corp", "code", state=start.state)
        idp.tokens = {}
        assert auth.count_users() == 0

        down = OIDCConfig(
            name="down",
            issuer="http://127.0.0.1:1",
            client_id="app",
            client_secret="s",
            redirect_uri=CALLBACK,
        )
        with pytest.raises(AuthBackendError):
            make_auth(oidc=(down,)).start_oauth("down")
