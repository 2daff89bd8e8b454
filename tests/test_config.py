from __future__ import annotations

import pickle
import re
from dataclasses import MISSING, FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta

import pytest

from derp_auth_lite import config as module
from derp_auth_lite._settings import Settings
from derp_auth_lite.config import (
    AuthConfig,
    Config,
    DatabaseConfig,
    EmailConfig,
    GitHubOAuthConfig,
    GoogleOAuthConfig,
    JWTConfig,
    KVConfig,
    NativeAuthConfig,
    OIDCConfig,
    PasswordConfig,
    SupabaseConfig,
    ThrottleConfig,
    ValkeyConfig,
    WorkOSConfig,
)
from derp_auth_lite.exceptions import ConfigError

from .config_groups import CLIENT, NEEDED, SECRET, make

GROUPS = sorted(NEEDED, key=lambda it: it.__name__)


class TestGroups:
    def test_every_group_is_listed_in_order(self):
        assert module.__all__ == [it.__name__ for it in GROUPS]

    @pytest.mark.parametrize(
        ("kind", "defaults"),
        [
            (EmailConfig, {"templates_dir": None, "use_tls": True, "start_tls": False}),
            (
                JWTConfig,
                {
                    "algorithm": "HS256",
                    "access_token_expire_minutes": 15,
                    "refresh_token_expire_days": 7,
                    "issuer": None,
                    "audience": None,
                    "previous_secrets": (),
                    "verify": "session",
                },
            ),
            (
                PasswordConfig,
                {
                    "min_length": 8,
                    "max_length": 128,
                    "require_uppercase": False,
                    "require_lowercase": False,
                    "require_digit": False,
                    "require_special": False,
                    "hash_profile": "rfc9106_low_memory",
                    "breached": False,
                    "breached_range_url": "https://api.pwnedpasswords.com/range/",
                },
            ),
            (GoogleOAuthConfig, {"scopes": ("openid", "email", "profile")}),
            (GitHubOAuthConfig, {"scopes": ("user:email",)}),
            (
                OIDCConfig,
                {
                    "scopes": ("openid", "email", "profile"),
                    "client_auth": None,
                    "ca_bundle": None,
                },
            ),
            (
                NativeAuthConfig,
                {
                    "password": PasswordConfig(),
                    "google_oauth": None,
                    "github_oauth": None,
                    "oidc": (),
                    "oauth_require_state": False,
                    "enable_signup": True,
                    "enable_confirmation": True,
                    "enable_magic_link": False,
                    "magic_link_expire_minutes": 10,
                    "recovery_token_expire_minutes": 60,
                    "confirmation_token_expire_hours": 24,
                    "session_expire_days": 30,
                    "cache_prefix": "derp:auth",
                    "trusted_proxies": 0,
                    "throttle": ThrottleConfig(),
                    "event_retention_days": 90,
                    "max_sessions_per_user": None,
                    "session_limit_policy": "oldest ends",
                },
            ),
            (
                SupabaseConfig,
                {
                    "redirect_uri": None,
                    "password": PasswordConfig(),
                    "throttle": ThrottleConfig(),
                    "trusted_proxies": 0,
                },
            ),
            (
                WorkOSConfig,
                {
                    "redirect_uri": None,
                    "issuers": (),
                    "base_url": "https://api.workos.com",
                    "owner_role": "owner",
                    "throttle": ThrottleConfig(),
                    "trusted_proxies": 0,
                },
            ),
            (AuthConfig, {"native": None, "supabase": None}),
            (DatabaseConfig, {"pool_min_size": 2, "pool_max_size": 5}),
            (
                ValkeyConfig,
                {
                    "addresses": (("localhost", 6379),),
                    "username": None,
                    "password": None,
                    "use_tls": False,
                    "mode": "standalone",
                },
            ),
            (KVConfig, {"valkey": None}),
            (Config, {"auth": None, "email": None, "database": None, "kv": None}),
        ],
        ids=lambda it: it.__name__ if isinstance(it, type) else "",
    )
    def test_the_defaults_are_the_documented_ones(self, kind, defaults):
        group = make(kind)

        assert {f.name for f in fields(group)} == {*NEEDED[kind], *defaults}
        assert {name: getattr(group, name) for name in defaults} == defaults

    @pytest.mark.parametrize("kind", GROUPS)
    def test_what_has_no_default_is_needed(self, kind):
        needed = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]

        for name in needed:
            with pytest.raises(TypeError, match=name):
                kind(**{key: value for key, value in NEEDED[kind].items() if key != name})

    @pytest.mark.parametrize("kind", GROUPS)
    def test_a_group_cannot_be_changed_and_is_made_by_keyword_alone(self, kind):
        with pytest.raises(FrozenInstanceError):
            setattr(make(kind), fields(kind)[0].name, "other")
        with pytest.raises(TypeError, match="positional"):
            kind("value")

    @pytest.mark.parametrize("kind", GROUPS)
    def test_equal_groups_are_interchangeable(self, kind):
        group = make(kind)

        assert make(kind) == group
        assert hash(make(kind)) == hash(group)
        assert pickle.loads(pickle.dumps(group)) == group

    def test_lists_become_tuples_so_that_nothing_changes_later(self):
        scopes = ["openid"]
        group = make(GoogleOAuthConfig, scopes=scopes)

        scopes.append("drive")

        assert group.scopes == ("openid",)

    def test_the_backend_is_the_one_that_is_set(self):
        native = make(NativeAuthConfig)

        assert AuthConfig(native=native).backend is native
        assert make(AuthConfig).backend == make(WorkOSConfig)
        assert AuthConfig(supabase=make(SupabaseConfig)).backend == make(SupabaseConfig)


