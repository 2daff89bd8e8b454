"""Poolers that give each transaction another connection: PgBouncer, and a strict one in Python."""

from __future__ import annotations

import contextlib
import os
import queue
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")

_NO_TLS = {80877103, 80877104}  # requests for TLS and for GSSAPI, both answered by "N"
_REPORTED = (
    "server_version",
    "client_encoding",
    "standard_conforming_strings",
    "DateStyle",
    "TimeZone",
)
_CONNECTIONS = 4


class Pooler:
    """A pooler in transaction mode that never gives a client the same connection twice in turn.

    What a client leaves on a connection is there for the next one, as with PgBouncer before 1.21.
    """

    def __init__(self, url: str) -> None:
        self.servers = [psycopg.connect(url, autocommit=True) for _ in range(_CONNECTIONS)]
        self._free: queue.Queue[socket.socket] = queue.Queue()
        for server in self.servers:
            self._free.put(socket.socket(fileno=os.dup(server.fileno())))
        for each in list(self._free.queue):
            each.setblocking(True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        parts = urlsplit(url)
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{parts.username}:x@127.0.0.1:{port}{parts.path}?sslmode=disable"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End the pooler and its connections."""
        self._listener.close()
        for server in list(self._free.queue):
            server.close()
        for connection in self.servers:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError, EOFError), client:
            self._greet(client)
            while self._pass_transaction(client):
                pass

    def _greet(self, client: socket.socket) -> None:
        while True:
            length, code = struct.unpack("!II", _exactly(client, 8))
            _exactly(client, length - 8)
            if code not in _NO_TLS:
                break
            client.sendall(b"N")
        client.sendall(_message(b"R", struct.pack("!I", 0)))
        for name in _REPORTED:
            value = self.servers[0].pgconn.parameter_status(name.encode()) or b""
            client.sendall(_message(b"S", name.encode() + b"\0" + value + b"\0"))
        client.sendall(_message(b"K", random.randbytes(8)) + _message(b"Z", b"I"))

    def _pass_transaction(self, client: socket.socket) -> bool:
        """Pass one transaction on to a connection; ``False`` at the client's farewell."""
        kind, message = _next(client)
        if kind == b"X":
            return False
        server, status = self._free.get(), b""
        try:
            while status != b"I":
                server.sendall(message)
                if kind in {b"Q", b"S"}:
                    status = _pass_answers(server, client)
                    if status == b"I":
                        break
                kind, message = _next(client)
        except BaseException:
            server.close()  # the server ended it, or the client left in the middle
            raise
        self._free.put(server)
        return True


def _pass_answers(server: socket.socket, client: socket.socket) -> bytes:
    """Pass answers back until the server is ready; return the state of its transaction."""
    while True:
        kind, message = _next(server)
        client.sendall(message)
        if kind == b"Z":
            return message[-1:]


def _next(peer: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(peer, 5)
    return head[:1], head + _exactly(peer, struct.unpack("!I", head[1:])[0] - 4)


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = peer.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


@contextlib.contextmanager
def running_pooler(url: str) -> Iterator[str]:
    """Yield the URL of the pooler in Python before *url*; at the end nothing may be left behind."""
    pooler = Pooler(url)
    try:
        yield pooler.url
        for server in pooler.servers:
            with contextlib.suppress(psycopg.Error):  # one that the server has ended
                left = server.execute(
                    "SELECT name FROM pg_prepared_statements"
                    " UNION ALL SELECT name FROM pg_settings WHERE source = 'session'"
                ).fetchall()
                assert left == [], "something outlived a transaction"
    finally:
        pooler.close()


@contextlib.contextmanager
def running_pgbouncer(url: str) -> Iterator[str]:
    """Yield the URL of a PgBouncer in transaction mode before *url*."""
    assert PGBOUNCER is not None
    parts = urlsplit(url)
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    host = options.get("host") or parts.hostname or "127.0.0.1"
    port = options.get("port") or parts.port or 5432
    with tempfile.TemporaryDirectory(prefix="pgb-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        listen = _free_port()
        (folder / "users").write_text(f'"{parts.username}" "{unquote(parts.password or "")}"\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host={host} port={port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder / 'users'}\n"
            f"pool_mode = transaction\ndefault_pool_size = {_CONNECTIONS}\n"
            + (f"user = {_owner(str(host), port)}\n" if os.getuid() == 0 else "")
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([PGBOUNCER, str(folder / "ini")], stdout=log, stderr=log)
        try:
            found = f"postgresql://{parts.username}:x@127.0.0.1:{listen}{parts.path}"
            _wait_for(found, process, folder / "log")
            yield found
        finally:
            process.terminate()
            process.wait(timeout=10)


def _owner(host: str, port: object) -> str:
    """Return whom PgBouncer runs as, since it will not be root: whoever may reach the server."""
    import pwd  # Windows has none

    if not host.startswith("/"):
        return "nobody"
    return pwd.getpwuid((Path(host) / f".s.PGSQL.{port}").stat().st_uid).pw_name


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.Error:
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"PgBouncer did not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
