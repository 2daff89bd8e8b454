"""Servers of database, KV store and mail: their settings, offered by :mod:`.config`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal
from urllib.parse import quote

from ._settings import Settings

__all__ = ["DatabaseConfig", "EmailConfig", "KVConfig", "ValkeyConfig"]


@dataclass(frozen=True, kw_only=True)
class EmailConfig(Settings):
    """The mail server, and what mails say about their sender.

    ``use_tls`` speaks TLS from the first byte (port 465), ``start_tls`` upgrades (port 587);
    with neither, mail goes in the clear. An empty ``smtp_user`` means no login. ``templates_dir``
    holds files that replace the library's templates one by one.
    """

    site_name: str
    site_url: str
    from_email: str
    smtp_host: str
    smtp_port: int
    smtp_user: str
    smtp_password: str = field(repr=False)
    templates_dir: str | None = None
    use_tls: bool = True
    start_tls: bool = False

    def _check(self) -> None:
        self._need_line("site_name", "site_url", "from_email", "smtp_host")
        self._need(0 < self.smtp_port < 65_536, "smtp_port", "must be between 1 and 65535")
        both = self.use_tls and self.start_tls
        self._need(not both, "start_tls", "and use_tls exclude each other: set one to false")


@dataclass(frozen=True, kw_only=True)
class DatabaseConfig(Settings):
    """Where the tables are.

    ``db_url`` may hold a password and does not show in a ``repr``. One process opens PostgreSQL
    connections when it needs them, up to ``pool_max_size``; ``pool_min_size`` changes nothing.
    """

    db_url: str = field(repr=False)
    pool_min_size: int = 2
    pool_max_size: int = 5

    ignored_keys: ClassVar[tuple[str, ...]] = (
        "ignore_rls",
        "introspect_exclude_tables",
        "introspect_schemas",
        "migrations_dir",
        "replica_lag_check_interval_seconds",
        "replica_max_lag_bytes",
        "replica_pool_max_size",
        "replica_pool_min_size",
        "replica_statement_cache_size",
        "replica_url",
        "replica_write_fence_seconds",
        "schema_path",
        "statement_cache_size",
    )

    def _check(self) -> None:
        self._need_line("db_url")
        self._need(self.pool_min_size >= 0, "pool_min_size", "must not be negative")
        self._need(self.pool_max_size > 0, "pool_max_size", "must be at least 1")
        in_order = self.pool_min_size <= self.pool_max_size
        self._need(in_order, "pool_max_size", "must not be less than pool_min_size")


@dataclass(frozen=True, kw_only=True)
class ValkeyConfig(Settings):
    """A Valkey or Redis server: pairs of host and port."""

    addresses: Sequence[tuple[str, int]] = (("localhost", 6379),)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    use_tls: bool = False
    mode: Literal["standalone", "cluster"] = "standalone"

    def _check(self) -> None:
        usable = [host.strip() != "" and 0 < port < 65_536 for host, port in self.addresses]
        rule = "must hold pairs of a host and a port from 1 to 65535"
        self._need(bool(usable) and all(usable), "addresses", rule)

    @property
    def url(self) -> str:
        """The server as a ``redis://`` or ``rediss://`` URL; it holds the password.

        Raises:
            ConfigError: There is more than one server, or a cluster: one URL cannot name those.
        """
        self._need(self.mode == "standalone", "mode", "must be standalone: no cluster can be used")
        self._need(len(self.addresses) == 1, "addresses", "must hold one server, the primary")
        ((host, port),) = self.addresses
        shown = f"[{host}]" if ":" in host else host
        user, password = quote(self.username or "", safe=""), quote(self.password or "", safe="")
        credentials = f"{user}:{password}@" if user or password else ""
        return f"redis{'s' * self.use_tls}://{credentials}{shown}:{port}/0"


@dataclass(frozen=True, kw_only=True)
class KVConfig(Settings):
    """The KV store for one-time links and throttles; without a server it is a folder."""

    valkey: ValkeyConfig | None = None

    @property
    def url(self) -> str | None:
        """The server's URL, see :attr:`ValkeyConfig.url`; ``None`` if there is none."""
        return None if self.valkey is None else self.valkey.url
