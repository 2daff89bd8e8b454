"""The part that fails is the mail server: real ones that are down, refuse, hang and hang up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from derp_auth_lite._statements import Statement
from derp_auth_lite._tables import Event, OutboxMail
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import InvalidTokenError
from derp_auth_lite.kv.disk import DiskKV

from .forks import run_in_forks
from .servers.smtp_server import SmtpServer
from .support import PASSWORD, MovableClock, native_client
from .test_outbox import wait_until

ADA = "ada@example.com"
PAGE = "https://notes.example.com/reset"
OTHER_PASSWORD = "a wholly other set of words"
CHECKOUT = Path(__file__).parent.parent
WAITING = Statement(
    lambda: OutboxMail.select(OutboxMail.attempts, OutboxMail.last_error, OutboxMail.lease)
)
EVENTS = Statement(
    lambda: Event.select(Event.action, Event.reason).where(Event.action == "mail_failed")
)


@pytest.fixture
def server():
    with SmtpServer() as server:
        yield server


@pytest.fixture
def make(database, clock, server):
    """Make clients that send through the server; limits in seconds are short."""
    clients = []

    def make_client(*, kv=None, mail_worker=False, **limits):
        transport = server.transport(**{"connect_timeout": 0.2, "reply_timeout": 0.2, **limits})
        email = EmailClient(server.config(), transport=transport, clock=clock)
        client = native_client(database, clock, email=email, kv=kv, mail_worker=mail_worker)
        client.connect()
        clients.append(client)
        return client

    yield make_client
    for client in clients:
        client.disconnect()


@pytest.fixture
def auth(make):
    """A client with one user."""
    auth = make()
    auth.sign_up(email=ADA, password=PASSWORD)
    return auth


def ask(auth, email=ADA):
    auth.request_password_recovery(email=email, recovery_url=PAGE)


def attempt(auth):
    """Send what is due, as the worker does: no mail before its time."""
    return auth._mailbox._delivery.send_due()


def waiting(auth):
    return auth._db.fetch(WAITING)


class TestServer:
    def test_down_for_an_hour_the_mail_arrives_when_it_is_back(self, auth, server, clock):
        ask(auth)
        server.stop()
        until = clock.now + timedelta(minutes=60)
        while clock.now < until:
            assert attempt(auth) == 0
            clock.advance(seconds=auth._mailbox._delivery.seconds_until_due())
        ((attempts, reason, lease),) = waiting(auth)
        assert 14 <= attempts <= 22
        assert lease is None
        assert "could not be reached" in reason
        server.start()
        clock.advance(minutes=5)
        assert attempt(auth) == 1
        # The link is as young as the mail.
        clock.advance(minutes=59)
        token = server.received[0].mail.token
        assert auth.reset_password(token, OTHER_PASSWORD).email == ADA

    def test_down_for_longer_than_a_mail_is_of_use_it_is_given_up_and_can_be_retried(
        self, auth, server, clock
    ):
        ask(auth)
        server.stop()
        clock.advance(hours=4)
        assert attempt(auth) == 0
        server.start()
        (mail,) = auth.list_undelivered_mail()
        assert (mail.kind, mail.email) == ("recovery", ADA)
        assert auth._db.fetch(EVENTS) == [("mail_failed", mail.reason)]
        clock.advance(hours=3)
        assert attempt(auth) == 0
        assert auth.retry_mail(mail.id)
        assert not auth.retry_mail(mail.id)
        assert attempt(auth) == 1
        assert auth.list_undelivered_mail() == []
        assert auth.reset_password(server.received[0].mail.token, OTHER_PASSWORD)

    @pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data"])
    @pytest.mark.parametrize("fault", ["451 4.3.0 try later", "hang", "drop"])
    def test_a_passing_fault_at_any_step_delays_the_mail_and_loses_none(
        self, auth, server, clock, step, fault
    ):
        ask(auth)
        if fault == "hang":
            server.hang(step, times=1)
        elif fault == "drop":
            server.drop(step, times=1)
        else:
            server.answer(step, fault.replace("451", "421") if step == "connect" else fault)
        assert attempt(auth) == 0
        assert attempt(auth) == 0
        ((attempts, _, lease),) = waiting(auth)
        assert (attempts, lease) == (1, None)
        server.heal()
        clock.advance(seconds=7)
        assert attempt(auth) == 1
        assert waiting(auth) == []
        token = server.received[-1].mail.token
        assert auth.reset_password(token, OTHER_PASSWORD).email == ADA

    @pytest.mark.parametrize("step", ["rcpt", "data"])
    def test_what_is_refused_for_good_is_given_up_at_once(self, auth, server, step):
        ask(auth)
        server.answer(step, "550 5.1.1 no such mailbox")
        assert attempt(auth) == 0
        (mail,) = auth.list_undelivered_mail()
        assert (mail.attempts, "(550)" in mail.reason) == (1, True)
        assert ADA not in mail.reason
        assert auth._db.fetch(EVENTS) == [("mail_failed", mail.reason)]
        server.heal()
        assert auth.retry_mail(mail.id)
        assert auth.deliver_mail() == 1

    def test_a_refused_login_is_no_fault_of_the_mail_and_is_tried_again(self, auth, server):
        ask(auth)
        server.answer("mail", "530 5.7.0 authentication required")
        assert attempt(auth) == 0
        assert auth.list_undelivered_mail() == []
        server.heal()
        assert auth.deliver_mail() == 1

    def test_a_mail_that_arrived_though_the_connection_broke_comes_again_as_the_same_mail(
        self, auth, server, clock
    ):
        ask(auth)
        server.drop("data", times=1)
        assert attempt(auth) == 0
        clock.advance(seconds=7)
        assert attempt(auth) == 1
        first, second = (received.mail for received in server.wait_for(2))
        assert first.message_id == second.message_id
        assert first.token != second.token
        assert auth.reset_password(first.token, OTHER_PASSWORD).email == ADA
        with pytest.raises(InvalidTokenError):
            auth.reset_password(second.token, PASSWORD)

    def test_one_recipient_who_is_refused_holds_up_nobody_else(self, auth, server):
        for number in range(3):
            auth.create_user(email=f"user{number}@example.com")
        server.answer("rcpt", "451 4.7.1 greylisted", times=1)
        for number in range(3):
            ask(auth, f"user{number}@example.com")
        assert attempt(auth) == 2
        assert auth.deliver_mail() == 1

    def test_a_limit_in_time_holds_while_the_server_hangs(self, auth, server):
        for _ in range(5):
            ask(auth)
        server.hang("connect")
        assert auth.deliver_mail(timeout=0.3) == 0
        assert 3 <= sum(attempts == 0 for attempts, _, _ in waiting(auth)) <= 4


class TestWorker:
    def test_mails_go_out_by_themselves_and_asking_does_not_wait_for_them(self, make, server):
        auth = make(mail_worker=True)
        auth.sign_up(email=ADA, password=PASSWORD)
        ask(auth)
        ask(auth, "unknown@example.com")
        (received,) = server.wait_for(1)
        assert auth.reset_password(received.mail.token, OTHER_PASSWORD)
        assert server.wait_for(2)[1].mail.kind == "password_changed"
        wait_until(lambda: waiting(auth) == [])

    def test_disconnecting_sends_what_waits(self, make, server):
        auth = make(mail_worker=True)
        auth.sign_up(email=ADA, password=PASSWORD)
        ask(auth)
        auth.disconnect()
        assert len(server.received) == 1

    def test_what_is_left_goes_out_at_the_next_start(self, auth, make, server):
        ask(auth)
        auth.disconnect()
        assert server.received == []
        make(mail_worker=True)
        assert server.wait_for(1)[0].mail.kind == "recovery"

    def test_it_survives_connections_that_the_database_server_cuts(
        self, make, server, database, clock
    ):
        auth = make(mail_worker=True)
        auth.sign_up(email=ADA, password=PASSWORD)
        for number in range(1, 6):
            ask(auth)
            cut_connections(database)
            server.wait_for(number)

    def test_a_forked_child_sends_its_own_mails_and_the_parent_goes_on(
        self, database, tmp_path, server
    ):
        done = run_script(
            """
            auth.sign_up(email="ada@example.com", password=PASSWORD)
            ask("ada@example.com")
            while auth._outbox.next_due() is not None:
                pass
            child = os.fork()
            if child == 0:
                ask("ada@example.com")
                auth.disconnect()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            assert auth._outbox.next_due() is None
            ask("ada@example.com")
            auth.disconnect()
            """,
            database,
            tmp_path,
            server,
        )
        assert done.returncode == 0, done.stderr
        assert len({received.mail.message_id for received in server.wait_for(3)}) == 3
        assert len(server.received) == 3

    def test_a_program_that_ends_sends_what_waits(self, database, tmp_path, server):
        done = run_script(
            """
            auth.sign_up(email="ada@example.com", password=PASSWORD)
            ask("ada@example.com")
            """,
            database,
            tmp_path,
            server,
        )
        assert done.returncode == 0, done.stderr
        assert len(server.received) == 1

    def test_a_program_that_ends_while_the_server_hangs_waits_so_long_and_loses_nothing(
        self, auth, tmp_path, database, server
    ):
        server.hang("connect")
        begun = time.monotonic()
        done = run_script(
            """
            from derp_auth_lite._local import mail_worker
            mail_worker.DRAIN_SECONDS = 0.5
            ask("ada@example.com")
            """,
            database,
            tmp_path,
            server,
        )
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - begun < 5
        server.heal()
        assert len(waiting(auth)) == 1


class TestKill:
    def test_killed_after_the_server_took_it_the_mail_comes_once_more_and_works_once(
        self, database, tmp_path, clock, server
    ):
        done = run_script(
            """
            auth.sign_up(email="ada@example.com", password=PASSWORD)
            ask("ada@example.com")
            transport = auth._email_client._transport
            send = transport.send

            def send_and_die(*given, **named):
                send(*given, **named)
                os.kill(os.getpid(), signal.SIGKILL)

            transport.send = send_and_die
            auth.deliver_mail()
            """,
            database,
            tmp_path,
            server,
            mail_worker=False,
        )
        assert done.returncode == -signal.SIGKILL
        assert len(server.received) == 1

        kv = DiskKV(tmp_path / "kv", clock=clock)
        email = EmailClient(server.config(), transport=server.transport(), clock=clock)
        with native_client(database, clock, kv=kv, email=email) as auth:
            assert auth.deliver_mail() == 0  # the dead one's lease
            clock.advance(minutes=3)
            assert auth.deliver_mail() == 1
            assert auth.deliver_mail() == 0
            first, second = (received.mail for received in server.received)
            assert first.message_id == second.message_id
            assert auth.reset_password(first.token, OTHER_PASSWORD).email == ADA
            with pytest.raises(InvalidTokenError):
                auth.reset_password(second.token, PASSWORD)


class TestManyProcesses:
    def test_ten_processes_with_one_outbox_send_every_mail_once(
        self, database, tmp_path, clock, server
    ):
        kv = tmp_path / "kv"
        with native_client(database, clock, kv=DiskKV(kv, clock=clock)) as auth:
            for number in range(60):
                auth.create_user(email=f"user{number}@example.com")
                ask(auth, f"user{number}@example.com")
            ask(auth, "unknown@example.com")
            shares = run_in_forks(10, sender, send_all, database, str(kv), server.port)
            assert waiting(auth) == []
        assert sum(shares) == 60
        received = Counter(mail.recipients[0] for mail in server.received)
        assert received == {f"user{number}@example.com": 1 for number in range(60)}


def sender(database, kv, port):
    clock = MovableClock()
    server = SmtpServer()
    server.port = port
    email = EmailClient(server.config(), transport=server.transport(), clock=clock)
    return native_client(database, clock, kv=DiskKV(kv, clock=clock), email=email)


def send_all(auth, number):
    return auth.deliver_mail()


def cut_connections(database):
    if not database.startswith("postgresql://"):
        return
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
        )


def run_script(body, database, folder, server, *, mail_worker=True):
    """Run a program of its own on the database, the KV folder and the mail server of the test."""
    script = f"""\
import os, signal
from derp_auth_lite.email import EmailClient
from derp_auth_lite.kv.disk import DiskKV
from tests.servers.smtp_server import SmtpServer
from tests.support import PASSWORD, MovableClock, native_client

clock = MovableClock()
server = SmtpServer()
server.port = {server.port}
email = EmailClient(server.config(), transport=server.transport(), clock=clock)
kv = DiskKV({str(folder / "kv")!r}, clock=clock)
auth = native_client({database!r}, clock, kv=kv, email=email, mail_worker={mail_worker})
auth.connect()

def ask(address):
    auth.request_password_recovery(email=address, recovery_url={PAGE!r})

{textwrap.dedent(body)}
"""
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