class TestSecretsAreMasked:
    @pytest.mark.parametrize("kind", GROUPS)
    def test_no_repr_shows_a_secret(self, kind):
        group = make(kind)

        assert SECRET not in f"{group!r} {group}"

    def test_no_repr_of_the_whole_shows_a_secret(self):
        native = make(
            NativeAuthConfig,
            jwt=make(JWTConfig, previous_secrets=[f"{SECRET}-2"]),
            google_oauth=make(GoogleOAuthConfig),
            github_oauth=make(GitHubOAuthConfig),
            oidc=[make(OIDCConfig)],
        )
        whole = Config(
            auth=AuthConfig(native=native),
            email=make(EmailConfig),
            database=make(DatabaseConfig),
            kv=KVConfig(valkey=make(ValkeyConfig, password=SECRET)),
        )

        assert SECRET not in f"{whole!r} {whole}"


class TestWrongTypes:
    @pytest.mark.parametrize(
        ("kind", "name", "value", "expected"),
        [
            (JWTConfig, "access_token_expire_minutes", True, "a whole number, not bool"),
            (JWTConfig, "access_token_expire_minutes", "15", "a whole number, not str"),
            (JWTConfig, "access_token_expire_minutes", 1.5, "a whole number, not float"),
            (JWTConfig, "access_token_expire_minutes", None, "a whole number, not NoneType"),
            (JWTConfig, "secret", SECRET.encode(), "text, not bytes"),
            (JWTConfig, "secret", None, "text, not NoneType"),
            (JWTConfig, "secret", f"{SECRET}\udcff", "Unicode text, and holds bytes that are not"),
            (JWTConfig, "issuer", 7, "text, not int"),
            (JWTConfig, "algorithm", "none", "one of HS256, HS384, HS512"),
            (JWTConfig, "algorithm", "hs256", "one of HS256, HS384, HS512"),
            (JWTConfig, "algorithm", "RS256", "one of HS256, HS384, HS512"),
            (JWTConfig, "algorithm", ["HS256"], "one of HS256, HS384, HS512"),
            (JWTConfig, "verify", "never", "one of session, stateless"),
            (JWTConfig, "previous_secrets", SECRET, "a list, not str"),
            (JWTConfig, "previous_secrets", {SECRET}, "a list, not set"),
            (JWTConfig, "previous_secrets", [7], "a list with text, not int"),
            (PasswordConfig, "require_digit", 1, "true or false, not int"),
            (PasswordConfig, "require_digit", "no", "true or false, not str"),
            (PasswordConfig, "hash_profile", "md5", "one of rfc9106_low_memory, owasp_minimum"),
            (NativeAuthConfig, "jwt", {"secret": SECRET}, "JWTConfig, not dict"),
            (NativeAuthConfig, "google_oauth", make(GitHubOAuthConfig), "GoogleOAuthConfig, not"),
            (NativeAuthConfig, "oidc", make(OIDCConfig), "a list, not OIDCConfig"),
            (NativeAuthConfig, "oidc", [CLIENT], "a list with OIDCConfig, not dict"),
            (GoogleOAuthConfig, "scopes", "openid", "a list, not str"),
            (ValkeyConfig, "addresses", [["localhost"]], "a list with a list of 2, not of 1"),
            (ValkeyConfig, "addresses", ["localhost:6379"], "a list with a list, not str"),
            (ValkeyConfig, "addresses", [("a", "1")], "a list with a list with a whole number"),
            (ValkeyConfig, "mode", "sentinel", "one of standalone, cluster"),
            (OIDCConfig, "client_auth", "none", "one of client_secret_basic, client_secret_post"),
        ],
    )
    def test_a_value_of_another_type_is_refused_by_name(self, kind, name, value, expected):
        with pytest.raises(ConfigError) as caught:
            make(kind, **{name: value})

        assert caught.value.message.startswith(f"{kind.__name__}.{name} must be {expected}")
        assert SECRET not in caught.value.message

    def test_an_unknown_keyword_is_the_mistake_of_a_programmer(self):
        with pytest.raises(TypeError, match="secrt"):
            JWTConfig(secrt=SECRET)


