"""Processes that begin as copies of another (fork) or afresh (spawn)."""

from __future__ import annotations

import functools
import os
import pickle
import sys

import pytest

from derp_auth_lite._native.accounts import new_stamp
from derp_auth_lite._records import new_id
from derp_auth_lite.password import Argon2Hasher

from ..forks import run_in_forks
from ..processes import EIGHT, together
from ..support import PASSWORD, MovableClock, native_client
from . import backend_of, rounds

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
EACH = 20


def secrets_of(auth, number):
    """Return everything random that a process makes, and which connection it has."""
    made = []
    for turn in range(EACH):
        tokens = auth.sign_up(email=f"u{number}-{turn}@example.com", password=PASSWORD).tokens
        made += [tokens.access_token, tokens.refresh_token, new_id(), new_stamp()]
        made += [Argon2Hasher("cheapest").hash(PASSWORD).split("$")[4]]
        made += auth._flows.begin("google", redirect_uri=None, user_id=None)
    with auth._db.connection():
        raw = auth._db.database.connection()
        whose = raw.info.backend_pid if auth._db.dialect == "postgresql" else os.getpid()
        return made, whose, [id(each) for each in auth._db._inherited], id(raw)


def spawned(database, number):
    with native_client(database, MovableClock()) as auth:
        together()
        return secrets_of(auth, number)


def check(results, report, how, database):
    made = [secret for secrets, *_ in results for secret in secrets]
    twice = len(made) - len(set(made))
    shared = len(results) - len({whose for _, whose, *_ in results})
    kept = [1 for *_, inherited, raw in results if raw in inherited]
    wrong = ["a secret came twice"] * twice + ["a connection is shared"] * (shared + len(kept))
    report(
        f"{how}: unique secrets, own connection",
        backend_of(database),
        len(results),
        None,
        wrong,
    )


def test_forked_processes_share_no_randomness_and_no_connection(auth, database, report):
    results = []
    for batch in range(rounds(1, 10)):
        act = functools.partial(forked, batch)
        results += run_in_forks(EIGHT, connected, act, database)
    check(results, report, "fork", database)


def test_a_child_of_a_working_client_makes_everything_anew(auth, database, report):
    """The children begin in the middle of their parent's work."""
    results = run_in_forks(1, connected, fork_more, database)[0]
    check(results, report, "fork of a client at work", database)


def connected(database):
    return native_client(database, MovableClock())


def forked(batch, auth, number):
    return secrets_of(auth, f"{batch}-{number}")


def fork_more(auth, number):
    """Fork children one after another out of a client that works; return what they made."""
    results = [secrets_of(auth, "parent")]
    for child in range(rounds(8, 100)):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(pickle.dumps(secrets_of(auth, f"child{child}")))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            results.append(pickle.loads(pipe.read()))
        assert os.waitpid(pid, 0)[1] == 0
        auth.count_users()
    return results


def test_spawned_processes_share_no_randomness_and_no_connection(auth, database, crew, report):
    results = []
    for batch in range(rounds(1, 10)):
        made = crew.run(spawned, [(database, f"{batch}-{n}") for n in range(EIGHT)])
        # The same processes come again with each batch.
        results += [(secrets, (batch, whose), *rest) for secrets, whose, *rest in made]
    check(results, report, "spawn", database)
