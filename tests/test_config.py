from __future__ import annotations

import pickle
import re
import warnings
from dataclasses import MISSING, FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

SECRET = "s3same-of-more-than-thirty-two-bytes"
CLIENT = {
    "client_id": "client",
    "client_secret": SECRET,
    "redirect_uri": "https://app.example/callback",
}
NEEDED = {
    AuthConfig: {"workos": WorkOSConfig(api_key=SECRET, client_id="c")},
    Config: {},
    DatabaseConfig: {"db_url": f"postgresql://ada:{SECRET}@db.example/app"},
    EmailConfig: {
        "site_name": "App",
        "site_url": "https://app.example",
        "from_email": "no-reply@app.example",
        "smtp_host": "smtp.example",
        "smtp_port": 465,
        "smtp_user": "ada",
        "smtp_password": SECRET,
    },
    GitHubOAuthConfig: CLIENT,
    GoogleOAuthConfig: CLIENT,
    JWTConfig: {"secret": SECRET},
    KVConfig: {},
    NativeAuthConfig: {"jwt": JWTConfig(secret=SECRET)},
    OIDCConfig: {"name": "okta", "issuer": "https://okta.example", **CLIENT},
    PasswordConfig: {},
    ThrottleConfig: {},
    SupabaseConfig: {
        "url": "https://x.supabase.example",
        "anon_key": SECRET,
        "service_role_key": SECRET,
        "jwt_secret": SECRET,
    },
    ValkeyConfig: {},
    WorkOSConfig: {"api_key": SECRET, "client_id": "c"},
}
GROUPS = sorted(NEEDED, key=lambda it: it.__name__)


def make(kind, **values):
    """A group with what it needs, and with these values."""
    return kind(**{**NEEDED[kind], **values})


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


FULL = """
[database]
db_url = "$TEST_DATABASE_URL"
schema_path = "src/schema.py"
pool_max_size = 9
replica_url = "$TEST_NOT_SET"
statement_cache_size = 0

[email]
site_name = "App"
site_url = "https://app.example"
from_email = "no-reply@app.example"
smtp_host = "smtp.example"
smtp_port = "$TEST_SMTP_PORT"
smtp_user = "ada"
smtp_password = "$TEST_SMTP_PASSWORD"
use_tls = "$TEST_USE_TLS"
start_tls = true

[auth.native]
enable_magic_link = true
use_kv_cache = true
cache_session_ttl_seconds = 300
cache_user_ttl_seconds = 300

[auth.native.jwt]
secret = "$TEST_JWT_SECRET"
algorithm = "HS512"
previous_secrets = ["$TEST_OLD_SECRET"]

[auth.native.password]
min_length = 12

[auth.native.google_oauth]
client_id = "g"
client_secret = "$TEST_JWT_SECRET"
redirect_uri = "https://app.example/google"

[auth.native.github_oauth]
client_id = "h"
client_secret = "$TEST_JWT_SECRET"
redirect_uri = "https://app.example/github"
scopes = ["user:email", "read:user"]

[[auth.native.oidc]]
name = "okta"
issuer = "https://okta.example"
client_id = "o"
client_secret = "$TEST_JWT_SECRET"
redirect_uri = "https://app.example/okta"

[kv.valkey]
addresses = [["cache.example", 6380]]
password = "$TEST_JWT_SECRET"

[storage]
access_key_id = "$TEST_NOT_SET"
[payments]
api_key = "$TEST_NOT_SET"
[queue.celery]
broker_url = "$TEST_NOT_SET"
[ai]
api_key = "$TEST_NOT_SET"
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Writes a derp.toml and loads it, the environment holding what FULL asks for."""
    monkeypatch.setenv("TEST_DATABASE_URL", f"postgresql://ada:{SECRET}@db.example/app")
    monkeypatch.setenv("TEST_SMTP_PORT", "587")
    monkeypatch.setenv("TEST_SMTP_PASSWORD", SECRET)
    monkeypatch.setenv("TEST_USE_TLS", "False")
    monkeypatch.setenv("TEST_JWT_SECRET", SECRET)
    monkeypatch.setenv("TEST_OLD_SECRET", f"old-{SECRET}")
    monkeypatch.delenv("TEST_NOT_SET", raising=False)
    path = tmp_path / "derp.toml"

    def load(content):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Config.load(path)

    return load


