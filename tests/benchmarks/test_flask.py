"""What ``login_required`` costs: inside the application, and under load in gunicorn."""

from __future__ import annotations

import statistics
import sys

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from derp_auth_lite import open_auth
from derp_auth_lite.config import PasswordConfig
from derp_auth_lite.flask import FlaskAuth, login_required

from ..support import PASSWORD
from .interleaved import Row, medians
from .load import gunicorn, requests_a_second
from .results import report

CHEAP = {"password": PasswordConfig(hash_profile="cheapest")}
ROUNDS = 12
UNDER_LOAD = 0.85
"""The share of an unguarded view's answers that a guarded one is to reach."""

APPLICATION = """
from flask import Flask
from derp_auth_lite.flask import FlaskAuth, login_required

app = Flask("notes")
app.config["AUTH_DATABASE"] = "app.db"
FlaskAuth(app)
app.get("/open")(lambda: "hello")
app.get("/guarded", endpoint="guarded")(login_required(lambda: "hello"))
"""


@pytest.fixture
def tokens(tmp_path):
    with open_auth(tmp_path / "app.db", **CHEAP) as auth:
        yield auth.sign_up(email="ada@example.com", password=PASSWORD).tokens


@pytest.fixture
def cookie(tokens, tmp_path):
    with open_auth(tmp_path / "app.db", **CHEAP) as auth:
        return f"auth={auth.issue_session_cookie(tokens)}"


def test_a_guarded_view_inside_the_application(tmp_path, tokens, cookie):
    """All of Flask's own request is in both; no server, no network."""
    app, bare = Flask("notes"), Flask("bare")
    app.config.update(AUTH_DATABASE=str(tmp_path / "app.db"), AUTH_OPTIONS=CHEAP)
    auth = FlaskAuth(app)
    for each in (app, bare):
        each.get("/open", endpoint="open")(lambda: "hello")
    app.get("/guarded", endpoint="guarded")(login_required(lambda: "hello"))
    by_token = {"Authorization": f"Bearer {tokens.access_token}"}
    taken = medians(
        {
            "bare": _asker(bare, "/open", {"Cookie": cookie}),
            "open": _asker(app, "/open", {"Cookie": cookie}),
            "cookie": _asker(app, "/guarded", {"Cookie": cookie}),
            "token": _asker(app, "/guarded", by_token),
        },
        rounds=25,
    )
    auth.close(app)
    rows = [
        Row("guarded, by cookie", taken["cookie"], "not guarded", taken["open"]),
        Row("guarded, by token", taken["token"], "not guarded", taken["open"]),
        Row("not guarded", taken["open"], "without FlaskAuth", taken["bare"]),
    ]
    report("A guarded view inside Flask", rows, "Warm, in one process.")
    assert all(row.ratio < limit for row, limit in zip(rows, (2.5, 2.5, 1.3), strict=True))


def test_a_guarded_view_under_load(tmp_path, cookie):
    """Four workers of gunicorn; the load comes from this machine and takes its share of it."""
    (tmp_path / "notes.py").write_text(APPLICATION, encoding="utf-8")
    rates: dict[str, list[float]] = {"/open": [], "/guarded": []}
    with gunicorn("notes:app", tmp_path) as port:
        for path in rates:
            requests_a_second(port, path, cookie, seconds=1)
        for _ in range(ROUNDS):
            for path, found in rates.items():
                found.append(requests_a_second(port, path, cookie))
    taken, theirs = (
        1e6 / statistics.median(found) for found in (rates["/guarded"], rates["/open"])
    )
    row = Row("an answer, guarded", taken, "not guarded", theirs, 1 / UNDER_LOAD)
    report(
        "A guarded view under load, gunicorn with four workers",
        [row],
        "The load takes its share of the machine. A sampling profile of the workers finds three "
        "quarters of the guard in Python's interpreter, over some thirty short functions, and a "
        "seventh in SQLite, which is asked at each request whether the session still stands. "
        "Workers that take turns on few cores find all of it cold: three times as long as in one "
        "process. The view does nothing; what a real one does makes the share of the guard less.",
    )
    assert row.ratio < 2


def _asker(app, path, headers):
    environ = EnvironBuilder(path, headers={"Host": "localhost", **headers}).get_environ()
    environ["wsgi.errors"] = sys.stderr
    statuses = []

    def ask():
        body = app.wsgi_app(dict(environ), lambda status, *_: statuses.append(status))
        assert b"".join(body) == b"hello"

    ask()
    assert statuses.pop() == "200 OK"
    return ask
