"""Setting accounts up for an application."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from flask import Blueprint, Flask
from werkzeug.exceptions import SecurityError

from derp_auth_lite.config import (
    AuthConfig,
    Config,
    EmailConfig,
    JWTConfig,
    NativeAuthConfig,
    PasswordConfig,
)
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import AuthNotConnectedError, ConfigError
from derp_auth_lite.flask import FlaskAuth, current_user, login_required
from derp_auth_lite.flask._links import link
from derp_auth_lite.flask.demo import create_app as create_demo
from derp_auth_lite.flask.state import EXTENSION
from derp_auth_lite.flask.testing import FlaskAuthClient
from derp_auth_lite.kv import DiskKV

from .support import PASSWORD, SECRET, MovableClock, native_client

CHEAP = {"password": PasswordConfig(hash_profile="cheapest")}
EMAIL = "ada@example.com"


def make_app(**config):
    app = Flask("notes")
    app.test_client_class = FlaskAuthClient
    app.config.update({"AUTH_DATABASE": ":memory:", "AUTH_OPTIONS": CHEAP, **config})
    auth = FlaskAuth(app)
    app.get("/")(login_required(lambda: current_user.email))
    return app, auth


def test_an_application_needs_no_secret_key_and_no_setting_but_the_database(tmp_path):
    app, auth = make_app(AUTH_DATABASE=str(tmp_path / "app.db"))
    assert app.secret_key is None
    client = app.test_client()
    assert client.submit("/auth/sign-up", email=EMAIL, password=PASSWORD).status_code == 303
    assert client.get("/").text == EMAIL
    auth.close(app)


def test_the_lines_of_the_readme_are_an_application(tmp_path, monkeypatch):
    readme = (Path(__file__).parent.parent / "README.rst").read_text(encoding="utf-8")
    lines = readme.split("a whole application with accounts::\n\n")[1].split("\nIt has pages")[0]
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "app"}
    exec(textwrap.dedent(lines), names)
    client = names["app"].test_client()
    assert client.get("/").headers["Location"] == "/auth/sign-in?next=/"
    page = client.get("/auth/sign-up").text
    token = page.split('csrf_token" value="')[1].split('"')[0]
    fields = {"email": EMAIL, "password": PASSWORD, "csrf_token": token}
    assert client.post("/auth/sign-up", data=fields).headers["Location"] == "/"
    assert client.get("/").text == f"Hello {EMAIL}"
    names["app"].extensions["derp_auth_lite"].client.disconnect()


def test_without_flask_the_extra_is_named():
    code = "import sys; sys.modules['flask'] = None; import derp_auth_lite.flask"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        'ModuleNotFoundError: derp_auth_lite.flask needs Flask: pip install "derp_auth_lite[flask]"'
    )


def test_applications_of_one_process_do_not_meet():
    (one, auth), (other, _) = make_app(AUTH_SITE_NAME="One"), make_app(AUTH_SITE_NAME="Other")
    client = one.test_client()
    client.sign_in(EMAIL)
    assert client.get("/").text == EMAIL
    cookie = client.get_cookie("auth").value
    stranger = other.test_client()
    stranger.set_cookie("auth", cookie)
    assert stranger.get("/").status_code == 303
    assert " One</title>" in one.test_client().get("/auth/sign-in").text
    assert " Other</title>" in other.test_client().get("/auth/sign-in").text
    for app in (one, other):
        auth.close(app)


def test_one_object_serves_what_a_factory_makes():
    auth = FlaskAuth()
    apps = []
    for number in range(2):
        app = Flask(f"app{number}")
        app.config["AUTH_DATABASE"] = ":memory:"
        auth.init_app(app)
        apps.append(app)
    clients = []
    for app in apps:
        with app.app_context():
            clients.append(auth.client)
        auth.close(app)
    assert clients[0] is not clients[1]
    with pytest.raises(RuntimeError, match="accounts already"):
        auth.init_app(apps[0])


def test_a_client_that_was_opened_is_closed_when_the_set_up_fails(tmp_path):
    app, kv = Flask("notes"), DiskKV(tmp_path / "kv")
    app.config.update(AUTH_DATABASE=str(tmp_path / "app.db"), AUTH_KV=kv, AUTH_OPTIONS=CHEAP)
    app.register_blueprint(Blueprint("auth", "notes"))  # the name of ours
    with pytest.raises(ValueError, match="auth"):
        FlaskAuth(app)
    assert EXTENSION not in app.extensions
    with pytest.raises(AuthNotConnectedError):
        kv.get(b"x")


def test_a_client_of_the_applications_own_stays_open_when_the_set_up_fails():
    app, ready = Flask("notes"), native_client(":memory:", MovableClock())
    app.register_blueprint(Blueprint("auth", "notes"))
    with pytest.raises(ValueError, match="auth"):
        FlaskAuth(app, client=ready)
    assert ready.find_user(EMAIL) is None
    ready.disconnect()


def test_an_application_without_accounts_says_so():
    app = Flask("notes")
    app.get("/")(login_required(lambda: "x"))
    app.testing = True
    with pytest.raises(RuntimeError, match="FlaskAuth"):
        app.test_client().get("/")


def test_a_configuration_or_a_ready_client_is_taken():
    config = Config(
        auth=AuthConfig(
            native=NativeAuthConfig(
                jwt=JWTConfig(secret=SECRET), password=CHEAP["password"], enable_confirmation=False
            )
        )
    )
    app, auth = make_app(AUTH_CONFIG=config, AUTH_OPTIONS={})
    with app.app_context():
        assert auth.client.config.jwt.secret == SECRET
    auth.close(app)
    ready = native_client(":memory:", MovableClock())
    other = Flask("other")
    FlaskAuth(other, client=ready)
    assert other.extensions["derp_auth_lite"].client is ready
    ready.disconnect()


def test_a_file_of_settings_is_read(tmp_path):
    path = tmp_path / "derp.toml"
    path.write_text(
        f'[auth.native]\nenable_signup = false\n[auth.native.jwt]\nsecret = "{SECRET}"\n'
    )
    app, auth = make_app(AUTH_CONFIG=str(path), AUTH_OPTIONS={})
    assert app.test_client().get("/auth/sign-up").status_code == 403
    auth.close(app)


@pytest.mark.parametrize(
    "config",
    [
        {"AUTH_URL_PREFIX": "auth"},
        {"AUTH_URL_PREFIX": "/auth/"},
        {"AUTH_TRUSTED_ORIGINS": "https://friend.test"},
    ],
)
def test_a_setting_that_cannot_be_used_is_told_at_the_start(config):
    with pytest.raises(ConfigError):
        make_app(**config)


def test_the_pages_can_be_elsewhere_or_nowhere():
    app, auth = make_app(AUTH_URL_PREFIX="/members", AUTH_ORGS=False)
    client = app.test_client()
    assert client.get("/").headers["Location"] == "/members/sign-in?next=/"
    client.sign_in(EMAIL)
    assert client.get("/members/organizations").status_code == 404
    auth.close(app)
    bare, auth = make_app(AUTH_PAGES=False)
    assert bare.test_client().get("/auth/sign-in").status_code == 404
    assert bare.test_client().get("/").status_code == 401
    auth.close(bare)


def test_a_view_of_ones_own_signs_in_and_out():
    app, auth = make_app()

    @app.post("/enter")
    def enter():
        auth.sign_in(auth.client.sign_in_with_password(EMAIL, PASSWORD))
        return current_user.email

    @app.post("/leave")
    def leave():
        auth.sign_out()
        return str(bool(current_user))

    with app.app_context():
        auth.client.create_user(email=EMAIL, password=PASSWORD)
    client = app.test_client()
    assert client.post("/enter").text == EMAIL
    assert client.get("/").text == EMAIL
    assert client.post("/leave").text == "False"
    assert client.get("/").status_code == 303
    auth.close(app)


# Where the links in mails lead


def recover(app, base_url):
    client = app.test_client()
    page = client.get("/auth/forgot-password", base_url=base_url)
    token = page.text.split('csrf_token" value="')[1].split('"')[0]
    data = {"email": EMAIL, "csrf_token": token}
    return client.post("/auth/forgot-password", data=data, base_url=base_url)


def test_a_link_never_leads_where_the_host_header_says():
    """A token would go to whoever sent the header."""
    app, auth = make_app()
    answer = recover(app, "https://evil.test")
    assert answer.status_code == 503
    assert "cannot send emails yet" in answer.text
    auth.close(app)


@pytest.mark.parametrize(
    "config",
    [
        {"AUTH_SITE_URL": "https://app.test/start"},
        {"AUTH_EMAIL": EmailClient.in_memory(), "TRUSTED_HOSTS": ["app.test"]},
    ],
)
def test_a_link_leads_to_the_site_that_was_configured(config):
    app, auth = make_app(**config)
    with app.app_context():
        auth.client.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
    assert recover(app, "https://app.test").status_code == 303
    client = app.extensions["derp_auth_lite"].client
    client.deliver_mail()
    link = client.email_client.sent[-1].link
    assert link.startswith("https://app.test/auth/reset-password?token=")
    auth.close(app)


def test_no_link_leads_to_a_host_that_is_not_trusted():
    """Also where Flask, before 3.1, lets a request with such a host through."""
    app, auth = make_app()
    with app.test_request_context("/auth/forgot-password", base_url="https://evil.test"):
        app.config["TRUSTED_HOSTS"] = ["app.test"]  # after Flask would have looked
        with pytest.raises(SecurityError):
            link("reset_password")
    auth.close(app)


def test_the_mails_settings_name_the_site():
    from derp_auth_lite.flask.settings import FlaskAuthSettings

    email = EmailConfig(
        site_name="Notes",
        site_url="https://notes.test",
        from_email="a@notes.test",
        smtp_host="localhost",
        smtp_port=25,
        smtp_user="",
        smtp_password="",
    )
    for config in ({"AUTH_EMAIL": email}, {"AUTH_CONFIG": Config(email=email)}):
        settings = FlaskAuthSettings.read(config, "app")
        assert (settings.site_name, settings.site_url) == ("Notes", "https://notes.test")


# The test client


def test_the_test_client_signs_in_and_out_with_one_line():
    app, auth = make_app()
    client = app.test_client()
    user = client.sign_in(EMAIL, role="admin", first_name="Ada")
    assert (user.role, user.first_name) == ("admin", "Ada")
    assert client.get("/").text == EMAIL
    client.sign_out()
    client.sign_out()
    assert client.get("/").status_code == 303
    auth.close(app)


# The demo


def test_the_demo_keeps_the_notes_of_people_and_teams_apart(tmp_path):
    app = create_demo(tmp_path / "demo")
    app.test_client_class = FlaskAuthClient
    ada, bob = app.test_client(), app.test_client()
    user = ada.sign_in(EMAIL, first_name="Ada")
    bob.sign_in("bob@example.com")
    assert ada.post("/notes", data={"text": "mine <i>"}).status_code == 303
    assert ada.post("/notes", data={"text": " "}).status_code == 400
    assert "mine &lt;i&gt;" in ada.get("/").text
    assert "mine" not in bob.get("/").text
    assert bob.post("/notes/1/delete").status_code == 404
    client = app.extensions["derp_auth_lite"].client
    org = client.create_org(name="North", slug="north", creator_id=user.id)
    client.add_org_member(org_id=org.id, user_id=client.find_user("bob@example.com").id)
    for name in (EMAIL, "bob@example.com"):
        for session in client.list_sessions(user_id=client.find_user(name).id):
            client.set_active_org(session_id=session.session_id, org_id=org.id)
    ada.post("/notes", data={"text": "ours"})
    assert "Notes of North" in bob.get("/").text
    assert "ours" in bob.get("/").text
    assert "mine" not in ada.get("/").text
    assert ada.post("/notes/2/delete").status_code == 303
    client.disconnect()


def test_mails_of_the_demo_say_where_it_is(tmp_path):
    app = create_demo(tmp_path / "demo", port=5001)
    client = app.extensions["derp_auth_lite"].client
    user = client.create_user(email=EMAIL, password=PASSWORD)
    client.set_password(user_id=user.id, password=f"{PASSWORD} anew")
    client.deliver_mail()
    (mail,) = client.email_client.sent
    assert "http://localhost:5001" in mail.text
    client.disconnect()


def test_the_demos_accounts_are_on_the_command_line_of_flask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = create_demo()
    made = app.test_cli_runner().invoke(
        args=["auth", "users", "create", EMAIL, "--no-password", "--confirmed"]
    )
    assert made.exit_code == 0, made.output
    assert (tmp_path / "derp-demo" / "accounts.db").is_file()
    app.extensions["derp_auth_lite"].client.disconnect()


def test_the_demo_tells_how_it_is_started():
    done = subprocess.run(
        [sys.executable, "-m", "derp_auth_lite.flask.demo", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert "--port" in done.stdout
