"""A full disk, a limit of a file's size, no right to write, no file descriptor left."""

from __future__ import annotations

import contextlib
import functools
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from . import FULL, backend_of, scenarios, shortages

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
CHECKOUT = Path(__file__).parent.parent.parent
MOUNT = ["unshare", "--map-root-user", "--mount"]


@pytest.fixture
def folder():
    """A folder that another user can reach; pytest's own cannot be."""
    with tempfile.TemporaryDirectory(prefix="derp-faults-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "data").mkdir()
        yield Path(name) / "data"


def run(shortage, database, folder, *, prefix="", command=()):
    mode = "full" if FULL else "quick"
    arguments = ["-m", "tests.faults.shortages", shortage, database, str(folder), mode]
    call = shlex.join([sys.executable, *arguments])
    done = subprocess.run(
        [*command, "sh", "-c", f"{prefix} {call}"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return shortages.Outcome(**json.loads(done.stdout))


def tell(report, shortage, database, outcome):
    report(shortage, backend_of(database), outcome.rounds, outcome.worst, outcome.wrong)
    assert outcome.felt > 0, "it was never felt"


@pytest.mark.parametrize("shortage", ["file size", "no page left", "read-only", "descriptors"])
def test_on_sqlite_it_is_a_typed_error_with_nothing_half_done_and_passes(folder, shortage, report):
    database = str(folder / "auth.db")
    tell(report, shortage, database, run(shortage, database, folder))


@pytest.mark.parametrize("shortage", ["file size", "descriptors"])
def test_beside_postgresql_it_is_a_typed_error_with_nothing_half_done_and_passes(
    postgres_url, folder, shortage, report
):
    """The server is another process; the KV store and the connections to it are this one's."""
    tell(report, shortage, postgres_url, run(shortage, postgres_url, folder))


def can_mount():
    with contextlib.suppress(OSError):
        return subprocess.run([*MOUNT, "true"], capture_output=True, check=False).returncode == 0
    return False


def test_a_full_disk_is_a_typed_error_with_nothing_half_done_and_passes(folder, report):
    """A small file system where one may be mounted, else SQLite's own word for a full disk."""
    database = str(folder / "auth.db")
    if can_mount():
        mount = f"mount -t tmpfs -o size=16m tmpfs {shlex.quote(str(folder))} && exec"
        outcome = run("disk full", database, folder, prefix=mount, command=MOUNT)
    else:
        outcome = run("no page left", database, folder)
    tell(report, "disk full", database, outcome)


@contextlib.contextmanager
def read_only(url, auth):
    """The server takes no writes, as a standby does; connections are made anew."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]

    def turn(setting):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f'ALTER DATABASE "{name}" {setting}')
        auth._db.database.close_all()

    turn("SET default_transaction_read_only = on")
    try:
        yield
    finally:
        turn("RESET default_transaction_read_only")


def test_a_read_only_postgresql_is_a_typed_error_with_nothing_half_done_and_passes(
    postgres_url, folder, report
):
    with shortages.client(postgres_url, folder) as auth:
        degrees = functools.partial(lambda url, auth, _: [read_only(url, auth)], postgres_url)
        kinds = scenarios.ALL if FULL else shortages.FEW
        outcome = shortages.try_all(auth, kinds, folder, degrees)
    tell(report, "read-only", postgres_url, outcome)
