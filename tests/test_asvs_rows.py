"""Rows of OWASP ASVS 5.0 that no module's own tests show; test_asvs.py has the table of all."""

from __future__ import annotations

import ast
import hmac
import random
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import derp_auth_lite
from derp_auth_lite.config import GitHubOAuthConfig, GoogleOAuthConfig, OIDCConfig, ThrottleConfig
from derp_auth_lite.exceptions import AuthError
from derp_auth_lite.kv.disk import DiskKV
from derp_auth_lite.providers import OAuthUserInfo

from .servers.signing_provider import SigningProvider
from .support import PASSWORD, Request
from .test_security import dump

EMAIL = "ada@example.com"
OTHER = "another long password"
URL = "https://app.example/page"
PACKAGE = Path(derp_auth_lite.__file__).parent
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "testing" not in path.parts)


def refused(call, *arguments, **keywords):
    try:
        result = call(*arguments, **keywords)
    except AuthError:
        return True
    return result is None or getattr(result, "tokens", result) is None


class Account:
    """An account with everything that could let its owner in, made while all was well."""

    def __init__(self, auth):
        self.auth = auth
        self.user = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
        who = OAuthUserInfo("1", EMAIL, email_verified=True, provider="corp")
        auth._identities.link(self.user.id, who)
        self.who = who
        self.tokens = auth.sign_in_with_password(EMAIL, PASSWORD).tokens
        self.session = auth.authenticate(Request(self.tokens.access_token))
        self.cookie = auth.issue_session_cookie(self.tokens)
        self.links = {kind: self.link(kind) for kind in ("recovery", "magic", "change")}

    def link(self, kind):
        ask = {
            "recovery": lambda: self.auth.request_password_recovery(email=EMAIL, recovery_url=URL),
            "magic": lambda: self.auth.sign_in_with_magic_link(email=EMAIL, magic_link_url=URL),
            "change": lambda: self.auth.request_email_change(
                user_id=self.user.id, new_email="new@example.com", confirm_url=URL
            ),
        }
        ask[kind]()
        self.auth.deliver_mail()
        return self.auth._email_client.sent[-1].token

    def by_provider(self):
        """Enter as ``sign_in_with_oauth`` does once the provider has said who came."""
        with self.auth._db.transaction(own=True):
            user, _ = self.auth._identities.enter(self.who, may_join=False)
            return self.auth._new_sessions.open(user, derp_auth_lite._request.UNKNOWN)


PATHS = {
    "password": lambda it: it.auth.sign_in_with_password(EMAIL, PASSWORD),
    "provider": lambda it: it.by_provider(),
    "magic link": lambda it: it.auth.verify_magic_link(it.links["magic"]),
    "recovery link": lambda it: it.auth.reset_password(it.links["recovery"], OTHER),
    "change of address": lambda it: it.auth.confirm_email_change(it.links["change"]),
    "refresh": lambda it: it.auth.refresh_token(it.tokens.refresh_token),
    "access token": lambda it: it.auth.authenticate(Request(it.tokens.access_token)),
    "session cookie": lambda it: it.auth.authenticate_cookie(it.cookie),
    "new password": lambda it: it.auth.change_password(
        user_id=it.user.id, current_password=PASSWORD, new_password=OTHER
    ),
}
# What proves the address, or needs no password, stays open; everything else is closed.
CLOSED = {
    "disabled": set(PATHS),
    "deleted": set(PATHS),
    "locked": {"password", "new password"},
    "unconfirmed": {"password"},
}


def put(state, account):
    auth, user = account.auth, account.user
    if state == "disabled":
        auth.update_user(user_id=user.id, is_active=False)
    elif state == "deleted":
        auth.delete_user(user.id)
    elif state == "locked":
        for _ in range(100):
            auth._accounts.failed(user.id)
    else:
        # As an administrator does who corrects an address: it is to be proved anew.
        auth.update_user(user_id=user.id, email="moved@example.com")
        auth.update_user(user_id=user.id, email=EMAIL)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("state", CLOSED)
def test_what_an_account_may_not_do_holds_on_every_path(make_auth, state, path):
    """6.1.3 and 6.3.4: no way in is forgotten when an account is closed in part or as a whole."""
    auth = make_auth(
        enable_confirmation=True,
        enable_magic_link=True,
        throttle=ThrottleConfig(**dict.fromkeys(LIMITS, (0, 1))),
    )
    account = Account(auth)
    put(state, account)
    is_closed = path in CLOSED[state]
    if state == "unconfirmed" and path in LINKS:
        is_closed = True  # links that were mailed to an address die with its change
    assert refused(PATHS[path], account) == is_closed


