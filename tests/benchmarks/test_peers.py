"""This library and its peers in turns: on one PostgreSQL, and on SQLite files of the same mode."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import replace
from urllib.parse import urlsplit

import psycopg
import pytest

from derp_auth_lite._clock import utc_now
from derp_auth_lite.config import ThrottleConfig
from derp_auth_lite.kv.disk import DiskKV

from ..servers import postgres
from ..servers.tcp_proxy import TCPProxy
from ..support import PASSWORD, Request, native_client
from . import peer
from .interleaved import Row
from .results import report

EMAIL = "user7@example.com"
MODES = {"NORMAL": 1, "FULL": 2}


@pytest.fixture(scope="module")
def interpreter():
    return peer.environment()


def with_accounts(auth):
    """Give a client thirty accounts, as many as each peer has."""
    for number in range(30):
        auth.create_user(email=f"user{number}@example.com", password=PASSWORD)
    return auth


@pytest.fixture
def one_core():
    """Stay on one core, server included: else a message's way decides, not the work."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture
def server():
    """A PostgreSQL that keeps what it acknowledges, unlike that of the other tests."""
    with postgres.running_postgres() as url:
        if postgres.VARIABLE not in os.environ:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM RESET ALL")
                connection.execute("SELECT pg_reload_conf()")
        yield url


def test_postgresql_against_the_async_original(one_core, server, interpreter, tmp_path):
    """Limits and events are on here; the original has neither."""
    with contextlib.ExitStack() as stack:
        ours, theirs = (stack.enter_context(postgres.new_database(server)) for _ in range(2))
        rows = against_the_original(ours, theirs, interpreter, tmp_path, rounds=25)
    report(
        "PostgreSQL, against the async original, on one core",
        rows,
        "Signing in and switching the organization write an event and do all they do in one"
        " transaction, where the original commits each statement by itself and writes none. In raw"
        " SQL, in as few messages, what they ask of the server takes 0.6 and 0.5 ms, 0.3 of it the"
        " disk at COMMIT; the limits of a sign-in take 0.2 ms more, in a folder.",
    )


def test_postgresql_a_millisecond_away_against_the_async_original(server, interpreter, tmp_path):
    """Each message takes half a millisecond, and so does its answer."""
    with contextlib.ExitStack() as stack:
        ours, theirs = (
            stack.enter_context(far_away(stack.enter_context(postgres.new_database(server))))
            for _ in range(2)
        )
        rows = against_the_original(ours, theirs, interpreter, tmp_path, rounds=9)
    report(
        "PostgreSQL a millisecond away, against the async original",
        [replace(row, target=None) for row in rows],
        "Here it counts how often an act waits for the server: a sign-in and a switch of"
        " organization three times, everything else in this table once.",
    )


@contextlib.contextmanager
def far_away(url):
    """Yield the URL of a server as from another machine."""
    host, port = server_address(url)

    def reach():
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        found = socket.socket(socket.AF_UNIX)
        found.connect(f"{host}/.s.PGSQL.{port}")
        return found

    parts = urlsplit(url)
    user = f"{parts.username}:{parts.password or 'x'}"
    with TCPProxy(reach) as proxy:
        proxy.delay = 0.0005
        yield f"postgresql://{user}@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable"


def server_address(url):
    """Return host or folder, and port, of a server."""
    with psycopg.connect(url) as connection:
        return connection.info.host, connection.info.port


def against_the_original(ours, theirs, interpreter, folder, *, rounds):
    """Time this library and the original in turns, each on its database."""
    kv = DiskKV(folder / "kv", clock=utc_now)
    auth = native_client(ours, utc_now, kv=kv, throttle=ThrottleConfig())
    with auth, peer.running(interpreter, "derp_original", theirs) as original:
        rows = []
        for name, (title, call, target) in acts(with_accounts(auth)).items():
            timers = {"ours": peer.timer(call), "theirs": original.timer(name)}
            cost = peer.medians_of(timers, rounds=rounds, calls=20)
            rows.append(Row(title, cost["ours"], "the async original", cost["theirs"], target))
    return rows


def acts(auth):
    """Return what is timed: name → title, call and target."""
    result = auth.sign_in_with_password(EMAIL, PASSWORD)
    user_id, tokens = result.user.id, [result.tokens.refresh_token]
    org = auth.create_org(name="x", slug="x", creator_id=user_id)
    other = auth.sign_in_with_password(EMAIL, PASSWORD).tokens
    session_id = auth.authenticate(Request(other.access_token)).session_id

    def refresh():
        tokens[0] = auth.refresh_token(tokens[0]).refresh_token

    return {
        "sign_in": (
            "sign_in_with_password",
            lambda: auth.sign_in_with_password(EMAIL, PASSWORD, ip_address="192.0.2.1"),
            0.40,
        ),
        "refresh": ("refresh_token", refresh, 0.35),
        "set_active_org": (
            "set_active_org",
            lambda: auth.set_active_org(session_id=session_id, org_id=org.id),
            0.35,
        ),
        "get_user": ("get_user", lambda: auth.get_user(user_id), 0.25),
        "list_users": ("list_users(limit=10)", lambda: auth.list_users(limit=10), 0.25),
    }


@pytest.mark.parametrize("mode", MODES)
def test_signing_in_on_sqlite_against_others(mode, interpreter, tmp_path):
    """Limits and events are on here; hashes cost the same on all sides."""
    peers = {
        "Django": "django_accounts",
        "fastapi-users": "fastapi_users_accounts",
        "Flask-Security": "flask_security_accounts",
    }
    kv = DiskKV(tmp_path / "kv", clock=utc_now)
    auth = native_client(tmp_path / "auth.db", utc_now, kv=kv, throttle=ThrottleConfig())
    with auth, contextlib.ExitStack() as stack:
        with_accounts(auth)
        auth._db.database.connection().execute(f"PRAGMA synchronous = {MODES[mode]}")
        timers = {
            "ours": peer.timer(
                lambda: auth.sign_in_with_password(EMAIL, PASSWORD, ip_address="192.0.2.1")
            )
        }
        for title, file in peers.items():
            started = peer.running(interpreter, file, str(tmp_path), str(MODES[mode]))
            timers[title] = stack.enter_context(started).timer("sign_in")
        cost = peer.medians_of(timers, rounds=25, calls=15)
    report(
        f"Signing in on SQLite, synchronous {mode}",
        [Row("sign_in_with_password", cost["ours"], name, cost[name], 0.30) for name in peers],
        "A quarter of it are the limits, two commits in a store of their own (with FULL, too, it"
        " waits for no disk). The event, and the indexes by which sessions and events are listed,"
        " are most of the thirteen pages that are written. With FULL half of it is one wait for the"
        " disk.",
    )
