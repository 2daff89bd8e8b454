"""What the mail client says to a mail server, and what it makes of the answers."""

from __future__ import annotations

import smtplib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from derp_auth_lite._mail.smtp import SmtpTransport
from derp_auth_lite.config import EmailConfig
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import ConfigError, EmailSendError

from .servers.smtp_server import SmtpServer, client_context

LINK = "https://notes.example.com/confirm?token=a-token"


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


def client(server: SmtpServer, config: EmailConfig | None = None, **limits: Any) -> EmailClient:
    config = config or server.config()
    return EmailClient(config, transport=server.transport(config, **limits))


def send(email: EmailClient, to_email: str = "ada@example.com") -> None:
    email.send_email(
        subject="Confirm your email address", to_email=to_email, template="confirmation", url=LINK
    )


def refused(email: EmailClient) -> EmailSendError:
    with pytest.raises(EmailSendError) as caught:
        send(email)
    assert caught.value.__cause__ is not None
    return caught.value


class TestSending:
    def test_the_server_receives_the_mail(self, server):
        send(EmailClient(server.config()))

        (received,) = server.received
        assert received.sender == "noreply@notes.example.com"
        assert received.recipients == ["ada@example.com"]
        assert received.mail.subject == "Confirm your email address"
        assert received.mail.link == LINK

    def test_the_machine_calls_itself_by_the_senders_domain(self, server):
        """No look-up of the machine's own name, which can take long and says where we run."""
        send(client(server))

        assert server.received[0].hello == "notes.example.com"

    def test_a_line_that_is_a_dot_arrives_whole(self, server, tmp_path):
        """A dot alone would end the mail, RFC 5321, section 4.5.2."""
        (tmp_path / "dots.html").write_text("<p>before</p>\n.\n<p>after</p>\n..\n")
        (tmp_path / "dots.txt").write_text("before\n.\n..\nafter")
        email = client(server, server.config(templates_dir=str(tmp_path)))

        email.send_email(subject="Dots", to_email="ada@example.com", template="dots")

        assert server.received[0].mail.text.splitlines() == ["before", ".", "..", "after"]

    def test_the_wire_carries_seven_bits_and_short_lines(self, server):
        email = client(server, server.config(site_name="Zürich 📓 " * 20))

        send(email)

        raw = server.received[0].raw
        assert raw.isascii()
        assert max(map(len, raw.splitlines())) <= 998

    @pytest.mark.parametrize("tls", ["implicit", "starttls"])
    def test_tls_covers_login_and_mail(self, tls):
        with SmtpServer(tls=tls, login=("ada", "pa ss")) as server:
            send(client(server))

            (received,) = server.received
            assert received.tls
            assert received.user == "ada"

    def test_a_login_on_the_same_machine_needs_no_tls(self):
        with SmtpServer(login=("ada", "secret")) as server:
            send(client(server))

            assert server.received[0].user == "ada"

    def test_without_a_user_there_is_no_login(self):
        with SmtpServer(tls="starttls") as server:
            send(client(server))

            assert server.received[0].user is None

    def test_many_threads_share_one_client(self, server):
        email = client(server)
        threads = [
            threading.Thread(target=send, args=(email, f"user{number}@example.com"))
            for number in range(8)
        ]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        recipients = sorted(received.recipients[0] for received in server.received)
        assert recipients == sorted(f"user{number}@example.com" for number in range(8))


