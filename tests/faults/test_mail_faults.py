"""A mail server that is down, slow, refuses for now, or hangs up after it took a mail."""

from __future__ import annotations

import contextlib
import statistics
import sys
import threading
import time
from pathlib import Path

import pytest

from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import AuthError

from ..servers.smtp_server import SmtpServer
from ..support import PASSWORD, native_client
from ..test_outbox import wait_until
from ..test_outbox_faults import PAGE, waiting
from . import FULL, backend_of, invariants, rounds

FAULTS = {
    "down": lambda server: server.stop(),
    "slow to greet": lambda server: server.hang("connect"),
    "slow to take the mail": lambda server: server.drip("data"),
    "4xx": lambda server: server.answer("rcpt", "451 4.3.0 try again later"),
    "dropped after DATA": lambda server: server.drop("data"),
}
SECONDS = 0.2


@pytest.fixture
def server():
    with SmtpServer() as server:
        yield server


@pytest.fixture
def auth(database, clock, server):
    transport = server.transport(connect_timeout=SECONDS, reply_timeout=SECONDS, time_limit=0.5)
    email = EmailClient(server.config(), transport=transport, clock=clock)
    with native_client(database, clock, email=email, mail_worker=True) as auth:
        yield auth


def open_files():
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


@pytest.mark.parametrize("fault", FAULTS)
def test_mails_come_later_and_who_asks_neither_waits_nor_learns_anything(
    auth, database, clock, server, fault, report
):
    count, wrong, took = rounds(2, 25), [], []
    files, threads = [], []
    for number in range(count):
        known = f"known{number}@example.com"
        auth.create_user(email=known, password=PASSWORD)
        FAULTS[fault](server)
        answers = []
        for email in (known, f"unknown{number}@example.com"):
            began = time.perf_counter()
            answers.append(auth.request_password_recovery(email=email, recovery_url=PAGE))
            took.append(time.perf_counter() - began)
        assert answers == [None, None]
        before = len(server.received)
        wait_until(lambda: [attempts for attempts, *_ in waiting(auth)] == [1])
        server.heal()
        server.stop()  # else it would keep what hangs, and its end of the connection
        server.start()
        clock.advance(minutes=5)
        with contextlib.suppress(AuthError):  # the worker may be at the same mail
            auth.deliver_mail()
        wait_until(lambda: waiting(auth) == [])
        mails = [mail for mail in server.received if mail.recipients == [known]]
        works = [resets(auth, mail.mail.token) for mail in mails]
        wrong += [] if sum(works) == 1 else [f"round {number}: {works}"]
        wrong += [
            f"round {number}: mail to {mail.recipients}"
            for mail in server.received[before:]
            if mail.recipients[0].startswith("unknown")
        ]
        wait_until(lambda: waiting(auth) == [])  # the notice that the password changed
        files.append(open_files())
        threads.append(threading.active_count())
    invariants.check(auth)
    report(f"SMTP {fault}", backend_of(database), count, max(took), wrong)
    # A quick run may be one of several on the machine, whose disk is then slow once.
    assert (max(took) if FULL else statistics.median(took)) < 0.2
    assert files[-1] <= files[0] + 3, "files are left open"
    assert threads[-1] <= threads[0] + 1, "threads are left running"


def resets(auth, token):
    try:
        auth.reset_password(token, "a wholly new password")
    except AuthError:
        return False
    return True
