"""The extension over a hosted service: guards for bearer tokens, and no pages of ours."""

from __future__ import annotations

import pytest
from flask import Flask

from derp_auth_lite.exceptions import ConfigError
from derp_auth_lite.flask import FlaskAuth, current_user, login_required, roles_required

from .support import PASSWORD

ADA = "ada@example.com"


@pytest.fixture
def app(fake_workos):
    app = Flask(__name__)
    app.config.update(AUTH_DATABASE=":memory:", AUTH_CONFIG=fake_workos.config)
    auth = FlaskAuth(app)

    @app.get("/")
    @login_required
    def home():
        return current_user.email

    @app.get("/admin")
    @roles_required("admin")
    def admin():
        return "welcome"

    with app.app_context():
        app.client = auth.client
        yield app
        app.client.disconnect()


def bearer(tokens):
    return {"Authorization": f"Bearer {tokens.access_token}"}


def test_a_bearer_token_of_the_service_opens_a_view(app):
    tokens = app.client.sign_up(email=ADA, password=PASSWORD).tokens
    browser = app.test_client()
    assert browser.get("/", headers=bearer(tokens)).text == ADA
    assert browser.get("/admin", headers=bearer(tokens)).status_code == 403
    app.client.update_user(user_id=app.client.find_user(ADA).id, role="admin")
    tokens = app.client.refresh_token(tokens.refresh_token)
    assert browser.get("/admin", headers=bearer(tokens)).text == "welcome"


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_who_has_none_is_refused_without_a_page(app, kind):
    """A browser is not sent to a page that is not there."""
    answer = app.test_client().get("/", headers={"Accept": kind})
    assert answer.status_code == 401
    assert [str(rule) for rule in app.url_map.iter_rules() if "/auth" in str(rule)] == []


def test_a_service_that_is_down_signs_nobody_out(app, fake_workos):
    tokens = app.client.sign_up(email=ADA, password=PASSWORD).tokens
    fake_workos.disturb(500, times=9)
    assert app.test_client().get("/", headers=bearer(tokens)).status_code == 503


def test_the_json_api_needs_accounts_in_a_database_of_ones_own(fake_workos):
    app = Flask(__name__)
    app.config.update(AUTH_DATABASE=":memory:", AUTH_CONFIG=fake_workos.config, AUTH_API=True)
    with pytest.raises(ConfigError, match="accounts in the application's own database"):
        FlaskAuth(app)
