"""``flask auth``: the application's own accounts on the command line."""

from __future__ import annotations

import json

import pytest
from flask import Flask

from derp_auth_lite.base import BaseAuthClient
from derp_auth_lite.flask import FlaskAuth

from .support import PASSWORD

ADA = "ada@example.com"


@pytest.fixture
def app(auth):
    application = Flask(__name__)
    FlaskAuth(application, client=auth)
    return application


def run(app, *arguments, ends=0, stdin=None):
    outcome = app.test_cli_runner().invoke(args=["auth", *arguments], input=stdin)
    assert outcome.exit_code == ends, outcome.output
    return outcome


def test_an_account_is_made_listed_and_disabled(app, auth):
    run(app, "users", "create", ADA, "--password-stdin", stdin=f"{PASSWORD}\n")
    record = json.loads(run(app, "users", "list", "--json").stdout)
    assert record["email"] == ADA
    assert ADA in run(app, "users", "list").stdout
    auth.sign_in_with_password(ADA, PASSWORD)
    assert ADA in run(app, "sessions", "list").stdout
    run(app, "users", "disable", ADA)
    assert auth.list_sessions() == []
    assert run(app, "outbox", "retry", "--all").stdout == "0 to be sent\n"


def test_organizations_are_made_and_an_operator_sees_what_happened_and_why(app, auth):
    ada = auth.create_user(email=ADA, password=PASSWORD, confirmed=True)
    run(app, "orgs", "create", "engines", "--owner", ADA)
    assert [org.slug for org in auth.list_orgs(user_id=ada.id)] == ["engines"]
    assert "org_created" in run(app, "events", "--user", ADA).stdout
    assert "may_sign_in" in run(app, "explain", ADA).stdout
    lines = run(app, "doctor", "--json", ends=1).stdout.splitlines()
    assert [json.loads(line)["code"] for line in lines] == [each.code for each in auth.doctor()]
    assert run(app, "purge").stdout == "0 removed\n"


def test_the_applications_client_stays_connected(app, auth):
    run(app, "users", "list")
    assert auth.count_users() == 0


def test_a_refusal_is_one_line_and_the_exit_code_of_the_other_commands(app):
    assert run(app, "users", "show", "nobody@example.com", ends=3).stderr == (
        "Error: User not found\n"
    )


def test_help_needs_no_accounts(app):
    assert "Example: flask auth users list" in run(app, "--help").stdout


def test_without_the_extra_a_line_says_what_to_install(app, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "derp_auth_lite[cli]"' in run(app, "users", "list", ends=1).stderr


def test_accounts_of_another_backend_are_managed_elsewhere(app, monkeypatch):
    another = type("Another", (BaseAuthClient,), {})
    monkeypatch.setattr("derp_auth_lite.flask.commands.NativeAuthClient", another)
    assert "of one's own" in run(app, "users", "list", ends=1).stderr