class TestTrust:
    @pytest.mark.parametrize("tls", ["implicit", "starttls"])
    def test_an_unknown_authority_gets_nothing(self, tls):
        with SmtpServer(tls=tls, login=("ada", "secret")) as server:
            error = refused(EmailClient(server.config()))

            assert isinstance(error.__cause__, ssl.SSLError)
            assert not error.permanent
            assert server.received == []

    @pytest.mark.parametrize("tls", ["implicit", "starttls"])
    def test_a_certificate_for_another_host_gets_nothing(self, tls):
        with SmtpServer(tls=tls, host_names=("localhost",)) as server:  # we ask for 127.0.0.1
            error = refused(client(server))

            assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
            assert server.received == []

    def test_a_server_that_offers_no_starttls_gets_nothing(self, server):
        """Somebody in between can strike the offer out: no mail in the clear for that."""
        config = server.config(start_tls=True, smtp_user="ada", smtp_password="secret")

        error = refused(client(server, config))

        assert isinstance(error.__cause__, smtplib.SMTPNotSupportedError)
        assert server.received == []

    def test_tls_towards_a_server_without_it_fails(self, server):
        error = refused(client(server, server.config(use_tls=True), tls_context=client_context()))

        assert not error.permanent

    def test_a_password_never_travels_bare_to_another_machine(self, server):
        with pytest.raises(ConfigError, match="use_tls or start_tls"):
            EmailClient(server.config(smtp_host="mail.example.com", smtp_user="ada"))

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
    def test_loopback_is_this_machine(self, server, host):
        SmtpTransport(server.config(smtp_host=host, smtp_user="ada"))

    def test_a_login_that_smtp_cannot_carry_is_a_matter_of_configuration(self, server):
        with pytest.raises(ConfigError, match="ASCII") as caught:
            EmailClient(server.config(smtp_user="ada", smtp_password="pässword"))

        assert "pässword" not in str(caught.value)


class TestRefusals:
    @pytest.mark.parametrize("step", ["rcpt", "data"])
    def test_5xx_about_this_mail_is_permanent(self, server, step):
        server.answer(step, "550 5.1.1 <ada@example.com> unknown")

        error = refused(client(server))

        assert error.permanent
        assert "550" in str(error)
        assert "ada@example.com" not in str(error)

    @pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data"])
    def test_4xx_is_worth_another_attempt(self, server, step):
        server.answer(step, "451 4.7.1 greylisted")

        assert not refused(client(server)).permanent

        server.heal()
        send(client(server))
        assert len(server.received) == 1

    @pytest.mark.parametrize("step", ["connect", "ehlo", "mail"])
    def test_5xx_about_us_is_worth_another_attempt(self, server, step):
        """A server that shuts us out may let us in once the settings are mended."""
        server.answer(step, "554 5.7.1 no service for you")

        assert not refused(client(server)).permanent

    def test_a_missing_login_is_worth_another_attempt(self, server):
        server.answer("rcpt", "530 5.7.0 Authentication required")

        assert not refused(client(server)).permanent

    @pytest.mark.parametrize("tls", ["implicit", "starttls"])
    def test_a_wrong_password_is_worth_another_attempt_and_shows_nowhere(self, tls):
        with SmtpServer(tls=tls, login=("ada", "secret")) as server:
            error = refused(client(server, server.config(smtp_password="wr0ng-password")))

            assert isinstance(error.__cause__, smtplib.SMTPAuthenticationError)
            assert not error.permanent
            assert "wr0ng-password" not in str(error) + str(error.__cause__)

    def test_the_reason_is_chained(self, server):
        server.answer("rcpt", "550 5.1.1 no mailbox")

        cause = refused(client(server)).__cause__

        assert isinstance(cause, smtplib.SMTPResponseException)
        assert cause.smtp_error == b"5.1.1 no mailbox"


