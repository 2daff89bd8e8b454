"""One call from a file name to a working client."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import peewee

from ._clock import Clock, utc_now
from ._key_file import keys_of
from .base import BaseAuthClient
from .config import (
    AuthConfig,
    Config,
    EmailConfig,
    JWTConfig,
    NativeAuthConfig,
    SupabaseConfig,
    WorkOSConfig,
)
from .email import EmailClient
from .exceptions import AuthBackendError, ConfigError
from .kv import open_kv
from .kv.base import KVClient
from .native_client import NativeAuthClient
from .orm import DatabaseEngine

if TYPE_CHECKING:
    from .supabase_client import SupabaseAuthClient
    from .workos_client import WorkOSAuthClient

__all__ = ["open_auth"]

_log = logging.getLogger(__name__)

DatabaseLike: TypeAlias = str | Path | peewee.Database
_MEMORY = ":memory:"


@overload
def open_auth(
    database: DatabaseLike = ...,
    *,
    config: NativeAuthConfig | None = ...,
    secret: str | None = ...,
    email: EmailConfig | EmailClient | None = ...,
    kv: str | Path | KVClient | None = ...,
    clock: Clock | None = ...,
    mail_worker: bool = ...,
    **settings: Any,
) -> NativeAuthClient: ...
@overload
def open_auth(
    database: DatabaseLike = ...,
    *,
    config: SupabaseConfig,
    secret: None = ...,
    email: EmailConfig | EmailClient | None = ...,
    kv: str | Path | KVClient | None = ...,
    clock: Clock | None = ...,
    mail_worker: bool = ...,
) -> SupabaseAuthClient: ...
@overload
def open_auth(
    database: DatabaseLike = ...,
    *,
    config: WorkOSConfig,
    secret: None = ...,
    email: EmailConfig | EmailClient | None = ...,
    kv: str | Path | KVClient | None = ...,
    clock: Clock | None = ...,
    mail_worker: bool = ...,
) -> WorkOSAuthClient: ...
@overload
def open_auth(
    database: DatabaseLike = ...,
    *,
    config: Config | AuthConfig,
    secret: str | None = ...,
    email: EmailConfig | EmailClient | None = ...,
    kv: str | Path | KVClient | None = ...,
    clock: Clock | None = ...,
    mail_worker: bool = ...,
) -> BaseAuthClient: ...


def open_auth(
    database: DatabaseLike = "auth.db",
    *,
    config: Config | AuthConfig | NativeAuthConfig | SupabaseConfig | WorkOSConfig | None = None,
    secret: str | None = None,
    email: EmailConfig | EmailClient | None = None,
    kv: str | Path | KVClient | None = None,
    clock: Clock | None = None,
    mail_worker: bool = True,
    **settings: Any,
) -> BaseAuthClient:
    """Return a connected client; use it in a ``with`` block, or call ``disconnect()`` at the end.

    For a SQLite file ``app.db`` everything is made beside it on first use: the signing key in
    ``app.db.key``, the KV store in ``app.db.kv/``, mails as ``.eml`` files in ``app.db.mail/``.

    Args:
        database: A path or ``":memory:"`` (SQLite), ``postgresql://…``, or the application's own
            ``peewee.Database``. A :class:`~derp_auth_lite.config.Config` with a database section
            replaces the default.
        config: A whole configuration, or that of one backend. Without one, confirmation of
            addresses is on just where *email* is given.
        secret: Signs tokens; at least 32 bytes. Needed for a server's database or an own one,
            where each process would otherwise invent its own.
        email: The mail server.
        kv: A folder, ``redis://…`` or ``valkey://…``, ``"memory:"``, or a ready client.
        clock: Where time comes from; tests move it.
        mail_worker: Send mails in a thread. Without it they wait for another process, or for
            ``deliver_mail()``.
        **settings: Settings of :class:`~derp_auth_lite.config.NativeAuthConfig` in place of
            *config*, such as ``enable_magic_link=True``.

    Raises:
        ConfigError: A setting is missing or unsafe.
        AuthBackendError: The database or the KV store cannot be opened.
        SchemaTooNewError: The database was made by a newer version.
    """
    whole = config if isinstance(config, Config) else Config(auth=_as_auth_config(config))
    if isinstance(config, Config) and config.database is not None and database == "auth.db":
        database = config.database.db_url
    clock = clock or utc_now
    place = _Place.of(database)
    place.require_folder()
    backend = None if whole.auth is None else whole.auth.backend
    if settings and backend is not None:
        raise TypeError("give settings in config= or as keywords, not both")
    if backend is None:
        settings.setdefault("enable_confirmation", bool(email or whole.email))
        settings.setdefault("jwt", JWTConfig(secret=secret) if secret else place.keys())
        backend = NativeAuthConfig(**settings)
    elif secret is not None:
        raise ConfigError("give the secret in config= or as secret=, not both")
    client = _client(backend, clock, mail_worker)
    pool = {} if whole.database is None else {"pool_size": whole.database.pool_max_size}
    client.set_db(DatabaseEngine(database, clock=clock, **pool))
    client.set_kv(
        _kv_client(kv if kv is not None or whole.kv is None else whole.kv.url, place, clock)
    )
    client.set_email(_email_client(email or whole.email, place, clock, backend))
    try:
        client.connect()
    except BaseException:
        client.disconnect()
        raise
    return client


@dataclass(frozen=True)
class _Place:
    """Where a client keeps its files: beside a SQLite file, in memory, or nowhere by itself."""

    file: Path | None = None
    in_memory: bool = False
    owned: bool = True

    @classmethod
    def of(cls, database: DatabaseLike) -> _Place:
        owned = not isinstance(database, peewee.Database)
        if isinstance(database, peewee.SqliteDatabase):
            database = database.database
        if isinstance(database, peewee.Database):
            return cls(owned=False)
        text = os.fspath(database).removeprefix("sqlite:///") or _MEMORY
        if text == _MEMORY or (not owned and text.startswith("file:")):
            return cls(in_memory=True, owned=owned)
        return cls(owned=owned) if "://" in text else cls(file=Path(text), owned=owned)

    def beside(self, suffix: str) -> Path:
        assert self.file is not None
        return self.file.with_name(self.file.name + suffix)

    def require_folder(self) -> None:
        """Refuse a path at which no file can be."""
        if self.file is None:
            return
        try:
            self.file.parent.stat()
            is_folder = self.file.is_dir()
        except PermissionError:
            return  # which is told where the file is opened
        except OSError as error:
            folder = self.file.parent
            raise AuthBackendError(f"There is no folder {folder} for {self.file.name}") from error
        if is_folder:
            raise AuthBackendError(f"{self.file} is a folder: name a file for the database")

    def keys(self) -> JWTConfig:
        if not self.owned or (self.file is None and not self.in_memory):
            raise ConfigError(
                "secret= is needed with a database server or a database of your own, so that all "
                'processes have the same; make one with: python -c "import secrets; '
                'print(secrets.token_urlsafe(48))"'
            )
        present, *retired = keys_of(None if self.file is None else self.beside(".key"))
        return JWTConfig(secret=present, previous_secrets=retired)


def _as_auth_config(
    config: AuthConfig | NativeAuthConfig | SupabaseConfig | WorkOSConfig | None,
) -> AuthConfig | None:
    if isinstance(config, NativeAuthConfig):
        return AuthConfig(native=config)
    if isinstance(config, SupabaseConfig):
        return AuthConfig(supabase=config)
    if isinstance(config, WorkOSConfig):
        return AuthConfig(workos=config)
    return config


def _client(
    backend: NativeAuthConfig | SupabaseConfig | WorkOSConfig, clock: Clock, mail_worker: bool
) -> BaseAuthClient:
    if isinstance(backend, NativeAuthConfig):
        return NativeAuthClient(backend, clock=clock, mail_worker=mail_worker)
    if isinstance(backend, SupabaseConfig):
        from .supabase_client import SupabaseAuthClient  # late: most programs have no use for it

        return SupabaseAuthClient(backend, clock=clock, mail_worker=mail_worker)
    from .workos_client import WorkOSAuthClient  # late, likewise

    return WorkOSAuthClient(backend, clock=clock, mail_worker=mail_worker)


def _kv_client(kv: str | Path | KVClient | None, place: _Place, clock: Clock) -> KVClient:
    if kv is not None:
        return open_kv(kv, clock=clock)
    if place.file is not None:
        return open_kv(place.beside(".kv"), clock=clock)
    if not place.in_memory:
        _log.warning("no kv= given: pending links and limits are known to this process alone")
    return open_kv("memory:", clock=clock)


def _email_client(
    email: EmailConfig | EmailClient | None, place: _Place, clock: Clock, backend: object
) -> EmailClient | None:
    """Return what sends mails; a hosted service does that itself unless *email* is given."""
    if isinstance(email, EmailConfig):
        return EmailClient(email, clock=clock)
    if email is not None or not isinstance(backend, NativeAuthConfig):
        return email
    if place.file is not None:
        return EmailClient.to_folder(place.beside(".mail"), clock=clock)
    return EmailClient.in_memory(clock=clock) if place.in_memory else None
