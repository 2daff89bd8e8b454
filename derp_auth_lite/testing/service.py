"""A hosted service on this machine: a real HTTP server that remembers calls and fails when told."""

from __future__ import annotations

import abc
import http.server
import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.client import NO_CONTENT, responses
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from .._clock import Clock, utc_now

__all__ = ["Call", "FakeService", "Reply", "json_reply"]


@dataclass(frozen=True)
class Call:
    """A request as it arrived; names of headers are in small letters."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """The path, as it was sent."""
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, str]:
        """The query."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @cached_property
    def body(self) -> dict[str, Any]:
        """The JSON object that was sent; empty where nothing was."""
        content = json.loads(self.content or b"{}")
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Disturbance:
    reply: Reply | None
    delay: float
    truncated: bool
    lost: bool
    path: str
    times: int


def json_reply(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer with JSON."""
    kind = {"Content-Type": "application/json"}
    return Reply(status, json.dumps(data).encode(), {**kind, **(headers or {})})


class FakeService(abc.ABC):
    """Serves :meth:`handle` on the loopback interface until the ``with`` block ends.

    Args:
        clock: Where the service's time comes from; the client's, if that is moved.

    Attributes:
        url: Where it is.
        calls: What has arrived, oldest first; what :meth:`disturb` failed, too.
    """

    def __init__(self, *, clock: Clock = utc_now) -> None:
        self.clock = clock
        self.calls: list[Call] = []
        self._disturbances: list[_Disturbance] = []
        self._lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @abc.abstractmethod
    def handle(self, call: Call) -> Reply:
        """Do what is asked for; one call at a time."""

    def disturb(
        self,
        status: int | None = None,
        body: Any = b"",
        *,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        truncated: bool = False,
        lost: bool = False,
        path: str = "",
        times: int = 1,
    ) -> None:
        """Have the next call fail.

        Args:
            status: Answer so, and do not do what is asked for. Left out: it is done.
            body: With *status*: text, bytes, or what is sent as JSON.
            headers: With *status*.
            delay: Seconds before the answer.
            truncated: Hang up in the middle of the answer.
            lost: Hang up without an answer.
            path: Just calls whose path ends so.
            times: How many calls.
        """
        reply = None if status is None else _reply(status, body, headers)
        self._disturbances.append(_Disturbance(reply, delay, truncated, lost, path, times))

    def last_call(self) -> Call:
        """Return what has arrived last."""
        return self.calls[-1]

    def _disturbance(self, call: Call) -> _Disturbance | None:
        for found in self._disturbances:
            if call.path.endswith(found.path):
                found.times -= 1
                if found.times <= 0:
                    self._disturbances.remove(found)
                return found
        return None

    def _serve(self, call: Call) -> tuple[Reply, int]:
        """Return the answer, and how many bytes of it are to be sent."""
        with self._lock:
            self.calls.append(call)
            found = self._disturbance(call)
            reply = found.reply if found is not None and found.reply else self.handle(call)
        size = len(_head(reply)) + len(reply.body)
        if found is None:
            return reply, size
        time.sleep(found.delay)
        if found.lost:
            return reply, 0
        return reply, size - len(reply.body) // 2 - 1 if found.truncated else size


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a client that hangs up, which is what faults are about."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _handler(owner: FakeService) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing: the output is the tests'."""

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply, size = owner._serve(Call(self.command, self.path, headers, content))
            whole = _head(reply) + reply.body
            self.close_connection = size < len(whole)
            try:
                self.wfile.write(whole[:size])
            except OSError:  # whoever called has hung up meanwhile
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base's names

    return Handler


def _reply(status: int, body: Any, headers: Mapping[str, str] | None) -> Reply:
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes):
        return Reply(status, body, headers or {})
    return json_reply(body, status, headers)


def _head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    if reply.status != NO_CONTENT:
        lines.append(f"Content-Length: {len(reply.body)}")
    return "\r\n".join([*lines, "", ""]).encode()
