"""All settings, as frozen groups that check themselves.

Names and defaults are those of derp 0.2.12, whose ``derp.toml`` is read by :meth:`Config.load`; where
a default differs, its group says so. Every group raises
:class:`~derp_auth_lite.exceptions.ConfigError` when a value cannot be used, and no secret shows in a
``repr``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

from ._settings import Settings
from .exceptions import ConfigError

__all__ = [
    "AuthConfig",
    "Config",
    "DatabaseConfig",
    "EmailConfig",
    "GitHubOAuthConfig",
    "GoogleOAuthConfig",
    "JWTConfig",
    "KVConfig",
    "NativeAuthConfig",
    "OIDCConfig",
    "PasswordConfig",
    "SupabaseConfig",
    "ValkeyConfig",
    "WorkOSConfig",
]

MIN_SECRET_BYTES = 32
_MAX_DAYS = 36_500
_MINUTES_A_DAY = 24 * 60
_TAKEN_PROVIDER_NAMES = frozenset({"email", "magic_link", "google", "github"})


@dataclass(frozen=True, kw_only=True)
class EmailConfig(Settings):
    """The mail server, and what mails say about their sender.

    ``use_tls`` speaks TLS from the first byte (port 465), ``start_tls`` upgrades (port 587);
    with neither, mail goes in the clear. ``templates_dir`` holds files that replace the library's
    templates one by one.
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
        for name in ("site_name", "site_url", "from_email", "smtp_host"):
            _need_one_line(self, name)
        self._need(0 < self.smtp_port < 65_536, "smtp_port", "must be between 1 and 65535")
        both = self.use_tls and self.start_tls
        self._need(not both, "start_tls", "and use_tls exclude each other: set one to false")


@dataclass(frozen=True, kw_only=True)
class JWTConfig(Settings):
    """How access and refresh tokens are made.

    Args:
        secret: The key, at least 32 bytes as UTF-8 (RFC 7518, section 3.2).
        refresh_token_expire_days: How long a session lives without being refreshed.
        previous_secrets: Keys that no longer sign. Tokens made with them are still taken, so that a
            key can be changed without signing everybody out.
        verify: ``"session"`` looks the session up at every ``authenticate``, so that sign-out takes
            effect at once; ``"stateless"`` trusts an access token until it expires.
    """

    secret: str = field(repr=False)
    algorithm: Literal["HS256", "HS384", "HS512"] = "HS256"
    access_token_expire_minutes: int = 15
    refresh_token_expire_days: int = 7
    issuer: str | None = None
    audience: str | None = None
    previous_secrets: Sequence[str] = field(default=(), repr=False)
    verify: Literal["session", "stateless"] = "session"

    def _check(self) -> None:
        how = 'make one with: python -c "import secrets; print(secrets.token_urlsafe(48))"'
        rule = f"must be at least {MIN_SECRET_BYTES} bytes long; {how}"
        self._need(_long_enough(self.secret), "secret", rule)
        self._need(
            all(map(_long_enough, self.previous_secrets)), "previous_secrets", f"each {rule}"
        )
        _need_lifetime(self, "access_token_expire_minutes", a_day=_MINUTES_A_DAY)
        _need_lifetime(self, "refresh_token_expire_days", a_day=1)


@dataclass(frozen=True, kw_only=True)
class PasswordConfig(Settings):
    """What a new password must be, and what hashing it costs.

    Lengths count code points. Rules of composition are off, as NIST SP 800-63B-4, section 3.1.1.2,
    asks. ``hash_profile`` is ``"rfc9106_low_memory"`` (64 MiB a hash, RFC 9106, section 4),
    ``"owasp_minimum"`` for small machines, or ``"cheapest"``, which protects nothing and makes tests
    fast.
    """

    min_length: int = 8
    max_length: int = 128
    require_uppercase: bool = False
    require_lowercase: bool = False
    require_digit: bool = False
    require_special: bool = False
    hash_profile: Literal["rfc9106_low_memory", "owasp_minimum", "cheapest"] = "rfc9106_low_memory"

    def _check(self) -> None:
        self._need(self.min_length > 0, "min_length", "must be at least 1")
        in_order = self.min_length <= self.max_length
        self._need(in_order, "max_length", "must not be less than min_length")


@dataclass(frozen=True, kw_only=True)
class GoogleOAuthConfig(Settings):
    """An OAuth client at Google."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    scopes: Sequence[str] = ("openid", "email", "profile")

    def _check(self) -> None:
        _need_client(self)


@dataclass(frozen=True, kw_only=True)
class GitHubOAuthConfig(Settings):
    """An OAuth application at GitHub."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    scopes: Sequence[str] = ("user:email",)

    def _check(self) -> None:
        _need_client(self)


@dataclass(frozen=True, kw_only=True)
class OIDCConfig(Settings):
    """A client at any OpenID Connect provider.

    Args:
        name: What ``sign_in_with_oauth`` calls it; stored with each identity, so it must not
            change. Small letters, digits, ``-`` and ``_``.
        issuer: The provider's URL, to which ``/.well-known/openid-configuration`` is added; https,
            or http on this machine.
    """

    name: str
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    scopes: Sequence[str] = ("openid", "email", "profile")

    def _check(self) -> None:
        well_formed = re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", self.name) is not None
        self._need(well_formed, "name", "must be 1 to 63 small letters, digits, '-' and '_'")
        self._need(self.name not in _TAKEN_PROVIDER_NAMES, "name", "is taken by the library")
        self._need(_is_trusted_url(self.issuer), "issuer", "must be an https URL")
        self._need("openid" in self.scopes, "scopes", "must hold openid")
        _need_client(self)


