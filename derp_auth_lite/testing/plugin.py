"""The pytest plugin: fixtures that are there wherever derp_auth_lite is installed.

A test file or ``conftest.py`` may have a fixture of the same name, which then goes before the one
here. Nothing of the library but this file is imported before a test asks for it.
"""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..models import UserInfo
    from ..native_client import NativeAuthClient
    from .clock import MovableClock
    from .fake_oauth import FakeOAuth
    from .outbox import Outbox
    from .supabase import FakeSupabase
    from .workos import FakeWorkOS

POSTGRES_VARIABLE = "DERP_AUTH_LITE_TEST_POSTGRES"
REDIS_VARIABLE = "DERP_AUTH_LITE_TEST_REDIS"


@pytest.fixture
def auth_settings() -> dict[str, Any]:
    """What ``open_test_auth`` gets for ``auth``; override it to test with other settings.

    For one test: ``@pytest.mark.parametrize("auth_settings", [{"enable_confirmation": True}])``.
    """
    return {}


@pytest.fixture
def auth_clock() -> MovableClock:
    """The clock of the clients; ``auth_clock.advance(days=8)`` moves it, a negative number back."""
    from .kit import new_clock

    return new_clock()


@pytest.fixture
def auth(
    request: pytest.FixtureRequest, auth_settings: dict[str, Any], auth_clock: MovableClock
) -> Iterator[NativeAuthClient]:
    """A connected client in memory: cheap hashes, no limits, no confirmation, mails kept."""
    from .kit import open_test_auth

    with open_test_auth(clock=auth_clock, **_with_provider(request, auth_settings)) as client:
        yield client


@pytest.fixture
def make_user(auth: NativeAuthClient) -> Callable[..., UserInfo]:
    """Make users: ``make_user(email=..., role="admin", is_active=False)``; all is optional."""
    from .kit import make_user

    return functools.partial(make_user, auth)


@pytest.fixture
def auth_user(make_user: Callable[..., UserInfo]) -> UserInfo:
    """A user with a confirmed address and the password ``derp_auth_lite.testing.PASSWORD``."""
    return make_user()


@pytest.fixture
def auth_headers(auth: NativeAuthClient) -> Callable[[UserInfo], dict[str, str]]:
    """Sign a user in, without a password: ``client.get("/", headers=auth_headers(user))``."""
    from .kit import auth_headers

    return functools.partial(auth_headers, auth)


@pytest.fixture
def outbox(auth: NativeAuthClient) -> Outbox:
    """What ``auth`` has mailed: ``outbox.last("recovery").link``, ``.token``, ``.text``."""
    from .outbox import Outbox

    return Outbox(auth)


@pytest.fixture
def fake_oauth(auth_clock: MovableClock) -> Iterator[FakeOAuth]:
    """A provider on this machine; ``auth`` knows it as ``"fake"`` in a test that asks for both."""
    from .fake_oauth import FakeOAuth

    with FakeOAuth(clock=auth_clock) as provider:
        yield provider


@pytest.fixture
def fake_supabase(auth_clock: MovableClock) -> Iterator[FakeSupabase]:
    """A Supabase project on this machine; ``open_auth`` takes its ``config``."""
    from .supabase import FakeSupabase

    with FakeSupabase(clock=auth_clock) as project:
        yield project


@pytest.fixture
def fake_workos(auth_clock: MovableClock) -> Iterator[FakeWorkOS]:
    """A WorkOS environment on this machine; ``open_auth`` takes its ``config``."""
    from .workos import FakeWorkOS

    with FakeWorkOS(clock=auth_clock) as service:
        yield service


@pytest.fixture
def auth_postgres(
    request: pytest.FixtureRequest, auth_settings: dict[str, Any], auth_clock: MovableClock
) -> Iterator[NativeAuthClient]:
    """A client like ``auth`` in a new database of the server that a variable names, or a skip."""
    url = _named_by(POSTGRES_VARIABLE)
    from .kit import new_postgres_database, open_test_auth

    with (
        new_postgres_database(url) as own,
        open_test_auth(own, clock=auth_clock, **_with_provider(request, auth_settings)) as client,
    ):
        yield client


@pytest.fixture
def auth_redis(
    request: pytest.FixtureRequest, auth_settings: dict[str, Any], auth_clock: MovableClock
) -> Iterator[NativeAuthClient]:
    """A client like ``auth`` whose KV store is the server that a variable names, or a skip."""
    url = _named_by(REDIS_VARIABLE)
    from ..kv.redis import RedisKV
    from .kit import open_test_auth

    kv = RedisKV(url, key_prefix=f"test:{secrets.token_hex(8)}:".encode())
    settings = _with_provider(request, auth_settings)
    with open_test_auth(kv=kv, clock=auth_clock, **settings) as client:
        yield client
        kv.delete_many(list(kv.scan()))


def _with_provider(request: pytest.FixtureRequest, settings: dict[str, Any]) -> dict[str, Any]:
    if "fake_oauth" not in request.fixturenames:
        return settings
    provider: FakeOAuth = request.getfixturevalue("fake_oauth")
    return {**settings, "oidc": [*settings.get("oidc", ()), provider.config]}


def _named_by(variable: str) -> str:
    url = os.environ.get(variable)
    if not url:
        pytest.skip(f"{variable} names no server")
    return url
