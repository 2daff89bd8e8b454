"""Signing in with a provider through the pages, against a provider on this machine."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from markupsafe import Markup

from derp_auth_lite._clock import utc_now
from derp_auth_lite.config import OIDCConfig
from derp_auth_lite.flask import FlaskAuth, current_user, login_required
from derp_auth_lite.flask.testing import FlaskAuthClient

from .servers.signing_provider import SigningProvider
from .support import PASSWORD, native_client

EMAIL = "ada@example.com"
BACK = "http://localhost/auth/with/acme/back"


@pytest.fixture
def provider():
    with SigningProvider() as server:
        yield server


@pytest.fixture
def accounts(provider):
    acme = OIDCConfig(
        name="acme",
        issuer=provider.url,
        client_id="app",
        client_secret="secret",
        redirect_uri=BACK,
    )
    client = native_client(":memory:", utc_now, oidc=[acme], enable_confirmation=True)
    yield client
    client.disconnect()


@pytest.fixture
def app(accounts):
    app = Flask("notes")
    app.test_client_class = FlaskAuthClient
    FlaskAuth(app, client=accounts)
    app.get("/")(login_required(lambda: current_user.email))
    return app


@pytest.fixture
def client(app):
    return app.test_client()


def come_back(client, provider, url, **changes):
    """Agree at the provider, and come back as it sends the browser."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    provider.claims["nonce"] = query["nonce"]
    answer = {"code": "code-1", "state": query["state"], **changes}
    given = {name: value for name, value in answer.items() if value is not None}
    return client.get(BACK, query_string=given)


def test_a_provider_signs_in_and_leads_to_where_one_wanted_to_go(client, provider):
    page = client.get("/auth/sign-in?next=/?a%3D1").text
    assert "Continue with Acme" in page
    start = client.get("/auth/with/acme?next=/?a%3D1")
    assert "HttpOnly" in start.headers["Set-Cookie"]
    answer = come_back(client, provider, start.headers["Location"])
    assert answer.headers["Location"] == "/?a=1"
    assert client.get("/").text == EMAIL


def test_another_browser_cannot_finish_what_this_one_began(app, provider):
    begun, other = app.test_client(), app.test_client()
    start = begun.get("/auth/with/acme")
    assert come_back(other, provider, start.headers["Location"]).status_code == 401
    assert other.get("/").status_code == 303


@pytest.mark.parametrize("changes", [{"state": "x"}, {"state": None}, {"code": None}])
def test_a_callback_that_was_made_up_is_refused(client, provider, changes):
    start = client.get("/auth/with/acme")
    answer = come_back(client, provider, start.headers["Location"], **changes)
    assert answer.status_code == 401
    assert client.get("/").status_code == 303


def test_a_provider_that_does_not_vouch_for_the_address_has_it_confirmed(
    client, provider, accounts
):
    provider.claims["email_verified"] = False
    start = client.get("/auth/with/acme")
    answer = come_back(client, provider, start.headers["Location"])
    assert answer.headers["Location"] == "/auth/check-mail?what=confirmation"
    accounts.deliver_mail()
    assert accounts.email_client.sent[-1].kind == "confirmation"


def test_a_provider_is_linked_and_removed_on_the_account_page(client, provider, accounts):
    accounts.create_user(email="other@example.com", password=PASSWORD, confirmed=True)
    client.sign_in("other@example.com", password=PASSWORD)
    page = client.submit("/auth/account", to="/auth/link/acme")
    url = Markup(re.search(r'<a class="button main" href="([^"]+)"', page.text)[1]).unescape()
    answer = come_back(client, provider, url)
    assert answer.headers["Location"] == "/auth/account?done=linked"
    assert "Remove" in client.get("/auth/account").text
    answer = client.submit(
        "/auth/account", to="/auth/account/unlink", provider="acme", subject="subject-1"
    )
    assert answer.headers["Location"] == "/auth/account?done=unlinked"
    assert accounts.list_identities(accounts.find_user("other@example.com").id) == []


def test_the_last_way_in_stays(client, provider, accounts):
    start = client.get("/auth/with/acme")
    come_back(client, provider, start.headers["Location"])
    answer = client.submit(
        "/auth/account", to="/auth/account/unlink", provider="acme", subject="subject-1"
    )
    assert (answer.status_code, "your only way to sign in" in answer.text) == (409, True)


def test_a_provider_that_is_not_configured_has_no_page(client):
    assert client.get("/auth/with/other").status_code == 404
    assert client.get("/auth/with/other/back?code=a").status_code == 404
