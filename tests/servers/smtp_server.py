"""A real SMTP server on the loopback interface, which can be told to misbehave while it runs.

::

    with SmtpServer(tls="starttls", login=("ada", "secret")) as server:
        client = EmailClient(server.config(), transport=server.transport())
        server.answer("rcpt", "451 4.7.1 try again later")    # or hang(), drop(), drip()
        server.heal()
        server.wait_for(1)[0].mail.link
        server.stop(); server.start()                          # down for a while, on the same port

Needs ``aiosmtpd`` and, for TLS, ``trustme``.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, Self

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from derp_auth_lite._mail.smtp import SmtpTransport
from derp_auth_lite._mail.transports import SentMail
from derp_auth_lite.config import EmailConfig

__all__ = ["Received", "SmtpServer", "Step", "client_context"]

Step = Literal["connect", "ehlo", "mail", "rcpt", "data", "quit"]
"""Where a fault strikes; ``data`` is after the whole mail has come, in place of its answer."""

_Fault = Callable[["_Session"], Awaitable[str | None]]


@dataclass(frozen=True)
class Received:
    """A mail as it arrived, with its envelope."""

    sender: str
    recipients: list[str]
    raw: bytes = field(repr=False)
    hello: str
    tls: bool
    user: str | None

    @cached_property
    def mail(self) -> SentMail:
        return SentMail.parse(self.raw)


class SmtpServer:
    """Listens on 127.0.0.1 in a thread of its own; a context manager that starts and stops it.

    Args:
        tls: ``"implicit"`` from the first byte, ``"starttls"``, or ``"none"``.
        login: User and password that a client must give; None lets everybody in.
        host_names: What the certificate says.
    """

    def __init__(
        self,
        *,
        tls: Literal["none", "starttls", "implicit"] = "none",
        login: tuple[str, str] | None = None,
        host_names: tuple[str, ...] = ("127.0.0.1", "localhost"),
    ) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.tls = tls
        self.login = login
        self.received: list[Received] = []
        self.connections = 0
        self._host_names = host_names
        self._faults: dict[str, tuple[_Fault, int | None]] = {}
        self._sessions: set[_Session] = set()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen: on any free port at first, on the same one after a stop."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="smtp server", daemon=True
        )
        self._thread.start()
        assert ready.wait(10), "the SMTP server did not start"

    def stop(self) -> None:
        """Cut all connections and listen no more; a stopped server can be stopped again."""
        if self._thread is None:
            return
        assert self._loop is not None
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        self._thread = None

    def answer(self, step: Step, reply: str, *, times: int | None = None) -> None:
        """Answer *step* with *reply*, such as ``451 try later``; *times* limits how often."""

        async def fault(_: _Session) -> str | None:
            return reply

        self._faults[step] = (fault, times)

    def hang(self, step: Step, *, times: int | None = None) -> None:
        """Never answer *step*."""

        async def fault(_: _Session) -> str | None:
            await asyncio.Event().wait()
            return None

        self._faults[step] = (fault, times)

    def drop(self, step: Step, *, times: int | None = None) -> None:
        """Cut the connection in place of answering *step*; a mail that came whole is kept."""

        async def fault(session: _Session) -> str | None:
            assert session.transport is not None
            session.transport.abort()
            return None

        self._faults[step] = (fault, times)

    def drip(self, step: Step, seconds: float = 0.05, *, times: int | None = None) -> None:
        """Answer *step* without end, a byte at a time, *seconds* apart."""

        async def fault(session: _Session) -> str | None:
            for byte in b"250-" + b"x" * 100_000:
                session.write(bytes([byte]))
                await asyncio.sleep(seconds)
            return None

        self._faults[step] = (fault, times)

    def heal(self) -> None:
        """Behave again."""
        self._faults.clear()

    def wait_for(self, count: int, seconds: float = 10.0) -> list[Received]:
        """Return what was received, as soon as there are *count* mails."""
        until = time.monotonic() + seconds
        while len(self.received) < count:
            assert time.monotonic() < until, f"{len(self.received)} of {count} mails came"
            time.sleep(0.005)
        return list(self.received)

    def config(self, **changed: Any) -> EmailConfig:
        """Return the settings that lead here."""
        user, password = self.login or ("", "")
        settings: dict[str, Any] = {
            "site_name": "Lovelace Notes",
            "site_url": "https://notes.example.com",
            "from_email": "noreply@notes.example.com",
            "smtp_host": self.host,
            "smtp_port": self.port,
            "smtp_user": user,
            "smtp_password": password,
            "use_tls": self.tls == "implicit",
            "start_tls": self.tls == "starttls",
        }
        return EmailConfig(**{**settings, **changed})

    def transport(self, config: EmailConfig | None = None, **limits: Any) -> SmtpTransport:
        """Return a transport that leads here and trusts the server's certificate."""
        context = None if self.tls == "none" else client_context()
        return SmtpTransport(config or self.config(), **{"tls_context": context, **limits})

    async def meet(self, step: Step, session: _Session) -> str | None:
        """Let the fault of *step*, if there is one, have its way; return the reply it wants."""
        fault, times = self._faults.get(step, (None, None))
        if fault is None:
            return None
        if times is not None:
            self._faults[step] = (fault, times - 1)
            if times <= 1:
                del self._faults[step]
        return await fault(session)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        # Clients that go away in the middle are what is tested here, no news.
        self._loop.set_exception_handler(lambda *_: None)
        self._stopping = asyncio.Event()
        server = await self._loop.create_server(
            self._session, self.host, self.port, ssl=self._context("implicit")
        )
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopping.wait()
        server.close()
        # A connection that was just taken has its transport a round later, and an aborted one
        # closes in the round after that.
        for _ in range(5):
            for session in list(self._sessions):
                if session.transport is not None:
                    session.transport.abort()
            await asyncio.sleep(0.002)

    def _session(self) -> _Session:
        session = _Session(
            self,
            loop=asyncio.get_running_loop(),
            hostname="mail.test",
            tls_context=self._context("starttls"),
            require_starttls=self.tls == "starttls",
            auth_require_tls=self.tls == "starttls",
            authenticator=self._authenticate,
        )
        self._sessions.add(session)
        return session

    def _authenticate(self, *given: Any) -> AuthResult:
        data = given[-1]
        assert isinstance(data, LoginPassword)
        found = (data.login.decode(), data.password.decode())
        return AuthResult(success=found == self.login, handled=False, auth_data=found[0])

    def _context(self, kind: str) -> ssl.SSLContext | None:
        return _server_context(self._host_names) if self.tls == kind else None


