"""What tests build things with: a clock to move, a request to send, a client on any database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from derp_auth_lite.config import JWTConfig, NativeAuthConfig, PasswordConfig, ThrottleConfig
from derp_auth_lite.email import EmailClient
from derp_auth_lite.kv.base import KVClient
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.native_client import NativeAuthClient
from derp_auth_lite.orm import DatabaseEngine
from derp_auth_lite.testing import MovableClock

__all__ = ["PASSWORD", "SECRET", "MovableClock", "Request", "native_client", "native_config"]

SECRET = "a secret of the tests, long enough to sign with"
PASSWORD = "correct horse battery staple"


class Request:
    """A request as the library sees one."""

    def __init__(self, token: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self.headers = dict(headers or {})
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"


def native_config(*, jwt: Mapping[str, Any] | None = None, **settings: Any) -> NativeAuthConfig:
    """Return a configuration that is cheap to run: weak hashes, no confirmation, no limits."""
    settings.setdefault("enable_confirmation", False)
    settings.setdefault("password", PasswordConfig(hash_profile="cheapest"))
    settings.setdefault("throttle", ThrottleConfig.off())
    return NativeAuthConfig(jwt=JWTConfig(**{"secret": SECRET, **(jwt or {})}), **settings)


def native_client(
    database: Any,
    clock: MovableClock,
    *,
    kv: KVClient | None = None,
    email: EmailClient | None = None,
    mail_worker: bool = False,
    **settings: Any,
) -> NativeAuthClient:
    """Return a client that is not yet connected; its mails wait for ``deliver_mail()``."""
    client = NativeAuthClient(native_config(**settings), clock=clock, mail_worker=mail_worker)
    client.set_db(DatabaseEngine(database, clock=clock))
    client.set_kv(kv or MemoryKV(clock=clock))
    client.set_email(email or EmailClient.in_memory(clock=clock))
    return client
