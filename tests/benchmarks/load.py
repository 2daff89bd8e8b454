"""Load on a server of this machine: as many requests as it answers, each over a new connection."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_CLIENTS = 4


@contextlib.contextmanager
def gunicorn(application: str, folder: Path, *, workers: int = 4) -> Iterator[int]:
    """Serve ``module:application`` of *folder*; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-w", str(workers), "-b", f"127.0.0.1:{port}",
         "--chdir", str(folder), "--log-level", "warning", application]
    )  # fmt: skip
    try:
        _wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(30)


def requests_a_second(port: int, path: str, cookie: str, *, seconds: float = 2) -> float:
    """Ask for *path* over and over; return how many answers a second came.

    ``wrk`` is the smaller load of the two, so it is taken where it is installed.
    """
    if shutil.which("wrk"):
        return _by_wrk(f"http://127.0.0.1:{port}{path}", cookie, seconds)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        jobs = [(port, path, cookie, seconds)] * 2
        return sum(pool.starmap(_ask, jobs)) / seconds


def _by_wrk(url: str, cookie: str, seconds: float) -> float:
    arguments = ["-t1", f"-c{_CLIENTS}", f"-d{seconds:.0f}s", "-H", f"Cookie: {cookie}", url]
    printed = subprocess.run(["wrk", *arguments], capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in printed, printed
    found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    assert found is not None, printed
    return float(found[1])


def _ask(port: int, path: str, cookie: str, seconds: float) -> int:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nCookie: {cookie}\r\n\r\n".encode()
    until, answers = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(8192), b""))
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        answers += 1
    return answers


def _wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.05)
        else:
            return
