"""All settings, as frozen groups that check themselves.

Names and defaults are those of derp 0.2.12, whose ``derp.toml`` :meth:`Config.load` reads; where a
default differs, its group says so. A group raises :class:`~derp_auth_lite.exceptions.ConfigError`
when a value cannot be used, and shows no secret in its ``repr``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from ._limits import ThrottleConfig
from ._oauth_clients import GitHubOAuthConfig, GoogleOAuthConfig, OIDCConfig
from ._servers import DatabaseConfig, EmailConfig, KVConfig, ValkeyConfig
from ._settings import Settings, scheme_and_host
from ._toml import TableReader, read_toml
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
    "ThrottleConfig",
    "ValkeyConfig",
    "WorkOSConfig",
]

_MIN_SECRET_BYTES = 32
_MINUTES_A_DAY = 24 * 60
_OTHER_PARTS = frozenset({"storage", "payments", "queue", "ai"})


@dataclass(frozen=True, kw_only=True)
class JWTConfig(Settings):
    """How access and refresh tokens are made.

    Args:
        secret: The key, at least 32 bytes as UTF-8 (RFC 7518, section 3.2, for HS256).
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
        rule = f"must be at least {_MIN_SECRET_BYTES} bytes long; {how}"
        self._need(_long_enough(self.secret), "secret", rule)
        self._need(
            all(map(_long_enough, self.previous_secrets)), "previous_secrets", f"each {rule}"
        )
        self._need_line("issuer", "audience")
        self._need_lifetime("access_token_expire_minutes", units_a_day=_MINUTES_A_DAY)
        self._need_lifetime("refresh_token_expire_days", units_a_day=1)


