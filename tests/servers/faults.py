"""What a broken service sends instead of an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from .loopback import Call, Reply

__all__ = ["FAULTS"]

_SLOW = 0.05
_LONG = 30.0


def _drip(head: bytes, drop: bytes) -> Iterator[bytes]:
    yield head
    end = time.monotonic() + _LONG
    while time.monotonic() < end:
        time.sleep(_SLOW)
        yield drop


def _silence() -> Iterator[bytes]:
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        time.sleep(_SLOW)
    yield b""


def _huge() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n["
    for _ in range(160):
        yield b"1," * 32_768


FAULTS: dict[str, Callable[[Call], Reply]] = {
    "slow drip of the body": lambda _: Reply(
        raw=_drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", b" ")
    ),
    "slow drip of a chunked body": lambda _: Reply(
        raw=_drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")
    ),
    "slow drip of the headers": lambda _: Reply(raw=_drip(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")),
    "slow drip of one header line": lambda _: Reply(raw=_drip(b"HTTP/1.1 200 OK\r\nX-A: ", b"b")),
    "no answer": lambda _: Reply(raw=_silence()),
    "hang-up": lambda _: Reply(raw=iter([b""])),
    "half a header": lambda _: Reply(raw=iter([b"HTTP/1.1 2"])),
    "no HTTP": lambda _: Reply(raw=iter([b"SSH-2.0-OpenSSH_9.9\r\n"])),
    "HTML": lambda _: Reply(
        200, b"<html><h1>Welcome to the hotel</h1></html>", {"Content-Type": "text/html"}
    ),
    "10 MB": lambda _: Reply(raw=_huge()),
    "redirect": lambda _: Reply(302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}),
    "truncated JSON": lambda _: Reply(200, b'{"access_token": "abc", "sub": "1", "id": 1, "ke'),
    "body cut short": lambda _: Reply(
        raw=iter([b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"id": 1}'])
    ),
    "rubbish": lambda _: Reply(200, bytes(range(256))),
    "a JSON string": lambda _: Reply(200, b'"yes"'),
    "nothing": lambda _: Reply(200, b""),
    "deep JSON": lambda _: Reply(200, b"[" * 200_000),
    "lone surrogate": lambda _: Reply(200, b'{"id": 1, "sub": "\\ud800", "access_token": "x"}'),
    "gzip": lambda _: Reply(200, b"\x1f\x8b\x08", {"Content-Encoding": "gzip"}),
    "500 in HTML": lambda _: Reply(500, b"<html>Internal Server Error</html>"),
    "503": lambda _: Reply(503, b"{}"),
    "429": lambda _: Reply(429, b"{}", {"Retry-After": "3600"}),
}
"""Name of the fault -> what the server does with a call."""
