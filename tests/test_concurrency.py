"""What must hold when many processes do the same thing at the same moment."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections import Counter

import psycopg
import pytest

from derp_auth_lite._statements import Statement
from derp_auth_lite._tables import Session
from derp_auth_lite.exceptions import AuthError, EmailAlreadyExistsError, InvalidTokenError
from derp_auth_lite.orm import DatabaseEngine

from .processes import EIGHT, together
from .servers.postgres import wait_for_locks
from .support import PASSWORD, MovableClock, Request, native_client

COUNTER = Statement(lambda: Session.select(Session.refresh_counter))


def refresh_once(database, token):
    with native_client(database, MovableClock()) as auth:
        together()
        return auth.refresh_token(token).refresh_token


def test_eight_processes_that_refresh_one_token_all_hold_the_same_new_one(auth, database, crew):
    tokens = auth.sign_up(email="ada@example.com", password=PASSWORD).tokens
    results = crew.run(refresh_once, [(database, tokens.refresh_token)] * EIGHT)

    assert len(set(results)) == 1
    assert results[0] != tokens.refresh_token
    (counter,) = auth._db.fetch_one(COUNTER)
    assert counter == 1


def sign_up_once(database, email):
    with native_client(database, MovableClock()) as auth:
        together()
        try:
            auth.sign_up(email=email, password=PASSWORD)
        except AuthError as error:
            return type(error).__name__
        return "made"


def test_eight_sign_ups_of_one_address_make_one_account_and_seven_typed_errors(
    auth, database, crew
):
    for number in range(5):
        results = crew.run(sign_up_once, [(database, f"ada{number}@example.com")] * EIGHT)
        assert Counter(results) == {"made": 1, EmailAlreadyExistsError.__name__: 7}
    assert auth.count_users() == 5
    assert len(auth.list_sessions()) == 5


def open_once(database, number):
    auth = native_client(database, MovableClock())
    together()
    with auth:
        auth.sign_up(email=f"user{number}@example.com", password=PASSWORD)
        return auth.count_users()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_databases(request, tmp_path):
    """Places where nothing is yet."""
    if request.param == "sqlite":
        return [str(tmp_path / f"new{number}.db") for number in range(5)]
    return [request.getfixturevalue("new_postgres_url")]


def test_eight_processes_open_a_new_database_together(new_databases, crew):
    for place in new_databases:
        crew.run(open_once, [(place, number) for number in range(EIGHT)])
        with native_client(place, MovableClock()) as auth:
            assert auth.count_users() == EIGHT


def write_much(database, number):
    with native_client(database, MovableClock()) as auth:
        together()
        for turn in range(25):
            email = f"user{number}-{turn}@example.com"
            user = auth.sign_up(email=email, password=PASSWORD).user
            tokens = auth.sign_in_with_password(email, PASSWORD).tokens
            auth.refresh_token(tokens.refresh_token)
            auth.update_user(user_id=user.id, first_name=str(turn))
            auth.sign_out_all(user.id)


def test_eight_writers_never_see_a_locked_database(auth, database, crew):
    crew.run(write_much, [(database, number) for number in range(EIGHT)])
    assert auth.count_users() == 25 * EIGHT
    assert auth.list_sessions() == []


def refresh_or_sign_out(database, session_id, token, number):
    with native_client(database, MovableClock()) as auth:
        together()
        if number == 0:
            auth.sign_out(session_id)
            return None
        try:
            return auth.refresh_token(token)
        except InvalidTokenError:
            return None


def test_a_sign_out_that_races_with_refreshes_leaves_no_session_alive(auth, database, crew):
    auth.sign_up(email="ada@example.com", password=PASSWORD)
    for _ in range(5):
        tokens = auth.sign_in_with_password("ada@example.com", PASSWORD).tokens
        session = auth.authenticate(Request(tokens.access_token))
        arguments = [
            (database, session.session_id, tokens.refresh_token, number) for number in range(EIGHT)
        ]
        pairs = [pair for pair in crew.run(refresh_or_sign_out, arguments) if pair is not None]

        assert all(auth.authenticate(Request(pair.access_token)) is None for pair in pairs)
        for token in [tokens.refresh_token, *(pair.refresh_token for pair in pairs)]:
            with pytest.raises(InvalidTokenError):
                auth.refresh_token(token)


FORK = """
import os, sys
from datetime import datetime, timezone
from tests.support import MovableClock, native_client, Request, PASSWORD

