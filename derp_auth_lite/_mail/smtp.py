"""Hands mails to a mail server (RFC 5321), one connection a mail."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..exceptions import ConfigError, EmailSendError
from .message import to_bytes

if TYPE_CHECKING:
    from email.message import Message

__all__ = ["SmtpSettings", "SmtpTransport"]

# RFC 4954, section 6: what is wrong is the login, not the mail.
_LOGIN_REPLIES = frozenset({530, 534, 535, 538})
_GOODBYE = 1.0  # seconds


class SmtpSettings(Protocol):
    """The part of an EmailConfig that says how the server is reached."""

    @property
    def smtp_host(self) -> str: ...
    @property
    def smtp_port(self) -> int: ...
    @property
    def smtp_user(self) -> str: ...
    @property
    def smtp_password(self) -> str: ...
    @property
    def use_tls(self) -> bool: ...
    @property
    def start_tls(self) -> bool: ...


class SmtpTransport:
    """Sends through an SMTP server.

    The server's certificate is verified, and a server that offers no STARTTLS gets nothing when
    ``start_tls`` is set. An empty ``smtp_user`` means no login.

    Args:
        settings: An EmailConfig.
        tls_context: In place of ``ssl.create_default_context()``, for a private authority.
        connect_timeout: Seconds until a connection must stand.
        reply_timeout: Seconds until each reply must come.
        time_limit: Seconds for everything, also for a server that drips a byte at a time.

    Raises:
        ConfigError: A password would travel in the clear to another machine, or is not ASCII.
    """

    def __init__(
        self,
        settings: SmtpSettings,
        *,
        tls_context: ssl.SSLContext | None = None,
        connect_timeout: float = 10.0,
        reply_timeout: float = 30.0,
        time_limit: float = 60.0,
    ) -> None:
        self._address = (settings.smtp_host, settings.smtp_port)
        self._login = (settings.smtp_user, settings.smtp_password)
        self._use_tls = settings.use_tls
        self._start_tls = settings.start_tls
        self._tls_context = tls_context
        self._connect_timeout = connect_timeout
        self._reply_timeout = reply_timeout
        self._time_limit = time_limit
        _check_login(settings)

    def send(self, message: Message, *, sender: str, recipient: str) -> None:
        """Hand *message* over for *recipient*; return when the server has taken it.

        Raises:
            EmailSendError: The server could not be reached, refused, fell silent or went away; the
                cause is chained. ``permanent`` is True where it refused this recipient or this
                message for good (5xx).
        """
        data = to_bytes(message)
        with _Deadline(self._time_limit) as deadline, self._connected(sender, deadline) as smtp:
            _accept("sender", smtp.mail(sender), final=False)
            _accept("recipient", smtp.rcpt(recipient), final=True)
            _accept("message", _send_data(smtp, data), final=True)

    @contextmanager
    def _connected(self, sender: str, deadline: _Deadline) -> Iterator[smtplib.SMTP]:
        smtp = _Connection(
            # Its own name for the machine would be a look-up that can take long.
            local_hostname=sender.rpartition("@")[2],
            timeout=self._connect_timeout,
            deadline=deadline,
            tls_context=self._context() if self._use_tls else None,
        )
        try:
            self._open(smtp)
            yield smtp
        except EmailSendError:
            raise
        except _FAILURES as error:
            raise _failure(error, expired=deadline.expired) from error
        finally:
            _leave(smtp, deadline)

    def _open(self, smtp: _Connection) -> None:
        code, reply = smtp.connect(*self._address)
        if code != 220:
            raise smtplib.SMTPConnectError(code, reply)
        smtp.wait_for_replies(self._reply_timeout)
        smtp.ehlo_or_helo_if_needed()
        if self._start_tls:
            smtp.starttls(context=self._context())
            smtp.ehlo()
        if self._login[0]:
            smtp.login(*self._login)

    def _context(self) -> ssl.SSLContext:
        if self._tls_context is None:
            self._tls_context = ssl.create_default_context()
        return self._tls_context


# ValueError: smtplib's CRAM-MD5 where the system forbids MD5.
_FAILURES = (OSError, smtplib.SMTPException, ValueError)


class _Deadline:
    """Cuts a connection when the time is over, whatever it is waiting for.

    A socket's own time-out begins anew with every byte, so a server could drip for hours.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._lock = Lock()
        self._socket: socket.socket | None = None
        self._timer = self._started(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def reset(self, seconds: float) -> None:
        """Begin anew, with another limit."""
        self._stop()
        self._timer = self._started(seconds)

    def guard(self, connection: socket.socket) -> None:
        """Hold a second handle: wrapping in TLS takes the first one away from its object."""
        with self._lock:
            self._socket = connection.dup()
            if self.expired:
                _cut(self._socket)

    def _started(self, seconds: float) -> Timer | None:
        timer = Timer(seconds, self._expire)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            # Python 3.12 starts no thread while it ends: the time-outs of single replies must do.
            return None
        return timer

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            if self._socket is not None:
                _cut(self._socket)


class _Connection(smtplib.SMTP):
    """An SMTP connection under a deadline, with TLS from the first byte where wanted."""

    def __init__(
        self,
        *,
        local_hostname: str,
        timeout: float,
        deadline: _Deadline,
        tls_context: ssl.SSLContext | None,
    ) -> None:
        self._deadline = deadline
        self._tls_context = tls_context
        super().__init__(local_hostname=local_hostname, timeout=timeout)

    def connect(
        self, host: str = "localhost", port: int = 0, source_address: Any = None
    ) -> tuple[int, bytes]:
        """Connect, remembering the host: TLS verifies its name."""
        self._host = host
        return super().connect(host, port, source_address)

    def wait_for_replies(self, seconds: float) -> None:
        """Set how long each reply may take."""
        if self.sock is not None:
            self.sock.settimeout(seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = socket.create_connection((host, port), timeout)
        try:
            self._deadline.guard(connection)
            if self._tls_context is None:
                return connection
            return self._tls_context.wrap_socket(connection, server_hostname=host)
        except (OSError, ValueError):
            connection.close()
            raise


def _send_data(smtp: smtplib.SMTP, data: bytes) -> tuple[int, bytes]:
    try:
        return smtp.data(data)
    except smtplib.SMTPDataError as error:
        return error.smtp_code, _as_bytes(error.smtp_error)
    except smtplib.SMTPServerDisconnected as error:
        raise EmailSendError(
            "The mail server went away while it took the mail, which may have arrived"
        ) from error


def _accept(what: str, reply: tuple[int, bytes], *, final: bool) -> None:
    """Raise unless the server said yes.

    Args:
        what: What it was asked to take.
        reply: Its code and text. The text may hold addresses: it is chained, not shown.
        final: A 5xx is about this mail, so that trying again is of no use.
    """
    code, text = reply
    if code in {250, 251}:
        return
    permanent = final and 500 <= code < 600 and code not in _LOGIN_REPLIES
    answer = smtplib.SMTPResponseException(code, text)
    raise EmailSendError(
        f"The mail server refused the {what} ({code})", permanent=permanent
    ) from answer


def _failure(error: Exception, *, expired: bool) -> EmailSendError:
    if expired:
        return EmailSendError("The mail server took too long")
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return EmailSendError(f"The mail server refused the login ({error.smtp_code})")
    if isinstance(error, smtplib.SMTPResponseException):
        return EmailSendError(f"The mail server refused the connection ({error.smtp_code})")
    if isinstance(error, ssl.SSLError):
        return EmailSendError("The mail server's TLS could not be trusted")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return EmailSendError("The mail server does not offer what the settings ask for")
    return EmailSendError("The mail server could not be reached, or went away")


def _leave(smtp: _Connection, deadline: _Deadline) -> None:
    """Say goodbye, if there is still somebody to say it to. What was accepted stays accepted."""
    try:
        if smtp.sock is not None:
            deadline.reset(_GOODBYE)
            smtp.quit()
    except (OSError, smtplib.SMTPException):
        pass
    finally:
        smtp.close()


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was faster


def _as_bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")


def _check_login(settings: SmtpSettings) -> None:
    if not settings.smtp_user:
        return
    if not (settings.use_tls or settings.start_tls or _is_loopback(settings.smtp_host)):
        raise ConfigError(
            "EmailConfig.smtp_user needs use_tls or start_tls: a password must not travel bare"
        )
    if not (settings.smtp_user + settings.smtp_password).isascii():
        raise ConfigError("EmailConfig.smtp_user and smtp_password must be ASCII")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
