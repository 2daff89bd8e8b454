from __future__ import annotations

import re
import warnings
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    ValkeyConfig,
    WorkOSConfig,
)
from derp_auth_lite.exceptions import ConfigError

from .config_groups import SECRET, make

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