@pytest.fixture
def refused(load):
    """Loads what cannot be loaded; returns the message, which never holds a value."""

    def refused(content):
        with pytest.raises(ConfigError) as caught:
            load(content)
        assert "s3same" not in caught.value.message
        return caught.value.message

    return refused


NATIVE = "[auth.native.jwt]\nsecret = '$TEST_JWT_SECRET'\n"


class TestLoad:
    @pytest.mark.filterwarnings("ignore:.*do nothing here")
    def test_the_file_of_the_original_gives_every_setting(self, load):
        config = load(FULL)

        assert config == Config(
            auth=AuthConfig(
                native=NativeAuthConfig(
                    jwt=JWTConfig(
                        secret=SECRET, algorithm="HS512", previous_secrets=[f"old-{SECRET}"]
                    ),
                    password=PasswordConfig(min_length=12),
                    google_oauth=GoogleOAuthConfig(
                        client_id="g",
                        client_secret=SECRET,
                        redirect_uri="https://app.example/google",
                    ),
                    github_oauth=GitHubOAuthConfig(
                        client_id="h",
                        client_secret=SECRET,
                        redirect_uri="https://app.example/github",
                        scopes=("user:email", "read:user"),
                    ),
                    oidc=[
                        OIDCConfig(
                            name="okta",
                            issuer="https://okta.example",
                            client_id="o",
                            client_secret=SECRET,
                            redirect_uri="https://app.example/okta",
                        )
                    ],
                    enable_magic_link=True,
                )
            ),
            email=make(EmailConfig, smtp_port=587, use_tls=False, start_tls=True),
            database=make(DatabaseConfig, pool_max_size=9),
            kv=KVConfig(valkey=ValkeyConfig(addresses=[("cache.example", 6380)], password=SECRET)),
        )
        assert type(config.auth.native.jwt.secret) is str

    @pytest.mark.parametrize(
        ("table", "backend"),
        [
            (
                "[auth.workos]\napi_key = '$TEST_JWT_SECRET'\nclient_id = 'c'",
                make(WorkOSConfig),
            ),
            (
                """
                [auth.supabase]
                url = 'https://x.supabase.example'
                anon_key = '$TEST_JWT_SECRET'
                service_role_key = '$TEST_JWT_SECRET'
                jwt_secret = '$TEST_JWT_SECRET'
                """,
                make(SupabaseConfig),
            ),
        ],
        ids=["workos", "supabase"],
    )
    def test_a_hosted_backend_is_read_too(self, load, table, backend):
        assert load(table).auth.backend == backend

    def test_an_empty_file_sets_nothing(self, load):
        assert load("") == Config()

    def test_the_file_is_looked_for_where_one_stands(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "derp.toml").write_text("[kv]\n")

        assert Config.load() == Config(kv=KVConfig())

    def test_a_byte_order_mark_of_windows_does_not_matter(self, load):
        assert load(b"\xef\xbb\xbf[kv]\r\n") == Config(kv=KVConfig())

    @pytest.mark.parametrize(
        ("text", "value"),
        [("true", True), ("ON", True), ("1", True), ("no", False), ("Off", False), ("0", False)],
    )
    def test_a_variable_can_hold_a_truth_value(self, load, monkeypatch, text, value):
        monkeypatch.setenv("TEST_FLAG", text)

        config = load(f"{NATIVE}[auth.native]\nenable_signup = '$TEST_FLAG'")

        assert config.auth.native.enable_signup is value

    def test_a_variable_for_text_stays_text_whatever_it_looks_like(self, load, monkeypatch):
        monkeypatch.setenv("TEST_ISSUER", "1")

        assert load(f"{NATIVE}issuer = '$TEST_ISSUER'").auth.native.jwt.issuer == "1"

    def test_a_variable_may_be_an_entry_of_an_entry(self, load, monkeypatch):
        monkeypatch.setenv("TEST_PORT", "7000")

        config = load("[kv.valkey]\naddresses = [['localhost', '$TEST_PORT']]")

        assert config.kv.valkey.addresses == (("localhost", 7000),)

    def test_a_dollar_inside_of_a_text_is_a_dollar(self, load):
        assert load(f"{NATIVE}issuer = 'a$TEST_NOT_SET'").auth.native.jwt.issuer == "a$TEST_NOT_SET"