class _Session(SMTP):
    """One connection. Each step first asks the server whether it should go wrong."""

    def __init__(self, server: SmtpServer, **settings: Any) -> None:
        self._server = server
        super().__init__(_Handler(server), **settings)

    async def _handle_client(self) -> None:
        self._server.connections += 1
        reply = await self._server.meet("connect", self)
        if reply is not None:
            await self.push(reply)
            self.transport.close()
        elif self.transport is not None:
            await super()._handle_client()

    def write(self, data: bytes) -> None:
        self._writer.write(data)


class _Handler:
    def __init__(self, server: SmtpServer) -> None:
        self._server = server

    async def handle_EHLO(
        self, session: Any, state: Any, _: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        state.host_name = hostname
        reply = await self._server.meet("ehlo", session)
        return responses if reply is None else [reply]

    async def handle_HELO(self, session: Any, state: Any, _: Any, hostname: str) -> str:
        state.host_name = hostname
        return await self._server.meet("ehlo", session) or "250 mail.test"

    async def handle_MAIL(
        self, session: Any, state: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        reply = await self._server.meet("mail", session)
        if reply is None and self._server.login is not None and not state.authenticated:
            return "530 5.7.0 Authentication required"
        if reply is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply or "250 OK"

    async def handle_RCPT(
        self, session: Any, _: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        reply = await self._server.meet("rcpt", session)
        if reply is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return reply or "250 OK"

    async def handle_DATA(self, session: Any, state: Any, envelope: Any) -> str:
        received = Received(
            sender=envelope.mail_from,
            recipients=list(envelope.rcpt_tos),
            raw=envelope.content,
            hello=state.host_name,
            tls=session.transport.get_extra_info("ssl_object") is not None,
            user=state.auth_data if state.authenticated else None,
        )
        reply = await self._server.meet("data", session)
        if reply is None:
            self._server.received.append(received)
        return reply or "250 OK"

    async def handle_QUIT(self, session: Any, *_: Any) -> str:
        return await self._server.meet("quit", session) or "221 Bye"


@lru_cache(maxsize=1)
def _authority() -> trustme.CA:
    return trustme.CA()


@lru_cache(maxsize=8)
def _server_context(host_names: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _authority().issue_cert(*host_names).configure_cert(context)
    return context


@lru_cache(maxsize=1)
def client_context() -> ssl.SSLContext:
    """Return a context that trusts the servers of this file, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority().configure_trust(context)
    return context