class TestRules:
    @pytest.mark.parametrize(
        ("kind", "values", "named"),
        [
            (JWTConfig, {"secret": "x" * 31}, "secret must be at least 32 bytes"),
            (JWTConfig, {"secret": ""}, "secret must be at least 32 bytes"),
            (SupabaseConfig, {"jwt_secret": "x" * 31}, "jwt_secret must be at least 32 bytes"),
            (JWTConfig, {"previous_secrets": ["x" * 31]}, "previous_secrets each must be at"),
            (JWTConfig, {"previous_secrets": [SECRET, ""]}, "previous_secrets each must be at"),
            (JWTConfig, {"issuer": ""}, "issuer must not be empty"),
            (JWTConfig, {"audience": " "}, "audience must not be empty"),
            (JWTConfig, {"access_token_expire_minutes": 0}, "access_token_expire_minutes must"),
            (JWTConfig, {"access_token_expire_minutes": -1}, "access_token_expire_minutes must"),
            (JWTConfig, {"access_token_expire_minutes": 10**9}, "access_token_expire_minutes must"),
            (JWTConfig, {"refresh_token_expire_days": 0}, "refresh_token_expire_days must"),
            (JWTConfig, {"refresh_token_expire_days": 10**30}, "refresh_token_expire_days must"),
            (PasswordConfig, {"min_length": 0}, "min_length must be at least 1"),
            (PasswordConfig, {"breached_range_url": "http://x.test"}, "breached_range_url must be"),
            (PasswordConfig, {"min_length": 9, "max_length": 8}, "max_length must not be less"),
            (NativeAuthConfig, {"magic_link_expire_minutes": 0}, "magic_link_expire_minutes must"),
            (NativeAuthConfig, {"recovery_token_expire_minutes": 0}, "recovery_token_expire_min"),
            (NativeAuthConfig, {"confirmation_token_expire_hours": 0}, "confirmation_token_expir"),
            (NativeAuthConfig, {"session_expire_days": 0}, "session_expire_days must"),
            (NativeAuthConfig, {"session_expire_days": 36_501}, "session_expire_days must"),
            (NativeAuthConfig, {"trusted_proxies": -1}, "trusted_proxies must not be negative"),
            (NativeAuthConfig, {"cache_prefix": " "}, "cache_prefix must not be empty"),
            (NativeAuthConfig, {"oidc": [make(OIDCConfig)] * 2}, "oidc must give each provider"),
            (OIDCConfig, {"name": "google"}, "name is taken"),
            (OIDCConfig, {"name": "magic_link"}, "name is taken"),
            (OIDCConfig, {"name": ""}, "name must be 1 to 63"),
            (OIDCConfig, {"name": "Okta"}, "name must be 1 to 63"),
            (OIDCConfig, {"name": "okta\n"}, "name must be 1 to 63"),
            (OIDCConfig, {"issuer": "http://okta.example"}, "issuer must be an https URL"),
            (OIDCConfig, {"issuer": "http://localhost.evil.example"}, "issuer must be an https"),
            (OIDCConfig, {"issuer": "okta.example"}, "issuer must be an https URL"),
            (OIDCConfig, {"issuer": "https://[broken"}, "issuer must be an https URL"),
            (OIDCConfig, {"issuer": "https://"}, "issuer must be an https URL"),
            (OIDCConfig, {"scopes": ["email"]}, "scopes must hold openid"),
            (OIDCConfig, {"client_id": ""}, "client_id must not be empty"),
            (GoogleOAuthConfig, {"client_secret": ""}, "client_secret must not be empty"),
            (GitHubOAuthConfig, {"redirect_uri": " "}, "redirect_uri must not be empty"),
            (SupabaseConfig, {"url": "x.supabase.example"}, "url must be an http(s) URL"),
            (SupabaseConfig, {"url": "ftp://x.supabase.example"}, "url must be an http(s) URL"),
            (SupabaseConfig, {"service_role_key": ""}, "service_role_key must not be empty"),
            (WorkOSConfig, {"api_key": ""}, "api_key must not be empty"),
            (WorkOSConfig, {"api_key": f"{SECRET}\n"}, "api_key must not be empty or hold control"),
            (EmailConfig, {"use_tls": True, "start_tls": True}, "start_tls and use_tls exclude"),
            (EmailConfig, {"smtp_port": 0}, "smtp_port must be between 1 and 65535"),
            (EmailConfig, {"smtp_port": 65_536}, "smtp_port must be between 1 and 65535"),
            (EmailConfig, {"smtp_host": ""}, "smtp_host must not be empty"),
            (EmailConfig, {"site_name": "App\r\nBcc: eve"}, "site_name must not be empty or hold"),
            (EmailConfig, {"from_email": "a@b.example\nTo: x"}, "from_email must not be empty or"),
            (DatabaseConfig, {"db_url": ""}, "db_url must not be empty"),
            (DatabaseConfig, {"pool_min_size": -1}, "pool_min_size must not be negative"),
            (DatabaseConfig, {"pool_min_size": 0, "pool_max_size": 0}, "pool_max_size must be at"),
            (DatabaseConfig, {"pool_min_size": 6}, "pool_max_size must not be less"),
            (ValkeyConfig, {"addresses": []}, "addresses must hold"),
            (ValkeyConfig, {"addresses": [("", 6379)]}, "addresses must hold pairs"),
            (ValkeyConfig, {"addresses": [("localhost", 0)]}, "addresses must hold pairs"),
        ],
    )
    def test_an_unsafe_value_is_refused_by_name(self, kind, values, named):
        with pytest.raises(ConfigError) as caught:
            make(kind, **values)

        assert caught.value.message.startswith(f"{kind.__name__}.{named}")
        assert SECRET not in caught.value.message

    @pytest.mark.parametrize("count", [0, 2, 3])
    def test_there_is_exactly_one_backend(self, count):
        kinds = {"native": NativeAuthConfig, "supabase": SupabaseConfig, "workos": WorkOSConfig}
        given = {name: make(kind) for name, kind in list(kinds.items())[:count]}

        with pytest.raises(ConfigError, match=f"exactly one of .*; {count} are given"):
            AuthConfig(**given)

    @pytest.mark.parametrize(
        ("kind", "values"),
        [
            (JWTConfig, {"secret": "x" * 32}),
            (JWTConfig, {"secret": "é" * 16}),
            (JWTConfig, {"access_token_expire_minutes": 1}),
            (PasswordConfig, {"min_length": 8, "max_length": 8}),
            (EmailConfig, {"use_tls": False, "start_tls": True}),
            (EmailConfig, {"use_tls": False, "start_tls": False}),
            (EmailConfig, {"smtp_user": "", "smtp_password": ""}),
            (DatabaseConfig, {"pool_min_size": 0, "pool_max_size": 1}),
            (OIDCConfig, {"issuer": "http://127.0.0.1:8080/realms/a"}),
            (OIDCConfig, {"issuer": "http://[::1]:8080"}),
            (SupabaseConfig, {"url": "http://kong:8000", "jwt_secret": ""}),
            (ValkeyConfig, {"addresses": [["a", 1], ["b", 65_535]], "mode": "cluster"}),
        ],
    )
    def test_what_lies_at_the_edge_is_taken(self, kind, values):
        assert make(kind, **values)

    def test_the_longest_lifetime_still_has_an_end_that_a_date_can_hold(self):
        days = make(NativeAuthConfig, session_expire_days=36_500).session_expire_days

        assert datetime(2100, 1, 1, tzinfo=UTC) + timedelta(days=days)

    def test_a_short_secret_is_answered_with_the_way_to_a_good_one(self):
        with pytest.raises(ConfigError, match=re.escape("secrets.token_urlsafe(48)")):
            JWTConfig(secret="short")


