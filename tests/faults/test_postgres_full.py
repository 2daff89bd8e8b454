"""A disk that fills up beneath PostgreSQL.

No file of the server may grow beyond a size, which takes no right to mount: PostgreSQL itself takes
that for a full disk, and says so in its hints. Its log of transactions begins a new file before
each round, so that tables and indexes meet the end of the room first; with no room at all the
server goes down, and is started again when there is some.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from ..servers.postgres import restartable_postgres
from ..support import PASSWORD
from . import FULL, rounds, scenarios, shortages

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere no process may limit another"
)

BLOCK = 8192
TABLES = ["auth_events", "auth_sessions"]


@pytest.fixture(scope="module")
def server():
    with restartable_postgres() as (url, restart):
        yield url, restart


def ask(url, statement):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def postmaster(url):
    """Return the first process of a server."""
    ((folder,),) = ask(url, "SHOW data_directory")
    return int((Path(folder) / "postmaster.pid").read_text().splitlines()[0])


def children(pid):
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def limit(pid, size):
    """Let no file of a server grow beyond *size*.

    A user may do that to processes of their own; root may not everywhere, and becomes that user.
    """
    owner = Path(f"/proc/{pid}").stat()
    script = 'size=$1; shift; for pid; do prlimit --pid "$pid" --fsize="$size:unlimited"; done'
    as_owner = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(size), *map(str, (pid, *children(pid)))],
        capture_output=True,
        text=True,
        check=False,
        **(as_owner if os.geteuid() == 0 else {}),
    )
    gone = "No such process"
    assert all(gone in line for line in done.stderr.splitlines()), done.stderr


def answers(url, seconds):
    """Tell whether a server takes connections within a time, having read its log first."""
    for _ in range(seconds * 50):
        with contextlib.suppress(psycopg.OperationalError):
            return bool(ask(url, "SELECT 1"))
        time.sleep(0.02)
    return False


@contextlib.contextmanager
def full(url, restart, table, blocks):
    """A table, and whatever is as large, grows by a few blocks and no more; and it is full.

    Without a table nothing can be written at all.
    """
    size, pid = 0, postmaster(url)
    if table:
        ask(url, "SELECT pg_switch_wal()")
        ask(url, "CHECKPOINT")  # which begins the new file
        ((size,),) = ask(url, f"SELECT pg_relation_size('{table}')")
        size += blocks * BLOCK
    limit(pid, size)
    added = fill(url, table) if table else []
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):  # it went down for good
            limit(pid, "unlimited")
        if not answers(url, 1):
            restart()
            assert answers(url, 10)
        if added:
            ask(url, f"DELETE FROM {table} WHERE id = ANY('{{{', '.join(added)}}}')")


def fill(url, table):
    """Copy a row of a table until there is no room; return the ids of the copies."""
    added = []
    with contextlib.suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as connection:
        while True:
            added += copies(connection, table, 1)
    return added


def copies(connection, table, count):
    """Copy a row of a table so many times; return the ids of the copies."""
    new = "jsonb_build_object('id', gen_random_uuid())"
    rows = connection.execute(
        f"INSERT INTO {table} SELECT (jsonb_populate_record(it, {new})).*"
        f" FROM {table} it, generate_series(1, {count}) LIMIT {count} RETURNING id"
    )
    return [str(key) for (key,) in rows]


def test_a_full_disk_is_a_typed_error_with_nothing_half_done_and_all_goes_on_with_room(
    server, tmp_path, report, caplog
):
    url, restart = server
    rooms = [(None, 0), *((table, n) for table in TABLES for n in range(rounds(1, 3)))]
    with shortages.client(url, tmp_path) as auth:
        auth.create_user(email="ada@example.com", password=PASSWORD, confirmed=True)
        auth.sign_in_with_password("ada@example.com", PASSWORD)
        with psycopg.connect(url) as connection:
            for table in TABLES:  # so that the log of a round is small beside it
                copies(connection, table, 10_000)
        kinds = scenarios.ALL if FULL else shortages.FEW
        outcome = shortages.try_all(
            auth, kinds, tmp_path, lambda *_: [full(url, restart, *room) for room in rooms]
        )
    report("disk full", "postgresql", outcome.rounds, outcome.worst, outcome.wrong)
    assert "could not extend file" in caplog.text, "no table and no index has felt it"
