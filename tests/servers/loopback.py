"""The kit's HTTP server on the loopback interface, and what tests need of it beside."""

from __future__ import annotations

import socket
import ssl

from derp_auth_lite.testing import _loopback
from derp_auth_lite.testing._loopback import Call, Reply, json_reply

__all__ = ["Call", "LoopbackServer", "Reply", "free_port", "json_reply"]


class LoopbackServer(_loopback.LoopbackServer):
    """The kit's server, which speaks TLS too."""

    def speak_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from the first byte; belongs before the ``with`` block."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        """Return ``"GET /path"`` of every call, in order."""
        return [f"{call.method} {call.path}" for call in self.calls]


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
