"""A client opened before gunicorn forks its workers (``--preload``) works in each of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from .servers.redis_server import running_redis
from .support import SECRET

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn needs fork")

APPLICATION = """
import json, os
from types import SimpleNamespace
from derp_auth_lite import PasswordConfig, open_auth

PASSWORD = "correct horse battery staple"
auth = open_auth(
    os.environ["DATABASE"], secret=os.environ["SECRET"], kv=os.environ["KV"],
    password=PasswordConfig(hash_profile="cheapest"),
)
auth.sign_up(email="before@example.com", password=PASSWORD)

def application(environ, start_response):
    email = environ["PATH_INFO"][1:] + "@example.com"
    auth.sign_up(email=email, password=PASSWORD)
    tokens = auth.sign_in_with_password(email, PASSWORD).tokens
    tokens = auth.refresh_token(tokens.refresh_token)
    request = SimpleNamespace(headers={"Authorization": "Bearer " + tokens.access_token})
    session = auth.authenticate(request)
    auth.sign_out(session.session_id)
    start_response("200 OK", [("Content-Type", "application/json")])
    answer = {"pid": os.getpid(), "user": session.user_id, "out": auth.authenticate(request)}
    return [json.dumps(answer).encode()]
"""
CALLS = 60
CHECKOUT = Path(__file__).parent.parent


@pytest.fixture
def kv(database, tmp_path):
    """A folder beside SQLite, a server beside PostgreSQL."""
    if database.startswith("postgresql"):
        with running_redis() as url:
            yield url
    else:
        yield str(tmp_path / "kv")


@pytest.fixture
def port(database, kv, tmp_path):
    """The port of a server of three workers, each of which is replaced after a dozen requests."""
    (tmp_path / "notes.py").write_text(APPLICATION)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "3"]
    command += ["--max-requests", "12", "--bind", "127.0.0.1:0", "notes:application"]
    environment = {
        **os.environ,
        "DATABASE": database,
        "SECRET": SECRET,
        "KV": kv,
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(tmp_path)]),
    }
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=output, stderr=output
        )
    try:
        yield _port_in(log, server)
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        server.kill()
        server.wait()


def _port_in(log, server):
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up and server.poll() is None:
        if found := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def ask(port, number):
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"/user{number}")
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return json.loads(answer.read())
    finally:
        connection.close()


def test_workers_that_inherit_the_client_sign_users_up_in_and_out(port, database, clock):
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda number: ask(port, number), range(CALLS)))

    assert len({answer["user"] for answer in answers}) == CALLS
    assert [answer["out"] for answer in answers] == [None] * CALLS
    assert len({answer["pid"] for answer in answers}) >= 3
