"""Takes away what a process lives on: room on the disk, the right to write, file descriptors.

Run as ``python -m tests.faults.shortages SHORTAGE DATABASE FOLDER FULL``, in a process of its own,
since limits hold for a whole process. The output is one JSON line: how many rounds there were, in
how many of them the shortage was felt, what went wrong, and the longest call in seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from derp_auth_lite.config import ThrottleConfig
from derp_auth_lite.exceptions import AuthError
from derp_auth_lite.kv.disk import DiskKV

from ..support import MovableClock, native_client
from . import NOBODY, PLENTY, invariants, scenarios

with contextlib.suppress(ImportError):  # Windows has no such limits
    import resource

PAGE = 4096
FEW = [
    scenarios.SignUp,
    scenarios.SignIn,
    scenarios.Refresh,
    scenarios.ResetPassword,
    scenarios.CreateOrg,
]

Degree = contextlib.AbstractContextManager[None]
Degrees = Callable[[Any, Path], Iterable[Degree]]


@dataclasses.dataclass
class Outcome:
    """What came of the rounds."""

    rounds: int = 0
    felt: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    worst: float = 0.0


def client(database: str, folder: Path) -> Any:
    """Return a client on which everything is on, with limits that count and never close."""
    clock = MovableClock()
    return native_client(
        database,
        clock,
        kv=DiskKV(folder / "kv", clock=clock),
        throttle=ThrottleConfig(**PLENTY),
        enable_confirmation=True,
        enable_magic_link=True,
    )


def try_all(auth: Any, kinds: Iterable[Any], folder: Path, degrees: Degrees) -> Outcome:
    """Do each act under every degree of a shortage; afterwards it can be done again."""
    outcome = Outcome()
    for kind in kinds:
        first = kind(auth)
        first.act()  # what is loaded on demand is loaded while it can be
        first.is_done()
        count = len(list(degrees(auth, folder)))
        for number in range(count):
            _try(auth, kind(auth), lambda at=number: list(degrees(auth, folder))[at], outcome)
    invariants.check(auth)
    return outcome


def _try(auth: Any, scenario: Any, degree: Callable[[], Degree], outcome: Outcome) -> None:
    outcome.rounds += 1
    found: list[BaseException] = []
    with degree():
        began = time.perf_counter()
        # A thread of its own, so that it opens what it needs.
        worker = threading.Thread(target=_carry, args=(scenario.act, found))
        worker.start()
        worker.join()
        outcome.worst = max(outcome.worst, time.perf_counter() - began)
    outcome.felt += bool(found)
    name = f"{type(scenario).__name__}, round {outcome.rounds}"
    if found and not isinstance(found[0], AuthError):
        outcome.wrong.append(f"{name}: {found[0]!r}")
    try:
        done = scenario.is_done()
        if not done and not found:
            outcome.wrong.append(f"{name}: what was acknowledged was not done")
        if not done:
            scenario.again()
            assert scenario.is_done(), "it cannot be done any more"
    except (AssertionError, AuthError) as error:
        outcome.wrong.append(f"{name}: {error!r}")


def _carry(act: Callable[[], Any], found: list[BaseException]) -> None:
    try:
        act()
    except Exception as error:
        found.append(error)


def file_size(_: Any, folder: Path) -> Iterator[Degree]:
    """No file may grow beyond a size: none at all, or by a few pages more."""
    sizes = {path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    limits = {0} | {size + pages * PAGE for size in sizes for pages in range(4)}
    return (_limited(resource.RLIMIT_FSIZE, limit) for limit in sorted(limits))


def disk_full(_: Any, folder: Path) -> Iterator[Degree]:
    """The folder's file system is full, but for a few pages."""
    return (_filled(folder, pages * PAGE) for pages in range(10))


def no_pages(_: Any, folder: Path) -> Iterator[Degree]:
    """SQLite takes the disk for full, which needs no right to mount: a table has no room left."""
    tables = ("auth_events", "auth_sessions", "auth_users")
    return (_few_pages(folder, table, pages) for table in tables for pages in range(3))


def descriptors(auth: Any, _: Path) -> Iterator[Degree]:
    """A few file descriptors are left, or none."""
    return (_few_descriptors(auth, left) for left in range(8))


def read_only(auth: Any, folder: Path) -> Iterator[Degree]:
    """The files, their folders, or both, belong to somebody else and cannot be written."""
    modes = [(0o555, 0o444), (0o755, 0o444), (0o555, 0o666), (0o555, 0o000)]
    return (_without_rights(auth, folder, *each) for each in modes)


SHORTAGES: dict[str, Degrees] = {
    "file size": file_size,
    "disk full": disk_full,
    "no page left": no_pages,
    "descriptors": descriptors,
    "read-only": read_only,
}


@contextlib.contextmanager
def _limited(what: int, limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


@contextlib.contextmanager
def _filled(folder: Path, left: int) -> Iterator[None]:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(PAGE))
    os.truncate(filler, max(0, filler.stat().st_size - left))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def _few_pages(folder: Path, table: str, left: int) -> Iterator[None]:
    """Let files grow by a few pages; SQLite says of the next what it says of a full disk."""
    connect = sqlite3.connect

    def limited(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        (count,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {count + left}")
        return connection

    with contextlib.closing(limited(folder / "auth.db")) as filler:
        filler.execute("PRAGMA synchronous = OFF")
        columns = [name for _, name, *_ in filler.execute(f"PRAGMA table_info({table})")]
        new = {"id": "lower(hex(randomblob(16)))", "email": "hex(randomblob(16))"}
        values = ", ".join(new.get(name, name) for name in columns)
        copy = f"INSERT INTO {table} SELECT {values} FROM {table} LIMIT 1 RETURNING id"
        added = []
        with contextlib.suppress(sqlite3.OperationalError):
            while rows := filler.execute(copy).fetchall():
                added += rows
                filler.commit()
        filler.rollback()
        sqlite3.connect = limited
        try:
            yield
        finally:
            sqlite3.connect = connect
            with filler:
                filler.executemany(f"DELETE FROM {table} WHERE id = ?", added)


@contextlib.contextmanager
def _few_descriptors(auth: Any, left: int) -> Iterator[None]:
    _close(auth)
    with socket.socket() as probe:
        free = probe.fileno()
    with _limited(resource.RLIMIT_NOFILE, free + left):
        yield


@contextlib.contextmanager
def _without_rights(auth: Any, folder: Path, folder_mode: int, file_mode: int) -> Iterator[None]:
    _close(auth)
    before = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
    for path in before:
        path.chmod(folder_mode if path.is_dir() else file_mode)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)  # rights bind everybody but root
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        for path, mode in before.items():
            path.chmod(mode)


def _close(auth: Any) -> None:
    """Close what is open, so that the next call has to open it."""
    auth._kv_client._store.close()
    if auth._db.dialect == "sqlite":
        auth._db.database.close_connections()
    else:
        auth._db.database.close_all()


def main() -> None:
    """Run the rounds that the command line asks for."""
    shortage, database, folder, full = sys.argv[1:]
    kinds = scenarios.ALL if full == "full" else FEW
    with client(database, Path(folder)) as auth:
        outcome = try_all(auth, kinds, Path(folder), SHORTAGES[shortage])
    print(json.dumps(dataclasses.asdict(outcome)))


if __name__ == "__main__":
    main()
