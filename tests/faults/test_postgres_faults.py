"""A server that restarts, or ends connections, in the middle of a transaction."""

from __future__ import annotations

import time

import pytest

from derp_auth_lite.exceptions import AuthBackendError

from ..servers.postgres import restartable_postgres
from ..support import PASSWORD, MovableClock, Request, native_client
from ..test_orm import terminate_all
from . import invariants, rounds


@pytest.fixture(scope="module")
def server():
    with restartable_postgres() as (url, restart):
        yield url, restart


@pytest.mark.parametrize(
    ("fault", "quick"), [("connection terminated", 10), ("server restarted", 2)]
)
def test_what_breaks_in_a_transaction_is_undone_and_the_next_call_works(
    server, fault, quick, report
):
    url, restart = server
    strike = restart if fault == "server restarted" else (lambda: terminate_all(url))
    count, wrong, worst = rounds(quick, 200), [], 0.0
    with native_client(url, MovableClock()) as auth:
        before = auth.count_users()
        tokens = auth.sign_up(email=f"{len(fault)}@example.com", password=PASSWORD).tokens
        for number in range(count):
            lost, made = (f"{word}{number}-{len(fault)}@example.com" for word in ("lost", "made"))
            with pytest.raises(AuthBackendError), auth._db.transaction():
                auth.create_user(email=lost)
                strike()
                auth.create_user(email=f"also-{lost}")
            began = time.perf_counter()
            if auth.authenticate(Request(tokens.access_token)) is None:
                wrong.append(f"round {number}: signed out")
            auth.create_user(email=made)
            worst = max(worst, time.perf_counter() - began)
            if number % 2:  # idle connections are cut, too: nobody notices
                strike()
                tokens = auth.refresh_token(tokens.refresh_token)
            if auth.find_user(lost) is not None:
                wrong.append(f"round {number}: half of a transaction was kept")
        assert auth.count_users() == before + 1 + count
        invariants.check(auth)
    report(f"{fault} in a transaction", "postgresql", count, worst, wrong)
