"""The hot paths against the least that anybody could do: PyJWT's decode, and raw sqlite3."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import uuid

import jwt
import pytest

from derp_auth_lite._clock import utc_now
from derp_auth_lite._statements import to_microseconds
from derp_auth_lite.config import PasswordConfig, ThrottleConfig
from derp_auth_lite.exceptions import InvalidCredentialsError
from derp_auth_lite.kv.disk import DiskKV

from ..support import PASSWORD, SECRET, Request, native_client
from .interleaved import Row, medians
from .results import report

SESSIONS = 100_000
EMAIL = "user500@example.com"


def fill(path, users=1000, sessions=SESSIONS):
    """Write users and sessions straight into the file; a loop of sign-ins would take minutes."""
    now = to_microseconds(utc_now())
    later = now + 86_400_000_000
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys = 1")
    (user_id,) = connection.execute("SELECT id FROM auth_users").fetchone()
    columns = [row[1] for row in connection.execute("PRAGMA table_info(auth_users)")]
    template = dict(
        zip(columns, connection.execute("SELECT * FROM auth_users").fetchone(), strict=True)
    )
    marks = ", ".join("?" * len(columns))
    ids = [user_id]
    for number in range(users):
        ids.append(str(uuid.uuid4()))
        row = {**template, "id": ids[-1], "email": f"user{number}@example.com"}
        connection.execute(f"INSERT INTO auth_users VALUES ({marks})", [row[c] for c in columns])
    connection.executemany(
        "INSERT INTO auth_sessions (id, user_id, refresh_counter, refreshed_at, active_until,"
        " expires_at, created_at) VALUES (?, ?, 0, ?, ?, ?, ?)",
        (
            (str(uuid.uuid4()), ids[number % len(ids)], now, later, later, now)
            for number in range(sessions)
        ),
    )
    connection.commit()
    connection.close()


def test_signing_in_costs_its_hash_whoever_comes(place, tmp_path):
    """With the default Argon2, limits and events on."""
    kv = DiskKV(tmp_path / "kv", clock=utc_now)
    password = PasswordConfig()
    with native_client(place, utc_now, kv=kv, password=password, throttle=ThrottleConfig()) as auth:
        for name in ("right", "wrong"):
            auth.create_user(email=f"{name}@example.com", password=PASSWORD)
        hashed = auth._hasher.hash(PASSWORD)
        places = itertools.count()

        def refused(email):
            address = f"2001:db8:{next(places):x}::1"  # new each time, so that no limit strikes
            with contextlib.suppress(InvalidCredentialsError):
                auth.sign_in_with_password(email, "a wrong password", ip_address=address)

        cost = medians(
            {
                "hash": lambda: auth._hasher.verify(PASSWORD, hashed),
                "right": lambda: auth.sign_in_with_password("right@example.com", PASSWORD),
                "wrong": lambda: refused("wrong@example.com"),
                "unknown": lambda: refused(f"nobody{next(places)}@example.com"),
            },
            rounds=21,
            calls=1,
        )
    rows = [
        Row("sign_in_with_password", cost["right"], "Argon2 alone", cost["hash"], 1.02),
        Row("sign_in, unknown address", cost["unknown"], "a wrong password", cost["wrong"], 1.05),
    ]
    report("Signing in with the default Argon2", rows)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("core") / "auth.db"
    with native_client(str(path), utc_now) as auth:
        auth.create_user(email="ada@example.com", password=PASSWORD)
    fill(path)
    return str(path)


def raw(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = 2")
    connection.execute("PRAGMA cache_size = -65536")
    return connection


def test_the_core(place):
    checked = native_client(place, utc_now)
    stateless = native_client(place, utc_now, jwt={"verify": "stateless"})
    forgetful = native_client(place, utc_now, jwt={"verify": "stateless"})
    with checked, stateless, forgetful:
        forgetful._access_tokens = type(forgetful._access_tokens)(
            forgetful._config.jwt, clock=utc_now, remember=0
        )
        rows = [
            *authenticating(checked, stateless, forgetful),
            *reading(checked, place),
            *refreshing(checked, place),
            *signing_in(checked, place),
        ]
    report(f"The core, SQLite, synchronous FULL, {SESSIONS:,} sessions", rows)


def authenticating(checked, stateless, forgetful):
    token = checked.sign_in_with_password(EMAIL, PASSWORD).tokens.access_token
    request = Request(token)
    cost = medians(
        {
            "decode": lambda: jwt.decode(token, SECRET, algorithms=["HS256"]),
            "new": lambda: forgetful.authenticate(request),
            "seen": lambda: stateless.authenticate(request),
            "session": lambda: checked.authenticate(request),
        },
        rounds=41,
        calls=200,
    )
    assert checked.authenticate(request).user_id == stateless.authenticate(request).user_id
    return [
        Row(f"authenticate, {what}", cost[name], "PyJWT decode", cost["decode"], target)
        for what, name, target in (
            ("stateless, a token seen before", "seen", 0.10),
            ("stateless, a new token", "new", 1.15),
            ("session checked", "session", 0.6),
        )
    ]


def reading(auth, place):
    user_id = auth.sign_in_with_password(EMAIL, PASSWORD).user.id
    connection = raw(place)
    cost = medians(
        {
            "raw": lambda: connection.execute(
                "SELECT * FROM auth_users WHERE id = ?", (user_id,)
            ).fetchall(),
            "ours": lambda: auth.get_user(user_id),
        },
        rounds=41,
        calls=200,
    )
    connection.close()
    return [Row("get_user", cost["ours"], "raw SELECT", cost["raw"], 2)]


def refreshing(auth, place):
    tokens = [auth.sign_in_with_password(EMAIL, PASSWORD).tokens.refresh_token]
    session_id, _ = auth._refresh_tokens.read(tokens[0])
    other_id, _ = auth._refresh_tokens.read(
        auth.sign_in_with_password(EMAIL, PASSWORD).tokens.refresh_token
    )
    assert session_id != other_id
    connection = raw(place)
    counter = itertools.count()

    def ours():
        tokens[0] = auth.refresh_token(tokens[0]).refresh_token

    def by_hand():
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "UPDATE auth_sessions SET refresh_counter = refresh_counter + 1, refreshed_at = ?"
            " WHERE id = ? AND refresh_counter = ? RETURNING user_id",
            (1, other_id, next(counter)),
        ).fetchall()
        connection.execute("SELECT * FROM auth_users WHERE email = ?", (EMAIL,)).fetchall()
        connection.execute("COMMIT")

    cost = medians({"ours": ours, "raw": by_hand}, rounds=41, calls=30)
    connection.close()
    return [Row("refresh_token", cost["ours"], "raw UPDATE … RETURNING, SELECT", cost["raw"], 1.8)]


def signing_in(auth, place):
    connection = raw(place)
    user_id = auth.sign_in_with_password(EMAIL, PASSWORD).user.id
    hasher = auth._hasher
    hashed = hasher.hash(PASSWORD)

    def by_hand():
        connection.execute("SELECT * FROM auth_users WHERE email = ?", (EMAIL,)).fetchall()
        hasher.verify(PASSWORD, hashed)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "UPDATE auth_users SET last_sign_in_at = ? WHERE id = ? RETURNING *", (1, user_id)
        ).fetchall()
        connection.execute(
            "INSERT INTO auth_sessions (id, user_id, refresh_counter, refreshed_at, active_until,"
            " expires_at, created_at) VALUES (?, ?, 0, 1, 9e15, 9e15, 1)",
            (str(uuid.uuid4()), user_id),
        )
        connection.execute("COMMIT")

    cost = medians(
        {"ours": lambda: auth.sign_in_with_password(EMAIL, PASSWORD), "raw": by_hand},
        rounds=41,
        calls=20,
    )
    connection.close()
    return [
        Row(
            "sign_in_with_password, cheapest hash",
            cost["ours"],
            "raw SELECT, UPDATE, INSERT, hash",
            cost["raw"],
        )
    ]