class TestSettingsWithoutMeaning:
    def test_one_warning_names_them_all_and_where_it_came_from(self, load):
        with pytest.warns(UserWarning, match="do nothing here") as caught:
            load(FULL)

        (warning,) = caught
        named = str(warning.message).rpartition(": ")[2].split(", ")
        assert named == [
            "database.schema_path",
            "database.replica_url",
            "database.statement_cache_size",
            "auth.native.use_kv_cache",
            "auth.native.cache_session_ttl_seconds",
            "auth.native.cache_user_ttl_seconds",
        ]
        assert warning.filename == __file__

    def test_tables_of_other_parts_are_passed_over_in_silence(self, load):
        with warnings.catch_warnings():
            warnings.simplefilter("error")

            assert load("[storage]\nx = 1\n[payments]\n[queue]\n[ai]\n") == Config()


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("content", "path", "nearest"),
        [
            ("[auth.native.jwt]\nsecrt = 'x'", "auth.native.jwt.secrt", "auth.native.jwt.secret"),
            ("[databse]", "databse", "database"),
            ("[auth.nativ.jwt]", "auth.nativ", "auth.native"),
            ("[auth.native]\nsecret = 'x'", "auth.native.secret", "auth.native.jwt.secret"),
            ("[auth.workos]\nclientid = 'x'", "auth.workos.clientid", "auth.workos.client_id"),
            ("[email]\nhost = 'x'", "email.host", "email.smtp_host"),
            (
                "[[auth.native.oidc]]\nisuer = 'x'",
                "auth.native.oidc[0].isuer",
                "auth.native.oidc.issuer",
            ),
        ],
    )
    def test_an_unknown_key_is_named_with_its_nearest_neighbour(
        self, refused, content, path, nearest
    ):
        message = refused(content)

        assert message.endswith(f": {path} is not known; did you mean {nearest}?")

    @pytest.mark.parametrize(
        ("content", "path"),
        [
            ("[kv.redis]", "kv.redis"),
            ("[auth.native]\nnonsense = 1", "auth.native.nonsense"),
            ("['a.b']", '"a.b"'),
            ('["a\\nb"]', '"a\\nb"'),
        ],
    )
    def test_one_that_is_like_none_is_named_alone(self, refused, content, path):
        assert refused(content).endswith(f": {path} is not known")


