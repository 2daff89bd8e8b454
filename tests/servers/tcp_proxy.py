"""A proxy on the loopback that breaks connections as networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

__all__ = ["TCPProxy"]


class TCPProxy:
    """Passes bytes between its port and what *reach* connects to.

    Set ``lose_answers`` and the next request is carried out, but its connection is cut instead of
    bringing the answer, that many times. Set ``silent`` and nothing is answered. Set ``delay``, in
    seconds, and both ways take so long.
    """

    def __init__(self, reach: Callable[[], socket.socket]) -> None:
        self.lose_answers = 0
        self.silent = False
        self.delay = 0.0
        self._reach = reach
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.refuse()

    def refuse(self) -> None:
        """Cut all connections and take no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut the connections that are open; new ones are taken."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(*pair)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = self._reach()
            with self._lock:
                self._pairs.append((client, server))
            for job in (self._carry_requests, self._carry_answers):
                threading.Thread(target=job, args=(client, server), daemon=True).start()

    def _carry_requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                time.sleep(self.delay)
                server.sendall(data)
        _close(client, server)

    def _carry_answers(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.silent:
                    continue
                if self.lose_answers:
                    self.lose_answers -= 1
                    break
                time.sleep(self.delay)
                client.sendall(data)
        _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