LINKS = {"magic link", "recovery link", "change of address"}
LIMITS = [name for name in vars(ThrottleConfig()) if name != "failures_in_a_row"]


def test_6_3_7_a_new_password_is_told_and_a_new_address_to_both(make_auth):
    auth = make_auth()
    user = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
    auth.change_password(user_id=user.id, current_password=PASSWORD, new_password=OTHER)
    auth.request_email_change(user_id=user.id, new_email="new@example.com", confirm_url=URL)
    auth.deliver_mail()
    auth.confirm_email_change(auth._email_client.sent[-1].token)
    auth.deliver_mail()
    told = [(mail.to, mail.kind) for mail in auth._email_client.sent]
    assert told == [
        (EMAIL, "password_changed"),
        ("new@example.com", "email_change"),
        (EMAIL, "email_changed"),
    ]


def test_7_2_3_what_stands_for_a_session_is_unique_and_has_256_bits_that_nobody_knows(auth):
    user = auth.create_user(email=EMAIL, password=PASSWORD)
    sessions = [auth._sessions.open(user.id, "default") for _ in range(500)]
    tokens = [auth._tokens.issue(session).refresh_token for session in sessions]
    assert len({session.id for session in sessions}) == len(set(tokens)) == 500
    assert all(re.fullmatch(r"[\w-]{82}", token) for token in tokens)
    # Who knows a session's id still has to guess all of the 32 bytes at the end.
    own, other = (tokens[0][:-43], tokens[1][-43:])
    assert refused(auth.refresh_token, own + other)
    assert not refused(auth.refresh_token, tokens[0])


KINDS = ["access token", "refresh token", "session cookie", "mailed link", "OAuth state"]


