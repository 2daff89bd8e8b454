"""The accounts that the options of the command line name."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..exceptions import AuthBackendError, ConfigError
from ._base import Operator

if TYPE_CHECKING:
    from ..config import Config
    from ..native_client import NativeAuthClient
    from ..orm import DatabaseEngine

__all__ = ["SECRET", "NamedAccounts"]

SECRET = "DERP_AUTH_LITE_SECRET"
"""The environment variable with the key that signs tokens, where no file and no setting has it."""


class NamedAccounts(Operator):
    """Opens what ``--database``, ``--config`` and ``--kv`` name.

    Nothing is made by opening: a path with a spelling mistake is an error. No mail is sent either,
    which is left to the application with its own mail server; notices wait for it.
    """

    def __init__(self, database: str | None, config: Path | None, kv: str | None) -> None:
        self._database = database
        self._config_path = config
        self._kv = kv

    @property
    def database(self) -> str:
        """The database as a path or a URL, which may hold a password.

        Raises:
            ConfigError: None was named.
        """
        config = self._config
        named = self._database or (config and config.database and config.database.db_url)
        if not named:
            raise ConfigError("Name the database: --database app.db (or DERP_AUTH_LITE_DATABASE)")
        return named.removeprefix("sqlite:///")

    @property
    def options(self) -> str:
        """What names the same accounts to the next command."""
        given = {"--config": self._config_path, "--database": self._database}
        return shlex.join(str(part) for pair in given.items() if pair[1] for part in pair)

    @property
    def file(self) -> Path | None:
        """The database's file; ``None`` for a server."""
        database = self.database
        if database in {"", ":memory:"}:
            raise ConfigError("A database in memory has nothing to look at: name a file")
        return None if "://" in database else Path(database)

    @property
    def key_file(self) -> Path | None:
        """Where the signing key is, if it is in a file."""
        file = self.file
        key = None if file is None else file.with_name(f"{file.name}.key")
        own = bool(self._config and self._config.auth) or bool(os.environ.get(SECRET))
        return None if own or key is None or not key.exists() else key

    @contextlib.contextmanager
    def client(self) -> Iterator[NativeAuthClient]:
        """Yield a connected client."""
        self.require_database()
        client = self.open()
        try:
            yield client
        finally:
            client.disconnect()

    def open(self) -> NativeAuthClient:
        """Open the accounts; a SQLite file that is not there is made, with all that belongs to it.

        Raises:
            ConfigError: The secret of a server's accounts was not given.
        """
        from ..email import EmailClient  # these take longer than --help may
        from ..factory import open_auth

        file = self.file
        options: dict[str, Any] = {"kv": self._kv, "mail_worker": False}
        config = self._config
        if config is None or config.auth is None:
            options["secret"] = self._secret(file)
            options["enable_confirmation"] = False
        if config is not None:
            options["config"] = config
        if file is None:
            options["kv"] = self._kv or (config and config.kv and config.kv.url) or "memory:"
            if config is None or config.email is None:
                options["email"] = EmailClient.in_memory()
        client: Any = open_auth(file or self.database, **options)
        opened: NativeAuthClient = client
        return opened

    @contextlib.contextmanager
    def engine(self) -> Iterator[DatabaseEngine]:
        """Yield the connected database alone, for which no secret is needed."""
        from ..orm import DatabaseEngine  # Peewee, and with it the drivers

        self.require_database()
        engine = DatabaseEngine(self.database)
        engine.connect()
        try:
            yield engine
        finally:
            engine.disconnect()

    def require_database(self) -> None:
        """Refuse a file that is not there, or is the database of something else.

        Raises:
            AuthBackendError: It is so.
        """
        file = self.file
        if file is not None and not file.is_file():
            if file.is_dir():
                raise AuthBackendError(f"{file} is a folder: name the database's file")
            raise AuthBackendError(f"There is no database {file}: derp-auth-lite init makes one")
        if file is not None and _is_of_another(file):
            raise AuthBackendError(
                f"{file} holds no accounts: derp-auth-lite init makes their tables in it"
            )

    @functools.cached_property
    def _config(self) -> Config | None:
        if self._config_path is None:
            return None
        from ..config import Config, NativeAuthConfig

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            config = Config.load(self._config_path)
        for warning in caught:
            click.echo(f"Note: {warning.message}", err=True)
        if config.auth is not None and not isinstance(config.auth.backend, NativeAuthConfig):
            raise ConfigError("These commands are for accounts in a database of one's own")
        return config

    def _secret(self, file: Path | None) -> str | None:
        """Return what signs; ``None`` leaves it to the key file.

        Where the application has a secret of its own that was not given here, a random one does for
        everything but signing, and no key file is made that nobody needs.
        """
        given = os.environ.get(SECRET)
        if given:
            return given
        if file is None:
            raise ConfigError(f"The accounts of a server need their secret: set {SECRET}")
        is_without = file.exists() and not file.with_name(f"{file.name}.key").exists()
        return secrets.token_urlsafe(48) if is_without else None


def _is_of_another(file: Path) -> bool:
    """Tell, without a change to it, whether a database has tables and none of ours.

    What cannot be told so, as it is no database or is locked, shows when the accounts are opened.
    """
    import sqlite3  # --help does without

    try:
        address = f"{file.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error:
        return False
    return bool(tables) and ("auth_migrations",) not in tables