@dataclass(frozen=True, kw_only=True)
class PasswordConfig(Settings):
    """What a new password must be, and what hashing it costs.

    Lengths count code points. Rules of composition are off, as NIST SP 800-63B-4, section 3.1.1.2,
    asks. ``hash_profile`` is ``"rfc9106_low_memory"`` (64 MiB a hash, RFC 9106, section 4),
    ``"owasp_minimum"`` for small machines, or ``"cheapest"``, which protects nothing and is there
    for tests.

    Args:
        breached: Ask Have I Been Pwned whether a new password is known from a breach. Five of forty
            characters of its SHA-1 leave the machine; where no answer comes within two seconds, the
            password passes.
        breached_range_url: Where the range protocol is spoken, if not there: a mirror, say.
    """

    min_length: int = 8
    max_length: int = 128
    require_uppercase: bool = False
    require_lowercase: bool = False
    require_digit: bool = False
    require_special: bool = False
    hash_profile: Literal["rfc9106_low_memory", "owasp_minimum", "cheapest"] = "rfc9106_low_memory"
    breached: bool = False
    breached_range_url: str = "https://api.pwnedpasswords.com/range/"

    def _check(self) -> None:
        self._need(self.min_length > 0, "min_length", "must be at least 1")
        in_order = self.min_length <= self.max_length
        self._need(in_order, "max_length", "must not be less than min_length")
        self._need_https("breached_range_url")


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
        event_retention_days: How long the record of events is kept.
        max_sessions_per_user: How many sessions a user has at the most; by default any number.
        session_limit_policy: What a sign-in beyond that does: ``"oldest ends"`` one, or it is
            refused with SessionLimitError (``"refuse"``).
    """

    jwt: JWTConfig
    password: PasswordConfig = field(default_factory=PasswordConfig)
    throttle: ThrottleConfig = field(default_factory=ThrottleConfig)
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
    event_retention_days: int = 90
    max_sessions_per_user: int | None = None
    session_limit_policy: Literal["oldest ends", "refuse"] = "oldest ends"

    ignored_keys: ClassVar[tuple[str, ...]] = (
        "use_kv_cache",
        "cache_session_ttl_seconds",
        "cache_user_ttl_seconds",
    )

    def _check(self) -> None:
        self._need_lifetime("magic_link_expire_minutes", units_a_day=_MINUTES_A_DAY)
        self._need_lifetime("recovery_token_expire_minutes", units_a_day=_MINUTES_A_DAY)
        self._need_lifetime("confirmation_token_expire_hours", units_a_day=24)
        self._need_lifetime("session_expire_days", units_a_day=1)
        names = {provider.name for provider in self.oidc}
        self._need(len(names) == len(self.oidc), "oidc", "must give each provider its own name")
        self._need(self.cache_prefix.strip() != "", "cache_prefix", "must not be empty")
        self._need(self.trusted_proxies >= 0, "trusted_proxies", "must not be negative")
        self._need_lifetime("event_retention_days", units_a_day=1)
        most = self.max_sessions_per_user
        self._need(most is None or most > 0, "max_sessions_per_user", "must be at least 1")


@dataclass(frozen=True, kw_only=True)
class SupabaseConfig(Settings):
    """A Supabase project: its URL and keys.

    Args:
        anon_key: The anonymous key, or the new kind, ``sb_publishable_…``.
        service_role_key: The service role's key, or the new kind, ``sb_secret_…``.
        jwt_secret: The legacy secret, while it is valid: it verifies HS256 tokens and lets sessions
            be ended by their id; at least 32 bytes (RFC 7518, section 3.2). Empty: there is none.
        redirect_uri: Where providers send the browser back to.
        password: What a new password must be, beside what the project asks for; the costs of
            hashing in it mean nothing here.
        throttle: Limits of this side, which the project cannot count by caller. Failures in a row
            are not counted.
        trusted_proxies: As for :class:`NativeAuthConfig`.
    """

    url: str
    anon_key: str = field(repr=False)
    service_role_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    redirect_uri: str | None = None
    password: PasswordConfig = field(default_factory=PasswordConfig)
    throttle: ThrottleConfig = field(default_factory=ThrottleConfig)
    trusted_proxies: int = 0

    def _check(self) -> None:
        scheme, host = scheme_and_host(self.url)
        self._need(scheme in {"http", "https"} and host != "", "url", "must be an http(s) URL")
        self._need_line("anon_key", "service_role_key")
        fine = not self.jwt_secret or _long_enough(self.jwt_secret)
        self._need(fine, "jwt_secret", f"must be at least {_MIN_SECRET_BYTES} bytes long, or empty")
        self._need(self.trusted_proxies >= 0, "trusted_proxies", "must not be negative")


@dataclass(frozen=True, kw_only=True)
class WorkOSConfig(Settings):
    """A WorkOS environment: its API key and client id.

    Args:
        redirect_uri: Where WorkOS sends the browser back to.
        issuers: Further issuers of access tokens, such as that of a custom domain.
        base_url: Another place of the API: an emulator's, say.
        owner_role: The role at WorkOS that owners of an organization have. WorkOS makes ``admin``
            and ``member`` by itself; the role named here has to be made in its dashboard, unless it
            is one of those.
        throttle: Limits of this side, beside WorkOS' own. Failures in a row are not counted.
        trusted_proxies: As for :class:`NativeAuthConfig`.
    """

    api_key: str = field(repr=False)
    client_id: str
    redirect_uri: str | None = None
    issuers: Sequence[str] = ()
    base_url: str = "https://api.workos.com"
    owner_role: str = "owner"
    throttle: ThrottleConfig = field(default_factory=ThrottleConfig)
    trusted_proxies: int = 0

    def _check(self) -> None:
        scheme, host = scheme_and_host(self.base_url)
        self._need(scheme in {"http", "https"} and host != "", "base_url", "must be an http(s) URL")
        self._need_line("api_key", "client_id", "owner_role")
        self._need(self.trusted_proxies >= 0, "trusted_proxies", "must not be negative")


@dataclass(frozen=True, kw_only=True)
class AuthConfig(Settings):
    """The backend: exactly one of the three."""

    native: NativeAuthConfig | None = None
    supabase: SupabaseConfig | None = None
    workos: WorkOSConfig | None = None

    def _check(self) -> None:
        given = [b for b in (self.native, self.supabase, self.workos) if b is not None]
        if len(given) != 1:
            choice = "exactly one of native, supabase, workos"
            raise ConfigError(f"AuthConfig needs {choice}; {len(given)} are given")

    @property
    def backend(self) -> NativeAuthConfig | SupabaseConfig | WorkOSConfig:
        """The one that is set."""
        return next(it for it in (self.native, self.supabase, self.workos) if it is not None)


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Everything that one configuration file says."""

    auth: AuthConfig | None = None
    email: EmailConfig | None = None
    database: DatabaseConfig | None = None
    kv: KVConfig | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str] = "derp.toml") -> Self:
        """Read a ``derp.toml``.

        Its tables are named as the groups' fields are, ``auth.native.jwt`` say. A text ``"$NAME"``
        is the content of that environment variable. Tables of derp's other parts are passed over;
        settings without a meaning here (caches, replicas) are taken, and one warning names them.

        Raises:
            ConfigError: The file is missing or broken, a key is unknown or missing, a variable is
                not set, or a value cannot be used. The message names file and key, never a value.
        """
        reader = TableReader()
        try:
            tables = read_toml(path).items()
            config = reader.read(cls, {k: v for k, v in tables if k not in _OTHER_PARTS})
        except ConfigError as error:
            raise ConfigError(f"{os.fspath(path)}: {error.message}") from error.__cause__
        if reader.ignored:
            text = f"{os.fspath(path)}: these settings do nothing here: {', '.join(reader.ignored)}"
            warnings.warn(text, stacklevel=2)
        return config


def _long_enough(secret: str) -> bool:
    return len(secret.encode()) >= _MIN_SECRET_BYTES