class TestFaults:
    def test_a_server_that_is_down_is_worth_another_attempt(self, server):
        server.stop()
        assert not refused(client(server)).permanent

        server.start()
        send(client(server))
        assert len(server.received) == 1

    def test_a_host_that_does_not_exist_is_worth_another_attempt(self, server):
        error = refused(EmailClient(server.config(smtp_host="mail.invalid")))

        assert not error.permanent
        assert isinstance(error.__cause__, OSError)

    @pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data"])
    def test_a_server_that_falls_silent_is_left_in_time(self, server, step):
        server.hang(step)
        before = time.monotonic()

        limits = {"connect_timeout": 0.2 if step == "connect" else 20, "reply_timeout": 0.2}
        error = refused(client(server, **limits))

        assert not error.permanent
        assert time.monotonic() - before < 2

    @pytest.mark.parametrize("step", ["connect", "rcpt", "data"])
    def test_a_server_that_drips_is_left_in_time(self, server, step):
        """Each byte begins a socket's time-out anew; the limit for the whole does not care."""
        server.drip(step, seconds=0.02)
        before = time.monotonic()

        error = refused(client(server, time_limit=0.5))

        assert ("may have arrived" if step == "data" else "too long") in str(error)
        assert not error.permanent
        assert time.monotonic() - before < 2

    @pytest.mark.parametrize("start_tls", [True, False])
    def test_a_tls_handshake_that_never_ends_is_left_in_time(self, start_tls):
        with _SilentTls(greets=start_tls) as port:
            config = SmtpServer().config(smtp_port=port, start_tls=start_tls, use_tls=not start_tls)
            before = time.monotonic()

            error = refused(
                EmailClient(
                    config, transport=SmtpTransport(config, time_limit=0.4, connect_timeout=20)
                )
            )

            assert "too long" in str(error)
            assert time.monotonic() - before < 2

    @pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt"])
    def test_a_connection_cut_before_the_mail_is_worth_another_attempt(self, server, step):
        server.drop(step, times=1)

        assert not refused(client(server)).permanent

        send(client(server))
        assert len(server.received) == 1

    def test_a_connection_cut_after_the_mail_leaves_the_outcome_open(self, server):
        """Sending again under the same Message-ID gives two copies of one mail, never none."""
        server.drop("data", times=1)
        email = client(server)
        message = email.compose(
            template="confirmation", to_email="ada@example.com", variables={"url": LINK}
        )

        with pytest.raises(EmailSendError, match="may have arrived") as caught:
            email.deliver(message, "ada@example.com")
        email.deliver(message, "ada@example.com")

        assert not caught.value.permanent
        first, second = server.received
        assert first.raw == second.raw
        assert first.mail.message_id == second.mail.message_id

    @pytest.mark.parametrize("fault", ["hang", "drop", "drip"])
    def test_a_goodbye_that_fails_does_not_unsend_the_mail(self, server, fault):
        getattr(server, fault)("quit")
        before = time.monotonic()

        send(client(server))

        assert len(server.received) == 1
        assert time.monotonic() - before < 3

    def test_nothing_stays_open(self, server):
        """Whatever goes wrong, connection and timer are closed: a leak is an error here."""
        before = threading.active_count()
        for step in ("connect", "ehlo", "mail", "rcpt", "data"):
            server.answer(step, "421 closing")
            refused(client(server))
            server.heal()
        send(client(server))

        assert threading.active_count() == before
        assert len(server.received) == 1

    @pytest.mark.skipif(sys.platform != "linux", reason="limits the number of open files")
    def test_a_process_out_of_files_gets_a_typed_error_and_recovers(self):
        import resource

        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = SmtpServer().config(smtp_port=listener.getsockname()[1])
            email = EmailClient(config, transport=SmtpTransport(config, connect_timeout=0.2))
            refused(email)  # silence: all that is loaded on demand is loaded now
            with socket.socket() as probe:
                free = probe.fileno()
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            for left in (0, 1):
                resource.setrlimit(resource.RLIMIT_NOFILE, (free + left, hard))
                try:
                    error = refused(email)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert isinstance(error.__cause__, OSError)
                assert not error.permanent
            with socket.socket() as probe:
                assert probe.fileno() == free, "nothing stayed open"


class _SilentTls:
    """Takes a connection, offers STARTTLS if asked to greet, and never shakes hands."""

    def __init__(self, *, greets: bool) -> None:
        self._greets = greets
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        return self._listener.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            if self._greets:
                connection.sendall(b"220 mail.test\r\n")
                connection.recv(1000)
                connection.sendall(b"250-mail.test\r\n250 STARTTLS\r\n")
                connection.recv(1000)
                connection.sendall(b"220 go on\r\n")
            while connection.recv(1000):
                pass
