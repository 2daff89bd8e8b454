"""A client for tests, and users to test with."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from .._clock import Clock, utc_now
from .._migrations import migrate
from .._request import Caller
from ..config import JWTConfig, NativeAuthConfig, PasswordConfig, ThrottleConfig
from ..email import EmailClient
from ..jwt import TokenPair
from ..kv.base import KVClient
from ..kv.memory import MemoryKV
from ..models import UserInfo
from ..native_client import NativeAuthClient
from ..orm import DatabaseEngine
from .clock import MovableClock

__all__ = ["PASSWORD", "Request", "auth_headers", "make_user", "open_test_auth", "sign_in_as"]

PASSWORD = "correct horse battery staple"
"""What the users of :func:`make_user` sign in with, unless another one is given."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Request:
    """A request as far as the library looks at one."""

    headers: Mapping[str, str] = field(default_factory=dict)
    remote_addr: str | None = None


@contextlib.contextmanager
def open_test_auth(
    database: str = ":memory:",
    *,
    config: NativeAuthConfig | None = None,
    clock: Clock | None = None,
    kv: KVClient | None = None,
    **settings: Any,
) -> Iterator[NativeAuthClient]:
    """Yield a connected client that is cheap and offline, and leaves nothing behind.

    Database and KV store are in memory, hashes are of the cheapest profile, limits and confirmation
    are off, and mails are kept for an :class:`~.outbox.Outbox`; no thread is started.

    Args:
        database: Another database. What is in it stays.
        config: The application's own settings. Of these only the cost of hashes is replaced, and
            limits are turned off unless *settings* say otherwise.
        clock: One to move; by default a :class:`~.clock.MovableClock` at the present moment.
        kv: Another KV store.
        **settings: Settings of NativeAuthConfig that the test is about, such as
            ``enable_confirmation=True`` or ``throttle=ThrottleConfig()``.
    """
    clock = clock or new_clock()
    client = NativeAuthClient(_config(config, settings), clock=clock, mail_worker=False)
    engine = DatabaseEngine(database, clock=clock)
    client.set_db(engine)
    client.set_kv(kv or MemoryKV(clock=clock))
    client.set_email(EmailClient.in_memory(clock=clock))
    if database == ":memory:":
        _copy_schema(engine)
    client.connect()
    try:
        yield client
    finally:
        client.disconnect()


def new_clock() -> MovableClock:
    """Return a clock at the present moment, on which what happens later is later in lists too."""
    return MovableClock(utc_now(), tick=timedelta(microseconds=1))


def make_user(auth: NativeAuthClient, **fields: Any) -> UserInfo:
    """Make a user with the password :data:`PASSWORD` and a confirmed address.

    Args:
        auth: Whose user.
        **fields: ``email`` (by default a new one), ``password`` (``None`` for none), ``confirmed``,
            ``is_active``, ``role``, ``is_superuser``, ``first_name``, ``metadata`` and so on.
    """
    is_active = fields.pop("is_active", True)
    fields.setdefault("email", f"user{next(_numbers)}@example.com")
    fields.setdefault("password", PASSWORD)
    fields.setdefault("confirmed", True)
    user = auth.create_user(**fields)
    return user if is_active else auth.update_user(user_id=user.id, is_active=False)


def sign_in_as(auth: NativeAuthClient, user: UserInfo) -> TokenPair:
    """Begin a session for a user without asking for anything; return its tokens."""
    record = auth._user(user.id)
    with auth._db.transaction():
        session = auth._new_sessions.open(record, Caller(user_agent="derp_auth_lite.testing"))
    return auth._tokens.issue(session)


def auth_headers(auth: NativeAuthClient, user: UserInfo) -> dict[str, str]:
    """Begin a session for a user; return the headers of a request that belongs to it."""
    return {"Authorization": f"Bearer {sign_in_as(auth, user).access_token}"}


@contextlib.contextmanager
def new_postgres_database(url: str) -> Iterator[str]:
    """Yield the URL of a new database on the server that *url* names, dropped at the end."""
    import psycopg  # an extra, and slow to import

    name = f"auth_test_{secrets.token_hex(8)}"
    parts = urlsplit(url)
    # By hand: urlunsplit drops the empty host of a URL that names a folder of sockets.
    own = f"{parts.scheme}://{parts.netloc}/{name}{'?' if parts.query else ''}{parts.query}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield own
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _config(base: NativeAuthConfig | None, settings: Mapping[str, Any]) -> NativeAuthConfig:
    """Return the settings of a test, which go before everything else."""
    settings = {"throttle": ThrottleConfig.off(), **settings}
    if base is None:
        settings = {"enable_confirmation": False, **settings}
        settings.setdefault("jwt", JWTConfig(secret=secrets.token_urlsafe(48)))
        base = NativeAuthConfig(**settings)
    else:
        base = dataclasses.replace(base, **settings)
    cheap: PasswordConfig = dataclasses.replace(base.password, hash_profile="cheapest")
    return dataclasses.replace(base, password=cheap)


def _copy_schema(engine: DatabaseEngine) -> None:
    """Spare a new database the migrations, which take longer than most tests."""
    with engine.connection():
        template = _template()
        template.backup(engine.database.connection())


@functools.cache
def _template() -> sqlite3.Connection:
    engine = DatabaseEngine(":memory:")
    engine.connect()
    migrate(engine)
    template = sqlite3.connect(":memory:", check_same_thread=False)
    with engine.connection():
        engine.database.connection().backup(template)
    engine.disconnect()
    return template