class TestValkeyURL:
    @pytest.mark.parametrize(
        ("values", "url"),
        [
            ({}, "redis://localhost:6379/0"),
            ({"use_tls": True}, "rediss://localhost:6379/0"),
            ({"password": "p"}, "redis://:p@localhost:6379/0"),
            ({"username": "u", "password": "p"}, "redis://u:p@localhost:6379/0"),
            (
                {"username": "a@b", "password": "p/:?#@%"},
                "redis://a%40b:p%2F%3A%3F%23%40%25@localhost:6379/0",
            ),
            ({"addresses": [["::1", 7000]]}, "redis://[::1]:7000/0"),
        ],
    )
    def test_the_url_names_server_and_credentials(self, values, url):
        assert KVConfig(valkey=make(ValkeyConfig, **values)).url == url

    def test_without_a_server_there_is_no_url(self):
        assert KVConfig().url is None

    @pytest.mark.parametrize("values", [{"mode": "cluster"}, {"addresses": [["a", 1], ["b", 1]]}])
    def test_what_one_url_cannot_name_is_refused(self, values):
        with pytest.raises(ConfigError, match=r"ValkeyConfig\.(mode|addresses) must"):
            _ = make(ValkeyConfig, **values).url


def test_every_secret_of_every_group_is_hidden():
    """Whatever is named like a secret is kept out of the repr, also in groups made later."""
    words = re.compile(r"secret|password|key|url$")
    public = {"site_url", "url", "base_url", "breached_range_url", "password"}
    shown = {
        f"{kind.__name__}.{f.name}"
        for kind in GROUPS
        for f in fields(kind)
        if f.repr and f.type == "str" and words.search(f.name) and f.name not in public
    }

    assert issubclass(JWTConfig, Settings)
    assert shown == set()
