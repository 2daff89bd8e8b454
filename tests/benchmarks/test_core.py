"""The hot paths against the least that anybody could do: PyJWT's decode, and raw sqlite3."""

from __future__ import annotations

import itertools
import sqlite3
import uuid

import jwt
import pytest

from derp_auth_lite._clock import utc_now
from derp_auth_lite._statements import to_microseconds

from ..support import PASSWORD, SECRET, Request, native_client
from .interleaved import Row, medians, table

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


def test_the_core(place, capsys):
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
    with capsys.disabled():
        print(f"\n{SESSIONS:,} sessions, SQLite, synchronous FULL\n{table(rows)}")


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
        calls=1000,
    )
    assert checked.authenticate(request).user_id == stateless.authenticate(request).user_id
    return [
        Row("authenticate, stateless, a new token", cost["new"], "jwt.decode", cost["decode"]),
        Row("authenticate, stateless, seen before", cost["seen"], "jwt.decode", cost["decode"]),
        Row("authenticate, session checked", cost["session"], "jwt.decode", cost["decode"]),
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
        calls=1000,
    )
    connection.close()
    return [Row("get_user", cost["ours"], "raw SELECT", cost["raw"])]


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

    cost = medians({"ours": ours, "raw": by_hand})
    connection.close()
    return [Row("refresh_token", cost["ours"], "raw UPDATE … RETURNING, SELECT", cost["raw"])]


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
        {"ours": lambda: auth.sign_in_with_password(EMAIL, PASSWORD), "raw": by_hand}, calls=100
    )
    connection.close()
    return [
        Row(
            "sign_in_with_password, cheapest hash",
            cost["ours"],
            "raw SELECT, UPDATE, INSERT and the hash",
            cost["raw"],
        )
    ]