class TestBadFiles:
    def test_all_missing_variables_are_named_at_once_each_once(self, refused):
        message = refused(
            "[database]\ndb_url = '$TEST_A'\n[auth.native.jwt]\nsecret = '$TEST_B'\n"
            "issuer = '$TEST_A'\nprevious_secrets = ['$TEST_C']"
        )

        assert message.endswith(
            "these environment variables are not set: $TEST_A, $TEST_B, $TEST_C"
        )

    @pytest.mark.parametrize("value", ["$", "$s3same-x", "$$s3same", "$1s3same", "$s3same "])
    def test_what_cannot_name_a_variable_may_be_a_password_and_is_not_shown(self, refused, value):
        message = refused(f"[auth.native.jwt]\nsecret = '{value}'")

        assert message.endswith(
            "auth.native.jwt.secret begins with $, but names no environment variable"
        )

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("[auth.native.jwt]", "auth.native.jwt.secret must be set"),
            ("[auth.native]", "auth.native.jwt must be set"),
            ("[database]", "database.db_url must be set"),
            (
                "[auth.workos]\nredirect_uri = 'x'",
                "auth.workos.api_key, auth.workos.client_id must be set",
            ),
            ("[auth]", "auth needs exactly one of native, supabase, workos; 0 are given"),
            ("auth = 5", "auth must be a table, not int"),
            ("[[auth]]", "auth must be a table, not list"),
            ("[auth]\nnative = 's3same'", "auth.native must be a table, not str"),
            ("[auth.native]\njwt = ['s3same']", "auth.native.jwt must be a table, not list"),
            ("[auth.native.jwt]\nsecret = 5", "auth.native.jwt.secret must be text, not int"),
            ("[auth.native.jwt]\nsecret = 's3same'", "auth.native.jwt.secret must be at least 32"),
            ("[auth.native.jwt]\nsecret = {s3same = 1}", "auth.native.jwt.secret must be text"),
            ("[auth.native.jwt]\nsecret = 2030-01-01", "auth.native.jwt.secret must be text, not"),
            (f"{NATIVE}algorithm = 's3same'", "auth.native.jwt.algorithm must be one of HS256"),
            (
                f"{NATIVE}access_token_expire_minutes = '$TEST_JWT_SECRET'",
                "auth.native.jwt.access_token_expire_minutes must be a whole number, and the vari",
            ),
            (
                f"{NATIVE}access_token_expire_minutes = '15'",
                "auth.native.jwt.access_token_expire_minutes must be a whole number, not str",
            ),
            (
                f"{NATIVE}[auth.native]\nenable_signup = '$TEST_JWT_SECRET'",
                "auth.native.enable_signup must be true or false, and the variable $TEST_JWT",
            ),
            (f"{NATIVE}[auth.native.oidc]\nname = 'x'", "auth.native.oidc must be a list, not"),
            (
                f"{NATIVE}[[auth.native.oidc]]\nname = 'x'",
                "auth.native.oidc[0].client_id, auth.native.oidc[0].client_secret, ",
            ),
            ("[kv.valkey]\naddresses = ['$TEST_JWT_SECRET']", "kv.valkey.addresses must be a list"),
            ("[kv.valkey]\naddresses = [['s3same', 1, 2]]", "kv.valkey.addresses must be a list"),
        ],
    )
    def test_the_place_in_the_file_is_named(self, refused, content, problem):
        message = refused(content)

        assert message.partition("derp.toml: ")[2].startswith(problem)

    @pytest.mark.parametrize(
        "content",
        [
            b"secret = s3same",
            b"[auth\n",
            b"secret = 's3same",
            b"[kv]\n[kv]\n",
            b"secret = 's3same\xff'",
            b"x = " + b"9" * 5_000,
            b"x = " + b"[" * 50_000,
            b"\x00s3same",
            b"x = 2030-13-01",
        ],
        ids=range(9),
    )
    def test_a_broken_file_is_a_typed_error_that_shows_nothing_of_it(self, refused, content):
        assert re.search(r"derp\.toml: the file is not (TOML|UTF-8)", refused(content))

    def test_a_missing_file_is_named_with_its_folder(self, tmp_path):
        with pytest.raises(ConfigError) as caught:
            Config.load(tmp_path / "other.toml")

        assert "other.toml: there is no such file" in caught.value.message
        assert str(tmp_path) in caught.value.message

    def test_a_folder_is_no_file(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            Config.load(tmp_path)

        assert isinstance(caught.value.__cause__, OSError)

    def test_a_path_that_no_system_takes_is_a_typed_error(self):
        with pytest.raises(ConfigError, match="cannot be read"):
            Config.load("derp\x00.toml")

    def test_the_trace_of_an_error_holds_no_value(self, load):
        """A log of the exception shows the chain; it must not lead to the file's content."""
        with pytest.raises(ConfigError) as caught:
            load(b"secret = 's3same\xff'")

        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    @given(content=st.binary(max_size=200))
    def test_no_bytes_raise_anything_but_a_typed_error(self, tmp_path_factory, content):
        path = tmp_path_factory.getbasetemp() / "random.toml"
        path.write_bytes(content)

        try:
            assert isinstance(Config.load(path), Config)
        except ConfigError:
            pass

    @given(
        key=st.sampled_from(["secret", "algorithm", "issuer", "previous_secrets", "verify"]),
        value=st.recursive(
            st.booleans()
            | st.integers(-(2**63), 2**63 - 1)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(codec="ascii", exclude_categories=["Cc"])).map(
                "SECRET".__add__
            ),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
    )
    def test_no_value_raises_anything_but_a_typed_error_or_is_shown(
        self, tmp_path_factory, key, value
    ):
        path = tmp_path_factory.getbasetemp() / "value.toml"
        rest = "" if key == "secret" else f"secret = '{SECRET}'\n"
        path.write_text(f"[auth.native.jwt]\n{rest}{key} = {toml(value)}\n")

        try:
            jwt = Config.load(path).auth.native.jwt
        except ConfigError as error:
            said = error.message
        else:
            said = repr(replace(jwt, issuer=None))

        assert "s3same" not in said


def toml(value):
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


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
