"""A real HTTP server on this machine, which answers with what a function says."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.client import NO_CONTENT, responses
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Call", "LoopbackServer", "Reply", "json_reply"]


@dataclass(frozen=True)
class Call:
    """A request as it arrived; names of headers are in small letters."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)
    peer: tuple[str, int] = field(default=("", 0), repr=False)

    @property
    def path(self) -> str:
        """The path, as it was sent."""
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, str]:
        """The query."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @cached_property
    def form(self) -> dict[str, str]:
        """The form that was sent."""
        return dict(parse_qsl(self.content.decode(), keep_blank_values=True))

    @cached_property
    def body(self) -> dict[str, Any]:
        """The JSON object that was sent; empty where nothing was."""
        content = json.loads(self.content or b"{}")
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Reply:
    """An answer; *raw*, where given, is written as it comes, and then the server hangs up."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: Iterator[bytes] | None = None

    def __bytes__(self) -> bytes:
        """The answer as it is sent."""
        lines = [f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status != NO_CONTENT:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def json_reply(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer with JSON."""
    kind = {"Content-Type": "application/json"}
    return Reply(status, json.dumps(data).encode(), {**kind, **(headers or {})})


class LoopbackServer:
    """Serves on the loopback interface until the ``with`` block ends.

    Args:
        answer: Called in a thread of each connection.

    Attributes:
        answer: May be set to another function any time.
        url: Where it is.
        calls: What has arrived, oldest first.
    """

    def __init__(self, answer: Callable[[Call], Reply]) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a client that hangs up, which is what faults are about."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _handler(owner: LoopbackServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing: the output is the tests'."""

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(self.command, self.path, headers, content, self.client_address)
            owner.calls.append(call)
            reply = owner.answer(call)
            self.close_connection = self.close_connection or reply.raw is not None
            for part in [bytes(reply)] if reply.raw is None else reply.raw:
                self.wfile.write(part)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815 - as above

    return Handler
