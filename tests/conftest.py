"""Settings and fixtures that the test files share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from derp_auth_lite.native_client import NativeAuthClient

from . import log_scan, processes
from .servers import postgres
from .support import MovableClock, native_client

# Shared machines are slow at times: a run is held to its number of examples, not to a deadline.
settings.register_profile(
    "default",
    deadline=None,
    max_examples=50,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")


def pytest_configure(config: pytest.Config) -> None:
    """Have the logs of the whole run read for secrets."""
    config.pluginmanager.register(log_scan.LogScan())


MakeAuth = Callable[..., NativeAuthClient]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    with postgres.running_postgres() as url:
        yield url


@pytest.fixture(scope="session")
def _postgres_database(postgres_server: str) -> Iterator[str]:
    with postgres.new_database(postgres_server) as url:
        yield url


@pytest.fixture
def postgres_url(_postgres_database: str) -> str:
    """The URL of a database that holds nobody; its tables may be there already."""
    postgres.empty(_postgres_database)
    return _postgres_database


@pytest.fixture
def new_postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a database that has no tables."""
    with postgres.new_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """A place for accounts: a SQLite file, then a PostgreSQL database; nobody is in it."""
    if request.param == "sqlite":
        folder: Path = request.getfixturevalue("tmp_path")
        return str(folder / "auth.db")
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def clock() -> MovableClock:
    """The clock of the clients of a test."""
    return MovableClock()


@pytest.fixture
def make_auth(database: str, clock: MovableClock) -> Iterator[MakeAuth]:
    """Make connected clients on the test's database, with settings of NativeAuthConfig."""
    with contextlib.ExitStack() as stack:

        def make(**settings: Any) -> NativeAuthClient:
            client = native_client(database, clock, **settings)
            client.connect()
            stack.callback(client.disconnect)
            return client

        yield make


@pytest.fixture
def auth(make_auth: MakeAuth) -> NativeAuthClient:
    """A connected client: cheap hashes, no confirmation, everything else as by default."""
    return make_auth()


@pytest.fixture(scope="session")
def crew() -> Iterator[processes.Crew]:
    """Eight processes that do one thing at the same moment."""
    with processes.crew() as started:
        yield started