@pytest.mark.parametrize("asked", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_9_2_2_a_token_of_one_kind_is_refused_as_any_other(make_auth, kind, asked):
    auth = make_auth()
    tokens = auth.sign_up(email=EMAIL, password=PASSWORD).tokens
    auth.request_password_recovery(email=EMAIL, recovery_url=URL)
    auth.deliver_mail()
    state, binding = auth._flows.begin("corp", redirect_uri=None, user_id=None)
    made = {
        "access token": tokens.access_token,
        "refresh token": tokens.refresh_token,
        "session cookie": auth.issue_session_cookie(tokens),
        "mailed link": auth._email_client.sent[-1].token,
        "OAuth state": state,
    }
    about = {"provider": "corp", "binding": binding, "user_id": None}
    taken = {
        "access token": lambda token: auth.authenticate(Request(token)),
        "refresh token": auth.refresh_token,
        "session cookie": auth.authenticate_cookie,
        "mailed link": lambda token: auth.reset_password(token, OTHER),
        "OAuth state": lambda token: auth._flows.end(token, **about),
    }
    assert refused(taken[asked], made[kind]) == (kind != asked)


def test_10_1_1_no_token_of_a_provider_is_kept_anywhere(make_auth, database, clock, tmp_path):
    client = {"client_id": "app", "client_secret": "the secret of a client"}
    told = []
    with SigningProvider("app", clock=clock) as idp:
        oidc = OIDCConfig(name="corp", issuer=idp.url, redirect_uri=f"{idp.url}/cb", **client)
        auth = make_auth(oidc=(oidc,), kv=DiskKV(tmp_path / "kv", clock=clock))
        auth.subscribe(told.append)
        idp.tokens = {
            "access_token": "access-token-of-the-provider",
            "refresh_token": "refresh-token-of-the-provider",
        }
        for subject in ("first", "first", "second"):
            idp.claims = {"sub": subject, "email": f"{subject}@example.com"}
            start = auth.start_oauth("corp")
            idp.claims["nonce"] = parse_qs(urlsplit(start.url).query)["nonce"][0]
            result = auth.sign_in_with_oauth("corp", "the-code", state=start.state)
        identity = auth.list_identities(result.user.id)
        kept = dump(database, tmp_path)
    assert b"second@example.com" in kept
    shown = repr((told, result.user, identity)).encode()
    for secret in (b"of-the-provider", b"eyJ", b"the-code", b"the secret of a client"):
        assert secret not in kept
        assert secret not in shown


def test_10_2_3_no_more_is_asked_of_a_provider_than_who_somebody_is(make_auth):
    client = {"client_id": "id", "client_secret": "s", "redirect_uri": URL}
    auth = make_auth(
        google_oauth=GoogleOAuthConfig(**client), github_oauth=GitHubOAuthConfig(**client)
    )
    asked = {
        name: parse_qs(urlsplit(auth.start_oauth(name).url).query)["scope"][0].split()
        for name in ("google", "github")
    }
    # Google's and any provider's: subject, address, names. GitHub's: addresses, to read.
    assert asked == {"google": ["openid", "email", "profile"], "github": ["user:email"]}
    oidc = OIDCConfig(name="corp", issuer="https://idp.example", **client)
    assert oidc.scopes == ("openid", "email", "profile")


SECRET_NAME = re.compile(
    r"(?:^|_)(?:mac|hmac|digest|signature|token|secret|nonce|password|hash|binding|verifier|csrf)s?$"
)
NO_COMPARISON_OF_SECRETS = {
    # A token against its own canonical form, before its MAC is looked at.
    ("_native/refresh_tokens.py", "_text(raw) != token"),
}


def comparisons(path):
    """Yield each comparison by == or != in which both sides are values, one named as a secret."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Compare):
            continue
        if not any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
            continue
        sides = [node.left, *node.comparators]
        names = [getattr(side, "attr", getattr(side, "id", "")) for side in sides]
        plain = (ast.Constant, ast.List, ast.Tuple, ast.Set)
        is_query = any(isinstance(it, ast.Call) and ast.unparse(it.func) == "Bind" for it in sides)
        if is_query or any(isinstance(side, plain) for side in sides):
            continue
        if any(SECRET_NAME.search(name) for name in names):
            yield ast.unparse(node)


def test_11_2_4_no_secret_is_compared_with_an_operator():
    """The source is read: secrets are compared by compare_digest, in constant time."""
    found = {
        (path.relative_to(PACKAGE).as_posix(), text)
        for path in SOURCES
        for text in comparisons(path)
    }
    assert found == NO_COMPARISON_OF_SECRETS


def test_11_2_4_the_reading_finds_what_it_is_there_for(tmp_path):
    source = tmp_path / "source.py"
    source.write_text(
        "if token == other.token: pass\nif given.mac != mac: pass\nif nonce == 'x': pass\n"
    )
    assert list(comparisons(source)) == ["token == other.token", "given.mac != mac"]


@pytest.mark.parametrize("kind", ["access token", "refresh token", "cookie", "link", "state"])
def test_11_2_4_what_somebody_presents_is_compared_in_constant_time(make_auth, monkeypatch, kind):
    auth = make_auth()
    tokens = auth.sign_up(email=EMAIL, password=PASSWORD).tokens
    auth.request_password_recovery(email=EMAIL, recovery_url=URL)
    auth.deliver_mail()
    link = auth._email_client.sent[-1].token
    state, binding = auth._flows.begin("corp", redirect_uri=None, user_id=None)
    cookie = auth.issue_session_cookie(tokens)
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or real(a, b))
    changed = "A" * 20
    {
        "access token": lambda: auth.authenticate(Request(tokens.access_token[:-20] + changed)),
        "refresh token": lambda: refused(auth.refresh_token, tokens.refresh_token[:-20] + changed),
        "cookie": lambda: auth.authenticate_cookie(cookie[:-20] + changed),
        "link": lambda: refused(auth.reset_password, link, OTHER),
        "state": lambda: refused(
            auth._flows.end, state, provider="corp", binding=binding, user_id=None
        ),
    }[kind]()
    assert compared


WAITS = {"_sqlite.py", "_local/mail_worker.py", "_local/delivery.py"}


def test_6_5_3_what_must_not_be_guessed_comes_from_the_secrets_module():
    """``random`` spreads those out who wait, and does nothing else."""
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in SOURCES
        if re.search(r"^\s*(?:import random|from random)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert users <= WAITS


def test_6_5_3_a_known_seed_repeats_nothing(auth):
    user = auth.create_user(email=EMAIL, password=PASSWORD)
    made = []
    for _ in range(2):
        random.seed(1)
        session = auth._sessions.open(user.id, "default")
        made += [session.id, *auth._flows.begin("corp", redirect_uri=None, user_id=None)]
        made.append(auth._hasher.hash(PASSWORD))
    assert len(set(made)) == len(made)