@dataclass(frozen=True, kw_only=True)
class NativeAuthConfig(Settings):
    """Accounts in a database of one's own.

    Magic links live 10 minutes here (60 in derp), as OWASP ASVS 5.0, 6.5.5, asks.

    Args:
        oidc: Further OpenID Connect providers.
        oauth_require_state: Refuse an OAuth sign-in whose state was not made by this client.
        session_expire_days: The end of a session, however often it is refreshed.
        cache_prefix: Begins every key in the KV store.
        trusted_proxies: How many proxies of one's own add to ``X-Forwarded-For``; with 0 the header
            is ignored.
    """

    jwt: JWTConfig
    password: PasswordConfig = field(default_factory=PasswordConfig)
    google_oauth: GoogleOAuthConfig | None = None
    github_oauth: GitHubOAuthConfig | None = None
    oidc: Sequence[OIDCConfig] = ()
    oauth_require_state: bool = False
    enable_signup: bool = True
    enable_confirmation: bool = True
    enable_magic_link: bool = False
    magic_link_expire_minutes: int = 10
    recovery_token_expire_minutes: int = 60
    confirmation_token_expire_hours: int = 24
    session_expire_days: int = 30
    cache_prefix: str = "derp:auth"
    trusted_proxies: int = 0

    def _check(self) -> None:
        _need_lifetime(self, "magic_link_expire_minutes", a_day=_MINUTES_A_DAY)
        _need_lifetime(self, "recovery_token_expire_minutes", a_day=_MINUTES_A_DAY)
        _need_lifetime(self, "confirmation_token_expire_hours", a_day=24)
        _need_lifetime(self, "session_expire_days", a_day=1)
        names = {provider.name for provider in self.oidc}
        self._need(len(names) == len(self.oidc), "oidc", "must give each provider its own name")
        self._need(self.cache_prefix.strip() != "", "cache_prefix", "must not be empty")
        self._need(self.trusted_proxies >= 0, "trusted_proxies", "must not be negative")


@dataclass(frozen=True, kw_only=True)
class SupabaseConfig(Settings):
    """A Supabase project: its URL and keys."""

    url: str
    anon_key: str = field(repr=False)
    service_role_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    redirect_uri: str | None = None

    def _check(self) -> None:
        self._need(_is_web_url(self.url), "url", "must be an http or https URL")
        for name in ("anon_key", "service_role_key"):
            _need_one_line(self, name)


@dataclass(frozen=True, kw_only=True)
class WorkOSConfig(Settings):
    """A WorkOS environment: its API key and client id."""

    api_key: str = field(repr=False)
    client_id: str
    redirect_uri: str | None = None

    def _check(self) -> None:
        for name in ("api_key", "client_id"):
            _need_one_line(self, name)


@dataclass(frozen=True, kw_only=True)
class AuthConfig(Settings):
    """The backend: exactly one of the three."""

    native: NativeAuthConfig | None = None
    supabase: SupabaseConfig | None = None
    workos: WorkOSConfig | None = None

    def _check(self) -> None:
        given = [b for b in (self.native, self.supabase, self.workos) if b is not None]
        if len(given) != 1:
            raise ConfigError(
                f"AuthConfig needs exactly one of native, supabase, workos; {len(given)} are given"
            )

    @property
    def backend(self) -> NativeAuthConfig | SupabaseConfig | WorkOSConfig:
        """The one that is set."""
        backend = self.native or self.supabase or self.workos
        assert backend is not None
        return backend


@dataclass(frozen=True, kw_only=True)
class DatabaseConfig(Settings):
    """Where the tables are. ``db_url`` may hold a password and does not show in a ``repr``."""

    db_url: str = field(repr=False)
    pool_min_size: int = 2
    pool_max_size: int = 5

    def _check(self) -> None:
        _need_one_line(self, "db_url")
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
        self._need(len(self.addresses) > 0, "addresses", "must hold a pair of host and port")
        for host, port in self.addresses:
            usable = host.strip() != "" and 0 < port < 65_536
            self._need(usable, "addresses", "must hold pairs of a host and a port from 1 to 65535")

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
        return f"redis{'s' * self.use_tls}://{self._credentials}{shown}:{port}/0"

    @property
    def _credentials(self) -> str:
        if self.username is None and self.password is None:
            return ""
        password = "" if self.password is None else f":{quote(self.password, safe='')}"
        return f"{quote(self.username or '', safe='')}{password}@"


@dataclass(frozen=True, kw_only=True)
class KVConfig(Settings):
    """The KV store for one-time links and throttles; without a server it is a folder."""

    valkey: ValkeyConfig | None = None

    @property
    def url(self) -> str | None:
        """The server's URL, see :attr:`ValkeyConfig.url`; ``None`` if there is none."""
        return None if self.valkey is None else self.valkey.url


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Everything that one configuration file says."""

    auth: AuthConfig | None = None
    email: EmailConfig | None = None
    database: DatabaseConfig | None = None
    kv: KVConfig | None = None


def _need_lifetime(settings: Settings, name: str, *, a_day: int) -> None:
    days = getattr(settings, name) / a_day
    rule = "must be more than 0 and at most a hundred years"
    settings._need(0 < days <= _MAX_DAYS, name, rule)


def _need_one_line(settings: Settings, name: str) -> None:
    value: str = getattr(settings, name)
    fine = value.strip() != "" and not any(ord(char) < 32 for char in value)
    settings._need(fine, name, "must not be empty, nor hold control characters or line breaks")


def _need_client(settings: Settings) -> None:
    for name in ("client_id", "client_secret", "redirect_uri"):
        _need_one_line(settings, name)


def _long_enough(secret: str) -> bool:
    return len(secret.encode()) >= MIN_SECRET_BYTES


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _is_trusted_url(text: str) -> bool:
    if not _is_web_url(text):
        return False
    parts = urlsplit(text)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")