auth = native_client(sys.argv[1], MovableClock())
auth.connect()
auth.sign_up(email="before@example.com", password=PASSWORD)
children = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        for turn in range(5):
            token = auth.sign_up(email=f"c{number}-{turn}@example.com", password=PASSWORD).tokens
            assert auth.authenticate(Request(token.access_token)) is not None
        os._exit(0)
    children.append(pid)
    auth.sign_up(email=f"parent{number}@example.com", password=PASSWORD)
statuses = [os.waitpid(pid, 0)[1] for pid in children]
assert statuses == [0, 0, 0, 0], statuses
auth.sign_up(email="after@example.com", password=PASSWORD)
assert auth.count_users() == 1 + 4 * 5 + 4 + 1, auth.count_users()
auth.disconnect()
print("both went on")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_forked_child_and_its_parent_both_go_on_working(database):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(FORK), database],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "both went on\n", done.stderr


ORPHAN = """
import os, sys
from tests.support import MovableClock, native_client

auth = native_client(sys.argv[1], MovableClock())
auth.connect()
auth.create_user(email="before@example.com")
started, may_go_on = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    auth.create_user(email="first@example.com")
    os.write(started[1], b"x")
    os.read(may_go_on[0], 1)
    auth.create_user(email="second@example.com")
    os._exit(0)
os.read(started[0], 1)
auth.disconnect()
with native_client(sys.argv[1], MovableClock()) as other:
    other.create_user(email="third@example.com")
    os.write(may_go_on[1], b"x")
    assert os.waitpid(pid, 0)[1] == 0
    print(*sorted(user.email.partition("@")[0] for user in other.list_users()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_what_a_child_commits_after_its_parent_has_closed_is_kept(database):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ORPHAN, database],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "before first second third\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_after_a_fork_nothing_of_the_parents_connection_is_used_or_closed(database, clock):
    engine = DatabaseEngine(database, clock=clock)
    engine.connect()
    inherited = engine.database.abandon()
    engine.database._inherited = inherited
    assert engine.database.is_closed()
    if "postgresql" in database:
        assert all(not connection.closed for connection in inherited)
    engine.disconnect()
    for connection in inherited:
        if connection is not None:
            connection.close()


def test_a_sign_in_does_not_wait_for_who_has_an_expired_row_in_hand(postgres_url, clock):
    """The old rows that it removes by the way are then left to somebody else."""
    joined = "&" if "?" in postgres_url else "?"
    impatient = f"{postgres_url}{joined}options=-clock_timeout%3D500"
    with native_client(impatient, clock) as auth, psycopg.connect(postgres_url) as other:
        for name in "ab":
            auth.sign_up(email=f"{name}@example.com", password=PASSWORD)
        clock.advance(days=120)
        other.execute("SELECT 1 FROM auth_sessions, auth_events FOR UPDATE")
        assert auth.sign_in_with_password("a@example.com", PASSWORD).tokens
        other.rollback()
        assert auth.purge() == 4


@pytest.mark.parametrize("act", ["sign_out_all", "revoke_other_sessions"])
def test_two_who_end_a_users_sessions_while_one_begins_do_not_deadlock(postgres_url, clock, act):
    with native_client(postgres_url, clock) as auth:
        user_id = auth.sign_up(email="ada@example.com", password=PASSWORD).user.id
        last = max(auth._sessions.open(user_id, "default").id for _ in range(3))
        given = {"user_id": user_id} if act == "sign_out_all" else {"session_id": last}
        errors: list[AuthError] = []

        def end() -> None:
            try:
                getattr(auth, act)(**given)
            except AuthError as error:
                errors.append(error)

        def begin() -> None:
            with psycopg.connect(postgres_url) as connection:
                connection.execute(
                    "INSERT INTO auth_sessions SELECT %s, user_id, 0, refreshed_at, active_until,"
                    " expires_at, NULL, NULL, NULL, created_at FROM auth_sessions WHERE id = %s",
                    ["00000000-0000-4000-8000-000000000000", last],
                )

        threads = [threading.Thread(target=work) for work in (end, begin, end)]
        with (
            psycopg.connect(postgres_url) as first,
            psycopg.connect(postgres_url, autocommit=True) as watch,
        ):
            first.execute("SELECT 1 FROM auth_sessions ORDER BY id LIMIT 1 FOR UPDATE")
            for count, thread in enumerate(threads, 1):
                thread.start()
                if count != 2:
                    assert wait_for_locks(watch, min(count, 2))
                else:
                    thread.join(0.2)
            first.rollback()
            for thread in threads:
                thread.join()
        assert errors == []
